"""Labelled sentences, translated word by word."""

from itertools import islice
from pathlib import Path

import numpy
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_xner.corpus.conll import Sentence, read_tagged
from spacy_xner.corpus.docs import make_doc, read_docs, write_docs
from spacy_xner.corpus.origins import DICTIONARY, mark_taught, taught_by
from spacy_xner.tags import TokenSpan, spans_to_tags
from spacy_xner.vectors.dictionary import read_dictionary
from spacy_xner.vectors.table import VectorTable
from spacy_xner.vectors.translate import (
    Coverage,
    WordChoice,
    measure_coverage,
    name_beside,
    shuffle_corpus,
    translate_corpus,
    translate_sentence,
)

WIDTH = 5


def random_vectors(words, seed=0):
    """Unit vectors of words, zeros for those that begin with z."""
    rng = numpy.random.default_rng(seed)
    vectors = rng.normal(size=(len(words), WIDTH)).astype("float32")
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    return {word: vector * (not word.startswith("z")) for word, vector in zip(words, vectors, strict=True)}


def embed_by(table, calls=None):
    def embed(words):
        assert len(set(words)) == len(words)
        if calls is not None:
            calls.append(list(words))
        return numpy.stack([table.get(word, numpy.zeros(WIDTH, dtype="float32")) for word in words])

    return embed


def no_vectors(words):
    return numpy.zeros((len(words), 2), dtype="float32")


def sentence(text, *spans):
    tokens = text.split()
    return Sentence(tokens, [True] * (len(tokens) - 1) + [False], [TokenSpan(*span) for span in spans])


def best_by_brute_force(tokens, i, dictionary, table, alpha, window):
    """Equation 1 as it is printed."""

    def vector(words):
        total = sum((table.get(word, numpy.zeros(WIDTH)) for word in words.split()), numpy.zeros(WIDTH))
        norm = sum(x * x for x in total.tolist()) ** 0.5
        return total / norm if norm else total

    def cosine(a, b):
        return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))

    best, best_score = None, -numpy.inf
    for translation in dictionary[tokens[i]]:
        score = alpha * cosine(vector(tokens[i]), vector(translation))
        for j, context in enumerate(tokens):
            distance = abs(i - j)
            if j != i and (window == 0 or distance <= window):
                score += (1 - alpha) * cosine(vector(translation), vector(context)) / (distance + 1) ** 2
        if score > best_score + 1e-5:
            best, best_score = translation, score
    return best


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("window", [0, 1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_translations_are_those_of_equation_1(alpha, window, seed):
    rng = numpy.random.default_rng(seed)
    sources = [f"s{i}" for i in range(12)] + ["z0", "z1"]
    targets = [f"t{i}" for i in range(20)] + ["z2"]
    table = random_vectors(sources + targets, seed)
    dictionary = {
        word: [" ".join(rng.choice(targets, size=rng.integers(1, 3))) for _ in range(rng.integers(1, 6))]
        for word in sources[2:]
    }
    tokens = rng.choice(sources, size=15).tolist()
    found = translate_sentence(
        sentence(" ".join(tokens)), dictionary, embed_by(table), WordChoice(alpha, window)
    )
    expected = [
        best_by_brute_force(tokens, i, dictionary, table, alpha, window) if token in dictionary else token
        for i, token in enumerate(tokens)
    ]
    assert found.tokens == " ".join(expected).split()


def test_context_decides_between_meanings():
    table = {
        "bank": (0.6, 0.8), "river": (0, 1), "money": (1, 0), "ufer": (0, 1), "kasse": (1, 0), "near": (0, 0),
    }  # fmt: skip

    def embed(words):
        return numpy.array([table.get(word, (0, 0)) for word in words], dtype="float32")

    dictionary = {"bank": ["kasse", "ufer"]}
    money = translate_sentence(sentence("money money bank money money"), dictionary, embed)
    assert money.tokens[2] == "kasse"
    assert translate_sentence(sentence("bank near river"), dictionary, embed).tokens[0] == "ufer"
    # Alone, and where the context has no weight, the word's own similarity is all.
    assert translate_sentence(sentence("bank"), dictionary, embed).tokens == ["ufer"]
    alone = translate_sentence(
        sentence("money money bank money money"), dictionary, embed, WordChoice(alpha=1.0)
    )
    assert alone.tokens[2] == "ufer"


def test_a_window_hides_what_is_further_away():
    table = random_vectors(["a", "b", "c", "x", "y"])
    table["b"] = table["x"]
    dictionary = {"a": ["y", "x"]}
    near, far = sentence("a b"), sentence("a c c c b")
    table["a"] = table["c"] = numpy.zeros(WIDTH, dtype="float32")
    table["y"] = -table["x"]
    assert translate_sentence(near, dictionary, embed_by(table), WordChoice(window=1)).tokens[0] == "x"
    assert translate_sentence(far, dictionary, embed_by(table), WordChoice(window=3)).tokens[0] == "y"
    assert translate_sentence(far, dictionary, embed_by(table), WordChoice(window=4)).tokens[0] == "x"
    assert translate_sentence(far, dictionary, embed_by(table)).tokens[0] == "x"


def test_of_equal_translations_the_first_is_taken():
    found = translate_sentence(sentence("a b a"), {"a": ["x", "y"], "b": ["v", "u", "w"]}, no_vectors)
    assert found.tokens == ["x", "v", "x"]


def test_all_words_of_a_sentence_are_embedded_in_one_call():
    calls = []
    translate_sentence(sentence("A b a c"), {"a": ["x", "y z"], "b": ["x"]}, embed_by({}, calls))
    assert [sorted(call) for call in calls] == [["a", "b", "c", "x", "y", "z"]]


def test_sentences_without_entries_stay():
    for text in ("", "Nothing here"):
        before = sentence(text)
        assert translate_sentence(before, {"other": ["x"], "here": []}, None) == before


def test_spans_move_with_longer_translations():
    before = Sentence(
        ["Mr.", "White", "House", "(", "NATO", ")"],
        [True, True, True, False, False, False],
        [TokenSpan(1, 3, "LOC"), TokenSpan(4, 5, "ORG")],
    )
    dictionary = {"white": ["das weiße"], "mr.": ["der herr"], "nato": ["nord pakt"]}
    after = translate_sentence(before, dictionary, no_vectors)
    assert after.tokens == ["Der", "herr", "Das", "weiße", "House", "(", "NORD", "PAKT", ")"]
    assert after.spaces == [True, True, True, True, True, False, True, False, False]
    assert after.spans == [TokenSpan(2, 5, "LOC"), TokenSpan(6, 8, "ORG")]


@pytest.mark.parametrize(
    ("token", "translation"),
    [("house", "das haus"), ("House", "Das haus"), ("HOUSE", "DAS HAUS"), ("hOUSE", "das haus")],
)
def test_translations_take_over_capitals(token, translation):
    assert (
        translate_sentence(sentence(token), {"house": ["das haus"]}, no_vectors).tokens == translation.split()
    )


def test_a_single_capital_is_a_title():
    assert translate_sentence(sentence("A house"), {"a": ["una"]}, no_vectors).tokens == ["Una", "house"]


@st.composite
def labelled_sentences(draw):
    tokens = draw(st.lists(st.sampled_from(["a", "A", "b", "B", "c", "d", ","]), min_size=1, max_size=12))
    cuts = sorted(draw(st.sets(st.integers(0, len(tokens)), max_size=8)))
    labels = st.sampled_from(["PER", "LOC"])
    spans = [TokenSpan(*cut, draw(labels)) for cut in zip(cuts[::2], cuts[1::2], strict=False)]
    spaces = draw(st.lists(st.booleans(), min_size=len(tokens), max_size=len(tokens)))
    return Sentence(tokens, spaces, spans)


entries = st.lists(st.sampled_from(["p", "q", "p q", "q r s"]), max_size=3, unique=True)


@settings(deadline=None)
@given(labelled_sentences(), st.dictionaries(st.sampled_from("abcd"), entries), st.integers(0, 2))
def test_entities_hold_the_translations_of_their_tokens(before, dictionary, window):
    table = random_vectors(list("abcdpqrs"))
    after = translate_sentence(before, dictionary, embed_by(table), WordChoice(window=window))
    assert len(after.tokens) == len(after.spaces)
    # Tokens are translated one by one, so the sentence is found again piece by piece.
    pieces, position = [], 0
    for i, token in enumerate(before.tokens):
        options = [option.split() for option in dictionary.get(token.lower(), [])] or [[token.lower()]]
        chosen = (
            best_by_brute_force([t.lower() for t in before.tokens], i, dictionary, table, 0.5, window)
            if dictionary.get(token.lower())
            else token.lower()
        )
        assert chosen.split() in options
        pieces.append(range(position, position + len(chosen.split())))
        own = after.tokens[position : pieces[-1].stop]
        assert [word.lower() for word in own] == chosen.split()
        assert own[0].isupper() == token.isupper()
        assert after.spaces[position : pieces[-1].stop] == [True] * (len(own) - 1) + [before.spaces[i]]
        position = pieces[-1].stop
    assert position == len(after.tokens)
    assert [span.label for span in after.spans] == [span.label for span in before.spans]
    for old, new in zip(before.spans, after.spans, strict=True):
        assert list(range(new.start, new.end)) == [p for piece in pieces[old.start : old.end] for p in piece]
    # This raises if spans overlap.
    spans_to_tags(after.spans, len(after.tokens))


def test_coverage_counts_what_is_translated():
    sentences = [sentence("A b c"), sentence("a ,")]
    assert measure_coverage(iter(sentences), {"a": ["x"], "c": []}) == Coverage(5, 2)
    assert measure_coverage([], {}) == Coverage(0, 0)


@pytest.mark.shared_data
def test_half_of_the_words_of_wikiann_have_translations(shared_data):
    dictionary = read_dictionary(shared_data / "lexicons" / "muse" / "en-es.dict")
    before = list(islice(read_tagged(shared_data / "wikiann/en/dev.tsv", "en"), 200))
    after = [translate_sentence(s, dictionary, no_vectors) for s in before]
    coverage = measure_coverage(before, dictionary)
    assert 0.4 < coverage.n_translated / coverage.n_tokens < 0.6
    assert [len(s.spans) for s in after] == [len(s.spans) for s in before]


@pytest.mark.parametrize("name", ["train.spacy", "-train.spacy", "en-news-train.json"])
def test_a_corpus_whose_name_tells_no_split_is_refused(name: str) -> None:
    assert name_beside(Path("a/en-news-train.spacy"), "fi") == Path("a/en-news.fi-train.spacy")
    with pytest.raises(ValueError, match="XNER622"):
        name_beside(Path(name), "fi")


def test_what_is_made_of_a_corpus_goes_back_to_what_that_does(tmp_path: Path) -> None:
    vocab, corpus = spacy.blank("xx").vocab, tmp_path / "en-news-train.spacy"
    doc = make_doc(vocab, Sentence(["Ana", "won"], [True, False], [TokenSpan(0, 1, "PER")]), "en")
    write_docs([doc], corpus)
    assert taught_by(read_docs(shuffle_corpus(corpus).path)) == set()
    mark_taught(doc, ["conll"])
    write_docs([doc], corpus)
    assert taught_by(read_docs(shuffle_corpus(corpus).path)) == {"conll"}
    (tmp_path / "en-es.txt").write_text("won gan\u00f3\n", encoding="utf-8")
    table = VectorTable(["won", "gan\u00f3"], numpy.eye(2, dtype="float32"))
    made = translate_corpus(corpus, tmp_path / "en-es.txt", table, "es")
    assert [d.text for d in read_docs(made.path).get_docs(vocab)] == ["Ana gan\u00f3"]
    assert taught_by(read_docs(made.path)) == {"conll", DICTIONARY.format(name="en-es.txt")}

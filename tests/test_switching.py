"""Code-switching: labels stay with their tokens, whatever a dictionary makes of them."""

import random
import warnings

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.training import Example
from spacy.util import registry

from spacy_xner.corpus.conll import Sentence
from spacy_xner.corpus.docs import make_doc, sentence_of, without_annotation, write_docs
from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.errors import XnerError
from spacy_xner.tags import TokenSpan
from spacy_xner.vectors import switching
from spacy_xner.vectors.switching import CodeSwitcher, Replacement, create_code_switcher, replace_places

from tests import tiny

GERMAN = {
    "new york": ["neu york"],
    "the": ["die"],
    "house": ["das große haus", "heim"],
    "nokia": ["nokia ag"],
}
# Hypothesis makes many examples: a pipeline for all of them.
NLP = spacy.blank("xx")
CHINESE = {"lisbon": ["里斯本"], "the": ["这"]}


def make_switcher(dictionaries=None, sentences=1.0, words=1.0, entities=1.0, language="en", seed=0):
    return CodeSwitcher(dictionaries or {"de": GERMAN}, sentences, words, entities, language, seed)


def make_example(nlp, text="The House in New York", spans=((3, 5, "LOC"),), language="en"):
    words = text.split()
    sentence = Sentence(words, [True] * (len(words) - 1) + [False], [TokenSpan(*span) for span in spans])
    reference = make_doc(nlp.vocab, sentence, language)
    return Example(without_annotation(reference), reference)


def switch(switcher, nlp, example):
    [switched] = switcher(nlp, example)
    return switched


@pytest.fixture(scope="module")
def nlp():
    return tiny.blank()


def test_words_and_whole_entities_are_replaced(nlp):
    switched = switch(make_switcher(seed=1), nlp, make_example(nlp))
    text = switched.reference.text
    assert text in ("Die Das Große Haus in Neu York", "Die Heim in Neu York")
    assert [(ent.text, ent.label_) for ent in switched.reference.ents] == [("Neu York", "LOC")]
    assert [token.text for token in switched.predicted] == [token.text for token in switched.reference]
    assert not switched.predicted.ents
    assert switched.predicted._.language == switched.reference._.language == "en"


def test_an_entity_of_known_words_is_replaced_word_by_word_and_others_stay(nlp):
    switcher = make_switcher({"de": {"new": ["neu"], "york": ["york"], "orleans": ["x"]}}, words=0.0)
    assert switch(switcher, nlp, make_example(nlp)).reference.text == "The House in Neu York"
    example = make_example(nlp, "New Somewhere", [(0, 2, "LOC")])
    assert switch(switcher, nlp, example) is example


def test_a_translation_is_cut_as_the_pipeline_cuts_text(nlp):
    example = make_example(nlp, "LISBON won", [(0, 1, "ORG")])
    switched = switch(make_switcher({"zh": CHINESE}), nlp, example)
    assert [token.text for token in switched.reference] == ["里", "斯", "本", "won"]
    assert [(ent.start, ent.end) for ent in switched.reference.ents] == [(0, 3)]
    assert switched.reference.text == "里斯本 won"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"sentences": 0.0}, "The House in New York"), ({"words": 0.0}, "The House in Neu York"),
        ({"entities": 0.0, "words": 0.0}, "The House in New York"),
        ({"language": "fi"}, "The House in New York"),
        ({"language": None, "words": 0.0}, "The House in Neu York"),
    ],
)  # fmt: skip
def test_every_setting_counts(settings, expected, nlp):
    assert switch(make_switcher(**settings), nlp, make_example(nlp)).reference.text == expected


def test_shares_are_shares_and_seeds_repeat(nlp):
    def texts(seed, **shares):
        switcher = make_switcher(seed=seed, **shares)
        return [switch(switcher, nlp, make_example(nlp, "the", ())).reference.text for _ in range(400)]

    assert texts(0, words=0.3).count("die") == pytest.approx(120, abs=30)
    assert texts(0, sentences=0.5).count("die") == pytest.approx(200, abs=40)
    assert texts(3, words=0.3) == texts(3, words=0.3) != texts(4, words=0.3)


def test_unlabelled_and_partly_labelled_documents_stay(nlp):
    bare = make_example(nlp)
    bare = Example(bare.predicted, without_annotation(bare.reference))
    assert switch(make_switcher(), nlp, bare) is bare
    partly = make_example(nlp)
    partly.reference.set_ents([], missing=[partly.reference[0:1]], default="outside")
    assert switch(make_switcher(), nlp, partly) is partly


def test_a_tokenizer_of_the_pipeline_stays_in_force(nlp):
    example = make_example(nlp)
    predicted = nlp.make_doc(example.reference.text)
    cut = spacy.tokens.Doc(nlp.vocab, words=["The", "House in", "New", "York"])
    switched = switch(make_switcher(), nlp, Example(cut, example.reference))
    assert len(predicted) == 5
    assert switched.predicted.text == switched.reference.text
    assert [t.text for t in switched.predicted] == [t.text for t in nlp.make_doc(switched.predicted.text)]


WORDS = st.text("abC", min_size=1, max_size=3)


@st.composite
def cases(draw):
    """Sentences with entities, dictionaries with translations of several words, and shares."""
    tokens = draw(st.lists(WORDS, min_size=1, max_size=8))
    spaces = draw(st.lists(st.booleans(), min_size=len(tokens), max_size=len(tokens)))
    cuts = sorted(draw(st.sets(st.integers(0, len(tokens)), max_size=6)))
    spans = [TokenSpan(a, b, "PER") for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    translation = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)
    keys = st.sampled_from([token.lower() for token in tokens])
    entries = st.dictionaries(keys, st.lists(translation, min_size=1, max_size=2), min_size=1)
    return (
        Sentence(tokens, spaces, spans),
        {"de": draw(entries), "fi": draw(entries)},
        draw(st.integers(0, 99)),
    )


@given(case=cases())
def test_entities_stay_as_many_in_order_with_their_labels(case):
    sentence, dictionaries, seed = case
    reference = make_doc(NLP.vocab, sentence, "en")
    example = Example(without_annotation(reference), reference)
    switched = switch(make_switcher(dictionaries, seed=seed), NLP, example)
    now = sentence_of(switched.reference)
    assert [span.label for span in now.spans] == [span.label for span in sentence.spans]
    assert all(a.end <= b.start for a, b in zip(now.spans, now.spans[1:], strict=False))

    def outside(one):
        inside = {i for span in one.spans for i in range(span.start, span.end)}
        return [token for i, token in enumerate(one.tokens) if i not in inside]

    # Words without a translation are where they were, inside and outside of entities.
    unknown = [t for t in outside(sentence) if not any(t.lower() in d for d in dictionaries.values())]
    rest = iter(outside(now))
    assert all(token in rest for token in unknown)
    for before, after in zip(sentence.spans, now.spans, strict=True):
        words = sentence.tokens[before.start : before.end]
        if not any(all(word.lower() in entries for word in words) for entries in dictionaries.values()):
            assert now.tokens[after.start : after.end] == words


@given(case=cases(), seed=st.integers(0, 99))
def test_places_are_replaced_as_one_by_one(case, seed):
    """Against a slow reference: every token carries its entity's number."""
    sentence, _, _ = case
    draw = random.Random(seed)
    owner = {i: n for n, span in enumerate(sentence.spans) for i in range(span.start, span.end)}
    places = {}
    for i in range(len(sentence.tokens)):
        span = sentence.spans[owner[i]] if i in owner else None
        if span and i == span.start and draw.random() < 0.5:
            places[i] = Replacement(span.end, ["x", "y"], [True, False])
        elif not span and draw.random() < 0.5:
            places[i] = Replacement(i + 1, ["z"], [False])
    expected, i = [], 0
    while i < len(sentence.tokens):
        end, words, _ = places.get(i, Replacement(i + 1, [sentence.tokens[i]], []))
        expected += [(word, owner.get(i)) for word in words]
        i = end
    made = replace_places(sentence, places)
    now = {i: n for n, span in enumerate(made.spans) for i in range(span.start, span.end)}
    assert [(token, now.get(i)) for i, token in enumerate(made.tokens)] == expected
    assert made.spaces[-1] == sentence.spaces[-1]


def test_a_corpus_is_switched_anew_in_every_pass(nlp, tmp_path):
    (tmp_path / "en-de.txt").write_text("the\tdie\nhouse\thaus\n")
    write_docs([make_example(nlp).reference] * 8, tmp_path / "en-toy-train.spacy")
    config = {
        "@augmenters": "spacy_xner.code_switching.v1", "dictionaries": {"de": str(tmp_path / "en-de.txt")},
        "words": 0.5, "sentences": 1.0,
    }  # fmt: skip
    augmenter = registry.resolve({"augmenter": config})["augmenter"]
    reader = create_multilingual_corpus(tmp_path, split="train", augmenter=augmenter)
    passes = [[example.reference.text for example in reader(nlp)] for _ in range(2)]
    assert {text.split()[0] for text in passes[0]} == {"The", "Die"}
    assert passes[0] != passes[1]
    assert all(len(example.reference.ents) == 1 for example in reader(nlp))


def test_no_dictionary_is_an_error():
    with pytest.raises(XnerError, match="XNER154"):
        create_code_switcher({})


def test_a_dictionary_in_the_wrong_direction_is_reported(nlp, tmp_path, monkeypatch):
    monkeypatch.setattr(switching, "N_SILENT", 3)
    path = tmp_path / "en-de.txt"
    path.write_text("die\tthe\n")
    example = make_example(nlp, "the", ())
    switcher = create_code_switcher({"de": path}, words=1.0, sentences=1.0)
    assert [switch(switcher, nlp, example) is example for _ in range(2)] == [True, True]
    with pytest.warns(UserWarning, match="XNER-W154"):
        switch(switcher, nlp, example)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        switcher = create_code_switcher({"de": path}, words=1.0, sentences=1.0, reverse=True)
        assert {switch(switcher, nlp, example).reference.text for _ in range(4)} == {"die"}

"""Training triples of aligners: tables, anchors, linked sentences, dictionaries."""

import itertools
from dataclasses import replace

import numpy
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from spacy_xner.cli.app import xner
from spacy_xner.corpus.conll import Sentence
from spacy_xner.corpus.docs import read_docs
from spacy_xner.errors import XnerError
from spacy_xner.projector.aligner_corpus import TripleSettings, find_triples, make_aligner_corpus
from spacy_xner.projector.links import LinkedPair, aligned_place, link_by_dictionary, read_linked
from spacy_xner.projector.triples import (
    find_names,
    find_phrases,
    make_triple_doc,
    make_triples,
    read_anchors,
    read_table,
)
from spacy_xner.tags import TokenSpan

from tests.cli import invoke

STOP = {"the", "of", "and", "in", "she"}


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("xx")


def sentence(text, spans=()):
    tokens = text.split()
    return Sentence(tokens, [True] * (len(tokens) - 1) + [False], [TokenSpan(*s) for s in spans])


def marked(triple):
    return triple.entity, [" ".join(triple.sentence.tokens[s.start : s.end]) for s in triple.sentence.spans]


def test_tables_mark_every_occurrence_and_none(nlp, tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("Cologne\tKöln ist nicht Köln.\tKöln\nParis\tKöln liegt am Rhein.\n", encoding="utf-8")
    assert [marked(t) for t in read_table(path, nlp)] == [("Cologne", ["Köln", "Köln"]), ("Paris", [])]
    # Whole tokens, if there are any; a place that is found twice in a token is one.
    path.write_text("Rome\tRomane spielen in Rom.\tRom\nAnna\tBananana\tana\n", encoding="utf-8")
    assert [marked(t) for t in read_table(path, nlp)] == [("Rome", ["Rom"]), ("Anna", ["Bananana"])]
    # A blank column is none.
    path.write_text("Paris\tEr schlief in Rom .\t \n", encoding="utf-8")
    assert [marked(t) for t in read_table(path, nlp)] == [("Paris", [])]


@pytest.mark.parametrize("line", ["Cologne", "\tKöln liegt.\tKöln", "Cologne\tKöln liegt.\tBonn"])
def test_bad_lines_of_tables_are_named(nlp, tmp_path, line):
    path = tmp_path / "table.tsv"
    path.write_text(f"Bonn\tBonn liegt.\tBonn\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"XNER505.*line 2"):
        list(read_table(path, nlp))


def test_anchors_are_cut_out_of_the_text(nlp, tmp_path):
    path = tmp_path / "wiki.txt"
    path.write_text("[[Cologne|Köln]] liegt am [[Rhine|Rhein]].\nNichts.\n", encoding="utf-8")
    found = list(read_anchors(path, nlp))
    assert [marked(t) for t in found] == [("Cologne", ["Köln"]), ("Rhine", ["Rhein"])]
    assert found[0].sentence.tokens == ["Köln", "liegt", "am", "Rhein", "."]
    path.write_text("[[Berlin]] ist groß, und [[Berlin|die Hauptstadt]] auch.\n", encoding="utf-8")
    assert [marked(t) for t in read_anchors(path, nlp)] == [("Berlin", ["Berlin", "die Hauptstadt"])]


def test_anchors_have_negatives_of_earlier_lines(nlp, tmp_path):
    path = tmp_path / "wiki.txt"
    lines = ["[[Bonn]] und [[Cologne|Köln]], Köln.", "[[Rhine|Rhein]] und [[Bonn]]"] * 50
    path.write_text("\n".join(lines), encoding="utf-8")
    found = list(read_anchors(path, nlp, negatives=0.5))
    assert [marked(t) for t in found[:2]] == [("Bonn", ["Bonn"]), ("Cologne", ["Köln", "Köln"])]
    negative = [t for t in found if not t.sentence.spans]
    # Bonn is everywhere; the others are absent from every second line.
    assert {t.entity for t in negative} == {"Cologne", "Rhine"}
    assert not any(
        t.entity in ("Cologne", "Rhine") and t.entity[:2] in t.sentence.tokens[0] for t in negative
    )
    assert 20 < len(negative) < 100
    assert len(list(read_anchors(path, nlp, negatives=0.0))) == 200


def test_linked_sentences_are_read(tmp_path):
    path = tmp_path / "links.tsv"
    path.write_text("a b c\tx y\t0-1 2-0\n", encoding="utf-8")
    (pair,) = read_linked(path)
    assert numpy.argwhere(pair.links).tolist() == [[0, 1], [2, 0]]


@pytest.mark.parametrize("line", ["a b\tx", "a b\tx y\t0-5", "a b\tx y\t0:1"])
def test_bad_links_are_named(tmp_path, line):
    path = tmp_path / "links.tsv"
    path.write_text(f"a\tx\t0-0\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"XNER506.*line 2"):
        list(read_linked(path))


def test_dictionaries_link_what_is_unambiguous():
    dictionary = {"river": ["fluss", "strom"], "house": ["haus"]}
    source, target = (
        ["The", "river", "Rhine", "and", "house", "and", "house"],
        ["Der", "Fluss", "Rhine", "und", "Haus"],
    )
    links = link_by_dictionary(source, target, dictionary)
    # Two houses stand against one: there is a doubt.
    assert numpy.argwhere(links).tolist() == [[1, 1], [2, 2]]


@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_aligned_places_are_consistent_phrase_pairs(n_source, n_target, data):
    cells = st.lists(st.booleans(), min_size=n_source * n_target, max_size=n_source * n_target)
    links = numpy.array(data.draw(cells)).reshape(n_source, n_target)
    for place in itertools.combinations(range(n_source + 1), 2):
        found = aligned_place(links, place)
        start, end = place
        tight = links[start].any() and links[end - 1].any()
        # By brute force: the run of target tokens with the links of the phrase and no others.
        runs = [
            run
            for run in itertools.combinations(range(n_target + 1), 2)
            if tight
            and all(links[start:end, j].any() for j in range(*run))
            and not links[start:end, : run[0]].any()
            and not links[start:end, run[1] :].any()
            and not links[:start, slice(*run)].any()
            and not links[end:, slice(*run)].any()
        ]
        assert ([found] if found else []) == runs


def test_names_are_capitalised_runs():
    tokens = ["Yesterday", "the", "Council", "of", "Ministers", "met", "Ana", "in", "Bonn"]
    assert find_names(tokens, STOP) == [(2, 5), (6, 9)]
    assert find_names(["Ana", "Lima", "slept"], STOP) == [(0, 2)]


def test_phrases_are_runs_of_content_words():
    tokens = ["the", "old", "town", "of", "Bonn", ",", "very", "big", "red", "new", "houses"]
    assert find_phrases(tokens, STOP) == [(1, 3), (4, 5), (6, 9), (9, 11)]


def pairs(n):
    """Pairs whose second sentence is the first in upper case, word by word."""
    for i in range(n):
        source = sentence(f"she saw Lake{i} and old trees", [(2, 3, "LOC")])
        target = sentence(" ".join(source.tokens).upper())
        yield LinkedPair(source, target, numpy.eye(6, dtype=bool))


def test_triples_have_the_asked_shares():
    triples = list(make_triples(pairs(2000), STOP, phrases=0.4, negatives=0.25))
    negative = [t for t in triples if not t.sentence.spans]
    names = [t for t in triples if t.sentence.spans and t.entity.startswith("Lake")]
    assert len(names) == 2000
    assert len(negative) / len(triples) == pytest.approx(0.25, abs=0.02)
    assert len(names) / (len(triples) - len(negative)) == pytest.approx(0.6, abs=0.02)
    assert all(t.entity.upper() not in t.sentence.tokens for t in negative)
    for triple in triples:
        name, places = marked(triple)
        assert places in ([], [name.upper()])


def test_triples_depend_on_the_seed_alone():
    first, again, other = (list(make_triples(pairs(50), STOP, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_a_share_of_nothing_is_nothing():
    triples = list(make_triples(pairs(50), STOP, phrases=0.0, negatives=0.0))
    assert [t.entity for t in triples] == [f"Lake{i}" for i in range(50)]


def test_a_repeated_name_is_one_triple_with_all_its_places():
    source = sentence("she saw Tom and Tom slept", [(2, 3, "PER"), (4, 5, "PER")])
    target = sentence("Tom sah Tom und Tom schlief")
    links = numpy.zeros((6, 6), dtype=bool)
    links[2, 2] = links[4, 4] = True
    (triple,) = make_triples([LinkedPair(source, target, links)], STOP, phrases=0.0, negatives=0.0)
    assert [span[:2] for span in triple.sentence.spans] == [(0, 1), (2, 3), (4, 5)]


def test_phrases_are_no_part_of_names():
    source = sentence("Lake Constance the old town", [(0, 1, "LOC")])
    pair = LinkedPair(source, sentence("Bodensee und die alte Stadt"), numpy.eye(5, dtype=bool))
    triples = list(make_triples([pair] * 20, STOP, phrases=0.9, negatives=0.0))
    assert {t.entity for t in triples} == {"Lake", "old town"}


def test_unsure_links_make_no_triples():
    blurred = (pair._replace(links=numpy.ones((6, 6), dtype=bool)) for pair in pairs(5))
    assert list(make_triples(blurred, STOP)) == []


def test_documents_of_triples_hold_entity_and_marks(nlp):
    (triple, *_) = make_triples(pairs(1), STOP)
    doc = make_triple_doc(nlp, triple, "de")
    assert [ent.text for ent in doc._.source.ents] == ["Lake0"]
    assert doc._.source.text == "she saw Lake0 and old trees"
    assert [ent.text for ent in doc.ents] == ["LAKE0"]
    assert doc._.language == "de"
    alone = triple._replace(sentence=sentence("nothing here"), source=None)
    empty = make_triple_doc(nlp, alone, "de")
    assert [ent.text for ent in empty._.source.ents] == [empty._.source.text] == ["Lake0"]
    assert empty.has_annotation("ENT_IOB")


def test_a_sentence_is_on_one_side_with_all_of_its_entities(nlp, tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text(
        "".join(f"{name}\tAna und Bob in Zeile {i}.\t{name}\n" for i in range(60) for name in ("Ana", "Bob"))
    )
    settings = TripleSettings("table", path, "de", seed=1)
    corpus = make_aligner_corpus(find_triples(settings, nlp), nlp, settings, dev_share=0.3)
    train, dev = ([doc.text for doc in docs] for docs in corpus)
    assert len(train) + len(dev) == 120
    assert not set(train) & set(dev)
    assert all(train.count(text) == 2 for text in train)
    assert 20 <= len(dev) <= 52
    assert {doc._.language for docs in corpus for doc in docs} == {"de"}
    short = make_aligner_corpus(find_triples(settings, nlp), nlp, settings, dev_share=0.3, limit=40)
    assert len(short.train) + len(short.dev) == 40
    with pytest.raises(XnerError, match=r"XNER515.*120 triples for training and 0 for dev"):
        make_aligner_corpus(find_triples(settings, nlp), nlp, settings, dev_share=0.0)


def test_a_dictionary_that_is_not_given_is_asked_for(tmp_path):
    (tmp_path / "pairs.tsv").write_text("a\tb\n")
    printed = invoke(
        xner, "triples", "dictionary", tmp_path / "pairs.tsv", tmp_path, "--language", "de", code=1
    )
    assert "XNER516" in printed


def test_triples_become_two_corpora(tmp_path):
    (tmp_path / "links.tsv").write_text(
        "".join(f"She saw Bonn{i}\tSie sah Bonn{i}\t0-0 1-1 2-2\n" for i in range(40))
    )
    options = ["--language", "zh-yue", "--dev-share", 0.5, "--negatives", 0, "--phrases", 0, "--name", "mine"]
    printed = invoke(xner, "triples", "links", tmp_path / "links.tsv", tmp_path, *options)
    docs = {
        split: list(read_docs(tmp_path / f"zh_yue-mine-{split}.spacy").get_docs(spacy.blank("xx").vocab))
        for split in ("train", "dev")
    }
    assert len(docs["train"]) + len(docs["dev"]) == 40
    assert f"{len(docs['dev'])} triples, 0 of them negative" in printed
    assert all(doc.ents[0].text == doc._.source.ents[0].text == doc[-1].text for doc in docs["dev"])


def test_the_teachers_entities_take_the_place_of_capitals(nlp, tmp_path):
    teacher = spacy.blank("xx")
    teacher.add_pipe("entity_ruler").add_patterns([{"label": "ANIMAL", "pattern": "badger"}])
    teacher.to_disk(tmp_path / "teacher")
    (tmp_path / "pairs.tsv").write_text("the badger met Ana\tder Dachs traf Ana\n")
    (tmp_path / "dictionary").write_text("badger Dachs\nmet traf\nthe der\n")
    settings = TripleSettings(
        "dictionary", tmp_path / "pairs.tsv", "de", dictionary=tmp_path / "dictionary",
        teacher=str(tmp_path / "teacher"), phrases=0.0, negatives=0.0,
    )  # fmt: skip
    assert [marked(triple) for triple in find_triples(settings, nlp)] == [("badger", ["Dachs"])]
    without = replace(settings, teacher="")
    assert [marked(triple) for triple in find_triples(without, nlp)] == [("Ana", ["Ana"])]

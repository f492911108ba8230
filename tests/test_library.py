"""A library in the place of the identifier, with detectors by hand and with those that are installed."""

import sys

import numpy
import pytest
import spacy

from spacy_xner.errors import XnerError
from spacy_xner.factories import make_library_identifier
from spacy_xner.router.library import (
    LibraryIdentifier,
    create_lingua_detector,
    create_py3langid_detector,
)

from tests import tiny

GERMAN, ENGLISH, FRENCH = "Das Wetter ist heute schön", "The weather is nice today", "Il fait beau"
SCORES = {
    GERMAN: {"de": 6.0, "en": 2.0},
    ENGLISH: {"de": 0.1, "en": 0.9},
    FRENCH: {"de": 0.4, "en": 0.6, "fr": 9},
}
DETECTORS = {"py3langid": create_py3langid_detector, "lingua": create_lingua_detector}


def make(min_probability=0.0, level="doc", detector=None):
    by_hand = lambda languages: lambda texts: [SCORES.get(text, {}) for text in texts]  # noqa: E731
    nlp = spacy.blank("xx")
    pipe = make_library_identifier(
        nlp, "language_identifier", detector or by_hand, ["en", "de"], level, min_probability, None
    )
    assert isinstance(pipe, LibraryIdentifier)
    return nlp, pipe


def test_scores_of_a_library_become_probabilities_and_vectors():
    nlp, pipe = make()
    doc = pipe(nlp.make_doc(GERMAN))
    assert doc._.language == "de"
    assert doc._.language_scores == pytest.approx({"de": 0.75, "en": 0.25})
    [segment] = doc.spans["languages"]
    attrs = doc.spans["languages"].attrs
    assert (segment.label_, attrs["scores"]) == ("de", [pytest.approx(0.75)])
    assert numpy.allclose(attrs["vectors"], [[0.75, 0.25]])
    # Languages that are not told apart do not count, and where nothing is found all are alike.
    assert pipe(nlp.make_doc(FRENCH))._.language_scores == pytest.approx({"de": 0.4, "en": 0.6})
    assert pipe(nlp.make_doc("123"))._.language_scores == {"de": 0.5, "en": 0.5}


def test_a_guess_of_a_library_is_marked_as_one():
    nlp, pipe = make(min_probability=0.7)
    docs = list(pipe.pipe(map(nlp.make_doc, (GERMAN, FRENCH, "", ENGLISH))))
    assert [doc._.language for doc in docs] == ["de", None, None, "en"]
    assert docs[1].spans["languages"][0].label_ == "en"


def test_presets_are_kept_and_sentences_are_looked_at():
    nlp, pipe = make(level="sentence")
    doc = nlp.make_doc(ENGLISH)
    doc._.language = "DE"
    assert pipe(doc)._.language == "de"
    assert "languages" not in doc.spans
    with pytest.raises(XnerError, match="XNER408"):
        pipe(nlp.make_doc(ENGLISH))


def test_a_stream_loses_what_fails_alone():
    nlp, pipe = make()
    bad = nlp.make_doc(ENGLISH)
    bad._.language = "no language"
    reported = []
    pipe.set_error_handler(lambda name, proc, docs, error: reported.append((name, len(docs), str(error))))
    assert [doc.text for doc in pipe.pipe([nlp.make_doc(GERMAN), bad, nlp.make_doc(ENGLISH)])] == [
        GERMAN,
        ENGLISH,
    ]
    [(name, n_docs, text)] = reported
    assert (name, n_docs) == ("language_identifier", 1)
    assert "XNER350" in text


def test_wrong_languages_and_missing_libraries_are_named(monkeypatch):
    nlp = spacy.blank("xx")
    with pytest.raises(XnerError, match=r"XNER175.*got de"):
        make_library_identifier(nlp, "x", lambda languages: None, ["de", "de"], "doc", 0.5, None)
    monkeypatch.setitem(sys.modules, "lingua", None)
    with pytest.raises(XnerError, match=r"XNER176.*lingua-language-detector"):
        create_lingua_detector()(["de", "en"])


@pytest.mark.parametrize("name", DETECTORS)
def test_installed_libraries_tell_languages_apart(name):
    pytest.importorskip(name)
    config = {"languages": ["de", "en", "fr", "ja"], "detector": {"@misc": f"spacy_xner.{name}_detector.v1"}}
    nlp = spacy.blank("xx")
    nlp.add_pipe("library_language_identifier", name="language_identifier", config=config)
    docs = list(nlp.pipe([GERMAN, ENGLISH, "Il fait très beau aujourd'hui", "今日は天気がいいです"]))
    assert [doc._.language for doc in docs] == ["de", "en", "fr", "ja"]
    assert all(sum(doc._.language_scores.values()) == pytest.approx(1, abs=1e-4) for doc in docs)
    with pytest.raises(XnerError, match=r"XNER177.*qq"):
        DETECTORS[name]()(["de", "qq"])


def test_a_router_routes_behind_a_library(tmp_path):
    pytest.importorskip("py3langid")
    config = {"languages": ["en", "ru", "zh"]}
    nlp = tiny.blank()
    nlp.add_pipe("library_language_identifier", name="language_identifier", config=config)
    nlp.add_pipe("cluster_router")
    examples = tiny.make_examples(nlp, known_language=False)
    nlp.get_pipe("cluster_router").initialize(lambda: examples, nlp=nlp, grouping=tiny.GROUPING)
    nlp.to_disk(tmp_path)
    for pipeline in (nlp, spacy.load(tmp_path)):
        docs = list(
            pipeline.pipe(["It rained all day in the city", "Ана уехала в Москву", "联合国在东京开会"])
        )
        assert [doc._.cluster for doc in docs] == ["european", "european", "asian"]
        # Ukrainian is nearest to Russian.
        assert pipeline("Вона поїхала до столиці України")._.cluster == "european"

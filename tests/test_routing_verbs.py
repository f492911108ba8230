"""The verbs `cluster` and `assemble`, and the functions behind them."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy
import pytest
import spacy
import srsly
from spacy.training import Example
from thinc.api import fix_random_seed

from spacy_xner.cli.app import print_warnings, xner
from spacy_xner.corpus.docs import write_docs
from spacy_xner.errors import XnerError
from spacy_xner.loading import load_pipeline
from spacy_xner.router.clustering import find_grouping
from spacy_xner.router.grouping import grouping_name
from spacy_xner.router.sentences import embed_sentences, select_sentences

from tests import tiny
from tests.cli import invoke

LANGUAGES = ("en", "ru", "zh")


@pytest.fixture(scope="module")
def corpus(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny sentences as training files, a language each."""
    folder = tmp_path_factory.mktemp("corpus")
    examples = tiny.make_examples(tiny.make_nlp(checkpoint))
    for language in LANGUAGES:
        docs = [eg.reference for eg in examples if eg.reference._.language == language]
        write_docs(docs, folder / f"{language}-toy-train.spacy")
    return folder


@pytest.fixture(scope="module")
def parts(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An identifier and a tagger for each cluster, barely trained."""
    folder = tmp_path_factory.mktemp("parts")
    fix_random_seed(0)
    identifier = tiny.make_identifier(checkpoint)
    tiny.train_identifier(identifier, n_steps=2)
    identifier.to_disk(folder / "identifier")
    (folder / "taggers").mkdir()
    for cluster in tiny.GROUPING["clusters"]:
        nlp = tiny.make_nlp(checkpoint, {"clusters": [cluster]})
        tiny.train(nlp, n_steps=2)
        nlp.to_disk(folder / "taggers" / cluster)
    srsly.write_json(folder / "two.json", tiny.GROUPING)
    return folder


def test_languages_are_clustered_and_drawn(
    corpus: Path, parts: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out, figure = tmp_path / "my-groups.json", tmp_path / "figure.json"
    options: list[Any] = ["--k", 2, "--encoder", checkpoint, "--figure", figure, "--n-figure", 1]
    printed = invoke(xner, "cluster", corpus, parts / "identifier", out, *options)
    assert "languages and their purity" in printed
    found = srsly.read_json(out)
    assert found["name"] == "my_groups"
    assert sorted(chain.from_iterable(found["clusters"].values())) == list(LANGUAGES)
    assert (found["k"], found["sentences"], found["vectors"]) == (2, len(tiny.TEXTS), "identifier")
    # The vectors are those of the identifier: clustering them by hand gives the same groups.
    nlp = load_pipeline(parts / "identifier", "language_identifier")
    docs = [nlp.make_doc(text) for text in tiny.TEXTS]
    vectors = nlp.get_pipe("language_identifier").embed(docs)
    languages = [language for _, _, language in tiny.SENTENCES]
    with print_warnings():
        expected = find_grouping(vectors, languages, 2, name="x").grouping.clusters
    assert found["clusters"] == expected
    drawn = srsly.read_json(figure)
    assert sorted(drawn["languages"]) == list(LANGUAGES)
    assert {kind: numpy.shape(points) for kind, points in drawn["points"].items()} == {
        "base-max": (3, 2),
        "identifier": (3, 2),
    }


def test_the_number_of_clusters_is_chosen_and_shown(corpus: Path, parts: Path, tmp_path: Path) -> None:
    options = ["--k", 0, "--candidates", "2,3"]
    printed = invoke(xner, "cluster", corpus, parts / "identifier", tmp_path / "found.json", *options)
    assert "stability" in printed
    found = srsly.read_json(tmp_path / "found.json")
    assert set(found["stability"]) == {"2", "3"}
    assert found["k"] in (2, 3)


def test_lonely_languages_are_told_by_the_command(corpus: Path, parts: Path, tmp_path: Path) -> None:
    options = ["--k", 3, "--limit", 1]
    printed = invoke(xner, "cluster", corpus, parts / "identifier", tmp_path / "found.json", *options)
    assert "XNER-W401" in printed


@pytest.mark.parametrize("kind", ["base-first", "base-max"])
def test_vectors_of_the_untrained_encoder_are_its_pooling(kind: Any, checkpoint: Path) -> None:
    nlp = spacy.blank("xx")
    docs = [nlp.make_doc(text) for text in tiny.TEXTS]
    many = embed_sentences(docs * 60, kind, nlp, str(checkpoint))
    # 300 sentences are two batches; a sentence has the same vector in both.
    assert many.shape == (300, tiny.WIDTH)
    assert many[:5] == pytest.approx(many[-5:], abs=1e-5)
    other = embed_sentences(docs, "base-max" if kind == "base-first" else "base-first", nlp, str(checkpoint))
    assert abs(other - many[:5]).max() > 0.1


def test_sentences_without_text_or_language_cannot_vote(checkpoint: Path) -> None:
    nlp = tiny.make_nlp(checkpoint)
    docs = [nlp.make_doc(text) for text in ("Toyota", " ", "Nokia")]
    docs[0]._.language = docs[1]._.language = "en"
    examples = [Example(doc, doc) for doc in docs]
    assert select_sentences(examples) == docs[:1]
    with pytest.raises(XnerError, match="XNER423"):
        select_sentences(examples[1:])


@pytest.mark.parametrize("name", ["Found.json", "two groups.json", ".json"])
def test_a_file_name_that_is_no_grouping_name_is_refused_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(XnerError, match="XNER422"):
        grouping_name(tmp_path / name)
    printed = invoke(xner, "cluster", tmp_path, tmp_path, tmp_path / name, code=1)
    assert "XNER422" in printed


def test_candidates_are_numbers(tmp_path: Path) -> None:
    options = ["--k", 0, "--candidates", "2,three"]
    assert "three" in invoke(xner, "cluster", tmp_path, tmp_path, tmp_path / "x.json", *options, code=2)


def test_a_routed_pipeline_is_assembled_of_its_parts(corpus: Path, parts: Path, tmp_path: Path) -> None:
    arguments = [parts / "two.json", parts / "taggers", parts / "identifier", corpus]
    printed = invoke(xner, "assemble", *arguments, tmp_path / "xner", "--fallback", "asian")
    names = ["language_identifier", "cluster_router", "ner_asian", "ner_european"]
    assert ", ".join(names) in printed
    nlp = spacy.load(tmp_path / "xner")
    assert nlp.pipe_names == names
    router = nlp.get_pipe("cluster_router")
    assert sorted(router.means) == list(LANGUAGES)
    assert router.fallback == "asian"
    for text in tiny.TEXTS:
        doc = nlp(text)
        assert doc._.cluster in tiny.GROUPING["clusters"]
        tagger = spacy.load(parts / "taggers" / doc._.cluster)
        expected = [(ent.start, ent.end, ent.label_) for ent in tagger(text).ents]
        assert [(ent.start, ent.end, ent.label_) for ent in doc.ents] == expected
    printed = invoke(xner, "assemble", *arguments, tmp_path / "by-sentence", "--level", "sentence")
    assert spacy.load(tmp_path / "by-sentence").pipe_names == ["sentencizer", *names]


def test_parts_that_are_no_pipelines_are_told(corpus: Path, parts: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    printed = invoke(xner, "cluster", corpus, nowhere, tmp_path / "found.json", code=1)
    assert "XNER420" in printed
    assert "nowhere" in printed
    tagger = parts / "taggers" / "asian"
    printed = invoke(
        xner, "assemble", parts / "two.json", parts / "taggers", tagger, corpus, tmp_path / "xner", code=1
    )
    assert "XNER421" in printed
    assert "components ner" in printed
    assert not (tmp_path / "xner").exists()

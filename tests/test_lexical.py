"""Commands of paper 4: vectors and translations."""

import json
import random
import shutil
from pathlib import Path

import numpy
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.util import registry

from spacy_xner.cli.app import xner
from spacy_xner.corpus.conll import Sentence
from spacy_xner.corpus.docs import make_doc, read_docs, sentence_of, write_docs
from spacy_xner.errors import XnerError
from spacy_xner.files import write_json
from spacy_xner.logger import Watched
from spacy_xner.routes.settings import learn_from_text, reader
from spacy_xner.runs import is_done
from spacy_xner.tags import TokenSpan
from spacy_xner.training import train_curve, whole_epochs
from spacy_xner.vectors.table import read_table
from spacy_xner.vectors.translate import shuffle_sentence

from tests.cli import invoke

SENTENCES = [
    ("Maria Santos won in Lisbon .", [(0, 2, "PER"), (4, 5, "LOC")]),
    ("Nokia bought Toyota .", [(0, 1, "ORG"), (2, 3, "ORG")]),
    ("It rained all day .", []),
    ("She left Moscow in 1999 .", [(2, 3, "LOC")]),
]
VOCAB = spacy.blank("xx").vocab
DICTIONARY = (
    "won ganó\nin en\nbought compró\nit lo\nrained llovió\nall todo\nday día\nleft dejó\nmoscow moscú\n"
)


def make_corpus(folder: Path) -> Path:
    vocab = spacy.blank("xx").vocab
    for language, split in [("en", "train"), ("en", "dev"), ("en", "test"), ("es", "dev"), ("es", "test")]:
        docs = []
        for text, spans in SENTENCES * 3:
            words = text.split()
            sentence = Sentence(words, [True] * len(words), [TokenSpan(*span) for span in spans])
            docs.append(make_doc(vocab, sentence, language))
        write_docs(docs, folder / f"{language}-toy-{split}.spacy")
    return folder


def test_from_an_encoder_to_vectors_and_translations(checkpoint: Path, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    (tmp_path / "en-es.txt").write_text(DICTIONARY, encoding="utf-8")
    encoder = ("--encoder", checkpoint, "--layer", 1, "--precision=float32")
    english = corpus / "en-toy-train.spacy"
    invoke(xner, "vectors", "distil", english, "--out", tmp_path / "en.safetensors", *encoder)
    invoke(
        xner, "vectors", "distil", tmp_path / "en-es.txt", "--out", tmp_path / "es.safetensors", *encoder,
        "--dictionary", tmp_path / "en-es.txt", "--limit", 15,
    )  # fmt: skip
    table = read_table(tmp_path / "en.safetensors")
    assert table.words[0] in {".", "in"}
    assert {"maria", "num"} <= set(table.words)
    assert len(read_table(tmp_path / "es.safetensors").words) == 15
    merged = tmp_path / "merged"
    for name, tables in {"en": ["en"], "es": ["en", "es"]}.items():
        paths = [tmp_path / f"{name}.safetensors" for name in tables]
        invoke(xner, "vectors", "merge", *paths, "--out", merged / name, "--width", 8)
    assert spacy.load(merged / "es").vocab.vectors.shape[1] == 8
    shown = invoke(
        xner, "vectors", "coverage", merged / "es", english, corpus / "es-toy-test.spacy",
        "--out", tmp_path / "runs" / "unknown" / "es.json",
    )  # fmt: skip
    assert "0.0 %" in shown
    invoke(xner, "translate", "words", english, tmp_path / "en-es.txt", merged / "es", "--language", "es")
    translated = list(read_docs(corpus / "en-toy.es-train.spacy").get_docs(spacy.blank("xx").vocab))
    assert translated[3].text.strip() == "She dejó Moscú en 1999 ."
    assert [(ent.text, ent.label_) for ent in translated[3].ents] == [("Moscú", "LOC")]
    assert {doc._.language for doc in translated} == {"es"}
    for name in ("en-toy", "en-toy.es"):
        invoke(xner, "translate", "shuffle", corpus / f"{name}-train.spacy")
    assert (corpus / "en-toy.es.shuffled-train.spacy").exists()


def test_curves_are_of_the_weights_that_are_kept(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    dev = reader(corpus, "dev", ["en"], 0)
    overrides = {
        "paths.corpus": str(corpus), "paths.vectors": None, "vars.languages": ["en"], "vars.batch_size": 4,
        "vars.use_vectors": False, "vars.hidden": 8, "vars.character_width": 8, "vars.character_hidden": 8,
        "vars.use_averages": True, "vars.learn_rate": 0.03, "training.logger.watch": {"dev": dev},
        **whole_epochs(12, 3),
    }  # fmt: skip
    _, curve = train_curve(
        Path("configs/bilstm.cfg"), tmp_path / "run.json", overrides, -1, tmp_path / "kept", "model-last"
    )
    nlp = spacy.load(tmp_path / "kept")
    read = registry.resolve({"dev": dev})["dev"]
    kept = Watched(nlp, read, "xner").evaluate(nlp)["unlabelled"]["en"]
    assert kept["confidence"] > 0
    assert curve[-1]["watch"]["dev"]["unlabelled"]["en"]["confidence"] == pytest.approx(kept["confidence"])


def test_random_vectors_have_the_shape_of_mapped_ones(checkpoint: Path, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    shutil.copy(corpus / "es-toy-dev.spacy", corpus / "es-toy-train.spacy")
    tables = [tmp_path / f"{lang}.safetensors" for lang in ("en", "es")]
    for lang, table in zip(("en", "es"), tables, strict=True):
        invoke(
            xner, "vectors", "distil", corpus / f"{lang}-toy-train.spacy", "--out", table,
            "--encoder", checkpoint, "--layer", 1, "--precision=float32",
        )  # fmt: skip
    merged = tmp_path / "merged"
    invoke(xner, "vectors", "merge", *tables, "--out", merged / "es")
    invoke(xner, "vectors", "merge", *tables, "--out", merged / "es.unmapped")
    invoke(xner, "vectors", "merge", *tables, "--out", merged / "es.random", "--randomise")
    mapped, noise = (spacy.load(merged / name).vocab.vectors for name in ("es", "es.random"))
    assert mapped.shape == noise.shape
    assert not numpy.allclose(mapped.data, noise.data, atol=0.1)


def test_a_finished_run_is_known_by_its_settings_to_the_last_digit(tmp_path: Path) -> None:
    settings = {"learn_rate": 0.3, "decay": 0.7}
    write_json(tmp_path / "run.json", {"seed": 1, "settings": settings})
    assert is_done(tmp_path / "run.json", settings, seed=1)
    assert not is_done(tmp_path / "run.json", settings, seed=2)
    assert not is_done(tmp_path / "other.json", settings, seed=1)
    for changed in ({**settings, "decay": 0.6}, {"decay": 0.7}, {**settings, "floor": 0.1}):
        with pytest.raises(XnerError, match="XNER640"):
            is_done(tmp_path / "run.json", changed, seed=1)
    for content in ("", "[]", "{}"):
        (tmp_path / "other.json").write_text(content)
        with pytest.raises(XnerError, match="XNER641"):
            is_done(tmp_path / "other.json", settings, seed=1)


def test_a_language_is_learnt_from_labels_or_from_text() -> None:
    overrides = learn_from_text(["en"], ["es", "fi"], {})
    assert overrides["corpora.train.languages"] == ["en", "es", "fi"]
    assert overrides["vars.unlabelled"] == ["es", "fi"]
    with pytest.raises(XnerError, match=r"XNER642.*fi"):
        learn_from_text(["en", "fi"], ["es", "fi"], {})


def test_a_dictionary_in_the_wrong_direction_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    swapped = "".join(" ".join(line.split()[::-1]) + "\n" for line in DICTIONARY.splitlines())
    (tmp_path / "es-en.txt").write_text(swapped, encoding="utf-8")
    english = corpus / "en-toy-train.spacy"
    invoke(
        xner, "vectors", "distil", english, tmp_path / "es-en.txt", "--out", tmp_path / "all.safetensors",
        "--encoder", checkpoint, "--layer", 1, "--precision=float32",
    )  # fmt: skip
    arguments = ("translate", "words", english, tmp_path / "es-en.txt", tmp_path / "all.safetensors")
    assert "XNER605" in invoke(xner, *arguments, "--language=es", code=1)
    invoke(
        xner, "translate", "words", english, tmp_path / "es-en.txt", tmp_path / "all.safetensors",
        "--language", "es", "--reverse",
    )  # fmt: skip
    (tmp_path / "foreign.tsv").write_text("won\tvoitti\nday\tpäivä\n", encoding="utf-8")
    arguments = ("translate", "words", english, tmp_path / "foreign.tsv", tmp_path / "all.safetensors")
    assert "XNER615" in invoke(xner, *arguments, "--language=fi", code=1)


def test_tables_are_aligned_and_measured(tmp_path: Path) -> None:
    lines = [
        f"w{i} " + " ".join(str(((i + 1) * (j + 3) * 7919) % 97 - 48) for j in range(6)) for i in range(40)
    ]
    for name, prefix in (("a", "w"), ("b", "v")):
        text = "\n".join(["40 6", *(prefix + line[1:] for line in lines)]) + "\n"
        (tmp_path / f"{name}.vec").write_text(text, encoding="utf-8")
    pairs = "".join(f"w{i}\tv{i}\n" for i in range(40))
    (tmp_path / "a-b.tsv").write_text(pairs, encoding="utf-8")
    tables = (tmp_path / "a.vec", tmp_path / "b.vec", tmp_path / "a-b.tsv")
    printed = invoke(
        xner,
        "vectors",
        "align",
        *tables,
        tmp_path / "out",
        "--n-train",
        20,
        "--n-test",
        20,
        "--iterations",
        1,
    )
    assert "P@1" in printed
    measured = json.loads((tmp_path / "out" / "precision.json").read_text())
    assert measured["CSLS"]["by_neighbours"]["1"] == 1.0
    mapped = [tmp_path / "out" / f"{name}.safetensors" for name in ("source", "target")]
    assert "100.0" in invoke(xner, "vectors", "evaluate", *mapped, tables[2], "--skip", 20, "--n-test", 20)
    assert "--skip too many" in invoke(xner, "vectors", "evaluate", *mapped, tables[2])


@given(st.integers(0, 10_000), st.sampled_from(SENTENCES))
def test_shuffled_sentences_keep_words_and_whole_entities(seed: int, sentence: tuple) -> None:
    text, spans = sentence
    words = text.split()
    before = Sentence(words, [True] * len(words), [TokenSpan(*span) for span in spans])
    after = shuffle_sentence(before, random.Random(seed))

    def entities(of: Sentence) -> list[tuple[list[str], str]]:
        return sorted((of.tokens[span.start : span.end], span.label) for span in of.spans)

    assert sorted(after.tokens) == sorted(words)
    assert entities(after) == entities(before)
    doc = make_doc(VOCAB, after, "en")
    assert entities(sentence_of(doc)) == entities(before)

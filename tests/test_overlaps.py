"""Splits without a sentence in common."""

from pathlib import Path

import pytest
import spacy

from spacy_xner.attributes import register_attributes
from spacy_xner.cli.app import xner
from spacy_xner.corpus.conll import Sentence
from spacy_xner.corpus.docs import make_doc, read_docs, write_docs
from spacy_xner.corpus.overlaps import separate_splits
from spacy_xner.errors import XnerError

from tests.cli import invoke

register_attributes()
VOCAB = spacy.blank("xx").vocab


def write(folder: Path, name: str, *texts: str, spaces: bool = True) -> Path:
    """Write a corpus file. spaces: Tokens are the words of a text, with a space behind each."""
    docs = []
    for text in texts:
        tokens = text.split() if spaces else list(text)
        docs.append(make_doc(VOCAB, Sentence(tokens, [spaces] * len(tokens), []), name.split("-")[0]))
    write_docs(docs, folder / f"{name}.spacy")
    return folder


def texts_of(folder: Path) -> dict[str, list[str]]:
    """The sentences of every file, without spaces."""
    return {
        path.stem: ["".join(doc.text.split()) for doc in read_docs(path).get_docs(VOCAB)]
        for path in sorted(folder.glob("*.spacy"))
    }


def test_no_sentence_is_in_two_splits_whatever_the_corpus_or_its_tokens(tmp_path: Path) -> None:
    folder = write(tmp_path / "one", "zh-news-test", "ab cd", "ef")
    write(folder, "zh-news-train", "gh", "ij", "ef", "gh")
    other = write(tmp_path / "two", "zh-web-train", "abcd", "kl", "mn", spaces=False)
    write(other, "zh-web-dev", "k l", "e f", "op")
    rows = {row.path.name: row for row in separate_splits([folder, other], tmp_path / "out")}
    assert texts_of(tmp_path / "out") == {
        "zh-news-test": ["abcd", "ef"],
        # A sentence that a file has twice stays.
        "zh-news-train": ["gh", "ij", "gh"],
        "zh-web-dev": ["kl", "op"],
        "zh-web-train": ["mn"],
    }
    assert [rows["zh-web-train.spacy"].n_sentences, rows["zh-web-train.spacy"].n_dropped] == [1, 2]
    assert next(iter(rows)) == "zh-news-test.spacy"


def test_annotation_and_marks_stay(tmp_path: Path) -> None:
    doc = make_doc(VOCAB, Sentence(["Ana", "ran"], [True, False], []), "en")
    doc._.unannotated = ["ORG"]
    doc.ents = [doc.char_span(0, 3, "PER")]
    write_docs([doc], tmp_path / "in" / "en-x-train.spacy")
    list(separate_splits([tmp_path / "in"], tmp_path / "out"))
    [copied] = read_docs(tmp_path / "out" / "en-x-train.spacy").get_docs(VOCAB)
    assert [(ent.text, ent.label_) for ent in copied.ents] == [("Ana", "PER")]
    assert (copied._.language, list(copied._.unannotated)) == ("en", ["ORG"])


def test_a_file_of_an_earlier_corpus_does_not_stay(tmp_path: Path) -> None:
    folder, out = write(tmp_path / "in", "en-x-train", "a b"), tmp_path / "out"
    write(out, "en-old-train", "c d")
    (out / "notes.txt").write_text("mine")
    printed = invoke(xner, "separate", folder, out)
    assert "0 sentences were in an earlier split" in printed
    assert texts_of(out) == {"en-x-train": ["ab"]}
    assert (out / "notes.txt").read_text() == "mine"


def test_what_cannot_be_separated_is_a_coded_error_and_leaves_the_old_files(tmp_path: Path) -> None:
    out = write(tmp_path / "out", "en-old-train", "c d")
    folder = write(tmp_path / "in", "en-x-test", "a b")
    write(folder, "en-x-train", "ab")
    with pytest.raises(XnerError, match="XNER149"):
        list(separate_splits([folder], out))
    with pytest.raises(XnerError, match="XNER168"):
        list(separate_splits([folder, write(tmp_path / "more", "en-x-test", "q")], out))
    with pytest.raises(XnerError, match="XNER169"):
        list(separate_splits([write(tmp_path / "odd", "en-x-all", "q")], out))
    assert "XNER106" in invoke(xner, "separate", folder, out, "--more", tmp_path / "none", code=1)
    assert texts_of(out) == {"en-old-train": ["cd"]}

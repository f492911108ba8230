"""Conversion of users' files: what is refused, renamed or left as it was."""

import gzip
from functools import partial
from pathlib import Path

import pytest
import spacy

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files

import convert
from tests import cli

SENTENCE = "Maria\tB-PER\nlives\tO\n\n"
invoke = partial(cli.invoke, convert.app)
PREFIXED = "zh-yue:香\tB-LOC\nzh-yue:港\tI-LOC\n\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """{lang}/train.tsv of a language whose code has a hyphen, and of one whose has none."""
    for language in ("en", "zh-yue"):
        (tmp_path / "in" / language).mkdir(parents=True)
        content = SENTENCE if language == "en" else PREFIXED
        (tmp_path / "in" / language / "train.tsv").write_text(content, encoding="utf-8")
    return tmp_path / "in"


@pytest.mark.parametrize("options", [(), ("--languages=en,zh-yue",), ("--languages=en,zh_yue",)])
def test_a_hyphen_in_a_language_is_an_underscore_in_file_names(folder, tmp_path, options):
    invoke("tagged", folder, tmp_path / "out", "--source=x", *options)
    files = find_files(tmp_path / "out", "train", ["en", "zh_yue"])
    [doc] = read_docs(files["zh_yue"][0]).get_docs(spacy.blank("xx").vocab)
    assert (doc._.language, [token.text for token in doc]) == ("zh_yue", ["香", "港"])


def test_two_files_of_one_split_are_refused(folder, tmp_path):
    for name in ("dev.tsv", "validation.tsv"):
        (folder / "en" / name).write_text(SENTENCE, encoding="utf-8")
    printed = invoke("tagged", folder, tmp_path / "out", "--source=x", code=1)
    assert "More than one file for en/dev" in printed
    assert not (tmp_path / "out").exists()


def test_an_empty_file_leaves_what_was_converted_before(tmp_path):
    text = tmp_path / "es.txt"
    text.write_text("Ana vive en Lima.\n", encoding="utf-8")
    invoke("text", text, tmp_path / "out", "--language=es")
    written = tmp_path / "out" / "es-raw-train.spacy"
    before = written.read_bytes()
    text.write_text("\n", encoding="utf-8")
    assert "would be empty" in invoke("text", text, tmp_path / "out", "--language=es", code=1)
    assert written.read_bytes() == before


def test_packed_text_is_read(tmp_path):
    text = tmp_path / "es.txt.gz"
    text.write_bytes(gzip.compress(b"Ana vive en Lima.\n\nY Juan.\n"))
    invoke("text", text, tmp_path / "out", "--language=es-AR")
    docs = list(read_docs(tmp_path / "out" / "es_AR-raw-train.spacy").get_docs(spacy.blank("xx").vocab))
    assert {doc._.language for doc in docs} == {"es_AR"}
    assert [len(doc) for doc in docs] == [5, 3]

"""Conversion of users' files: what is refused, renamed or left as it was."""

import gzip
import lzma
from functools import partial
from pathlib import Path

import pytest
import spacy

from spacy_xner.cli.app import xner
from spacy_xner.corpus import convert as convert_module
from spacy_xner.corpus.conll import LABEL_TABLE
from spacy_xner.corpus.convert import (
    LabelRules,
    Selection,
    convert_tagged,
    convert_text,
    find_tagged_files,
    make_label_rules,
)
from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.errors import XnerError
from spacy_xner.files import hold

from tests import cli

SENTENCE = "Maria\tB-PER\nlives\tO\n\n"
invoke = partial(cli.invoke, xner, "convert")
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
    assert "XNER120" in printed
    assert "en/dev" in printed
    assert not (tmp_path / "out").exists()


def test_an_empty_file_leaves_what_was_converted_before(tmp_path):
    text = tmp_path / "es.txt"
    text.write_text("Ana vive en Lima.\n", encoding="utf-8")
    invoke("text", text, tmp_path / "out", "--language=es")
    written = tmp_path / "out" / "es-raw-train.spacy"
    before = written.read_bytes()
    text.write_text("\n", encoding="utf-8")
    assert "XNER121" in invoke("text", text, tmp_path / "out", "--language=es", code=1)
    assert written.read_bytes() == before


def test_packed_text_is_read(tmp_path):
    text = tmp_path / "es.txt.gz"
    text.write_bytes(gzip.compress(b"Ana vive en Lima.\n\nY Juan.\n"))
    invoke("text", text, tmp_path / "out", "--language=es-AR")
    docs = list(read_docs(tmp_path / "out" / "es_AR-raw-train.spacy").get_docs(spacy.blank("xx").vocab))
    assert {doc._.language for doc in docs} == {"es_AR"}
    assert [len(doc) for doc in docs] == [5, 3]


def texts(path: Path) -> list[str]:
    return [doc.text for doc in read_docs(path).get_docs(spacy.blank("xx").vocab)]


def test_label_rules_follow_the_options():
    assert make_label_rules() == LabelRules(LABEL_TABLE, "error")
    assert make_label_rules(["GPE=PLACE", "PER="]).table == {**LABEL_TABLE, "GPE": "PLACE", "PER": ""}
    assert make_label_rules(["A=B"], keep=True, misc=False) == LabelRules({"A": "B", "MISC": ""}, "keep")
    assert {new for old, new in make_label_rules(misc=False).table.items() if old in ("MISC", "PRO")} == {""}


@pytest.mark.parametrize("pair", ["LOC", "=LOC", ""])
def test_a_label_option_without_a_new_name_is_a_coded_error(folder, tmp_path, pair):
    assert "XNER118" in invoke("tagged", folder, tmp_path / "out", f"--label={pair}", code=1)
    assert not (tmp_path / "out").exists()


def test_an_unknown_label_is_named_with_its_place(folder, tmp_path):
    (folder / "en" / "train.tsv").write_text(SENTENCE + "The\tO\nlaw\tB-LAW\n", encoding="utf-8")
    printed = invoke("tagged", folder, tmp_path / "out", code=1)
    assert "XNER107" in printed
    assert "line 4" in printed


@pytest.mark.parametrize("option", ["--limit=-1", "--dev-size=-2"])
def test_negative_numbers_are_coded_errors(folder, tmp_path, option):
    assert "XNER122" in invoke("tagged", folder, tmp_path / "out", option, code=1)
    assert not (tmp_path / "out").exists()


def test_missing_languages_are_named(folder):
    with pytest.raises(XnerError, match="XNER119") as error:
        find_tagged_files(folder, ["en", "xh"])
    assert "xh in" in str(error.value)
    with pytest.raises(XnerError, match="XNER119"):
        find_tagged_files(folder / "en")


def test_files_packed_by_xz_are_found(folder, tmp_path):
    packed = lzma.compress((folder / "en" / "train.tsv").read_bytes())
    (folder / "en" / "train.tsv").unlink()
    (folder / "en" / "train.tsv.xz").write_bytes(packed)
    invoke("tagged", folder, tmp_path / "out", "--source=x", "--languages=en")
    assert texts(tmp_path / "out" / "en-x-train.spacy") == ["Maria lives"]


def test_old_line_ends_keep_all_tokens(tmp_path):
    text = tmp_path / "es.txt"
    text.write_bytes(b"Ana vive en Lima.\rY Juan.\r")
    invoke("text", text, tmp_path / "out", "--language=es")
    assert texts(tmp_path / "out" / "es-raw-train.spacy") == ["Ana vive en Lima.", "Y Juan."]


@pytest.mark.parametrize("size", [0, 1, 3, 9])
def test_the_last_dev_sentences_stay_dev(folder, tmp_path, size):
    path = folder / "en" / "train.tsv"
    path.with_name("dev.tsv").write_text("".join(f"w{i}\tO\n\n" for i in range(10)), encoding="utf-8")
    path.unlink()
    written = convert_tagged(
        folder, tmp_path, "x", make_label_rules(), Selection(languages=["en"], dev_size=size)
    )
    files = {item.path.stem: texts(item.path) for item in written}
    assert files.pop("en-x-dev") == [f"w{i}" for i in range(10)][-size:]
    assert files == ({"en-x-train": [f"w{i}" for i in range(10)][:-size]} if size else {})


def test_a_corpus_of_many_zones_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(convert_module, "ZONE", 3)
    lines = [f"Ana vive en Lima{i}." for i in range(10)]
    (tmp_path / "es.txt").write_text("\n".join(lines), encoding="utf-8")
    written = convert_text(tmp_path / "es.txt", tmp_path / "out", "es")
    assert written.counts["sentences"] == 10
    assert texts(written.path) == lines


def test_the_vocabulary_does_not_grow_with_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(convert_module, "ZONE", 5)
    nlp = convert_module.blank_pipeline()
    monkeypatch.setattr(convert_module, "blank_pipeline", lambda: nlp)
    before = len(nlp.vocab.strings)
    sizes = []

    def watch(docs, name):
        for doc in docs:
            sizes.append(len(nlp.vocab.strings))
            yield doc

    (tmp_path / "es.txt").write_text("".join(f"Lima{i} a{i}\n" for i in range(200)), encoding="utf-8")
    convert_text(tmp_path / "es.txt", tmp_path / "out", "es", watch=watch)
    assert len(sizes) == 200
    # At most five sentences of two new words with their norms and shapes are held.
    assert max(sizes) < before + 60


def test_two_conversions_into_one_folder_are_not_mixed(folder, tmp_path):
    text = tmp_path / "es.txt"
    text.write_text("Ana vive en Lima.\n", encoding="utf-8")
    with hold(tmp_path / "out"):
        assert "XNER702" in invoke("tagged", folder, tmp_path / "out", code=1)
        assert "XNER702" in invoke("text", text, tmp_path / "out", "--language=es", code=1)
    assert not (tmp_path / "out").exists()


def test_chosen_splits_are_converted_alone(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        path = tmp_path / "in" / "en" / f"{split}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SENTENCE, encoding="utf-8")
    invoke("tagged", tmp_path / "in", tmp_path / "out", "--source", "x", "--splits", "dev,test")
    assert {path.stem for path in (tmp_path / "out").glob("*.spacy")} == {"en-x-dev", "en-x-test"}
    output = invoke("tagged", tmp_path / "in", tmp_path / "out", "--splits", "tests", code=1)
    assert "XNER170" in output

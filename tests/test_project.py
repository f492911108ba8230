"""Parallel text in, a silver corpus and its audit out."""

import gzip

import pytest
import spacy
import srsly
import typer
from typer.testing import CliRunner

from spacy_xner.corpus import read_docs
from spacy_xner.projector.parallel import TextPair, read_pairs

import project
from tests import tiny

TEXTS = [text for text, _, _ in tiny.SENTENCES]


def test_two_files_are_read_line_by_line(tmp_path):
    (tmp_path / "a").write_text("one\r\n\nthree\n")
    (tmp_path / "b").write_text("eins\nzwei\ndrei\n")
    pairs = list(read_pairs(tmp_path / "a", tmp_path / "b"))
    assert pairs == [TextPair(1, "one", "eins"), TextPair(2, "", "zwei"), TextPair(3, "three", "drei")]
    assert [pair.is_whole for pair in pairs] == [True, False, True]


def test_pairs_with_tabs_are_read_from_gzip(tmp_path):
    with gzip.open(tmp_path / "pairs.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("one\teins\tCC-BY\n\n  \tzwei\n")
    pairs = list(read_pairs(tmp_path / "pairs.tsv.gz"))
    assert pairs[0] == TextPair(1, "one", "eins")
    assert [pair.is_whole for pair in pairs] == [True, False, False]


@pytest.mark.parametrize("longer", ["a", "b"])
def test_files_of_different_lengths_are_an_error(tmp_path, longer):
    for name in "ab":
        (tmp_path / name).write_text("x\n" * (3 if name == longer else 2))
    with pytest.raises(ValueError, match=rf"XNER502.*{longer} goes on after the 2 lines"):
        list(read_pairs(tmp_path / "a", tmp_path / "b"))


def test_a_line_without_a_tab_is_an_error(tmp_path):
    (tmp_path / "pairs.tsv").write_text("one\teins\ntwo\n")
    with pytest.raises(ValueError, match=r"XNER503.*line 2.*two"):
        list(read_pairs(tmp_path / "pairs.tsv"))


@pytest.fixture
def job(trained, checkpoint, tmp_path):
    """A teacher and two parallel files, the same text on both sides but for one pair and a missing side."""
    trained.to_disk(tmp_path / "teacher")
    (tmp_path / "source").write_text("\n".join([*TEXTS, "Nokia won", ""]) + "\n", encoding="utf-8")
    (tmp_path / "target").write_text("\n".join([*TEXTS, "", "x"]) + "\n", encoding="utf-8")
    app = typer.Typer()
    app.command()(project.main)

    def run(*options):
        arguments = [
            tmp_path / "teacher", tmp_path / "source", tmp_path / "out", "--target", tmp_path / "target",
            "--language", "xx", "--encoder", checkpoint, "--layer", 2, "--part-size", 2,
            "--no-mixed-precision", *options,
        ]  # fmt: skip
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run, tmp_path / "out"


def test_entities_are_projected_to_a_corpus_with_an_audit(job):
    run, out = job
    result = run()
    assert result.exit_code == 0, result.output
    docs = list(read_docs(out / "xx-silver-train.spacy").get_docs(spacy.blank("xx").vocab))
    assert [doc.text for doc in docs] == TEXTS
    found = [[(e.start_char, e.end_char, e.label_) for e in doc.ents] for doc in docs]
    assert found == [entities for _, entities, _ in tiny.SENTENCES]
    assert {doc._.language for doc in docs} == {"xx"}
    assert all(doc._.source is None for doc in docs)
    summary = srsly.read_json(out / "xx-silver.json")
    assert summary["missing"] == [6, 7]
    counts = summary["counts"]
    assert (counts["pairs"], counts["sentences kept"], counts["sentences kept without entities"]) == (7, 5, 1)
    assert counts["entities: projected"] == 8
    assert counts["label PER"] == 2
    page = (out / "xx-silver.html").read_text()
    assert "Maria Santos" in page
    assert "1 PER" in page
    assert "lines 6, 7" in result.output
    assert not list(out.glob("*.parts"))


def test_rejected_sentences_are_counted_by_reason(job):
    run, out = job
    result = run("--min-probability", 1.0, "--suppress", "LOC")
    assert result.exit_code == 0, result.output
    docs = list(read_docs(out / "xx-silver-train.spacy").get_docs(spacy.blank("xx").vocab))
    assert [doc.text for doc in docs] == [TEXTS[-1]]
    counts = srsly.read_json(out / "xx-silver.json")["counts"]
    assert counts["entities: below the least probability"] == 5
    assert counts["entities: suppressed"] == 3
    assert counts["sentences rejected"] == 4


def test_a_stopped_run_goes_on_behind_its_last_part(job, monkeypatch):
    run, out = job
    whole = project.save_part
    saved = []

    def stop_at_the_third(path, *rest):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(path.name)
        whole(path, *rest)

    monkeypatch.setattr(project, "save_part", stop_at_the_third)
    assert run().exit_code != 0
    assert not (out / "xx-silver-train.spacy").exists()
    assert "other settings" in run("--back-projection").output
    monkeypatch.setattr(
        project, "save_part", lambda path, *rest: saved.append(path.name) or whole(path, *rest)
    )
    result = run()
    assert result.exit_code == 0, result.output
    assert saved == ["00000.json", "00001.json", "00002.json", "00003.json"]
    assert len(read_docs(out / "xx-silver-train.spacy")) == 5

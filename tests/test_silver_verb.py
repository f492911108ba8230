"""Parallel text in, a silver corpus and its audit out."""

import gzip
import os
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest
import spacy
import srsly

from spacy_xner.cli.app import xner
from spacy_xner.corpus.docs import read_docs, write_docs
from spacy_xner.corpus.origins import UNKNOWN, taught_by
from spacy_xner.deploy.evidence import Evidence, describe_pipeline
from spacy_xner.errors import XnerError
from spacy_xner.files import remove_folder
from spacy_xner.projector import parts
from spacy_xner.projector.parallel import ParallelText, TextPair, check_lengths, read_pairs, read_shard
from spacy_xner.projector.parts import limit_empty, make_projector
from spacy_xner.projector.settings import AlignerSettings, SilverSettings
from spacy_xner.projector.silver import Outputs, check_sides
from spacy_xner.projector.summary import SilverCounts, Summary

from tests import tiny
from tests.cli import invoke

TEXTS = tiny.TEXTS


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


def test_lengths_are_compared_also_of_one_file_with_itself(tmp_path):
    for name, n_lines in (("a", 2), ("b", 3)):
        (tmp_path / name).write_text("x\n" * n_lines)
    check_lengths(tmp_path / "a", tmp_path / "a")
    with pytest.raises(ValueError, match=r"XNER502.*b goes on after the 2 lines"):
        check_lengths(tmp_path / "b", tmp_path / "a")


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

    def run(*options, source=None, code=0):
        files = [source] if source else [tmp_path / "source", "--target", tmp_path / "target"]
        arguments = [
            "silver", tmp_path / "teacher", *files[:1], tmp_path / "out", *files[1:], "--language", "xx",
            "--encoder", checkpoint, "--layer", 2, "--part-size", 2, "--precision=float32", *options,
        ]  # fmt: skip
        return invoke(xner, *arguments, code=code)

    return run, tmp_path / "out"


def test_entities_are_projected_to_a_corpus_with_an_audit(job):
    run, out = job
    printed = run()
    docs = list(read_docs(out / "xx-silver-train.spacy").get_docs(spacy.blank("xx").vocab))
    assert [doc.text for doc in docs] == TEXTS
    found = [[(e.start_char, e.end_char, e.label_) for e in doc.ents] for doc in docs]
    assert found == [entities for _, entities, _ in tiny.SENTENCES]
    assert {doc._.language for doc in docs} == {"xx"}
    assert all(doc._.source is None for doc in docs)
    summary = srsly.read_json(out / "xx-silver.json")
    assert summary["missing"] == [6, 7]
    counts = summary["counts"]
    assert counts == {
        "pairs": 7,
        "incomplete_pairs": 2,
        "kept": 5,
        "kept_without_entities": 1,
        "left_out": 0,
        "rejected": 0,
        "fates": {"projected": 8},
        "labels": {"PER": 2, "LOC": 3, "ORG": 3},
    }
    assert (summary["source_language"], summary["language"]) == ("en", "xx")
    page = (out / "xx-silver.html").read_text()
    assert "Maria Santos" in page
    assert "1 PER" in page
    assert "lines 6, 7" in printed
    assert "entities of the source: projected 8" in printed
    assert not list(out.glob("*.parts"))


def test_silver_sentences_carry_what_their_teacher_learnt_from(job, toy_model, tmp_path):
    """A pipeline that learnt from a tagger of a corpus that is not free is not free."""
    run, out = job
    run()
    # The teacher was trained by hand, and nobody knows on what.
    assert taught_by(read_docs(out / "xx-silver-train.spacy")) == {UNKNOWN}
    teacher = spacy.load(tmp_path / "teacher")
    corpus = tmp_path / "corpus"
    for source in ("uner_ewt", "conll"):
        docs = [example.reference for example in tiny.make_examples(teacher)]
        write_docs(docs, corpus / f"en-{source}-{'train' if source == 'uner_ewt' else 'dev'}.spacy")
    # By its config, and then by the metadata of its package.
    teacher.config["corpora"]["train"] = {
        "@readers": "spacy_xner.MultilingualCorpus.v1", "path": str(corpus), "languages": ["en"]
    }  # fmt: skip
    teacher.to_disk(tmp_path / "teacher")
    for _ in range(2):
        shutil.rmtree(out)
        run("--name", "ntrex")
        assert taught_by(read_docs(out / "xx-ntrex-train.spacy")) == {"uner_ewt", "conll"}
        with pytest.raises(XnerError, match=r"XNER731.*conll"):
            describe_pipeline(toy_model / "model-best", Evidence(corpus=out, free=True))
        meta = describe_pipeline(tmp_path / "teacher", Evidence())
        shutil.rmtree(corpus, ignore_errors=True)
        srsly.write_json(tmp_path / "teacher" / "meta.json", meta)


def test_rejected_sentences_are_counted_by_reason(job):
    run, out = job
    run("--min-probability", 1.0, "--suppress", "LOC")
    docs = list(read_docs(out / "xx-silver-train.spacy").get_docs(spacy.blank("xx").vocab))
    assert [doc.text for doc in docs] == [TEXTS[-1]]
    counts = srsly.read_json(out / "xx-silver.json")["counts"]
    assert counts["fates"] == {"improbable": 5, "suppressed": 3}
    assert counts["rejected"] == 4


def test_a_stopped_run_goes_on_behind_its_last_part(job, monkeypatch):
    run, out = job
    whole = parts.project_part
    projected = []

    def stop_at_the_third(pairs, *rest):
        if len(projected) == 2:
            raise KeyboardInterrupt
        docs, summary = whole(pairs, *rest)
        projected.append(summary.counts.pairs)
        return docs, summary

    monkeypatch.setattr(parts, "project_part", stop_at_the_third)
    run(code=130)
    assert not (out / "xx-silver-train.spacy").exists()
    printed = run("--back-projection", code=1)
    assert "XNER511" in printed
    assert "aligner.back_projection" in printed
    monkeypatch.setattr(
        parts, "project_part", lambda pairs, *rest: projected.append("anew") or whole(pairs, *rest)
    )
    printed = run()
    assert projected == [2, 2, "anew", "anew"]
    assert "Part 00001: done before" in printed
    counts = srsly.read_json(out / "xx-silver.json")["counts"]
    assert counts["pairs"] == 7
    assert len(read_docs(out / "xx-silver-train.spacy")) == 5


def test_nothing_kept_is_shown_on_the_audit_page(job):
    run, out = job
    printed = run("--min-probability", 1.0, "--empty-share", 0.0, code=1)
    assert "XNER513" in printed
    assert "below the least probability 8" in printed
    assert "below the least probability" in (out / "xx-silver.html").read_text()
    assert not (out / "xx-silver-train.spacy").exists()


def test_sentences_without_entities_keep_to_their_share(job):
    run, out = job
    run("--empty-share", 0.0)
    docs = list(read_docs(out / "xx-silver-train.spacy").get_docs(spacy.blank("xx").vocab))
    assert [doc.text for doc in docs] == TEXTS[:4]
    counts = srsly.read_json(out / "xx-silver.json")["counts"]
    assert (counts["kept"], counts["kept_without_entities"], counts["left_out"]) == (4, 0, 1)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 1), (0.5, 3), (0.6, 4), (1.0, 9)])
def test_the_share_of_empty_sentences_is_of_all(share, expected):
    nlp = spacy.blank("xx")
    full, empty = nlp.make_doc("Nokia"), nlp.make_doc("rain")
    full.ents = [full.char_span(0, 5, "ORG")]
    docs = [empty, full, empty, empty, full, *[empty] * 6, full]
    kept = list(limit_empty(docs, 3, share))
    assert (kept.count(empty), kept.count(full)) == (expected, 3)


def write_shards(folder):
    folder.mkdir()
    pairs = [*zip(TEXTS, TEXTS, strict=True), ("Nokia won", None)]
    for i in range(0, len(pairs), 2):
        lines = [{"source": source, "target": target} for source, target in pairs[i : i + 2]]
        srsly.write_jsonl(folder / f"{i:03}.jsonl", lines)
    return folder


def results(out):
    docs = read_docs(out / "xx-silver-train.spacy").get_docs(spacy.blank("xx").vocab)
    found = [(doc.text, [(e.start_char, e.end_char, e.label_) for e in doc.ents]) for doc in docs]
    return found, srsly.read_json(out / "xx-silver.json")


def test_shards_give_what_files_give(job, tmp_path):
    run, out = job
    run()
    found, summary = results(out)
    shards = write_shards(tmp_path / "shards")
    run(source=shards)
    of_shards, of_summary = results(out)
    assert of_shards == found
    assert of_summary["missing"] == ["004.jsonl:2"]
    assert of_summary["counts"]["pairs"] == 6
    assert of_summary["examples"]["kept"] == [
        {**row, "line": (row["line"] + 1) % 2 + 1} for row in summary["examples"]["kept"]
    ]


def test_parquet_shards_are_read(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `ray`")
    import pyarrow

    path = tmp_path / "0.parquet"
    parquet.write_table(pyarrow.table({"target": ["eins", None], "source": ["one", "two"]}), path)
    assert list(read_shard(path)) == [TextPair(1, "one", "eins"), TextPair(2, "two", "")]


@pytest.mark.parametrize(
    "line",
    [
        "[1]",
        "one",
        '{"source": "one"',
        '{"source": 5, "target": "x"}',
        '{"en": "one", "de": "eins"}',
        r'{"source": "half of an emoji \ud83d", "target": "x"}',
    ],
)
def test_lines_of_shards_that_are_no_objects_are_named(tmp_path, line):
    path = tmp_path / "0.jsonl"
    path.write_text(f'{{"source": "one"}}\n\n{line}\n')
    with pytest.raises(ValueError, match=r"XNER507.*line 3"):
        list(read_shard(path))


def test_ray_gives_the_same_as_one_process(job, tmp_path):
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    run, out = job
    shards = write_shards(tmp_path / "shards")
    run(source=shards)
    expected = results(out)
    shutil.rmtree(out)
    try:
        run("--engine", "ray", source=shards)
    finally:
        ray.shutdown()
    assert results(out) == expected


def test_ray_wants_shards(job):
    run, _ = job
    assert "XNER509" in run("--engine", "ray", code=1)


def test_swapped_sides_are_warned_of(checkpoint):
    nlp = tiny.make_identifier(checkpoint)
    tiny.train_identifier(nlp)
    english, russian = TEXTS[0], TEXTS[2]
    pairs = [TextPair(1, english, russian), TextPair(2, TEXTS[1], russian)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_sides(pairs, nlp, "en", "ru")
        # Nobody can say anything of a language that the identifier does not know.
        check_sides(pairs, nlp, "yo", "sw")
    swapped = [pair._replace(source=pair.target, target=pair.source) for pair in pairs]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_sides(swapped, nlp, "en", "ru")
    source, target = (str(warning.message) for warning in caught)
    assert "XNER-W501" in source
    assert "source side should be in 'en', but of 2 lines the identifier finds 2 ru" in source
    assert "target side should be in 'ru', but of 2 lines the identifier finds 2 en" in target


def test_a_trained_aligner_takes_the_place_of_the_encoder(job, checkpoint, tmp_path):
    run, out = job
    nlp = tiny.make_aligner(checkpoint, threshold=0.0)
    nlp.initialize()
    nlp.to_disk(tmp_path / "aligner")
    # An aligner that takes every token for a part of everything: single entities are all of their sentences.
    run("--aligner", tmp_path / "aligner")
    counts = srsly.read_json(out / "xx-silver.json")["counts"]
    assert counts["fates"] == {"overlap": 8}


def test_a_trained_aligner_keeps_its_settings_unless_told(checkpoint, tmp_path):
    saved = {"min_probability": 0.4, "suppressed": ["LOC"], "back_projection": True, "keep_incomplete": True}
    nlp = tiny.make_projector(checkpoint, saved)
    nlp.to_disk(tmp_path)
    for changes, expected in (
        ({}, (0.4, ["LOC"], True)),
        ({"suppressed": (), "min_probability": 0.0, "back_projection": False}, (0.0, [], False)),
    ):
        pipe = make_projector(AlignerSettings(str(tmp_path), **changes)).get_pipe("entity_projector")
        assert (pipe.min_probability, pipe.suppressed, pipe.back_projection) == expected
        # A sentence that lost an entity would teach that there is none.
        assert not pipe.keep_incomplete


def test_what_cannot_be_projected_is_said_before_any_model_is_loaded(job, tmp_path, monkeypatch):
    run, out = job
    monkeypatch.setattr(parts, "load_pipeline", None)
    (tmp_path / "empty").mkdir()
    for arguments, source, code in (
        ([], tmp_path / "empty", "XNER509"),
        ([], tmp_path / "nowhere", "XNER509"),
        (["--target", tmp_path / "target"], write_shards(tmp_path / "shards"), "XNER509"),
    ):
        assert code in run(*arguments, source=source, code=1)
    with (tmp_path / "target").open("a", encoding="utf-8") as file:
        file.write("one more\n")
    assert "XNER502" in run(code=1)
    assert not out.exists()


def test_a_teacher_that_is_trained_anew_is_another_one(job, tmp_path):
    text = ParallelText(tmp_path / "source")
    settings = SilverSettings(str(tmp_path / "teacher"), text, "xx")
    before = settings.describe()
    assert settings.describe() == before
    meta = tmp_path / "teacher" / "meta.json"
    meta.write_text(meta.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert settings.describe()["teacher"] != before["teacher"]
    # The name of an installed pipeline stays as it is.
    assert SilverSettings("xx_teacher", text, "xx").describe()["teacher"] == ["xx_teacher"]


HOLDER = """
import sys
from pathlib import Path
from spacy_xner.files import hold

with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_at_once_and_a_dead_one_holds_nothing(job):
    run, out = job
    run()
    whole = (out / "xx-silver-train.spacy").read_bytes()
    parts_folder = Outputs(out, "xx", "silver").parts
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, parts_folder],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."},
    ) as other:  # fmt: skip
        assert other.stdout.readline() == "held\n"
        printed = run(code=1)
        assert "XNER702" in printed
        assert (out / "xx-silver-train.spacy").read_bytes() == whole
        # Another corpus in the same folder is another work.
        run("--name", "talk")
        other.kill()
    run()
    assert (out / "xx-silver-train.spacy").read_bytes() == whole


def test_a_corpus_is_never_overwritten_by_some_of_its_parts(job, monkeypatch):
    run, out = job
    run()
    whole = (out / "xx-silver-train.spacy").read_bytes()
    project_part = parts.project_part
    n_parts = []

    def lose_what_was_done(pairs, *rest):
        n_parts.append(1)
        if len(n_parts) == 3:
            # As a process does that ends its own work on the same folder.
            remove_folder(Outputs(out, "xx", "silver").parts)
        return project_part(pairs, *rest)

    monkeypatch.setattr(parts, "project_part", lose_what_was_done)
    printed = run(code=1)
    assert "XNER512" in printed
    assert "00000" in printed
    assert (out / "xx-silver-train.spacy").read_bytes() == whole
    monkeypatch.setattr(parts, "project_part", project_part)
    run()
    assert (out / "xx-silver-train.spacy").read_bytes() == whole


def change_the_text(folder):
    for side in ("source", "target"):
        (folder / side).write_text(f"{TEXTS[1]}\n{TEXTS[0]}\n", encoding="utf-8")
    return [TEXTS[1], TEXTS[0]]


def test_a_run_that_dies_while_it_removes_its_parts_leaves_nothing_for_other_text(job, monkeypatch, tmp_path):
    run, out = job

    def die_after_the_plan(path, **options):
        for plan in Path(path).glob("plan.json"):
            plan.unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr("spacy_xner.files.shutil.rmtree", die_after_the_plan)
    run(code=130)
    monkeypatch.undo()
    expected = change_the_text(tmp_path)
    run()
    docs = read_docs(out / "xx-silver-train.spacy").get_docs(spacy.blank("xx").vocab)
    assert [doc.text for doc in docs] == expected
    assert {path.name for path in out.iterdir() if path.is_dir()} == set()


def test_parts_of_other_settings_are_not_taken_though_nobody_says_so(job, monkeypatch, tmp_path):
    run, out = job
    monkeypatch.setattr("spacy_xner.projector.silver.merge_parts", None)
    with pytest.raises(AssertionError, match="NoneType"):
        run()
    monkeypatch.undo()
    folder = out / "xx-silver.parts"
    assert len(list(folder.glob("part.*.spacy"))) == 3
    (folder / "plan.json").unlink()
    expected = change_the_text(tmp_path)
    run()
    docs = read_docs(out / "xx-silver-train.spacy").get_docs(spacy.blank("xx").vocab)
    assert [doc.text for doc in docs] == expected


def test_a_damaged_plan_is_told(job):
    run, out = job
    (out / "xx-silver.parts").mkdir(parents=True)
    (out / "xx-silver.parts" / "plan.json").write_text("{")
    assert "XNER511" in run(code=1)


def test_a_package_that_is_missing_is_named(job, tmp_path, monkeypatch):
    run, _ = job
    shards = write_shards(tmp_path / "shards")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "XNER715" in run("--engine", "ray", source=shards, code=1)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(XnerError, match="XNER514"):
        list(read_shard(tmp_path / "0.parquet"))


def test_summaries_survive_json_and_add_up():
    first = Summary(SilverCounts(3, 1, 2, 1, labels=Counter(PER=1)), {"kept": [{"line": 1}]}, [2])
    second = Summary(
        SilverCounts(4, rejected=4, fates=Counter(no_place=4)), {"kept": [{"line": 5}], "no_place": []}, [1]
    )
    total = Summary()
    total.add(first, 1)
    total.add(second, 1, "a.jsonl")
    assert Summary.from_json(srsly.json_loads(srsly.json_dumps(total.to_json()))) == total
    expected = SilverCounts(7, 1, 2, 1, 0, 4, Counter(no_place=4), Counter(PER=1))
    assert total == Summary(expected, {"kept": [{"line": 1}], "no_place": []}, [2, "a.jsonl:1"])
    assert ("entities of the source: no place in the target", 4) in expected.rows()

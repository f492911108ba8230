"""Parallel text in, a silver corpus and its audit out."""

import gzip
import shutil
import warnings

import pytest
import spacy
import srsly
import typer
from typer.testing import CliRunner

from spacy_xner.corpus.docs import read_docs
from spacy_xner.projector.parallel import TextPair, check_lengths, read_pairs, read_shard

import project
from tests import tiny

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
    app = typer.Typer()
    app.command()(project.main)

    def run(*options, source=None):
        files = [source] if source else [tmp_path / "source", "--target", tmp_path / "target"]
        arguments = [
            tmp_path / "teacher", *files[:1], tmp_path / "out", *files[1:], "--language", "xx",
            "--encoder", checkpoint, "--layer", 2, "--part-size", 2, "--no-mixed-precision", *options,
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
    counts = srsly.read_json(out / "xx-silver.json")["counts"]
    assert counts["pairs"] == 7
    assert len(read_docs(out / "xx-silver-train.spacy")) == 5


def test_nothing_kept_is_shown_on_the_audit_page(job):
    run, out = job
    result = run("--min-probability", 1.0, "--empty-share", 0.0)
    assert result.exit_code == 1
    assert "shows why" in result.output
    assert "below the least probability" in (out / "xx-silver.html").read_text()
    assert not (out / "xx-silver-train.spacy").exists()


def test_sentences_without_entities_keep_to_their_share(job):
    run, out = job
    result = run("--empty-share", 0.0)
    assert result.exit_code == 0, result.output
    docs = list(read_docs(out / "xx-silver-train.spacy").get_docs(spacy.blank("xx").vocab))
    assert [doc.text for doc in docs] == TEXTS[:4]
    counts = srsly.read_json(out / "xx-silver.json")["counts"]
    assert (counts["sentences kept"], counts["sentences without entities left out"]) == (4, 1)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 1), (0.5, 3), (0.6, 4), (1.0, 9)])
def test_the_share_of_empty_sentences_is_of_all(share, expected):
    nlp = spacy.blank("xx")
    full, empty = nlp.make_doc("Nokia"), nlp.make_doc("rain")
    full.ents = [full.char_span(0, 5, "ORG")]
    docs = [empty, full, empty, empty, full, *[empty] * 6, full]
    kept = list(project.limit_empty(docs, 3, share))
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
    assert run().exit_code == 0
    found, summary = results(out)
    shards = write_shards(tmp_path / "shards")
    result = run(source=shards)
    assert result.exit_code == 0, result.output
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
    assert run(source=shards).exit_code == 0
    expected = results(out)
    shutil.rmtree(out)
    try:
        result = run("--engine", "ray", source=shards)
    finally:
        ray.shutdown()
    assert result.exit_code == 0, result.output
    assert results(out) == expected


def test_ray_wants_shards(job):
    run, _ = job
    result = run("--engine", "ray")
    assert result.exit_code == 2
    assert "folder of shards" in result.output


def test_swapped_sides_are_warned_of(checkpoint):
    nlp = tiny.make_identifier(checkpoint)
    tiny.train_identifier(nlp)
    english, russian = TEXTS[0], TEXTS[2]
    pairs = [TextPair(1, english, russian), TextPair(2, TEXTS[1], russian)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        project.check_sides(pairs, nlp, "en", "ru")
        # Nobody can say anything of a language that the identifier does not know.
        project.check_sides(pairs, nlp, "yo", "sw")
    swapped = [pair._replace(source=pair.target, target=pair.source) for pair in pairs]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        project.check_sides(swapped, nlp, "en", "ru")
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
    result = run("--aligner", tmp_path / "aligner")
    assert result.exit_code == 0, result.exception
    counts = srsly.read_json(out / "xx-silver.json")["counts"]
    assert counts["entities: overlaps another entity's place"] == 8, result.output


def test_a_trained_aligner_keeps_its_settings_unless_told(checkpoint, tmp_path):
    saved = {"min_probability": 0.4, "suppressed": ["LOC"], "back_projection": True, "keep_incomplete": True}
    nlp = tiny.make_projector(checkpoint, saved)
    nlp.to_disk(tmp_path)
    settings = {
        "aligner": [str(tmp_path)],
        "suppress": None,
        "min_probability": None,
        "back_projection": None,
    }
    for changes, expected in (
        ({}, (0.4, ["LOC"], True)),
        ({"suppress": "", "min_probability": 0.0, "back_projection": False}, (0.0, [], False)),
    ):
        pipe = project.make_projector({**settings, **changes}).get_pipe("entity_projector")
        assert (pipe.min_probability, pipe.suppressed, pipe.back_projection) == expected
        # A sentence that lost an entity would teach that there is none.
        assert not pipe.keep_incomplete


def test_what_cannot_be_projected_is_said_before_any_model_is_loaded(job, tmp_path, monkeypatch):
    run, out = job
    monkeypatch.setattr(project, "make_projector", None)
    (tmp_path / "empty").mkdir()
    assert "folder without" in run(source=tmp_path / "empty").output
    result = run("--target", tmp_path / "target", source=write_shards(tmp_path / "shards"))
    assert (result.exit_code, "--target" in result.output) == (2, True)
    with (tmp_path / "target").open("a", encoding="utf-8") as file:
        file.write("one more\n")
    assert "XNER502" in str(run().exception)
    assert not out.exists()


def test_a_teacher_that_is_trained_anew_is_another_one(job, tmp_path):
    before = project._describe_pipeline(str(tmp_path / "teacher"))
    meta = tmp_path / "teacher" / "meta.json"
    meta.write_text(meta.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert project._describe_pipeline(str(tmp_path / "teacher")) != before
    assert project._describe_pipeline("xx_teacher") == ["xx_teacher"]
    assert project._describe_pipeline("") == []

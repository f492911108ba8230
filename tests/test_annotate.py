"""Annotated files: every format in and out, resuming, killed runs, standard input, Ray."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import spacy
from spacy.tokens import DocBin

from spacy_xner.cli.app import xner
from spacy_xner.deploy import annotate, texts
from spacy_xner.deploy.annotate import Settings, annotate_file, annotate_folder
from spacy_xner.deploy.annotations import output_format
from spacy_xner.deploy.texts import STANDARD_INPUT, Texts
from spacy_xner.errors import XnerError

from tests import tiny
from tests.cli import invoke

ROWS = [{"id": i, "text": text} for i, text in enumerate(tiny.TEXTS)]


@pytest.fixture(scope="module")
def model(checkpoint, tmp_path_factory):
    nlp = tiny.make_nlp(checkpoint)
    tiny.train(nlp)
    path = tmp_path_factory.mktemp("model")
    nlp.to_disk(path)
    return path


def write_input(folder, kind):
    """RETURNS: A file of the tiny texts in a format."""
    path = folder / f"in.{kind}"
    if kind in ("txt", "txt.gz"):
        content = "\n\n".join(tiny.TEXTS).encode()
        path.write_bytes(gzip.compress(content) if kind == "txt.gz" else content)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)))
    elif kind == "csv":
        path.write_text("id,text\n" + "".join(f'{row["id"]},"{row["text"]}"\n' for row in ROWS))
    elif kind == "conll":
        docs = [tiny.blank().make_doc(text) for text in tiny.TEXTS]
        path.write_text("\n".join("".join(f"{token}\tO\n" for token in doc) for doc in docs))
    elif kind == "spacy":
        DocBin(docs=[tiny.blank().make_doc(text) for text in tiny.TEXTS]).to_disk(path)
    else:
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(arrow.Table.from_pylist(ROWS), path)
    return path


def entities_of(lines):
    return [[(ent["text"], ent["label"]) for ent in json.loads(line)["ents"]] for line in lines]


def expected():
    return [[(text[start:end], label) for start, end, label in ents] for text, ents, _ in tiny.SENTENCES]


@pytest.mark.parametrize("kind", ["txt", "txt.gz", "jsonl", "csv", "conll", "spacy", "parquet"])
def test_every_format_is_read(model, tmp_path, kind):
    out = tmp_path / "out.jsonl"
    assert annotate_file(Texts(write_input(tmp_path, kind)), out, Settings(str(model))) == len(tiny.TEXTS)
    lines = out.read_text("utf-8").splitlines()
    # Tagged files tell no spaces: Chinese reads otherwise.
    n = 3 if kind == "conll" else len(tiny.TEXTS)
    assert entities_of(lines)[:n] == expected()[:n]
    if kind in ("jsonl", "csv", "parquet"):
        assert [int(json.loads(line)["id"]) for line in lines] == list(range(len(ROWS)))
    assert all(0 < ent["score"] <= 1 for line in lines for ent in json.loads(line)["ents"])
    assert list(tmp_path.glob("*.parts")) == []


@pytest.mark.parametrize("suffix", ["spacy", "conll", "tsv", "parquet"])
def test_every_format_is_written_in_parts(model, tmp_path, suffix):
    out = tmp_path / f"out.{suffix}"
    source = write_input(tmp_path, "jsonl")
    annotate_file(Texts(source), out, Settings(str(model), part_size=2))
    if suffix == "spacy":
        docs = list(DocBin().from_disk(out).get_docs(spacy.blank("xx").vocab))
        assert [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs] == expected()
        assert all(ent._.score > 0 for doc in docs for ent in doc.ents)
    elif suffix == "parquet":
        from pyarrow import parquet

        rows = parquet.read_table(out).to_pylist()
        assert [row["id"] for row in rows] == [str(i) for i in range(len(ROWS))]
        assert entities_of(json.dumps({"ents": json.loads(row["ents"])}) for row in rows) == expected()
    else:
        blocks = out.read_text("utf-8").strip().split("\n\n")
        assert len(blocks) == len(tiny.TEXTS)
        assert blocks[0].startswith("Maria\tB-PER\nSantos\tI-PER\nwon\tO")


def test_fields_of_a_row_do_not_hide_what_is_found(model, tmp_path):
    path = tmp_path / "in.jsonl"
    rows = [
        {"text": tiny.TEXTS[0], "ents": "mine", "language": "en-US"},
        {"text": tiny.TEXTS[1], "language": "<English>"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    annotate_file(Texts(path), tmp_path / "out.jsonl", Settings(str(model)))
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert first["input_ents"] == "mine"
    assert first["ents"]
    assert second["input_language"] == "<English>"


def test_a_stopped_run_goes_on_where_it_was(model, tmp_path, monkeypatch):
    source, out = write_input(tmp_path, "jsonl"), tmp_path / "out.jsonl"
    settings = Settings(str(model), part_size=2)
    whole = tmp_path / "whole.jsonl"
    annotate_file(Texts(source), whole, settings)
    seen = []
    write = annotate.write_part

    def fail(rows, path, kind):
        if seen:
            raise OSError("stopped")
        seen.append([row.doc.text for row in rows])
        write(rows, path, kind)

    monkeypatch.setattr(annotate, "write_part", fail)
    with pytest.raises(OSError, match="stopped"):
        annotate_file(Texts(source), out, settings)
    assert not out.exists()
    monkeypatch.setattr(
        annotate, "write_part", lambda rows, *rest: (seen.append([*rows]), write(rows, *rest))
    )
    annotate_file(Texts(source), out, settings)
    assert [len(rows) for rows in seen] == [2, 2, 1]
    assert out.read_bytes() == whole.read_bytes()


def test_parts_of_other_settings_are_not_mixed(model, tmp_path, monkeypatch):
    source, out = write_input(tmp_path, "jsonl"), tmp_path / "out.jsonl"
    monkeypatch.setattr(annotate, "merge_parts", lambda *_: (_ for _ in ()).throw(OSError("stopped")))
    with pytest.raises(OSError, match="stopped"):
        annotate_file(Texts(source), out, Settings(str(model)))
    with pytest.raises(XnerError, match="XNER714"):
        annotate_file(Texts(source), out, Settings(str(model), threshold=0.5))
    source.write_text(json.dumps(ROWS[0]))
    with pytest.raises(XnerError, match="XNER714"):
        annotate_file(Texts(source), out, Settings(str(model)))


@pytest.mark.slow
def test_a_killed_run_loses_and_repeats_nothing(model, tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    n = 400
    source.write_text("".join(json.dumps({"id": i, "text": tiny.TEXTS[i % 5]}) + "\n" for i in range(n)))
    command = [sys.executable, "-m", "spacy", "xner", "annotate", str(model), str(source), str(out)]
    command += ["--part-size", "5", "--batch-size", "5"]
    done = tmp_path / "out.jsonl.parts" / "done.json"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not done.exists():
        time.sleep(0.01)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not out.exists()
    subprocess.run(command, check=True, capture_output=True)
    assert [json.loads(line)["id"] for line in out.read_text("utf-8").splitlines()] == list(range(n))


def test_standard_input_and_output(model, monkeypatch):
    stdin = SimpleNamespace(buffer=io.BytesIO("\n".join(tiny.TEXTS).encode()))
    monkeypatch.setattr(texts, "sys", SimpleNamespace(stdin=stdin))
    written = io.StringIO()
    monkeypatch.setattr(annotate, "sys", SimpleNamespace(stdout=written))
    annotate.annotate_stream(Texts(STANDARD_INPUT), Settings(str(model)))
    assert entities_of(written.getvalue().splitlines()) == expected()
    stdin.buffer = io.BytesIO(b"good\n\xff\n")
    with pytest.raises(XnerError, match=r"XNER104.*line 2"):
        annotate.annotate_stream(Texts(STANDARD_INPUT), Settings(str(model)))


def test_a_threshold_leaves_out_what_is_less_sure(model, tmp_path):
    source, out = write_input(tmp_path, "txt"), tmp_path / "out.jsonl"
    annotate_file(Texts(source), out, Settings(str(model), threshold=1.0))
    assert entities_of(out.read_text("utf-8").splitlines()) == [[]] * len(tiny.TEXTS)


def test_two_processes_give_the_same(model, tmp_path):
    source = write_input(tmp_path, "jsonl")
    for n_process in (1, 2):
        annotate_file(
            Texts(source), tmp_path / f"{n_process}.jsonl", Settings(str(model), n_process=n_process)
        )
    one, two = (
        [json.loads(line) for line in (tmp_path / f"{n}.jsonl").read_text().splitlines()] for n in (1, 2)
    )
    for rows in (one, two):
        for row in rows:
            for ent in row["ents"]:
                ent["score"] = round(ent["score"], 3)
    assert one == two


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("in.docx", "x", "XNER710"),
        ("in.jsonl", '{"text": 5}', "XNER711"),
        ("in.jsonl", '["text"]', "XNER711"),
        ("in.jsonl", "{", "XNER711"),
        ("in.jsonl", '{"text": "\\ud800"}', "XNER711"),
        ("in.csv", "a,b\n1,2\n", "XNER711"),
        ("in.spacy", "x", "XNER105"),
    ],
)
def test_inputs_that_cannot_be_read(tmp_path, name, content, code):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(XnerError, match=code):
        list(Texts(path).read(spacy.blank("xx").vocab))


def test_formats_of_standard_input_and_output_are_checked(tmp_path):
    with pytest.raises(XnerError, match="XNER712"):
        list(Texts(STANDARD_INPUT, "docbin").read(spacy.blank("xx").vocab))
    with pytest.raises(XnerError, match="XNER710"):
        output_format(tmp_path / "out.pdf")


@pytest.mark.parametrize(("module", "code"), [("pyarrow.parquet", "XNER713"), ("ray", "XNER715")])
def test_missing_packages_are_named(model, tmp_path, monkeypatch, module, code):
    monkeypatch.setitem(sys.modules, module, None)
    folder = write_input(tmp_path, "jsonl").parent

    def annotate_with_ray():
        annotate_folder(Texts(folder), tmp_path / "out", ".jsonl", Settings(str(model)), ray_workers=1)

    def read_parquet():
        list(Texts(tmp_path / "in.parquet").read(spacy.blank("xx").vocab))

    with pytest.raises(XnerError, match=code):
        (annotate_with_ray if module == "ray" else read_parquet)()


def make_shards(folder):
    folder.mkdir()
    for i, row in enumerate(ROWS):
        (folder / f"shard{i}.jsonl").write_text(json.dumps(row))
    return folder


def test_folders_are_annotated_file_by_file(model, tmp_path):
    shards, out = make_shards(tmp_path / "in"), tmp_path / "out"
    arguments = ("annotate", model, shards, out, "--to", "conll")
    assert "5 files annotated" in invoke(xner, *arguments)
    assert sorted(path.name for path in out.glob("shard*")) == [f"shard{i}.conll" for i in range(5)]
    (out / "shard3.conll").unlink()
    assert "1 files annotated" in invoke(xner, *arguments)


def test_files_of_one_name_in_two_formats_are_not_mixed(model, tmp_path):
    shards, out = tmp_path / "in", tmp_path / "out"
    shards.mkdir()
    for name in ("news.2020.txt", "news.2021.txt.gz"):
        content = f"{name}\n".encode()
        (shards / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    invoke(xner, "annotate", model, shards, out)
    assert sorted(path.name for path in out.glob("*.jsonl")) == ["news.2020.jsonl", "news.2021.jsonl"]
    assert json.loads((out / "news.2021.jsonl").read_text())["text"] == "news.2021.txt.gz"
    (shards / "news.2020.jsonl").write_text(json.dumps(ROWS[0]))
    with pytest.raises(XnerError, match="XNER716"):
        annotate_folder(Texts(shards), tmp_path / "other", ".jsonl", Settings(str(model)))


def test_the_format_counts_for_all_files_of_a_folder(model, tmp_path):
    shards, out = tmp_path / "in", tmp_path / "out"
    shards.mkdir()
    (shards / "rows.txt").write_text(json.dumps(ROWS[0]))
    invoke(xner, "annotate", model, shards, out, "--format", "jsonl")
    assert json.loads((out / "rows.jsonl").read_text())["text"] == ROWS[0]["text"]


def test_a_tagger_alone_is_told_the_language_of_a_row(model, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"text": tiny.TEXTS[0], "language": "en-US"}))
    annotate_file(Texts(path), tmp_path / "out.jsonl", Settings(str(model)))
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert (row["language"], row["input_language"]) == ("en", "en-US")


def test_long_fields_and_empty_inputs_are_annotated(model, tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "long.csv"
    path.write_text(f"text,page\n{tiny.TEXTS[0]},{'a' * 200_000}\n")
    assert annotate_file(Texts(path), tmp_path / "long.jsonl", Settings(str(model))) == 1
    (tmp_path / "empty.txt").write_text("")
    out = tmp_path / "empty.parquet"
    assert annotate_file(Texts(tmp_path / "empty.txt"), out, Settings(str(model))) == 0
    assert parquet.read_table(out).num_rows == 0


def test_half_a_character_is_told_in_every_field(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "Maria", "page": "\\ud800"}')
    with pytest.raises(XnerError, match="XNER711"):
        list(Texts(path).read(spacy.blank("xx").vocab))


@pytest.mark.slow
def test_ray_gives_the_same_as_this_process(model, tmp_path):
    ray = pytest.importorskip("ray")
    shards = make_shards(tmp_path / "in")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        for workers in (0, 2):
            annotate_folder(
                Texts(shards),
                tmp_path / f"out{workers}",
                ".jsonl",
                Settings(str(model)),
                ray_workers=workers,
            )
    finally:
        ray.shutdown()
    for i in range(5):
        here, there = ((tmp_path / f"out{n}" / f"shard{i}.jsonl").read_text("utf-8") for n in (0, 2))
        assert entities_of([here]) == entities_of([there]) == expected()[i : i + 1]

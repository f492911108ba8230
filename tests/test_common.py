"""What the scripts have in common: folders that are replaced as a whole, tables of what is finished."""

import json

import pytest
from typer.testing import CliRunner

from spacy_xner.files import fresh_folder

import print_tables
import report
import runs
from train import app as train_app


def test_a_pipeline_is_replaced_when_the_new_one_is_whole(tmp_path):
    place = tmp_path / "pipeline"
    for content in ("old", "new"):
        with fresh_folder(place) as folder:
            (folder / "config.cfg").write_text(content)
    assert (place / "config.cfg").read_text() == "new"
    with pytest.raises(ZeroDivisionError), fresh_folder(place) as folder:
        raise ZeroDivisionError
    assert (place / "config.cfg").read_text() == "new"


def test_a_folder_of_other_files_is_not_replaced(tmp_path, capsys):
    (tmp_path / "en.safetensors").write_text("hours of work")
    with pytest.raises(SystemExit), fresh_folder(tmp_path):
        pytest.fail("nothing is to be made for a place that is taken")
    assert "Choose another folder" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "en.safetensors").exists()


def test_the_report_passes_folders_of_other_things(tmp_path):
    (tmp_path / "runs" / "maps").mkdir(parents=True)
    (tmp_path / "runs" / "maps" / "settings.json").write_text("{}")
    report.main(tmp_path / "report.html", tmp_path, tmp_path, runs=tmp_path / "runs")
    assert "maps" not in (tmp_path / "report.html").read_text()


def test_scores_of_test_files_without_annotation_are_reported(tmp_path):
    scores = {"ents_f": None, "ents_per_language": None, "words_per_second": 1.0}
    content = {"scores": scores, "confusion": None, "examples": []}
    (tmp_path / "raw.json").write_text(json.dumps(content))
    report.main(tmp_path / "report.html", tmp_path, tmp_path)
    assert "<h2>raw</h2>" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("mark", runs.MARKS)
def test_tables_of_unfinished_runs_are_refused_in_words(tmp_path, capsys, mark):
    (tmp_path / mark).write_text("{}")
    with pytest.raises(SystemExit):
        print_tables.main(tmp_path)
    expected = "report.py has their table" if mark == runs.JOINT else "no finished run yet"
    assert expected in " ".join(capsys.readouterr().out.split())


def test_epochs_of_a_foreign_config_are_refused_in_words(tmp_path):
    done = CliRunner().invoke(train_app, ["configs/shared.cfg", str(tmp_path / "out"), "--epochs=2"])
    assert done.exit_code == 1
    assert "counts no sentences a batch" in " ".join(done.output.split())

"""What the scripts have in common: tables and pages of what is finished."""

import json

import report


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

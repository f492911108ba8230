"""The report page with experiments: what is passed over, what has no scores."""

import json

from scripts.report import write_page


def test_the_report_passes_folders_of_other_things(tmp_path):
    (tmp_path / "runs" / "maps").mkdir(parents=True)
    (tmp_path / "runs" / "maps" / "settings.json").write_text("{}")
    write_page(tmp_path / "report.html", tmp_path, tmp_path, tmp_path / "runs", None)
    assert "maps" not in (tmp_path / "report.html").read_text()


def test_scores_of_test_files_without_annotation_are_reported(tmp_path):
    scores = {"ents_f": None, "ents_per_language": None, "words_per_second": 1.0}
    content = {"scores": scores, "confusion": None, "examples": []}
    (tmp_path / "raw.json").write_text(json.dumps(content))
    write_page(tmp_path / "report.html", tmp_path, tmp_path, None, None)
    assert "<h2>raw</h2>" in (tmp_path / "report.html").read_text()

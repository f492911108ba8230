"""The pictures of the pages: figures of the result files, small files, and a place for every one."""

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest
from markupsafe import Markup

from spacy_xner.errors import XnerError

from scripts.command import app
from scripts.gallery import ROOT, compact, draw_freezing, draw_gallery, draw_speed, number, read_table
from scripts.screens import ask, serve
from tests.browser import open_browser
from tests.cli import invoke

IMAGES = ROOT / "docs" / "images"
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("papers/*/README.md")]


def marks_of(picture: str) -> set[str]:
    """Texts that matplotlib leaves as comments beside its outlines of letters."""
    return {text.strip() for text in re.findall(r"<!--(.*?)-->", picture)}


def test_bars_have_the_words_a_second_of_the_result_file(tmp_path):
    table = {
        "title": "Words a second on CPU",
        "header": ["words/s", "sentences", "200 words", "2,000 words", "peak memory"],
        "rows": [
            ["others", "900 (1.00x)", "1,700", "1,800", "1 MB"],
            ["`transformer_ner`", "2,468", "2,500", "2,069", "1 MB"],
        ],
    }
    path = tmp_path / "benchmarks" / "results" / "inference.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"origin": "measured, here", "tables": [table]}), encoding="utf-8")
    marks = marks_of(draw_speed(tmp_path))
    assert {"900", "1,700", "2,468", "2,069", "others", "transformer_ner", "speed (measured)"} <= marks


def test_curves_have_a_point_a_number_of_frozen_layers():
    picture = draw_freezing(ROOT)
    # Matplotlib draws the markers of a line as uses of one shape.
    lines = re.findall(r'<g id="line2d_\d+">(.*?)</g>\s*</g>', picture, re.DOTALL)
    assert sorted(n for line in lines if (n := line.count("<use")) > 1) == [4, 4, 5, 5]
    assert {"none frozen", "3 frozen", "other languages"} <= marks_of(picture)


def test_numbers_are_read_from_cells():
    assert [number(text) for text in ("**82.2**", "2,468 (**2.67x**)", "-1.5")] == [82.2, 2468, -1.5]
    rows = read_table(ROOT / "papers/moon2019/results/0.1/joint.json", "Test F1")
    assert rows[0]["de"] == "**82.2**"


def test_shorter_numbers_leave_the_picture_as_it_is():
    long = '<use x="1.234567" transform="scale(0.015625)"/><path id="a" d="M 1.2 -20.5 L 3 4.00001"/>'
    short = '<use x="1.23" transform="scale(0.015625)"/><path id="a" d="M 1.2 -20.5 L 3 4.00"/>'
    assert compact(Markup(long)) == short


def test_the_command_draws_a_demo(tmp_path):
    demo = tmp_path / "demo"
    bins = [{"score": 0.2, "precision": 0.5, "n": 2}, {"score": 0.9, "precision": 1.0, "n": 8}]
    content = {"calibration": {"bins": bins, "coverage": [0.5, 1.0], "risk": [0.0, 0.1]}}
    points = {"languages": ["en", "de"], "points": {"identifier": [[0.0, 1.0], [1.0, 0.0]]}}
    for name, value in (("metrics/xner.json", content), ("training/groupings/figure1.json", points)):
        (demo / name).parent.mkdir(parents=True)
        (demo / name).write_text(json.dumps(value), encoding="utf-8")
    invoke(app, "gallery", tmp_path / "out", f"--demo={demo}", "--text=")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"freezing.svg", "speed.svg", "calibration.svg", "sentences.svg"}
    for path in (tmp_path / "out").iterdir():
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_without_a_demo_its_pictures_stay(tmp_path):
    (tmp_path / "calibration.svg").write_text("before", encoding="utf-8")
    assert {path.name for path in draw_gallery(tmp_path)} == {"freezing.svg", "speed.svg"}
    assert (tmp_path / "calibration.svg").read_text(encoding="utf-8") == "before"


def test_every_picture_is_small_and_has_a_place():
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for path in IMAGES.iterdir():
        assert path.stat().st_size < 300_000, path
        assert re.search(rf"!\[[^\]]+\]\([^)]*images/{re.escape(path.name)}\)", shown), path


def test_a_service_that_does_not_start_is_named(tmp_path):
    with pytest.raises(XnerError, match=r"XNER735.*status 1"), serve(tmp_path / "none", port=0):
        pass


@pytest.mark.slow
def test_a_text_is_typed_into_the_page_of_the_service(trained, tmp_path):
    trained.to_disk(tmp_path / "pipeline")
    with (
        open_browser(tmp_path / "profile") as browser,
        serve(tmp_path / "pipeline", port=8766) as address,
    ):
        browser.get(address)
        ask(browser, "Toyota bought Nokia.")
        assert "Nokia" in browser.find_element("id", "marked").text

"""Generated tables of Markdown pages: published ones, runs, what was not run, and drift."""

import subprocess
import sys
from pathlib import Path

import pytest

from spacy_xner.errors import XnerError

from scripts.pages import check, find_pages, refresh, render_page
from scripts.results import write_result
from tests.scripts.test_lexical_tables import RUNS

ROOT = Path(__file__).parents[2]
PAGE = """# Title

<!-- table: results/old.json -->
anything
<!-- /table -->

<!-- table: results/small/parts -->
<!-- /table -->

<!-- table: small.cfg -->
<!-- /table -->
The end.
"""
CONFIG = """
[experiments]

[experiments.parts]
kind = "lexical"
about = "Table 3"

[experiments.parts.axes]
seed = [0, 1]
variant = ["full", "char-only"]

[experiments.other]
kind = "lexical"
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page of a paper's folder, with results of every kind."""
    table = {"title": "Old", "header": ["", "de"], "rows": [["full", "**37.2 (2.6)**"]]}
    write_result(tmp_path / "results" / "old.json", {"origin": "transcribed from 0.1", "tables": [table]})
    (tmp_path / "small.cfg").write_text(CONFIG)
    path = tmp_path / "README.md"
    path.write_text(PAGE)
    return path


def test_tables_are_made_of_what_is_there(page: Path) -> None:
    assert refresh(page)
    content = page.read_text()
    assert "*Transcribed from 0.1.*" in content
    assert "| full | **37.2 (2.6)** |" in content
    assert "anything" not in content
    assert "*Not run yet.*" in content
    command = "`python ../../scripts experiment small.cfg results/small --only parts`"
    assert f"| parts | Table 3 | 2 seed × 2 variant | not run | {command} |" in content
    assert content.endswith("<!-- /table -->\nThe end.\n")
    assert not refresh(page)
    check([page])


def test_new_results_make_a_page_stale(page: Path) -> None:
    refresh(page)
    folder = page.parent / "results" / "small" / "parts"
    described = {"name": "parts", "kind": "lexical", "axes": {}, "settings": {"limit": 7, "keep": None}}
    write_result(folder / "experiment.json", {**described, "runs": 4})
    write_result(folder / "a.json", RUNS[0])
    with pytest.raises(XnerError, match=r"XNER812.*README\.md"):
        check([page])
    refresh(page)
    content = page.read_text()
    assert "Settings: limit 7." in content
    assert "| full | **60.0** | 504 |" in content
    assert "| 1 of 4 |" in content
    # The tables of what has been run stand below what has not.
    assert content.count("| full | **60.0** | 504 |") == 2
    assert content.index("| 1 of 4 |") < content.index("### small: parts") < content.index("The end.")


def test_figures_are_drawn_beside_the_results_and_linked(page: Path) -> None:
    folder = page.parent / "results" / "small" / "parts"
    write_result(folder / "experiment.json", {"name": "parts", "kind": "lexical", "axes": {}, "settings": {}})
    write_result(folder / "a.json", RUNS[0])
    out = page.parent / "figures" / "small" / "parts"
    out.mkdir(parents=True)
    (out / "of-before.svg").write_text("<svg/>")
    refresh(page)
    [path] = out.glob("*.svg")
    assert path.read_text().startswith("<svg")
    link = f"![test f1 after every evaluation](figures/small/parts/{path.name})"
    assert link in page.read_text().splitlines()
    check([page])
    before = path.read_bytes()
    assert not refresh(page)
    # Equal results make equal bytes.
    assert path.read_bytes() == before
    path.unlink()
    with pytest.raises(XnerError, match="XNER812"):
        check([page])


@pytest.mark.parametrize(
    "content",
    [
        "<!-- table: results/old.json -->\n",
        "<!-- /table -->\n",
        "<!-- table: small.cfg -->\n<!-- table: small.cfg -->\n<!-- /table -->\n",
        "<!-- table: results/nothing.json -->\n<!-- /table -->\n",
    ],
)
def test_marks_that_are_not_pairs_are_refused(content: str, page: Path) -> None:
    with pytest.raises(XnerError, match=r"XNER811.*line [12]"):
        render_page(content, page)


DAMAGED = ["{", "[]", '{"origin": "x"}', '{"origin": "x", "tables": [{"title": "a"}]}']


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_result_files_are_named(content: str, page: Path) -> None:
    (page.parent / "results" / "old.json").write_text(content)
    with pytest.raises(XnerError, match=r"XNER815.*old\.json"):
        refresh(page)


def test_the_pages_of_the_repository_are_as_their_results() -> None:
    pages = find_pages(ROOT)
    assert sum("<!-- table: " in page.read_text(encoding="utf-8") for page in pages) >= 6
    check(pages)


def test_the_check_is_a_command_without_torch(page: Path) -> None:
    code = (
        "import sys; from scripts.command import app\n"
        "sys.argv = ['scripts', 'tables', '--check', sys.argv[1]]\n"
        "try:\n    app()\nexcept SystemExit as stop:\n    print(stop.code, 'torch' in sys.modules)"
    )
    for expected in ("1 False", "0 False"):
        command = [sys.executable, "-c", code, str(page)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.stdout.splitlines()[-1] == expected, done.stdout + done.stderr
        refresh(page)


def test_verbs_run_from_every_folder(page: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts"), "tables", "."]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=page.parent)
    assert done.returncode == 0, done.stderr
    assert "| full | **37.2 (2.6)** |" in page.read_text()

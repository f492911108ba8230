"""Assets that weasel fetches: recorded at first, and refused when another file comes later."""

import functools
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from spacy_xner.errors import XnerError

from scripts.assets import check_assets

ROOT = Path(__file__).parents[2]
PAPERS = sorted(path.parent.name for path in (ROOT / "papers").glob("*/project.yml"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Gives out files, and prints nothing."""

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files a server gives out. The project.yml beside it names them."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "words.txt").write_text("first")
    project = {
        "title": "Words",
        "assets": [
            {"dest": "assets/words.txt", "url": f"http://127.0.0.1:{server.server_port}/words.txt"},
            {"dest": "assets/later.txt", "url": "http://127.0.0.1/later.txt", "extra": True},
        ],
        "commands": read_commands(),
        "workflows": {"all": ["assets"]},
    }
    # The commands of papers begin two folders down.
    place = tmp_path / "papers" / "words"
    place.mkdir(parents=True)
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (place / "project.yml").write_text(json.dumps(project))
    yield folder
    server.shutdown()
    server.server_close()


def read_commands() -> list[dict[str, object]]:
    """The command that checks assets, as the papers' projects have it."""
    content = yaml.safe_load((ROOT / "papers" / "huang2019" / "project.yml").read_text())
    return [command for command in content["commands"] if command["name"] == "assets"]


def weasel(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run weasel in a folder."""
    command = [sys.executable, "-m", "weasel", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_another_file_than_that_of_the_first_download_stops_a_workflow(site: Path, tmp_path: Path) -> None:
    place = tmp_path / "papers" / "words"
    assert weasel(place, "assets", ".").returncode == 0
    first = weasel(place, "run", "all", ".")
    assert "assets/words.txt: recorded" in first.stdout
    assert "assets/later.txt: not there" in first.stdout
    (place / "assets" / "words.txt").unlink()
    weasel(place, "assets", ".")
    again = weasel(place, "run", "all", ".")
    assert again.returncode == 0
    assert "assets/words.txt: as at first" in again.stdout
    # The same address gives another file.
    (site / "words.txt").write_text("second")
    (place / "assets" / "words.txt").unlink()
    weasel(place, "assets", ".")
    assert (place / "assets" / "words.txt").read_text() == "second"
    other = weasel(place, "run", "all", ".")
    assert other.returncode == 1
    assert "XNER706" in other.stdout


@pytest.mark.parametrize("name", PAPERS)
def test_workflows_that_convert_assets_check_them_first(name: str) -> None:
    content = yaml.safe_load((ROOT / "papers" / name / "project.yml").read_text())
    for steps in content["workflows"].values():
        assert steps[0] == "assets" or not {"convert", "convert-paper"} & {*steps}
    assert any("assets" in steps for steps in content["workflows"].values())


def test_a_checksum_of_the_project_is_compared(tmp_path: Path) -> None:
    asset = {"dest": "a.txt", "url": "https://example.org/a", "checksum": "0cc175b9c0f1b6a831c399e269772661"}
    (tmp_path / "project.yml").write_text(json.dumps({"assets": [asset]}))
    (tmp_path / "a.txt").write_text("a")
    assert check_assets(tmp_path) == {"a.txt": "as in project.yml"}
    assert not (tmp_path / "checksums.json").exists()
    (tmp_path / "a.txt").write_text("b")
    with pytest.raises(XnerError, match="XNER128"):
        check_assets(tmp_path)


@pytest.mark.parametrize("content", ["- [", "[]", '{"assets": [{}]}', '{"assets": 5}', None])
def test_folders_without_a_project_are_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "project.yml").write_text(content)
    with pytest.raises(XnerError, match="XNER129"):
        check_assets(tmp_path)

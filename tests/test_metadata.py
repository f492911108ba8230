"""The package as an index shows it: the README with links that work there, and licences."""

import configparser
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import setuptools

ROOT = Path(__file__).parent.parent
RELATIVE = re.compile(r"\]\((?![a-z]+:|#)[^)]+\)")


def metadata(monkeypatch: pytest.MonkeyPatch, url: str) -> dict[str, Any]:
    """The arguments of `setup` under an address of the files."""
    arguments: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", arguments.update)
    monkeypatch.setenv("XNER_SOURCE_URL", url)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return arguments


def test_links_of_the_readme_are_absolute_where_the_address_is_known(monkeypatch):
    arguments = metadata(monkeypatch, "https://example.org/o/r/blob/v1/")
    text = arguments["long_description"]
    assert not RELATIVE.search(text)
    assert "](https://example.org/o/r/raw/v1/docs/images/entities.svg)" in text
    assert "](https://example.org/o/r/blob/v1/docs/routes.md)" in text
    assert arguments["project_urls"]["Changes"] == "https://example.org/o/r/blob/v1/CHANGELOG.md"
    for url in arguments["project_urls"].values():
        assert (ROOT / url.partition("/v1/")[2]).is_file()


def test_the_readme_has_no_dead_links_where_no_address_is_known(monkeypatch):
    arguments = metadata(monkeypatch, "")
    text = arguments["long_description"]
    assert not RELATIVE.search(text)
    assert "](https://arxiv.org/" in text
    assert "![" not in text
    assert "errors by code" in text
    assert arguments["project_urls"] == {}


def test_licence_files_are_named_and_there():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    files = setup["metadata"]["license_files"].split()
    assert files == ["LICENSE", "THIRD_PARTY.md"]
    assert all((ROOT / file).is_file() for file in files)


def test_everything_that_a_workflow_fetches_has_its_licence_named():
    page = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    projects = [ROOT / "project.yml", *ROOT.glob("papers/*/project.yml")]
    texts = [path.read_text(encoding="utf-8") for path in projects]
    urls = [url for text in texts for url in re.findall(r"https?://([^\s\"'}]+)", text) if "/" in url]
    fetched = {"/".join(url.split("/")[:2]) for url in urls}
    assert len(fetched) >= 5
    assert [place for place in fetched if place not in page] == []

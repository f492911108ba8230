"""Packages of the wheel, and the README as an index shows it; everything else stands in setup.cfg.

`configs/` lies at the top level of a checkout and becomes `spacy_xner.configs`, which setup.cfg cannot say
beside `find:`.

An index does not know where the files are that the README links to. The environment variable
`XNER_SOURCE_URL`, which the workflow `release` sets, is their address: with it links and pictures become
absolute. Without it a link becomes its text, and a picture is left out.
"""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

LINK = re.compile(r"(?P<mark>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
SOURCE_URL = os.environ.get("XNER_SOURCE_URL", "").rstrip("/")


def readme_for_index(url: str) -> str:
    """Write the README with links that work anywhere. url: Address of the files, such as `.../blob/v1.0`."""

    def absolute(match: "re.Match[str]") -> str:
        target = match["target"]
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        if not url:
            return "" if match["mark"] else match["text"]
        # A picture is shown from its file, not from the page about it.
        base = url.replace("/blob/", "/raw/", 1) if match["mark"] else url
        return f"{match['mark']}[{match['text']}]({base}/{target})"

    readme = Path(__file__).resolve().parent / "README.md"
    return LINK.sub(absolute, readme.read_text(encoding="utf-8"))


urls = {"Documentation": "docs/index.md", "Changes": "CHANGELOG.md", "Errors": "docs/reference/errors.md"}
setup(
    packages=[*find_packages(include=["spacy_xner*"]), "spacy_xner.configs"],
    package_dir={"spacy_xner.configs": "configs"},
    package_data={
        # A folder without modules is no package of its own.
        "spacy_xner": ["py.typed", "templates/*.jinja"],
        "spacy_xner.configs": ["*.cfg"],
        "": ["*.jinja", "*.js", "*.css"],
    },
    long_description=readme_for_index(SOURCE_URL),
    long_description_content_type="text/markdown",
    project_urls={name: f"{SOURCE_URL}/{path}" for name, path in urls.items()} if SOURCE_URL else {},
)

"""Experiments as sections of the report page: settings, tables, figures."""

from pathlib import Path
from typing import NamedTuple

from scripts.figures import figures_of
from scripts.pages import describe_settings
from scripts.results import DESCRIPTION, read_description
from scripts.tables import Table
from scripts.views import tables_of

TITLES = {
    "joint": "Joint, monolingual and frozen runs",
    "zero_shot": "Zero-shot transfer",
    "clusters": "Groupings of languages",
    "teachers": "Teachers",
    "students": "Students of projected entities",
    "lexical": "BiLSTM-CRF without a part",
}


class Section(NamedTuple):
    """An experiment on the report page. figures: Inline SVG by title."""

    title: str
    text: str
    tables: list[Table]
    figures: dict[str, str]


def experiment_sections(folder: Path) -> list[Section]:
    """Describe every experiment with finished runs in or below a folder; other folders are passed over."""
    folders = sorted(path.parent for path in folder.rglob(DESCRIPTION))
    return [section for path in folders if (section := _section(path, folder)).tables]


def _section(folder: Path, root: Path) -> Section:
    described = read_description(folder)
    name = folder.relative_to(root).as_posix() if folder != root else described["name"]
    settings = describe_settings(described["settings"])
    title = f"{TITLES[described['kind']]}: {name}"
    return Section(title, f"{settings}.", tables_of(folder), figures_of(folder))

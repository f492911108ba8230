"""Markdown pages whose tables are generated from result files, between two marks.

`<!-- table: PATH -->` and `<!-- /table -->` enclose what is made of the path, which is relative to the page:
a result file with tables as they were published; a folder of runs; or a config, for what has been run of it.
Figures of the runs are drawn into the folder `figures` of the paper, and linked.
"""

import os
import re
from pathlib import Path
from typing import Any

from confection import Config

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import read_json, write_text

from scripts.results import DESCRIPTION
from scripts.tables import Table
from scripts.views import tables_of

BEGIN = re.compile(r"<!-- table: (\S+) -->")
END = "<!-- /table -->"
# Pages of the repository that have generated tables.
PAGES = ("README.md", "docs/*.md", "papers/*/README.md", "recipes/*/README.md")


def find_pages(root: Path) -> list[Path]:
    """The pages of the repository."""
    return [path for pattern in PAGES for path in sorted(root.glob(pattern))]


def refresh(page: Path) -> bool:
    """Write the tables of a page anew. RETURNS: True if that changed the page. RAISES: XNER811, XNER815."""
    before = page.read_text(encoding="utf-8")
    for folder in _folders_of(before, page):
        draw_figures(folder)
    after = render_page(before, page)
    if after != before:
        write_text(page, after)
    return after != before


def _folders_of(content: str, page: Path) -> list[Path]:
    """Folders of runs that a page has tables of."""
    paths = [
        page.parent / mark[1] for line in content.splitlines() if (mark := BEGIN.fullmatch(line.strip()))
    ]
    folders = [path for path in paths if not path.suffix]
    for path in paths:
        if path.suffix == ".cfg" and path.is_file():
            results = path.parent / "results" / path.stem
            folders += [results / name for name in Config().from_disk(path).get("experiments", {})]
    return [folder for folder in folders if (folder / DESCRIPTION).exists()]


def draw_figures(folder: Path) -> list[Path]:
    """Draw the figures of an experiment beside the results, and remove those of before.

    RETURNS: SVG files, {paper}/figures/{scale}/{experiment}/{title}.svg.
    """
    # The modules that draw import spaCy's.
    from scripts.figures import figures_of

    out = figures_folder(folder)
    for path in out.glob("*.svg"):
        path.unlink()
    paths = []
    for title, figure in figures_of(folder).items():
        paths.append(out / f"{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')}.svg")
        write_text(paths[-1], figure)
    return paths


def figures_folder(folder: Path) -> Path:
    """Where the figures of a folder of runs, {paper}/results/{scale}/{experiment}, are."""
    return folder.parents[2] / "figures" / folder.parent.name / folder.name


def check(pages: list[Path]) -> None:
    """Compare pages with the result files. RAISES: XNER811, XNER812, XNER815."""
    contents = {page: page.read_text(encoding="utf-8") for page in pages}
    stale = [str(page) for page, content in contents.items() if render_page(content, page) != content]
    if stale:
        raise XnerError(Errors.XNER812.format(pages=", ".join(stale)))


def render_page(content: str, page: Path) -> str:
    """The content of a page with its tables anew. RAISES: XNER811, XNER815."""
    lines: list[str] = []
    opened: tuple[int, str] | None = None
    for number, line in enumerate(content.splitlines(), start=1):
        mark = BEGIN.fullmatch(line.strip())
        if mark and opened is None:
            opened = (number, line)
            lines += [line, *_render(page, mark[1], number), END]
        elif line.strip() == END and opened is not None:
            opened = None
        elif mark or line.strip() == END:
            raise XnerError(Errors.XNER811.format(page=page, line=number, found=line))
        elif opened is None:
            lines.append(line)
    if opened is not None:
        raise XnerError(Errors.XNER811.format(page=page, line=opened[0], found=opened[1]))
    return "\n".join(lines) + "\n"


def _render(page: Path, where: str, line: int) -> list[str]:
    path = page.parent / where
    if path.suffix == ".json" and path.is_file():
        return render_published(path)
    if path.suffix == ".cfg" and path.is_file():
        return render_status(path, page)
    if path.suffix in (".json", ".cfg"):
        raise XnerError(Errors.XNER811.format(page=page, line=line, found=where))
    return render_runs(path, page)


def render_published(path: Path) -> list[str]:
    """Tables as they were published, with where they are from. RAISES: XNER815."""
    try:
        content = read_json(path)
        origin = content["origin"]
        about = "; ".join(filter(None, [origin[:1].upper() + origin[1:], content.get("machine")]))
        lines = [f"*{about}.*", ""]
        lines += [text for key in ("settings", "note") if content.get(key) for text in (content[key], "")]
        if content.get("commands"):
            lines += ["Commands at that time:", "", "```text", *content["commands"], "```", ""]
        for table in content["tables"]:
            lines += Table(table["title"], table["header"], table["rows"]).markdown()
    except (ValueError, KeyError, TypeError) as error:
        raise XnerError(Errors.XNER815.format(path=path, reason=error)) from error
    return ["", *lines]


def render_runs(folder: Path, page: Path) -> list[str]:
    """The tables of an experiment's runs, with its settings, and its figures. RAISES: XNER815."""
    if not (folder / DESCRIPTION).exists():
        return ["", "*Not run yet.*", ""]
    described = read_json(folder / DESCRIPTION)
    lines = ["", f"Settings: {describe_settings(described['settings'])}.", ""]
    for table in tables_of(folder):
        lines += table.markdown()
    for path in sorted(figures_folder(folder).glob("*.svg")):
        where = Path(os.path.relpath(path, page.parent)).as_posix()
        lines += [f"![{path.stem.replace('-', ' ')}]({where})", ""]
    return lines


def describe_settings(settings: dict[str, Any]) -> str:
    """Settings as text; those without a value are left out."""
    shown = {
        name: " ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in settings.items()
    }
    return ", ".join(f"{name} {value}" for name, value in shown.items() if value not in ("", None))


def render_status(path: Path, page: Path) -> list[str]:
    """Describe the state of a config: axes, finished runs, the command that goes on, tables and figures."""
    config = Config().from_disk(path)
    results = path.parent / "results" / path.stem
    rows, finished_tables = [], []
    for name, section in config["experiments"].items():
        axes = " × ".join(f"{len(values)} {axis}" for axis, values in section.get("axes", {}).items())
        folder = results / name
        finished = sum(file.name != DESCRIPTION for file in folder.glob("*.json"))
        described = read_json(folder / DESCRIPTION) if (folder / DESCRIPTION).exists() else {}
        planned = described.get("runs")
        state = "not run" if not finished else f"{finished} of {planned}" if planned else str(finished)
        command = f"`python ../../scripts experiment {path.name} results/{path.stem} --only {name}`"
        rows.append([name, section.get("about", ""), axes, state, command])
        if finished:
            finished_tables += ["", f"### {path.stem}: {name}", *render_runs(folder, page)]
    header = ["experiment", "tables", "axes", "runs", "command"]
    return ["", *Table("", header, rows).markdown(), *finished_tables]

"""Experiments as sections of the report page: settings, tables, figures."""

from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment
from markupsafe import Markup

from scripts.figures import figures_of
from scripts.pages import describe_settings
from scripts.results import DESCRIPTION, read_description
from scripts.tables import Table
from scripts.views import tables_of

TITLES = {
    "identifier": "Language identifier",
    "joint": "Joint, monolingual and frozen runs",
    "zero_shot": "Zero-shot transfer",
    "clusters": "Groupings of languages",
    "corpora": "Corpora that were left out",
    "teachers": "Teachers",
    "students": "Students of projected entities",
    "lexical": "BiLSTM-CRF without a part",
    "transfer": "Parts of a recipe for transfer",
}


TEMPLATE = """
<h2>{{ section.title }}</h2>
<p>{{ section.text }}</p>
{% for table in section.tables %}
<h3>{{ table.title }}</h3>
<table><tr>{% for name in table.header %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell.replace("**", "") }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% endfor %}
{% for title, figure in section.figures.items() %}<h3>{{ title }}</h3>
{{ figure }}
{% endfor %}
"""


class Section(NamedTuple):
    """An experiment on the report page. figures: Inline SVG by title."""

    title: str
    text: str
    tables: list[Table]
    figures: dict[str, Markup]

    def html(self) -> Markup:
        """The section as HTML; all text in it is escaped."""
        return Markup(Environment(autoescape=True).from_string(TEMPLATE).render(section=self))


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

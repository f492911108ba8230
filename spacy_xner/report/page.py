"""Write the report: one self-contained HTML page, and the table of a README."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import write_text
from spacy_xner.pages import percent, render
from spacy_xner.report.sources import (
    Clustering,
    Comparison,
    Model,
    Silver,
    read_clustering,
    read_comparison,
    read_model,
    read_silver,
)

BEGIN, END = "<!-- XNER: GENERATED RESULTS START -->", "<!-- XNER: GENERATED RESULTS END -->"


@dataclass(frozen=True)
class Report:
    """All that the page shows, in its order."""

    models: list[Model] = field(default_factory=list)
    clusterings: list[Clustering] = field(default_factory=list)
    silver: list[Silver] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)


def collect_report(
    metrics: Path, training: Path, silver: Path | None = None, compare: Path | None = None
) -> Report:
    """Read what verbs have written.

    metrics: Folder of JSON files of `evaluate`.
    training: Folder of trained pipelines, with their curves, and of groupings (`*/found.json`).
    silver: Folder of corpora of `silver`.
    compare: Folder of `compare`.
    RAISES: XNER403 and XNER530 for files of another kind.
    """
    return Report(
        [read_model(path, training) for path in sorted(metrics.glob("*.json"))],
        [read_clustering(path) for path in sorted(training.glob("*/found.json"))],
        [read_silver(path) for path in sorted(silver.glob("*-*.json"))] if silver is not None else [],
        [read_comparison(compare / "compare.json")] if compare is not None else [],
    )


def write_report(path: Path, report: Report, sections: Sequence[str | Markup] = ()) -> None:
    """Write the page, which fetches nothing.

    sections: Further parts for the end of the page: HTML as `Markup`; another text, such as a Markdown
        table, is escaped and shown as it is.
    """
    write_text(path, render("report.html.jinja", report=report, sections=sections, is_html=_is_html))


def _is_html(section: str | Markup) -> bool:
    return isinstance(section, Markup)


def renew_readme(path: Path, models: Sequence[Model]) -> None:
    """Replace the table between the two marks of a README.

    models: The pipeline `xner` stands in the table, or the first one if there is none of that name.
    RAISES: XNER531 if a mark is missing, XNER532 without scores.
    """
    scored = [model for model in models if model.scores]
    if not scored:
        raise XnerError(Errors.XNER532.format(path=path))
    model = next((model for model in scored if model.name == "xner"), scored[0])
    rows = dict(model.tables)["By language"]
    lines = [
        "| | " + " | ".join(row.name for row in rows) + " | all |",
        "|---" * (len(rows) + 2) + "|",
        "| F1 | " + " | ".join(percent(row.f) for row in rows) + f" | **{percent(model.scores['f'])}** |",
    ]
    content = path.read_text(encoding="utf-8")
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise XnerError(Errors.XNER531.format(path=path, begin=BEGIN, end=END))
    table = "\n".join(lines)
    write_text(path, f"{before}{BEGIN}\n{table}\n{END}{after}")

"""The report page of `spacy xner report` with the tables and figures of experiments at its end."""

from pathlib import Path

from markupsafe import Markup

from spacy_xner.pages import render
from spacy_xner.report.page import collect_report, renew_readme, write_report

from scripts.sections import experiment_sections


def write_page(out: Path, metrics: Path, training: Path, runs: Path | None, readme: Path | None) -> None:
    """Write the page.

    metrics, training: See `collect_report`.
    runs: Folder with result files of experiments in or below it.
    readme: README whose table is renewed too.
    """
    report = collect_report(metrics, training)
    sections = experiment_sections(runs) if runs is not None and runs.is_dir() else []
    drawn = [
        render(
            "experiments.html.jinja",
            folder=Path(__file__).parent,
            section=section,
            # matplotlib escapes the texts of its figures.
            figures={title: Markup(figure) for title, figure in section.figures.items()},
        )
        for section in sections
    ]
    write_report(out, report, drawn)
    if readme is not None:
        renew_readme(readme, report.models)

"""The audit page of a silver corpus: kept and rejected pairs side by side."""

from pathlib import Path
from typing import Any

from spacy_xner.files import write_text
from spacy_xner.pages import direction, draw_entities, render
from spacy_xner.projector.filters import Fate
from spacy_xner.projector.summary import KEPT, Summary


def write_audit(path: Path, summary: Summary, source_language: str, language: str) -> None:
    """Draw the examples of a summary, those that were kept first."""
    kinds = sorted(summary.examples, key=lambda kind: kind != KEPT)
    groups = [
        {
            "title": KEPT if kind == KEPT else Fate(kind).text,
            "rows": [_draw_row(row, source_language, language) for row in summary.examples[kind]],
        }
        for kind in kinds
    ]
    page = render(
        "audit.html.jinja",
        title=f"{source_language} to {language}",
        counts=summary.counts.rows(),
        groups=groups,
    )
    write_text(path, page)


def _draw_row(row: dict[str, Any], source_language: str, language: str) -> dict[str, Any]:
    return {
        "line": row["line"],
        "fates": [Fate(fate).text for fate in row["fates"]],
        "left": _draw_side(row["source"], source_language),
        "right": _draw_side(row["target"], language),
    }


def _draw_side(side: dict[str, Any], language: str) -> dict[str, Any]:
    return {
        "language": language,
        "direction": direction(side["text"], language),
        "drawn": draw_entities(side["text"], side["ents"], language),
    }

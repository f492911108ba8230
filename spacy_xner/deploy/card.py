"""The model card of a package: `README.md` with front matter as the hub reads it, and its picture."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

import spacy_xner
from spacy_xner.deploy.sources import annotation_of, gold_first, source_of
from spacy_xner.files import write_text
from spacy_xner.pages import render
from spacy_xner.report.figures import draw_calibration

PICTURE = "calibration.svg"
# Punctuation that means something to Markdown or HTML, anywhere or at the beginning.
_MARKS = re.compile(r"[\\`*_\[\]<>|&#!~$(){}\"'=:/@]|^[-+\d]")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def literally(text: Any) -> Markup:
    """Write text from outside on one line, so that nothing in it is Markdown or HTML."""
    line = _SPACE.sub(" ", str(text)).strip()
    return Markup(_MARKS.sub(lambda match: f"&#{ord(match[0])};", line))


def write_card(
    folder: Path, name: str, meta: Mapping[str, Any], calibration: Mapping[str, Any] | None
) -> None:
    """Write the card, and its picture if there is anything to draw.

    name: The package's name.
    meta: Metadata of `evidence.describe_pipeline`.
    calibration: The field of that name of `evaluate`.
    """
    if calibration:
        write_text(folder / PICTURE, str(draw_calibration(calibration)))
    write_text(folder / "README.md", render_card(name, meta, has_picture=bool(calibration)))


def render_card(name: str, meta: Mapping[str, Any], *, has_picture: bool = False) -> str:
    """RETURNS: Markdown."""
    labels = [(key, label) for key, row in (meta.get("labels") or {}).items() for label in row]
    values = {
        "name": name,
        "version": str(meta["version"]),
        "software": spacy_xner.__version__,
        "description": literally(meta["description"]),
        "languages": _names(meta["languages"]),
        "labels": _names(sorted({str(label) for key, label in labels if key != "language_identifier"})),
        "components": _names(meta.get("pipeline") or []),
        "clusters": [(literally(key), _names(row)) for key, row in sorted(meta["clusters"].items())],
        "licence": literally(meta["license"]),
        "data": [
            (literally(row["title"]), _names(row["sentences"]), sum(row["sentences"].values()),
             literally(row["license"] or "not known"))
            for row in meta["data"]
        ],
        "encoders": [(literally(row["name"]), literally(row["license"])) for row in meta["encoders"]],
        "further": _further_corpora(meta),
        "calibrated": _names(meta["calibrated"]),
        "scores": meta["performance"],
        "rows": [(literally(key), row) for key, row in _by_language(meta).items()],
        "corpora": _by_corpus(meta["performance"].get("ents_per_corpus", {})),
        "support": f"{sum(int(row['support']) for row in _by_language(meta).values()):,}",
        "picture": PICTURE if has_picture else "",
    }  # fmt: skip
    return str(render("card.md.jinja", Path(__file__).parent, front=_front_matter(name, meta), **values))


def _by_language(meta: Mapping[str, Any]) -> Mapping[str, Mapping[str, float]]:
    scores: Mapping[str, Mapping[str, float]] = meta["performance"].get("ents_per_language", {})
    return scores


def _further_corpora(meta: Mapping[str, Any]) -> list[tuple[Markup, Markup]]:
    """Titles and licences of what the weights go back to and were not trained on."""
    trained = {row["source"] for row in meta["data"]}
    sources = [source_of(name) for name in meta["corpora"] if name not in trained]
    return [(literally(source.title), literally(source.licence or "not known")) for source in sources]


def _by_corpus(
    scores: Mapping[str, Mapping[str, float]],
) -> list[tuple[Markup, str, Mapping[str, float]]]:
    """Corpora with how they were annotated, those of people first."""
    return [
        (literally(name), annotation_of(name) or "not stated", scores[name]) for name in gold_first(scores)
    ]


def _names(values: Any) -> str:
    return Markup(", ").join(literally(value) for value in values)


def _front_matter(name: str, meta: Mapping[str, Any]) -> Markup:
    """YAML as the hub reads it: every value is JSON, which YAML includes."""
    scores = meta["performance"]
    metrics = [
        {"name": f"NER {title}", "type": kind, "value": round(scores[key], 4)}
        for title, kind, key in (
            ("Precision", "precision", "ents_p"),
            ("Recall", "recall", "ents_r"),
            ("F Score", "f_score", "ents_f"),
        )
        if key in scores
    ]  # fmt: skip
    task = {"name": "NER", "type": "token-classification"}
    front: dict[str, Any] = {
        "tags": ["spacy", "token-classification"],
        "language": list(meta["languages"]),
        "license": meta["license"] or "other",
        "library_name": "spacy",
        "model-index": [{"name": name, "results": [{"task": task, "metrics": metrics}] if metrics else []}],
    }
    # ASCII: YAML takes some of Unicode's line ends for its own.
    return Markup("\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items()))

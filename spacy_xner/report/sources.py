"""Read the files of verbs for the report; every value is checked before it reaches the page."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import read_json, read_lines
from spacy_xner.pages import direction, draw_entities
from spacy_xner.projector.summary import Summary
from spacy_xner.report.figures import draw_calibration, draw_curves, draw_sentences
from spacy_xner.router.grouping import Grouping, read_grouping

# Titles and keys of the score tables of `evaluate`.
TABLES = (
    ("By language", "ents_per_language"),
    ("By label", "ents_per_type"),
    ("By entity length (tokens)", "ents_per_length"),
)
# Tables that are there if the reader knew the corpora.
CORPUS_TABLES = (
    ("By corpus", "ents_per_corpus"),
    ("By corpus and language", "ents_per_corpus_language"),
)


class ScoreRow(NamedTuple):
    """Scores of a language, label, length or corpus; p, r and f are shares."""

    name: str
    p: float
    r: float
    f: float
    support: int


@dataclass(frozen=True)
class Example:
    """A text with its entities drawn."""

    language: str
    direction: str
    is_right: bool
    predicted: Markup
    gold: Markup


@dataclass(frozen=True)
class Model:
    """A pipeline as `evaluate` and its training described it.

    name: Name of the metrics file, without suffix.
    scores: Entity scores of all test files (p, r, f, f_macro: shares; words_per_second); empty without any.
    tables: Titles and rows of the score tables.
    language_acc, routing_acc: Shares of right languages and clusters; None without an identifier or router.
    languages: Languages of the confusion table, gold in rows and predicted in columns.
    confusion: Numbers of texts.
    examples: Right and wrong predictions.
    curves: Figure of the training; empty without one.
    calibration: Figure of the probabilities; empty without one.
    """

    name: str
    scores: dict[str, float]
    tables: list[tuple[str, list[ScoreRow]]]
    language_acc: float | None
    routing_acc: float | None
    languages: list[str]
    confusion: list[list[int]]
    examples: list[Example]
    curves: Markup
    calibration: Markup


@dataclass(frozen=True)
class Clustering:
    """A grouping that `cluster` found, with the figure of its sentences."""

    name: str
    clusters: dict[str, list[str]]
    purity: dict[str, float]
    ties: list[str]
    figure: Markup


class RouteRow(NamedTuple):
    """A line of `compare`; f1, precision and recall in percent."""

    route: str
    f1: float
    precision: float
    recall: float
    words_per_second: float
    megabytes: float
    minutes: float
    about: str


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    reasons: Why routes have no pipeline.
    advice: Sentences on what the table means.
    """

    name: str
    routes: list[RouteRow]
    reasons: dict[str, str]
    advice: list[str]


@dataclass(frozen=True)
class Silver:
    """Counts of a corpus that `silver` made."""

    name: str
    counts: list[tuple[str, int]]


def read_model(path: Path, training: Path) -> Model:
    """Read a metrics file of `evaluate`, and the curves of the pipeline of that name if there are any.

    RAISES: XNER530.
    """
    with _named(path, "evaluate"):
        content = read_json(path)
        scores, confusion = content["scores"], content.get("confusion") or {"languages": [], "counts": []}
        has_entities = scores.get("ents_f") is not None
        totals = {key: scores[f"ents_{key}"] for key in ("p", "r", "f", "f_macro")} if has_entities else {}
        if has_entities:
            totals["words_per_second"] = scores["words_per_second"]
        return Model(
            path.stem,
            {key: _number(value) for key, value in totals.items()},
            _score_tables(scores) if has_entities else [],
            _share(scores.get("language_acc")),
            _share(scores.get("routing_acc")),
            [str(language) for language in confusion["languages"]],
            [[_count(n) for n in row] for row in confusion["counts"]],
            [_draw_example(row) for row in content["examples"]],
            _read_curves(training / path.stem / "curves.jsonl"),
            # Files of earlier versions have none.
            draw_calibration(content["calibration"]) if content.get("calibration") else Markup(),
        )


def read_clustering(path: Path) -> Clustering:
    """Read a grouping of `cluster`, and `figure1.json` beside it. RAISES: XNER403, XNER530."""
    grouping: Grouping = read_grouping(path)
    with _named(path, "cluster"):
        purity = {language: _number(grouping.about["purity"][language]) for language in grouping.languages}
        ties = [str(language) for language in grouping.about.get("ties", [])]
    figure = path.with_name("figure1.json")
    drawn = Markup()
    if figure.exists():
        with _named(figure, "cluster --figure"):
            drawn = draw_sentences(read_json(figure))
    return Clustering(f"{path.parent.name}/{path.stem}", grouping.clusters, purity, ties, drawn)


def read_comparison(path: Path) -> Comparison:
    """Read `compare.json`. RAISES: XNER530."""
    with _named(path, "compare"):
        content = read_json(path)
        numbers = ("f1", "precision", "recall", "words_per_second", "megabytes", "minutes")
        rows = [
            RouteRow(
                route=str(row["route"]),
                about=str(row["about"]),
                **{key: _number(row[key]) for key in numbers},
            )
            for row in sorted(content["routes"], key=lambda row: -_number(row["f1"]))
        ]
        reasons = {str(route): str(reason) for route, reason in content["reasons"].items()}
        return Comparison(path.parent.name, rows, reasons, [str(line) for line in content["advice"]])


def read_silver(path: Path) -> Silver:
    """Read the summary of a silver corpus. RAISES: XNER530."""
    with _named(path, "silver"):
        counts = Summary.from_json(read_json(path)).counts.rows()
        return Silver(path.stem, [(title, _count(n)) for title, n in counts])


@contextmanager
def _named(path: Path, verb: str) -> Iterator[None]:
    """Turn what a file of another kind raises into one coded error."""
    try:
        yield
    except XnerError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise XnerError(Errors.XNER530.format(path=path, verb=verb, reason=repr(error))) from error


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _count(value: Any) -> int:
    return int(_number(value))


def _share(value: Any) -> float | None:
    return None if value is None else _number(value)


def _score_tables(scores: Mapping[str, Any]) -> list[tuple[str, list[ScoreRow]]]:
    """Rows by title of the table."""
    tables = [*TABLES, *((title, key) for title, key in CORPUS_TABLES if scores.get(key))]
    return [(title, _score_rows(scores[key])) for title, key in tables]


def _score_rows(scores: Mapping[str, Mapping[str, Any]]) -> list[ScoreRow]:
    return [
        ScoreRow(str(name), _number(row["p"]), _number(row["r"]), _number(row["f"]), _count(row["support"]))
        for name, row in scores.items()
    ]


def _draw_example(row: Mapping[str, Any]) -> Example:
    text, language = str(row["text"]), str(row["language"])
    return Example(
        language,
        direction(text, language),
        bool(row["right"]),
        draw_entities(text, row["predicted"], language),
        draw_entities(text, row["gold"], language),
    )


def _read_curves(path: Path) -> Markup:
    if not path.exists():
        return Markup()
    with _named(path, "train"):
        lines = read_lines(path)
        return draw_curves(lines) if lines else Markup()

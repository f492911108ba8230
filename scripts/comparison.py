"""What `compare.py` says about its routes: the choice of an evaluation, a table, advice. Pure functions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from spacy_xner.significance import Comparison, bootstrap

from tables import choose, to_markdown

# Labels of the target: the upper line, which is no route.
UPPER_BOUND = "supervised"
# What a fast pipeline may cost, and how fast it has to be to be worth a word. Unit: F1 in percent; a ratio.
CHEAP, FAST = 3.0, 5.0
HEADER = ("", "F1", "F1, source dev", "F1, target dev", "P", "R", "words/s", "MB", "minutes", "learns from")
N_SCORES = len(HEADER) - 2


class Row(NamedTuple):
    """A route with its pipeline. Units: F1, precision and recall in percent, minutes of all its work.

    f1: Of the pipeline on disk, as precision and recall. f1_source_dev, f1_target_dev: At the evaluation that
        this dev set chooses; None without one. target_dev: That of the target's dev set itself there.
    """

    route: str
    about: str
    f1: float
    f1_source_dev: float
    f1_target_dev: float | None
    target_dev: float | None
    precision: float
    recall: float
    words_per_second: float
    megabytes: float
    minutes: float


def make_row(result: dict[str, Any], measured: dict[str, Any]) -> Row:
    """Make a row of a route's result and of what was measured of its pipeline."""
    epochs = result["epochs"]
    on_target = on_dev = None
    if all(epoch["target_dev"] is not None for epoch in epochs):
        best = epochs[choose([epoch["target_dev"] for epoch in epochs])]
        on_target, on_dev = 100 * best["test"]["f"], 100 * best["target_dev"]
    n_right, n_found, n_gold = numpy.sum(measured["counts"], axis=0).tolist()
    about = result["about"] if result["chosen"] else f"{result['about']}; best before its training"
    return Row(
        result["route"],
        about,
        f1=200 * n_right / max(1, n_found + n_gold),
        f1_source_dev=100 * epochs[choose([epoch["source_dev"] for epoch in epochs])]["test"]["f"],
        f1_target_dev=on_target,
        target_dev=on_dev,
        precision=100 * n_right / max(1, n_found),
        recall=100 * n_right / max(1, n_gold),
        words_per_second=measured["words_per_second"],
        megabytes=measured["megabytes"],
        minutes=result["seconds"] / 60,
    )


def compare_with_best(rows: Sequence[Row], counts: Mapping[str, Any]) -> dict[str, Comparison]:
    """Compare the best route with the other ones on the same sentences.

    counts: Right, predicted and gold entities of every sentence, by route.
    """
    ranked = rank(rows)
    if not ranked:
        return {}
    own = numpy.array(counts[ranked[0].route], dtype="float64")
    return {
        row.route: bootstrap([own], [numpy.array(counts[row.route], dtype="float64")]) for row in ranked[1:]
    }


def rank(rows: Sequence[Row]) -> list[Row]:
    """The routes without labels of the target, the best first."""
    return sorted((row for row in rows if row.route != UPPER_BOUND), key=lambda row: -row.f1)


def tabulate(rows: Sequence[Row], reasons: Mapping[str, str]) -> list[list[str]]:
    """Lines of the table, the best route first, then those without a pipeline and why."""
    fastest = max((row.words_per_second for row in rows), default=1.0)
    upper = [row for row in rows if row.route == UPPER_BOUND]
    lines = [
        [
            row.route,
            f"{row.f1:.1f}",
            f"{row.f1_source_dev:.1f}",
            "–" if row.f1_target_dev is None else f"{row.f1_target_dev:.1f}",
            f"{row.precision:.1f}",
            f"{row.recall:.1f}",
            f"{row.words_per_second:,.0f} ({100 * row.words_per_second / fastest:.0f} %)",
            f"{row.megabytes:.0f}",
            f"{row.minutes:.1f}",
            row.about,
        ]
        for row in [*rank(rows), *upper]
    ]
    return lines + [[name, *["–"] * N_SCORES, reason] for name, reason in reasons.items()]


def advise(
    rows: Sequence[Row], differences: Mapping[str, Comparison], n_sentences: int, target: str
) -> list[str]:
    """Say in sentences what the table means.

    differences: Of the best route from the other ones. n_sentences: Of the test set.
    """
    ranked = rank(rows)
    bounds = [f"With labels in {target} it is {row.f1:.1f}." for row in rows if row.route == UPPER_BOUND]
    if not ranked:
        return [
            f"No route without labels in {target} has a pipeline: the last column says why.",
            *bounds,
        ]
    best, *others = ranked
    lines = [f"Without labels in {target}, take `{best.route}`: F1 {best.f1:.1f}."]
    alike = [row for row in others if differences[row.route].low <= 0]
    if alike:
        names = " or ".join(f"`{row.route}` ({row.f1:.1f})" for row in alike)
        lines.append(f"{n_sentences:,} test sentences cannot tell it from {names}.")
    fast = [row for row in others if row.words_per_second >= FAST * best.words_per_second]
    if fast:
        row = max(fast, key=lambda row: (best.f1 - row.f1 <= CHEAP, row.f1))
        times = f"{row.words_per_second / best.words_per_second:.0f} times as fast"
        loss = best.f1 - row.f1
        lines.append(
            f"`{row.route}` is {times} with {row.megabytes:.0f} MB, and {loss:.1f} F1 worse: "
            + ("take it where speed counts." if loss <= CHEAP else "only where nothing else fits.")
        )
    other = max(ranked, key=lambda row: row.target_dev or 0.0)
    gain = (other.f1_target_dev or 0.0) - best.f1
    if gain >= 1:
        lines.append(f"A labelled dev set would have chosen `{other.route}`, {gain:.1f} F1 better.")
    return lines + bounds


def markdown(lines: Sequence[Sequence[str]], advice: Sequence[str], conditions: str) -> str:
    """The table, the advice and the conditions as Markdown."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join([*to_markdown(HEADER, cells), "", " ".join(advice), "", conditions, ""])


def describe_conditions(settings: Mapping[str, Any], n_sentences: int) -> str:
    """One sentence on how the table came about."""
    minutes = settings["minutes"]
    budget = f"{minutes:g} minutes of training steps a route" if minutes else "trained to convergence"
    limit = f"{settings['limit']:,} labelled sentences a language" if settings["limit"] else "all labels"
    corpora = settings["source"] or "all corpora"
    return (
        f"{settings['language']} to {settings['target']}, {corpora}: {limit}, {budget}, "
        f"{Path(settings['encoder']).name}, seed {settings['seed']}, {n_sentences:,} test sentences. "
        "F1 is that of the pipeline on disk: the best on the source's dev set, or the last one where a route "
        "goes on with the target's text. Speed is that of one process."
    )

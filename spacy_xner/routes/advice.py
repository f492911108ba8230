"""The table of a comparison and the advice that follows from it. Pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from spacy_xner.runs import choose
from spacy_xner.significance import Comparison, bootstrap

# Training on the target's labels: the upper bound, which is never recommended.
UPPER_BOUND = "supervised"
# A pipeline is called fast if it is this many times as fast as the best one.
FAST = 5.0
# A fast pipeline is recommended if it loses no more than this. Unit: F1 in percent.
CHEAP = 3.0
HEADER = ("", "F1", "F1, source dev", "F1, target dev", "P", "R", "words/s", "MB", "minutes", "learns from")
N_SCORES = len(HEADER) - 2


class Row(NamedTuple):
    """A route with its pipeline. Units: F1, precision and recall in percent, minutes of all its work.

    f1, precision, recall: Test scores of the pipeline on disk.
    f1_source_dev: Test F1 at the evaluation that the source's dev set chooses.
    f1_target_dev: Test F1 at the evaluation that the target's dev set chooses; None without such a set.
    target_dev: F1 on the target's dev set at that evaluation; None without such a set.
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
    """Make a row of a route's result file and the measures of its pipeline (`measure_pipeline`)."""
    epochs = result["epochs"]
    on_target = on_dev = None
    if all(epoch["target_dev"] is not None for epoch in epochs):
        best = epochs[choose([epoch["target_dev"] for epoch in epochs])]
        on_target, on_dev = 100 * best["test"]["f"], 100 * best["target_dev"]
    n_right, n_predicted, n_gold = numpy.sum(measured["counts"], axis=0).tolist()
    about = result["about"] if result["chosen"] else f"{result['about']}; best before its training"
    return Row(
        result["route"],
        about,
        f1=200 * n_right / max(1, n_predicted + n_gold),
        f1_source_dev=100 * epochs[choose([epoch["source_dev"] for epoch in epochs])]["test"]["f"],
        f1_target_dev=on_target,
        target_dev=on_dev,
        precision=100 * n_right / max(1, n_predicted),
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
    arrays = {row.route: numpy.array(counts[row.route], dtype="float64") for row in ranked}
    best, *others = ranked
    return {row.route: bootstrap([arrays[best.route]], [arrays[row.route]]) for row in others}


def rank(rows: Sequence[Row]) -> list[Row]:
    """The routes without labels of the target, the best first."""
    return sorted((row for row in rows if row.route != UPPER_BOUND), key=lambda row: -row.f1)


def tabulate(rows: Sequence[Row], reasons: Mapping[str, str]) -> list[list[str]]:
    """Fill the lines of the table: the best route first, in the end those without a pipeline and why.

    reasons: Why a route has no pipeline, by route.
    """
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

    differences: Differences of the best route from each of the other ones.
    n_sentences: Size of the test set.
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
    """Write the table, the advice and the conditions as Markdown."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join([*to_markdown(HEADER, cells), "", " ".join(advice), "", conditions, ""])


def to_markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def describe_conditions(settings: Mapping[str, Any], n_sentences: int) -> str:
    """Say under which conditions the table came about."""
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

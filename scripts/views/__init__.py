"""The tables of every kind of experiment, from its result files. Pure functions; no torch, no spaCy."""

from collections.abc import Callable
from pathlib import Path

from scripts.results import Result, read_description, read_results, settings_of
from scripts.tables import Table, span, summarize
from scripts.views import clusters, corpora, joint, lexical, sources, students, transfer, zero_shot


def tables_of(folder: Path) -> list[Table]:
    """All tables that the finished runs of an experiment allow. RAISES: XNER806, XNER815."""
    described, results = read_description(folder), read_results(folder)
    return VIEWS[described["kind"]](folder, results) if results else []


def _teachers(folder: Path, results: list[Result]) -> list[Table]:
    best = [100 * max(epoch["source_dev"] for epoch in result["curve"]) for result in results]
    steps = span(result["steps"] for result in results)
    row = [f"{len(best)} seeds", str(summarize(best)), steps]
    return [Table("Teachers", ["", "source dev F1", "steps"], [row])]


def _transfer(folder: Path, results: list[Result]) -> list[Table]:
    chooses = bool(settings_of(results[0])["candidates"])
    return (sources if chooses else transfer).tables(folder, results)


VIEWS: dict[str, Callable[[Path, list[Result]], list[Table]]] = {
    "identifier": clusters.tables_of_identifier,
    "joint": joint.tables,
    "zero_shot": zero_shot.tables,
    "clusters": clusters.tables,
    "corpora": corpora.tables,
    "teachers": _teachers,
    "students": students.tables,
    "lexical": lexical.tables,
    "transfer": _transfer,
}

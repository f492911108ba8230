"""Tables of the choice of sources: F1 by their number, from each one alone, and how they are ranked."""

from pathlib import Path
from statistics import mean

from scripts.recipes import reading_of
from scripts.results import Result, settings_of
from scripts.tables import Cell, Table, embolden, summarize
from scripts.views.transfer import headline_mean, rank_correlation, scores_of


def tables(folder: Path, results: list[Result]) -> list[Table]:
    """F1 by number of chosen sources, or from each source alone."""
    if settings_of(results[0])["choose"]:
        return [_table_of_choices(results)]
    return [_table_of_single_sources(results), _table_of_rankings(results)]


def _table_of_choices(results: list[Result]) -> Table:
    """F1 by number of sources that the identifier chose."""
    runs: dict[int, dict[str, list[float]]] = {}
    for result in results:
        target = result["targets"][0]
        f1 = headline_mean((result, reading_of(settings_of(result)["parts"])))
        runs.setdefault(settings_of(result)["choose"], {}).setdefault(target, []).append(f1)
    targets = sorted({target for by_target in runs.values() for target in by_target})
    columns = [
        embolden(summarize(by_target.get(target, ())) for _, by_target in sorted(runs.items()))
        for target in targets
    ]
    rows = [[str(n), *row] for n, row in zip(sorted(runs), zip(*columns, strict=True), strict=True)]
    labels = settings_of(results[0])["labels"]
    title = f"F1 by number of sources, nearest first, {labels:,} labelled sentences together"
    order = [", ".join(list(_nearness(results, target))[:10]) for target in targets]
    return Table(title, ["sources", *targets], [*rows, ["nearest", *order]])


def _nearness(results: list[Result], target: str) -> dict[str, float]:
    """The candidates of a target, nearest first."""
    nearness: dict[str, float] = next(r["nearness"][target] for r in results if target in r["nearness"])
    return nearness


def _from_one(results: list[Result]) -> dict[str, dict[str, float]]:
    """F1 by target and the one source that was learnt from, the mean of seeds."""
    values: dict[str, dict[str, list[float]]] = {}
    for result in results:
        [source] = result["languages"]
        for target, f1 in scores_of(result, reading_of(settings_of(result)["parts"])).items():
            values.setdefault(target, {}).setdefault(source, []).append(f1)
    return {
        target: {s: mean(f1) for s, f1 in by_source.items()} for target, by_source in sorted(values.items())
    }


def _table_of_single_sources(results: list[Result]) -> Table:
    """F1 by source and target."""
    f1 = _from_one(results)
    sources = sorted({source for by_source in f1.values() for source in by_source})
    cells = [
        embolden(Cell(by_source[s], 0.0, 1) if s in by_source else None for s in sources)
        for by_source in f1.values()
    ]
    rows = [[source, *row] for source, row in zip(sources, zip(*cells, strict=True), strict=True)]
    return Table("F1 from one source", ["source", *f1], rows)


def _table_of_rankings(results: list[Result]) -> Table:
    """How well the identifier's vectors rank the sources of a target."""
    rows = []
    for target, by_source in _from_one(results).items():
        order = [source for source in _nearness(results, target) if source in by_source]
        ranked = [by_source[source] for source in order]
        rho = rank_correlation([-place for place in range(len(order))], ranked)
        best = max(by_source, key=by_source.__getitem__)
        rows.append([
            target, "–" if rho is None else f"{rho:.2f}", order[0], f"{ranked[0]:.1f}", best,
            f"{by_source[best]:.1f}", f"{by_source['en']:.1f}" if "en" in by_source else "–",
        ])  # fmt: skip
    header = ["target", "rank correlation", "nearest", "its F1", "best", "its F1", "F1 from en"]
    return Table("Sources ranked by the identifier's vectors, and by F1", header, rows)

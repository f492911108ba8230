"""Tables of runs that leave a corpus out."""

from collections.abc import Iterable
from pathlib import Path

from scripts.results import Result, settings_of
from scripts.tables import Cell, Table, embolden, span, summarize

# Columns by what a run left out; the second is the run that left out the row's own corpus.
HEADER = ("", "{base} alone", "all but this corpus", "all", "entities")


def tables(folder: Path, results: list[Result]) -> list[Table]:
    """F1 on every test set when nothing of its corpus was learnt; by corpus, and by corpus and language."""
    settings = settings_of(results[0])
    base = settings["base"]
    # The base is learnt by all runs.
    names = [name for name in settings["tests"] if name != base]
    header = [name.format(base=base) for name in HEADER]
    steps = span(result["steps"] for result in results)
    title = f"F1 on corpora of which nothing was learnt; {steps} steps"
    by_corpus = {(name, ""): name for name in names}
    pairs = sorted({(row["source"], row["language"]) for result in results for row in result["scores"]})
    by_language = {(name, lang): f"{name} {lang}" for name, lang in pairs if lang and name in names}
    return [
        Table(title, header, _rows(by_corpus, results, with_mean=True)),
        Table("By corpus and language", header, _rows(by_language, results, with_mean=False)),
    ]


def _rows(places: dict[tuple[str, str], str], results: list[Result], *, with_mean: bool) -> list[list[str]]:
    """A row a test set. places: Its name by corpus and language, empty for all languages."""
    rows, columns = [], []
    for (corpus, language), name in places.items():
        learnable = corpus in settings_of(results[0])["corpora"]
        cells = [
            _cell(results, corpus, language, "*"),
            _cell(results, corpus, language, corpus if learnable else ""),
            _cell(results, corpus, language, "") if learnable else None,
        ]
        sizes = {int(row["support"]) for result in results for row in _scored(result, corpus, language)}
        rows.append([name, *embolden(cells), f"{max(sizes, default=0):,}"])
        columns.append(cells[:2])
    complete = [pair for pair in columns if all(pair)]
    if with_mean and complete and len(complete) == len(columns):
        alone, left_out = (summarize([_mean_of(pair[i]) for pair in complete]) for i in (0, 1))
        means = [None if cell is None else Cell(cell.mean, 0.0, 1) for cell in (alone, left_out)]
        rows.append(["mean", *embolden(means), "", ""])
    return rows


def _mean_of(cell: Cell | None) -> float:
    return 0.0 if cell is None else cell.mean


def _scored(result: Result, corpus: str, language: str) -> Iterable[Result]:
    return (row for row in result["scores"] if (row["source"], row["language"]) == (corpus, language))


def _cell(results: list[Result], corpus: str, language: str, held_out: str) -> Cell | None:
    return summarize(
        100 * row["f"]
        for result in results
        if settings_of(result)["held_out"] == held_out
        for row in _scored(result, corpus, language)
    )

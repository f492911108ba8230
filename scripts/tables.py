"""Tables over seeds from the long table: means and deviations, paired gains, Markdown. Pure functions."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import pandas

from spacy_xner.routes.advice import to_markdown

AVERAGE = "mean"
# A frame whose elements are cells or None; its index has the labels of the rows.
Cells: TypeAlias = pandas.DataFrame
Frame: TypeAlias = pandas.DataFrame
Order = Callable[[tuple[Any, ...]], Any]


class Cell(NamedTuple):
    """A score over seeds. Units: F1 in percent; the deviation of one seed is 0."""

    mean: float
    deviation: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.1f}" + (f" ({self.deviation:.1f})" if self.n > 1 else "")

    @property
    def signed(self) -> str:
        """The cell as a difference."""
        return f"{self.mean:+.1f}" + (f" ({self.deviation:.1f})" if self.n > 1 else "")


class Table(NamedTuple):
    """A table as it is shown, cells as text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> list[str]:
        """Lines of Markdown, the title above the table."""
        title = [f"**{self.title}**", ""] if self.title else []
        return [*title, *to_markdown(self.header, self.rows), ""]


def summarize(values: Iterable[float]) -> Cell | None:
    """Mean and standard deviation over seeds, in percent; None without any."""
    series = pandas.Series(list(values), dtype="float64").dropna()
    if series.empty:
        return None
    return Cell(float(series.mean()), float(series.std()) if len(series) > 1 else 0.0, len(series))


def by_seed(
    frame: pandas.DataFrame, rows: Sequence[str], column: str = "set", *, average: bool = True
) -> pandas.DataFrame:
    """F1 by row labels and seed, a column a value of `column`, and their mean where all of them are there."""
    index = [*rows, "seed"]
    table = frame.pivot_table(index=index, columns=column, values="f", aggfunc="mean", observed=True)
    # Columns in an order of their own are categories, which would refuse the mean.
    table.columns = table.columns.astype(object)
    if average and len(table.columns) > 1:
        table[AVERAGE] = table.mean(axis=1, skipna=False)
    return table


def pivot(
    frame: pandas.DataFrame,
    rows: Sequence[str],
    column: str = "set",
    order: Order | None = None,
    *,
    average: bool = True,
) -> Cells:
    """Cells by row labels and column over seeds.

    order: Sorts the row labels.
    average: Add a column with the mean of the others.
    """
    return _over_seeds(by_seed(frame, rows, column, average=average), rows, order)


def gains(
    frame: pandas.DataFrame,
    rows: Sequence[str],
    baseline: tuple[Any, ...],
    column: str = "set",
    order: Order | None = None,
    *,
    average: bool = True,
) -> Cells:
    """Differences from the baseline's run with the same seed. baseline: Row labels."""
    scores = by_seed(frame, rows, column, average=average)
    labels = scores.index.droplevel("seed")
    is_base = [_as_tuple(label) == baseline for label in labels]
    base = scores[is_base].droplevel(list(rows))
    rest = scores[[not is_same for is_same in is_base]]
    paired = rest - base.reindex(rest.index.get_level_values("seed")).to_numpy()
    return _over_seeds(paired, rows, order)


def _over_seeds(scores: pandas.DataFrame, rows: Sequence[str], order: Order | None) -> Cells:
    groups = {_as_tuple(label): group for label, group in scores.groupby(level=list(rows))}
    labels = sorted(groups, key=order) if order else list(groups)
    content = {label: [summarize(groups[label][name]) for name in scores.columns] for label in labels}
    return pandas.DataFrame(
        list(content.values()),
        index=pandas.Index(labels, tupleize_cols=False),
        columns=[str(name) for name in scores.columns],
        dtype=object,
    )


def _as_tuple(label: Hashable) -> tuple[Any, ...]:
    return label if isinstance(label, tuple) else (label,)


def steps_of(frame: pandas.DataFrame, rows: Sequence[str]) -> dict[tuple[Any, ...], str]:
    """Optimizer steps of the runs behind each row: one number, or the fewest and the most."""
    return {
        _as_tuple(label): span(group["steps"])
        for label, group in frame.groupby(list(rows), observed=True, sort=False)
    }


def span(values: Iterable[float]) -> str:
    """The value of all, or the least and the greatest one."""
    numbers = [int(value) for value in values]
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def embolden(cells: Iterable[Cell | None]) -> list[str]:
    """Show cells that stand side by side, the best of them bold."""
    cells = list(cells)
    best = max((cell.mean for cell in cells if cell), default=0.0)
    return ["–" if cell is None else f"**{cell}**" if cell.mean >= best else str(cell) for cell in cells]


def show(
    title: str,
    cells: Cells,
    steps: dict[tuple[Any, ...], str] | None = None,
    *,
    best: str = "column",
    signed: bool = False,
    label: Callable[[tuple[Any, ...]], str] = lambda row: ", ".join(map(str, row)),
) -> Table:
    """Turn cells into a table, with a last column of steps.

    best: The best cell of every "column" or "row" is bold; "" for none.
    signed: Cells are differences.
    label: Names a row.
    """
    grid = [[None if pandas.isna(_mean(cell)) else cell for cell in row] for row in cells.to_numpy()]
    if signed or not best:
        shown = [["–" if c is None else c.signed if signed else str(c) for c in row] for row in grid]
    elif best == "row":
        shown = [embolden(row) for row in grid]
    else:
        shown = [list(row) for row in zip(*map(embolden, zip(*grid, strict=True)), strict=True)]
    rows = [[label(row), *line] for row, line in zip(cells.index, shown, strict=True)]
    header = ["", *map(str, cells.columns)]
    if steps is not None:
        header.append("steps")
        rows = [[*line, steps.get(row, "–")] for row, line in zip(cells.index, rows, strict=True)]
    return Table(title, header, rows)


def _mean(cell: Cell | float | None) -> float | None:
    return cell.mean if isinstance(cell, Cell) else None

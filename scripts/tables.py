"""What the tables and figures of all experiments are made of."""

from collections.abc import Iterable, Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple

from spacy_xner.routes.advice import to_markdown
from spacy_xner.routes.settings import choose  # noqa: F401


class Cell(NamedTuple):
    """A score over seeds. Units: F1 in percent; the deviation of one seed is 0."""

    mean: float
    deviation: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.1f}" + (f" ({self.deviation:.1f})" if self.n > 1 else "")


def summarize(values: Sequence[float]) -> Cell | None:
    """Mean and standard deviation of F1 over seeds; None without any."""
    percents = [100 * value for value in values]
    if not percents:
        return None
    return Cell(mean(percents), stdev(percents) if len(percents) > 1 else 0.0, len(percents))


def embolden(cells: Iterable[Cell | None]) -> list[str]:
    """Show cells side by side, the best of them bold."""
    cells = list(cells)
    best = max((cell.mean for cell in cells if cell), default=0.0)
    return ["–" if cell is None else f"**{cell}**" if cell.mean >= best else str(cell) for cell in cells]


def titled(title: str, table: dict[str, dict[str, Cell | None]]) -> list[str]:
    """Lines of a table of scores under its title, the best of every column bold."""
    header = ["", *next(iter(table.values()))]
    columns = [embolden(row[column] for row in table.values()) for column in header[1:]]
    rows = [[name, *cells] for name, cells in zip(table, zip(*columns, strict=True), strict=True)]
    return [f"**{title}**", "", *to_markdown(header, rows), ""]


def make_panels(names: Sequence[str], *, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """Make a figure with a titled panel a name. RETURNS: Figure, panels."""
    from matplotlib import pyplot as plt

    n_rows = -(-len(names) // columns)
    figure, axes = plt.subplots(n_rows, columns, figsize=(width, height * n_rows), squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    for axis, name in zip(axes.flat, names, strict=False):
        axis.set(title=name)
    return figure, list(axes.flat[: len(names)])

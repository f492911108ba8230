"""Tables of joint and monolingual runs. SOURCE: Moon et al. 2019, Table 1."""

from pathlib import Path
from typing import Any

from scripts.results import ALL, Result, long_table
from scripts.tables import Table, pivot, show, steps_of


def tables(folder: Path, results: list[Result]) -> list[Table]:
    """F1 on the tests, and on the dev sets at the chosen epoch."""
    rows = ["trained_on", "frozen"]
    frame = long_table(results)
    frame = frame[frame.label == ALL]
    seen = [row.language in (row.languages if row.trained_on == ALL else row.trained_on).split("+")
            for row in frame.itertuples()]  # fmt: skip
    frame = frame.assign(group=["seen" if is_seen else "unseen" for is_seen in seen])
    tables = []
    for split in ("test", "dev"):
        of_split = frame[frame.split == split]
        cells = pivot(of_split, rows, "language", average=False)
        groups = pivot(of_split, rows, "group", average=False).add_prefix("mean ")
        title = f"{split} F1; languages that a run has labels of are seen"
        tables.append(
            show(title.capitalize(), cells.join(groups), steps_of(of_split, rows), label=_trained_on)
        )
    return tables


def _trained_on(row: tuple[Any, ...]) -> str:
    return f"{row[0]}, {row[1]} frozen"

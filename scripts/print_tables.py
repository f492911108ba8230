"""Print the tables of an experiment as Markdown, as they stand in docs/results.md."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

import groupings
import silver
import transfer

# Each experiment is known by the file that it writes beside its runs.
EXPERIMENTS: dict[str, Callable[[Path], str]] = {
    "plan.json": groupings.markdown,
    "risk.json": transfer.markdown,
    silver.CORPORA: silver.markdown,
}


def main(
    folder: Annotated[
        Path, typer.Argument(help="Folder of runs of clusters.py, zero_shot.py or students.py.")
    ],
) -> None:
    """Print all tables that the finished runs of a folder allow. The report page has the figures too."""
    mark = next((mark for mark in EXPERIMENTS if (folder / mark).exists()), None)
    if mark is None:
        msg.fail(f"{folder} has none of {', '.join(EXPERIMENTS)}: no experiment has been run there", exits=1)
    else:
        typer.echo(EXPERIMENTS[mark](folder))


if __name__ == "__main__":
    typer.run(main)

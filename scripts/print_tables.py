"""Print the tables of an experiment as Markdown, as they stand in docs/results.md."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

import groupings
import parts
import silver
import transfer
from runs import CORPORA, JOINT, PARTS, PLAN, RISKS, kind_of, read_results

EXPERIMENTS: dict[str, Callable[[Path], str]] = {
    PLAN: groupings.markdown,
    RISKS: transfer.markdown,
    CORPORA: silver.markdown,
    PARTS: parts.markdown,
}


def main(
    folder: Annotated[
        Path, typer.Argument(help="Folder of runs of clusters.py, zero_shot.py, students.py or bilstm.py.")
    ],
) -> None:
    """Print all tables that the finished runs of a folder allow. The report page has the figures too."""
    kind = kind_of(folder)
    if kind is None:
        msg.fail(f"{folder} has none of {', '.join(EXPERIMENTS)}: no experiment has been run there", exits=1)
    elif kind == JOINT:
        msg.fail(f"{folder} has runs of joint.py: report.py has their table", exits=1)
    elif not read_results(folder):
        msg.fail(f"{folder} has no finished run yet", exits=1)
    else:
        typer.echo(EXPERIMENTS[kind](folder))


if __name__ == "__main__":
    typer.run(main)

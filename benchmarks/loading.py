"""Seconds that a pipeline takes to load, with the checks of its files and without them, in turns.

The least seconds of the processor count, which other work on the machine lengthens least. The files are in
the system's cache after the first turn: on a cold disk the checks weigh less.

python benchmarks/loading.py training/xner --out benchmarks/results/loading.json
"""

import gc
import shlex
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))

import spacy
import typer
from record import Record, Table

# The functions that compare content: checksums, and the search for numbers that are not finite.
CHECKS = (
    "spacy_xner.storage.Manifest.check",
    "spacy_xner.stored.check_vectors",
    "spacy_xner.shim.check_finite",
    "spacy_xner.netfile.check_finite",
    "spacy_xner.trunk.check_part",
)


def main(
    pipeline: Annotated[Path, typer.Argument(help="Folder of a pipeline.")],
    rounds: Annotated[int, typer.Option(min=1, help="Loads of each kind.")] = 7,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Load a pipeline with and without the checks of its content."""
    record = Record(shlex.join(["python", "benchmarks/loading.py", *sys.argv[1:]]), "")
    spend(pipeline)
    spent: dict[str, list[float]] = {"with checks": [], "without": []}
    for _ in range(rounds):
        spent["without"].append(spend_unchecked(pipeline))
        spent["with checks"].append(spend(pipeline))
    least = {name: min(seconds) for name, seconds in spent.items()}
    rows = [
        [name, f"{seconds:.2f}", f"{100 * (seconds / least['without'] - 1):+.1f} %"]
        for name, seconds in least.items()
    ]
    table = Table("Seconds of the processor to load a pipeline", ["", "seconds", "more"], rows)
    print("\n".join(table.markdown()))
    if out is not None:
        megabytes = sum(file.stat().st_size for file in pipeline.rglob("*") if file.is_file()) / 1e6
        note = f"A pipeline of {megabytes:,.0f} MB, {rounds} turns of which the best counts."
        record.write(out, [table], note, seconds=spent)


def spend(pipeline: Path) -> float:
    """Load a pipeline. RETURNS: Seconds of the processor."""
    # Layers that components share are not read again while an earlier pipeline lives.
    gc.collect()
    start = time.process_time()
    spacy.load(pipeline)
    return time.process_time() - start


def spend_unchecked(pipeline: Path) -> float:
    """Load a pipeline without looking at the content of its files. RETURNS: Seconds of the processor."""
    with ExitStack() as stack:
        for check in CHECKS:
            stack.enter_context(patch(check))
        return spend(pipeline)


if __name__ == "__main__":
    typer.run(main)

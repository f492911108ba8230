"""The group of verbs, the options that several of them have alike, and the table of precisions."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import group

if TYPE_CHECKING:
    from spacy_xner.vectors.mapping import Precision

vectors = group(
    "vectors", "Word vectors: train or distil them, map languages into one space, measure, merge."
)

SourceTable = Annotated[Path, typer.Argument(exists=True, help="Table of the source language.")]
TargetTable = Annotated[Path, typer.Argument(exists=True, help="Table of the target language.")]
Limit = Annotated[int, typer.Option(help="Read the first words of a table only; 0 reads all.")]
Reverse = Annotated[bool, typer.Option(help="The dictionary goes from target to source.")]
Skip = Annotated[int, typer.Option(help="Entries to leave out of the measure: MUSE's 5,000 for training.")]
Measured = Annotated[int, typer.Option(help="Number of entries to measure by.")]
Weighting = Annotated[float, typer.Option(help="Power of the weighting of directions; 0 gives a rotation.")]
Spelling = Annotated[
    float, typer.Option(min=0, help="Weight of similar spelling when dictionaries are induced; 0 ignores it.")
]
MeasuredBy = Annotated[Path | None, typer.Option(exists=True, help="Pairs to measure by, no more.")]
Initialisers = Annotated[str, typer.Option(help="Starts to try.")]
AdversarySettings = Annotated[
    str,
    typer.Option(
        help="Settings of the adversary: NAME=VALUE with commas between, or 'conneau', the paper's."
    ),
]
Consensus = Annotated[
    int, typer.Option(min=0, help="Starts that must share a pair for the last map; 0 takes the best's pairs.")
]


def show_precision(measured: "Mapping[str, Precision]", n_entries: int) -> None:
    """Print precision by cosine and by CSLS."""
    last = measured["CSLS"]
    if not last.n_words:
        msg.warn(
            f"Nothing to measure by: {n_entries} entries, none with vectors of both. Is --skip too many?"
        )
        return
    at = last.by_neighbours
    rows = [
        (name, *(f"{100 * share:.1f}" for share in result.by_neighbours.values()))
        for name, result in measured.items()
    ]
    msg.table(rows, header=("", *(f"P@{n}" for n in at)), divider=True, aligns=["l", *"r" * len(at)])
    msg.info(f"{last.n_words:,} words, {100 * last.coverage:.0f} % of the entries")

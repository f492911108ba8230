"""`spacy xner vectors map`: one space for two languages, without a dictionary."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.options import split_names
from spacy_xner.cli.vectors.options import (
    AdversarySettings,
    Consensus,
    Initialisers,
    Limit,
    Measured,
    MeasuredBy,
    Reverse,
    Skip,
    SourceTable,
    Spelling,
    TargetTable,
    Weighting,
    show_precision,
    vectors,
)

if TYPE_CHECKING:
    from spacy_xner.vectors.judge import Unsupervised


@verb("map", vectors)
def map_cli(
    source: SourceTable,
    target: TargetTable,
    out: Annotated[Path, typer.Argument(help="Folder for both tables and verdict.json, or failed.json.")],
    initialisers: Initialisers = "identical,cognates,distributions,adversarial",
    restarts: Annotated[int, typer.Option(help="Number of adversarial starts in each direction.")] = 2,
    explored: Annotated[
        int, typer.Option(help="Words of the stochastic dictionary induction; 0 leaves it out.")
    ] = 4000,
    adversary: AdversarySettings = "",
    consensus: Consensus = 2,
    weighting: Weighting = 0.25,
    spelling: Spelling = 0.2,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    dictionary: MeasuredBy = None,
    reverse: Reverse = False,
    skip: Skip = 5000,
    n_test: Measured = 1500,
    min_words: Annotated[int, typer.Option(help="Words that either table must have.")] = 5000,
    limit: Limit = 200_000,
) -> None:
    """Map two tables into one space without a dictionary; a map that failed is not written (exit code 1)."""
    from spacy_xner.vectors.adversary import parse_adversary
    from spacy_xner.vectors.dictionary import read_dictionary, split_dictionary
    from spacy_xner.vectors.maps import PRECISION, clear_map, measure_map, write_unsupervised
    from spacy_xner.vectors.starts import EXPLORATION, MapSettings
    from spacy_xner.vectors.table import read_table
    from spacy_xner.vectors.unsupervised import map_without_dictionary

    entries = None if dictionary is None else read_dictionary(dictionary, reverse=reverse)
    clear_map(out, source, target)
    settings = MapSettings(
        tuple(split_names(initialisers)), restarts=restarts, seed=seed, min_words=min_words,
        weighting=weighting, spelling=spelling, consensus=consensus,
        adversary=parse_adversary(adversary), exploration=EXPLORATION._replace(n_words=explored),
    )  # fmt: skip
    result = map_without_dictionary(read_table(source, limit), read_table(target, limit), settings)
    _show_starts(result)
    write_unsupervised(out, result)
    if entries:
        _, test = split_dictionary(entries, skip, n_test)
        place = None if result.verdict == "FAILED" else out / PRECISION
        show_precision(measure_map(result.source, result.target, test, place), len(test))
    result.check()
    if result.verdict == "WEAK":
        msg.warn("WEAK: look at some translations before you use these tables")
    else:
        msg.good(f"OK: {out}")


def _show_starts(result: "Unsupervised") -> None:
    columns = ("criterion", "mutual", "agreement")
    rows = [
        (name, *(f"{numbers[column]:.3f}" for column in columns))
        for name, numbers in result.evidence["starts"].items()
    ]
    rows += [(name, reason, "", "") for name, reason in result.evidence["skipped"].items()]
    msg.table(rows, header=("start", *columns), divider=True)

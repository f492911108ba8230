"""`spacy xner vectors align`: one space for two languages, by a dictionary."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.vectors.options import (
    Limit,
    Reverse,
    SourceTable,
    Spelling,
    TargetTable,
    Weighting,
    show_precision,
    vectors,
)


@verb("align", vectors)
def align_cli(
    source: SourceTable,
    target: TargetTable,
    dictionary: Annotated[
        Path, typer.Argument(exists=True, help="Pairs: MUSE, TSV, StarDict (.ifo) or FreeDict (.tei).")
    ],
    out: Annotated[Path, typer.Argument(help="Folder for source.safetensors and target.safetensors.")],
    reverse: Reverse = False,
    n_train: Annotated[int, typer.Option(help="Number of entries to map by; the next ones measure.")] = 5000,
    n_test: Annotated[int, typer.Option(help="Number of entries to measure by; 0 measures nothing.")] = 1500,
    iterations: Annotated[int, typer.Option(help="Times that the dictionary is induced anew.")] = 2,
    weighting: Weighting = 0.25,
    spelling: Spelling = 0.2,
    limit: Limit = 200_000,
) -> None:
    """Map two tables into one space with a dictionary, and refine the map."""
    from spacy_xner.vectors.dictionary import check_direction, invert, read_dictionary, split_dictionary
    from spacy_xner.vectors.mapping import align
    from spacy_xner.vectors.maps import PRECISION, PRECISION_BACK, clear_map, measure_map, write_map
    from spacy_xner.vectors.spelling import compare_spelling
    from spacy_xner.vectors.table import read_table

    tables = read_table(source, limit), read_table(target, limit)
    entries = read_dictionary(dictionary, reverse=reverse)
    check_direction(entries, set(tables[0].words), set(tables[1].words), dictionary)
    training, test = split_dictionary(entries, n_train, n_test)
    clear_map(out, source, target)
    sizes = " and ".join(f"{len(table.words):,}" for table in tables)
    msg.info(f"Mapping {sizes} words, {iterations} times by a new dictionary")
    mapped = align(
        *tables, training, n_iterations=iterations, weighting=weighting,
        spelling=compare_spelling(*tables, weight=spelling) if iterations else None,
    )  # fmt: skip
    write_map(out, *mapped)
    if n_test:
        show_precision(measure_map(*mapped, test, out / PRECISION), len(test))
        msg.info("From target to source")
        reverse_test = invert(test, training)
        reverse_precision = measure_map(*mapped[::-1], reverse_test, out / PRECISION_BACK)
        show_precision(reverse_precision, len(reverse_test))

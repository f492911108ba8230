"""`spacy xner vectors merge`: tables of one space as a pipeline."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.options import split_names
from spacy_xner.cli.vectors.options import Limit, vectors


@verb("merge", vectors)
def merge_cli(
    tables: Annotated[
        list[Path], typer.Argument(exists=True, help="Tables: .vec, .vec.gz, .safetensors, or pipelines.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the pipeline, for `--paths.vectors`.")],
    limit: Limit = 0,
    width: Annotated[int, typer.Option(help="Principal components to keep; 0 keeps all numbers.")] = 0,
    half_precision: Annotated[bool, typer.Option(help="Store 16 bits a number.")] = True,
    languages: Annotated[
        str, typer.Option(help="A language a table: a word that several have keeps a vector in each of them.")
    ] = "",
    randomise: Annotated[
        bool, typer.Option(help="Random numbers for the same words, as a baseline.")
    ] = False,
) -> None:
    """Put tables of one space into a blank pipeline, every word once, for `[initialize] vectors`."""
    from spacy_xner.vectors.table import (
        merge_tables,
        randomise_table,
        read_table,
        reduce_width,
        write_pipeline,
    )

    table = merge_tables([read_table(path, limit) for path in tables], split_names(languages))
    if width:
        table = reduce_width(table, width)
    if randomise:
        table = randomise_table(table)
    n_bytes = write_pipeline(table, out, half_precision=half_precision)
    msg.good(f"{out}: {len(table.words):,} words, {n_bytes / 1e6:.0f} MB")

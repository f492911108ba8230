"""`spacy xner vectors distil`: vectors of words from a multilingual encoder."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.options import Numbers, Precision
from spacy_xner.cli.vectors.options import Limit, vectors


@verb("distil", vectors)
def distil_cli(
    words: Annotated[
        list[Path],
        typer.Argument(
            exists=True, help="Words: corpora (.spacy), tables, or text files with a word a line."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Table to write (.safetensors).")],
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    layer: Annotated[int, typer.Option(help="Layer that is read; 0 for the last.")] = 8,
    lower: Annotated[bool, typer.Option(help="Words in lower case.")] = True,
    dictionary: Annotated[
        Path | None, typer.Option(exists=True, help="Dictionary whose target words follow the other words.")
    ] = None,
    reverse: Annotated[bool, typer.Option(help="Take the dictionary's source words instead.")] = False,
    limit: Limit = 0,
    precision: Precision = Numbers.auto,
) -> None:
    """Take the vectors of one language's words from a multilingual encoder: they are in one space already."""
    from spacy_xner.vectors.coverage import choose_words
    from spacy_xner.vectors.dictionary import read_dictionary
    from spacy_xner.vectors.distil import distil_vectors
    from spacy_xner.vectors.table import write_table

    entries = None if dictionary is None else read_dictionary(dictionary, reverse=reverse)
    chosen = choose_words(words, entries, lower=lower, limit=limit)
    table = distil_vectors(chosen, encoder, layer=layer, precision=precision.value)
    write_table(table, out)
    msg.good(f"{out}: {len(table.words):,} words, width {table.vectors.shape[1]}")

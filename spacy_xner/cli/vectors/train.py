"""`spacy xner vectors train`: fastText vectors of plain text."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.vectors.options import vectors


@verb("train", vectors)
def train_cli(
    text: Annotated[
        Path, typer.Argument(exists=True, help="Plain text, a sentence or paragraph a line; .gz and .xz too.")
    ],
    out: Annotated[Path, typer.Argument(help="Table to write (.safetensors).")],
    also: Annotated[
        list[Path] | None, typer.Option(exists=True, help="Further text, or a corpus (.spacy). Repeatable.")
    ] = None,
    words: Annotated[
        list[Path] | None,
        typer.Option(exists=True, help="Words to add by their n-grams: a corpus, table or text. Repeatable."),
    ] = None,
    lower: Annotated[bool, typer.Option(help="Words in lower case.")] = True,
    width: Annotated[int, typer.Option(help="Numbers a vector.")] = 200,
    max_words: Annotated[int, typer.Option(help="Most frequent words to keep; 0 keeps all.")] = 50_000,
    min_count: Annotated[int, typer.Option(help="Times that a word must occur.")] = 5,
    epochs: Annotated[int, typer.Option(help="Passes over the text.")] = 5,
    workers: Annotated[int, typer.Option(help="Threads; only one alone is repeatable.")] = 2,
    seed: Annotated[int, typer.Option(help="Random seed of the first vectors.")] = 0,
) -> None:
    """Train fastText vectors; needs the extra [vectors]."""
    from spacy_xner.vectors.coverage import choose_words
    from spacy_xner.vectors.table import write_table
    from spacy_xner.vectors.train import read_texts, train_vectors

    table = train_vectors(
        read_texts([text, *(also or ())]), words=choose_words(words or (), lower=lower), lower=lower,
        width=width, max_words=max_words, min_count=min_count, epochs=epochs, workers=workers, seed=seed,
    )  # fmt: skip
    write_table(table, out)
    msg.good(f"{out}: {len(table.words):,} words, width {width}")

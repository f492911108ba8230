"""`spacy xner vectors evaluate`: precision of a map."""

from pathlib import Path
from typing import Annotated

import typer

from spacy_xner.cli.app import verb
from spacy_xner.cli.vectors.options import (
    Limit,
    Measured,
    Reverse,
    Skip,
    SourceTable,
    show_precision,
    vectors,
)


@verb("evaluate", vectors)
def evaluate_cli(
    source: SourceTable,
    target: Annotated[
        Path, typer.Argument(exists=True, help="Table of the target language, in the same space.")
    ],
    dictionary: Annotated[Path, typer.Argument(exists=True, help="Pairs to find.")],
    reverse: Reverse = False,
    skip: Skip = 5000,
    n_test: Measured = 1500,
    limit: Limit = 200_000,
) -> None:
    """Measure how many source words find a translation among all target words (P@1, 5 and 10)."""
    from spacy_xner.vectors.dictionary import read_dictionary, split_dictionary
    from spacy_xner.vectors.maps import measure_map
    from spacy_xner.vectors.table import read_table

    _, entries = split_dictionary(read_dictionary(dictionary, reverse=reverse), skip, n_test)
    show_precision(measure_map(read_table(source, limit), read_table(target, limit), entries), len(entries))

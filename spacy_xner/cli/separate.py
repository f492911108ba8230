"""`spacy xner separate`: corpora whose splits have no sentence in common."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.options import Corpus


@verb("separate")
def separate_cli(
    corpus: Corpus,
    out: Annotated[Path, typer.Argument(help="Folder for the separated files, which replaces an old one.")],
    more: Annotated[
        list[Path] | None, typer.Option(help="Another folder of corpus files; repeatable.")
    ] = None,
) -> None:
    """Copy corpus files without the training and dev sentences that a test file has.

    Test files stay whole; a sentence of a dev file leaves all train files, whatever the corpus or language.

    EXAMPLE: python -m spacy xner separate corpus/tagged corpus/release --more corpus/silver
    """
    from spacy_xner.corpus.overlaps import separate_splits

    rows = list(separate_splits([corpus, *(more or [])], out))
    table = [(row.path.name, f"{row.n_sentences:,}", f"{row.n_dropped:,}") for row in rows]
    msg.table(table, header=("file", "sentences", "dropped"), divider=True)
    msg.good(f"{sum(row.n_dropped for row in rows):,} sentences were in an earlier split; written to {out}")

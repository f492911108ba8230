"""`spacy xner vectors coverage`: how many words have no vector."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.vectors.options import vectors


@verb("coverage", vectors)
def coverage_cli(
    table: Annotated[Path, typer.Argument(exists=True, help="Table, or merged pipeline.")],
    corpora: Annotated[list[Path], typer.Argument(exists=True, help="Corpora (.spacy), a language each.")],
    out: Annotated[Path | None, typer.Option(help="JSON file for the report.")] = None,
) -> None:
    """Count words without a vector, by type and by token (Huang et al. 2019, Table 6)."""
    from spacy_xner.files import write_json
    from spacy_xner.vectors.coverage import count_unknown
    from spacy_xner.vectors.table import read_table

    unknown = count_unknown(read_table(table), corpora)
    rows = [(name, *(f"{100 * share:.1f} %" for share in shares)) for name, shares in unknown.items()]
    msg.table(rows, header=("corpus", "unknown types", "unknown tokens"), divider=True)
    if out is not None:
        write_json(out, {name: shares._asdict() for name, shares in unknown.items()})

"""`spacy xner report`: one HTML page of all results."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb


@verb("report")
def report_cli(
    out: Annotated[Path, typer.Argument(help="HTML file to write.")],
    metrics: Annotated[Path, typer.Option(help="Folder of JSON files of the verb evaluate.")],
    training: Annotated[Path, typer.Option(help="Folder of trained pipelines and groupings.")],
    silver: Annotated[Path | None, typer.Option(help="Folder of corpora of the verb silver.")] = None,
    compare: Annotated[Path | None, typer.Option(help="Folder of the verb compare.")] = None,
    readme: Annotated[Path | None, typer.Option(help="Also renew the table in this README.")] = None,
) -> None:
    """Collect scores, curves, clusters, silver corpora and routes into one page without outside links.

    EXAMPLE: python -m spacy xner report report.html --metrics metrics --training training
    """
    from spacy_xner.report.page import collect_report, renew_readme, write_report

    report = collect_report(metrics, training, silver, compare)
    write_report(out, report)
    msg.good(f"Wrote {out}")
    if readme is not None:
        renew_readme(readme, report.models)
        msg.good(f"Renewed the table in {readme}")

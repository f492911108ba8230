"""`spacy xner package`: trained pipelines to wheels."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

import spacy_xner
from spacy_xner.cli.app import verb


@verb("package")
def package_cli(
    model: Annotated[Path, typer.Argument(help="Trained pipeline, or with --each a folder of them.")],
    out: Annotated[Path, typer.Argument(help="Folder for the wheel.")],
    name: Annotated[str, typer.Option(help="Name after xx_xner_; empty for xx_xner itself.")] = "",
    each: Annotated[bool, typer.Option(help="One wheel a pipeline of the folder, named like it.")] = False,
    metrics: Annotated[
        Path | None, typer.Option(help="Result of `evaluate`; with --each a folder of NAME.json.")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="Training corpus that the card names; that of the config.")
    ] = None,
    free: Annotated[
        bool, typer.Option("--free", help="Refuse weights whose corpora do not let everybody give them away.")
    ] = False,
    version: Annotated[str, typer.Option(help="Version of the wheel.")] = spacy_xner.__version__,
) -> None:
    """Build a wheel with a model card, which replaces an old one when it is whole.

    EXAMPLE: python -m spacy xner package training/mine/model-best packages --name mine
    """
    from spacy_xner.deploy.evidence import Evidence
    from spacy_xner.deploy.package import build_wheels, find_pipelines

    models = find_pipelines(model) if each else {name: model}
    msg.info(f"Building wheels: {len(models)}, about a minute for each half a gigabyte")
    for wheel in build_wheels(models, out, version, Evidence(metrics, corpus, free)):
        msg.good(f"{wheel} ({wheel.stat().st_size / 1e6:.0f} MB). Install it with: pip install {wheel}")

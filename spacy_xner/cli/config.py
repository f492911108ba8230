"""`spacy xner config`: print a training config that is installed with the package."""

from typing import Annotated

import typer

from spacy_xner.cli.app import verb


@verb("config")
def config_cli(
    name: Annotated[str, typer.Argument(help="Name of the config; without it the names are listed.")] = "",
) -> None:
    """Print an installed training config, to be changed and trained.

    EXAMPLE: python -m spacy xner config transformer > mine.cfg
    """
    from spacy_xner.training import config_names, config_path

    if name:
        print(config_path(name).read_text(encoding="utf-8"), end="")
    else:
        print("\n".join(config_names()))

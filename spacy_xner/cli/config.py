"""`spacy xner config`: print a training config that is installed with the package."""

from typing import Annotated

import typer

from spacy_xner.cli.app import verb


@verb("config")
def config_cli(
    name: Annotated[str, typer.Argument(help="Name of the config; without it the names are listed.")] = "",
    gpu: Annotated[bool, typer.Option("--gpu", help="The one of this name for a GPU.")] = False,
) -> None:
    """Print an installed training config, to be changed and trained.

    EXAMPLE: python -m spacy xner config transformer --gpu > mine.cfg
    """
    from spacy_xner.training import config_names, config_path

    if name:
        print(config_path(f"{name}_gpu" if gpu else name).read_text(encoding="utf-8"), end="")
    else:
        print("\n".join(config_names()))

"""Train a pipeline as `spacy train` does, on CPU or GPU by one option."""

from pathlib import Path
from typing import Annotated

import typer
from spacy.cli._util import parse_config_overrides
from wasabi import msg

from spacy_xner.files import read_lines
from spacy_xner.training import count_batches, train_pipeline, whole_epochs

from common import split_names


def main(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="Training config.")],
    out: Annotated[Path, typer.Argument(help="Folder for model-best and model-last.")],
    languages: Annotated[str, typer.Option(help="Comma-separated; all by default.")] = "",
    epochs: Annotated[
        int, typer.Option(help="Passes over the corpus, each of them scored; 0 takes the config's steps.")
    ] = 0,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")] = -1,
) -> None:
    """Train a pipeline; further options such as --vars.limit override the config.

    On a GPU the config's `gpu_allocator` becomes "pytorch".
    """
    overrides = parse_config_overrides(list(context.args))
    if languages:
        overrides["vars.languages"] = split_names(languages)
    if epochs:
        overrides = {**whole_epochs(epochs, count_batches(config, overrides)), **overrides}
    train_pipeline(config, out, overrides, gpu)
    curve = out / "curves.jsonl"
    if curve.exists() and len(read_lines(curve)) < 2:
        msg.warn(f"Scored before training alone: {out / 'model-best'} has learnt nothing. Give --epochs")
    msg.good(f"Trained {out / 'model-best'}")


app = typer.Typer(add_completion=False)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(main)

if __name__ == "__main__":
    app()

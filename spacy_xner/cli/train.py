"""`spacy xner train`: train a pipeline from a config."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.options import Gpu, Languages, split_names


@verb("train", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train_cli(
    context: typer.Context,
    config: Annotated[str, typer.Argument(help="Training config: a file, or the name of an installed one.")],
    out: Annotated[Path, typer.Argument(help="Folder for model-best and model-last.")],
    languages: Languages = "",
    epochs: Annotated[
        int, typer.Option(help="Passes over the corpus, each of them scored; 0 takes the config's steps.")
    ] = 0,
    gpu: Gpu = -1,
) -> None:
    """Train a pipeline; further options such as --vars.limit override the config.

    On a GPU the config's `gpu_allocator` becomes "pytorch".
    EXAMPLE: python -m spacy xner train transformer training/mine --paths.corpus corpus/mine --epochs 4
    """
    from spacy.cli._util import parse_config_overrides

    from spacy_xner.errors import check_counts
    from spacy_xner.training import (
        count_batches,
        find_config,
        learnt_nothing,
        train_pipeline,
        whole_epochs,
    )

    check_counts(epochs=epochs)
    path = find_config(config)
    overrides = parse_config_overrides(list(context.args))
    if languages:
        overrides["vars.languages"] = split_names(languages)
    if epochs:
        overrides = {**whole_epochs(epochs, count_batches(path, overrides)), **overrides}
    train_pipeline(path, out, overrides, gpu)
    if learnt_nothing(out):
        msg.warn(f"Scored before training alone: {out / 'model-best'} has learnt nothing. Give --epochs")
    msg.good(f"Trained {out / 'model-best'}")

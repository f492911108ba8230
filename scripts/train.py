"""Train a pipeline as `spacy train` does, on CPU or GPU by one option."""

import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from spacy.cli._util import parse_config_overrides, setup_gpu
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config, registry
from wasabi import msg

from common import fresh_folder, move_folder, read_lines, split_names
from runs import steps_per_epoch, whole_epochs


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


def count_batches(config: Path, overrides: dict[str, Any]) -> int:
    """Batches of one pass over the training corpus."""
    settings = load_config(config, overrides=overrides, interpolate=True)
    if "batch_size" not in settings.get("vars", {}):
        msg.fail(f"{config} counts no sentences a batch: give its steps instead of --epochs", exits=1)
    read = registry.resolve({"corpus": settings["corpora"]["train"]})["corpus"]
    n_docs = sum(1 for _ in read(spacy.blank("xx")))
    return steps_per_epoch(n_docs, settings["vars"]["batch_size"])


def train_pipeline(config: Path, out: Path, overrides: dict[str, Any], gpu: int = -1) -> None:
    """Train into a folder beside `out` and move it there when it is whole."""
    setup_gpu(gpu)
    if gpu >= 0:
        overrides = {**overrides, "system.gpu_allocator": "pytorch"}
    with fresh_folder(out) as folder:
        overrides = {"paths.curves": str(folder / "curves.jsonl"), **overrides}
        nlp = init_nlp(load_config(config, overrides=overrides, interpolate=False), use_gpu=gpu)
        train(nlp, folder, use_gpu=gpu)


def train_curve(
    config: Path,
    path: Path,
    overrides: dict[str, Any],
    gpu: int,
    keep: Path | None = None,
    kept: str = "model-best",
) -> tuple[float, list[dict[str, Any]]]:
    """Train a pipeline for the sake of its evaluations; `path` is its result, its curve goes beside.

    keep: Where a pipeline goes; nowhere by default. kept: Which one.
    RETURNS: Seconds, and the lines of the curve after the one before training.
    """
    start = time.perf_counter()
    trained, curve = path.with_suffix(".model"), path.with_suffix(".jsonl")
    train_pipeline(config, trained, {**overrides, "paths.curves": str(curve)}, gpu)
    if keep is not None:
        move_folder(trained / kept, keep)
    shutil.rmtree(trained)
    return time.perf_counter() - start, read_lines(curve)[1:]


app = typer.Typer(add_completion=False)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(main)

if __name__ == "__main__":
    app()

"""Joint against monolingual training and the number of frozen layers, from one config."""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

import spacy
import typer
from wasabi import msg

from common import write_json
from evaluate import read_examples
from runs import count_sentences, fixed_steps, reader, run_overrides, steps_per_epoch
from train import train_pipeline


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy files.")],
    out: Annotated[Path, typer.Argument(help="Folder of the runs; finished ones are kept.")],
    config: Annotated[Path, typer.Option(help="Training config.")] = Path("configs/transformer.cfg"),
    languages: Annotated[str, typer.Option(help="Source languages.")] = "de,en,es,fr",
    targets: Annotated[str, typer.Option(help="Zero-shot languages.")] = "it,ru,zh,ar",
    frozen: Annotated[str, typer.Option(help="Frozen layers of the joint runs.")] = "0,-1,3,6,9,12",
    monolingual: Annotated[bool, typer.Option(help="Also one model a language.")] = True,
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    limit: Annotated[int, typer.Option(help="Training sentences a language.")] = 4000,
    dev_limit: Annotated[int, typer.Option(help="Dev sentences a language.")] = 500,
    test_limit: Annotated[int, typer.Option(help="Test sentences a language.")] = 2000,
    epochs: Annotated[int, typer.Option(help="Epochs.")] = 2,
    learn_rate: Annotated[float, typer.Option(help="Peak of the learning rate.")] = 2e-4,
    seeds: Annotated[str, typer.Option(help="Seeds.")] = "0",
    mixed_precision: Annotated[bool, typer.Option(help="Half precision.")] = True,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for none.")] = -1,
    keep_models: Annotated[bool, typer.Option(help="Keep every model-best.")] = False,
) -> None:
    """Train every run that has no `{run}.json` yet and score it on all languages' tests."""
    source, target = languages.split(","), targets.split(",") if targets else []
    watched = [*source, *target]
    settings = {
        "encoder": encoder, "limit": limit, "dev_limit": dev_limit, "batch_size": 32,
        "learn_rate": learn_rate,
    }  # fmt: skip
    for name, run in plan_runs(source, frozen.split(","), map(int, seeds.split(",")), monolingual).items():
        if (out / f"{name}.json").exists():
            msg.info(f"{name}: done before")
            continue
        msg.divider(name)
        n_sentences = count_sentences(corpus, run.languages, limit)
        steps = steps_per_epoch(n_sentences, settings["batch_size"])
        overrides = {
            **run_overrides(
                corpus, out / f"{name}.jsonl", settings, languages=run.languages, sources=[],
                n_frozen_layers=run.n_frozen_layers, seed=run.seed, mixed_precision=mixed_precision,
            ),
            **fixed_steps(steps * epochs, eval_frequency=steps),
            "training.logger.watch": {"dev": reader(corpus, "dev", watched, dev_limit)},
        }  # fmt: skip
        start = time.perf_counter()
        train_pipeline(config, out / name, overrides, gpu)
        seconds = time.perf_counter() - start
        best = spacy.load(out / name / "model-best")
        result = {
            **run._asdict(),
            "sentences": n_sentences,
            "epochs": epochs,
            "train_seconds": seconds,
            "test": best.evaluate(read_examples(best, corpus, "test", watched, test_limit)),
        }
        write_json(out / f"{name}.json", result)
        if not keep_models:
            shutil.rmtree(out / name)


class Run(NamedTuple):
    """One training: languages that are mixed, frozen layers, seed."""

    languages: list[str]
    n_frozen_layers: int
    seed: int


def plan_runs(
    languages: list[str], frozen: list[str], seeds: Iterable[int], monolingual: bool
) -> dict[str, Run]:
    """Name the joint runs for every number of frozen layers, and one run a language."""
    runs = {}
    for seed in seeds:
        for n in frozen:
            runs[f"joint-frozen{n}-seed{seed}"] = Run(languages, int(n), seed)
        for lang in languages if monolingual else []:
            runs[f"mono-{lang}-frozen0-seed{seed}"] = Run([lang], 0, seed)
    return runs


if __name__ == "__main__":
    typer.run(main)

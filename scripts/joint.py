"""Joint against monolingual training and the number of frozen layers, from one config."""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import spacy
import typer

from spacy_xner.evaluation import read_examples
from spacy_xner.files import write_json
from spacy_xner.training import steps_per_epoch, train_pipeline, whole_epochs

from common import split_names
from runs import JOINT, count_sentences, reader, run_overrides, unfinished


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
    """Train every run that has no result yet and score it on all languages' tests.

    Start the command several times to share the work among processes.
    """
    source, target = split_names(languages), split_names(targets)
    settings = {
        "encoder": encoder, "languages": source, "targets": target, "limit": limit,
        "dev_limit": dev_limit, "test_limit": test_limit, "epochs": epochs, "batch_size": 32,
        "learn_rate": learn_rate,
    }  # fmt: skip
    plan = plan_runs(source, split_names(frozen), map(int, split_names(seeds)), monolingual)
    for run, path, own in unfinished(plan, out, lambda run: settings):
        write_json(out / JOINT, {"languages": source, "targets": target})
        train_run(run, corpus, config, path, own, mixed_precision, gpu, keep_models)


JOINT_KIND, MONOLINGUAL = "joint", "mono-"


class Run(NamedTuple):
    """One training: of all languages or of one, frozen layers, seed."""

    kind: str
    n_frozen_layers: int
    seed: int

    @property
    def name(self) -> str:
        """The name of its result file."""
        return f"{self.kind}-frozen{self.n_frozen_layers}-seed{self.seed}"


def plan_runs(languages: list[str], frozen: list[str], seeds: Iterable[int], monolingual: bool) -> list[Run]:
    """The joint runs for every number of frozen layers, and one run a language."""
    runs = []
    for seed in seeds:
        runs += [Run(JOINT_KIND, int(n), seed) for n in frozen]
        runs += [Run(f"{MONOLINGUAL}{lang}", 0, seed) for lang in languages if monolingual]
    return runs


def train_run(
    run: Run,
    corpus: Path,
    config: Path,
    path: Path,
    settings: dict[str, Any],
    mixed_precision: bool,
    gpu: int,
    keep_model: bool,
) -> None:
    """Train one run, score it and write its result, at last, to `path`."""
    languages = settings["languages"] if run.kind == JOINT_KIND else [run.kind.removeprefix(MONOLINGUAL)]
    n_sentences = count_sentences(corpus, languages, settings["limit"])
    steps = steps_per_epoch(n_sentences, settings["batch_size"])
    watched = [*settings["languages"], *settings["targets"]]
    overrides = {
        **run_overrides(
            corpus, path.with_suffix(".jsonl"), settings, languages=languages, sources=[],
            n_frozen_layers=run.n_frozen_layers, seed=run.seed, mixed_precision=mixed_precision,
        ),
        **whole_epochs(settings["epochs"], steps),
        "training.logger.watch": {"dev": reader(corpus, "dev", watched, settings["dev_limit"])},
    }  # fmt: skip
    start = time.perf_counter()
    trained = path.with_suffix("")
    train_pipeline(config, trained, overrides, gpu)
    seconds = time.perf_counter() - start
    best = spacy.load(trained / "model-best")
    result = {
        "name": run.name,
        **run._asdict(),
        "languages": languages,
        "settings": settings,
        "sentences": n_sentences,
        "train_seconds": seconds,
        "test": best.evaluate(read_examples(best, corpus, "test", watched, settings["test_limit"])),
    }
    if not keep_model:
        shutil.rmtree(trained)
    write_json(path, result)


if __name__ == "__main__":
    typer.run(main)

"""Joint against monolingual training and the number of frozen layers, from one config."""

import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from wasabi import msg

from spacy_xner.corpus import find_files, read_docs

from evaluate import read_examples
from train import steps_per_epoch, train_pipeline, write_json


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
    for seed in map(int, seeds.split(",")):
        runs = {f"joint-frozen{n}-seed{seed}": (source, int(n)) for n in frozen.split(",")}
        if monolingual:
            runs.update({f"mono-{lang}-frozen0-seed{seed}": ([lang], 0) for lang in source})
        for name, (langs, n_frozen) in runs.items():
            if (out / f"{name}.json").exists():
                msg.info(f"{name}: done before")
                continue
            msg.divider(name)
            n_sentences = sum(
                min(limit, sum(len(read_docs(p)) for p in paths))
                for paths in find_files(corpus, "train", langs).values()
            )
            steps = steps_per_epoch(n_sentences)
            overrides = {
                "paths.corpus": str(corpus),
                "paths.encoder": encoder,
                "paths.curves": str(out / f"{name}.jsonl"),
                "vars.languages": langs,
                "vars.limit": limit,
                "vars.dev_limit": dev_limit,
                "vars.n_frozen_layers": n_frozen,
                "vars.mixed_precision": mixed_precision,
                # The step after the last epoch is the one that spaCy evaluates.
                "training.max_epochs": 0,
                "training.max_steps": steps * epochs,
                "vars.learn_rate": learn_rate,
                "vars.eval_frequency": steps,
                "vars.total_steps": steps * epochs,
                "system.seed": seed,
                "training.logger.watch": _watched(corpus, [*source, *target], dev_limit),
            }
            folder = out / name
            start = time.perf_counter()
            train_pipeline(config, folder, overrides, gpu)
            seconds = time.perf_counter() - start
            best = spacy.load(folder / "model-best")
            examples = read_examples(best, corpus, "test", [*source, *target], test_limit)
            scores = best.evaluate(examples)
            write_json(
                out / f"{name}.json",
                {
                    "languages": langs,
                    "n_frozen_layers": n_frozen,
                    "seed": seed,
                    "sentences": n_sentences,
                    "epochs": epochs,
                    "train_seconds": seconds,
                    "test": scores,
                },
            )
            if not keep_models:
                shutil.rmtree(folder)


def _watched(corpus: Path, languages: list[str], limit: int) -> dict[str, Any]:
    return {
        "@readers": "spacy_xner.MultilingualCorpus.v1",
        "path": str(corpus),
        "split": "dev",
        "languages": languages,
        "limit": limit,
    }


if __name__ == "__main__":
    typer.run(main)

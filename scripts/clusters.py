"""One tagger a cluster, for several groupings of the languages and several seeds."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import spacy
import typer
from wasabi import msg

from spacy_xner.corpus.names import find_files
from spacy_xner.evaluation import read_examples
from spacy_xner.files import move_folder, write_json
from spacy_xner.router.grouping import Grouping, read_grouping
from spacy_xner.scoring import annotate, count_by_sentence
from spacy_xner.training import fixed_steps, steps_per_epoch, train_pipeline

from common import split_names
from groupings import OTHER, read_plan
from runs import PLAN, count_sentences, run_overrides, unfinished


class Run(NamedTuple):
    """One training and its test; `grouping` and `cluster` say what it is for."""

    grouping: str
    cluster: str
    languages: list[str]
    test_languages: list[str]
    seed: int
    sources: list[str]
    test_sources: list[str]

    @property
    def name(self) -> str:
        """The name of its result file."""
        return f"{self.grouping}.{self.cluster}-seed{self.seed}"


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy files.")],
    out: Annotated[Path, typer.Argument(help="Folder of the runs; finished ones are kept.")],
    groupings: Annotated[
        str, typer.Option(help="Grouping files, comma-separated; the first is the one to keep.")
    ],
    config: Annotated[Path, typer.Option(help="Training config.")] = Path("configs/transformer.cfg"),
    source: Annotated[
        str, typer.Option(help="Corpus of the runs, as in the file names; empty for all.")
    ] = "",
    languages: Annotated[str, typer.Option(help="Comma-separated; all of the corpus by default.")] = "",
    seeds: Annotated[str, typer.Option(help="A number of seeds a grouping, in their order.")] = "1",
    zero_shot: Annotated[
        str, typer.Option(help="Also train the first grouping's clusters of these languages without them.")
    ] = "",
    other: Annotated[
        str,
        typer.Option(help="Also combine train sets with this corpus and test on it (the paper's Table 5)."),
    ] = "",
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    limit: Annotated[int, typer.Option(help="Training sentences a file; 0 takes all.")] = 1000,
    dev_limit: Annotated[int, typer.Option(help="Dev sentences a file.")] = 200,
    test_limit: Annotated[int, typer.Option(help="Test sentences a file.")] = 2000,
    epochs: Annotated[int, typer.Option(help="Epochs.")] = 3,
    max_steps: Annotated[int, typer.Option(help="Stop each run after so many steps; 0 for never.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Sentences a step.")] = 20,
    window: Annotated[int, typer.Option(help="Wordpieces at once; longer texts are cut, not lost.")] = 512,
    learn_rate: Annotated[float, typer.Option(help="Peak of the learning rate.")] = 2e-4,
    frozen: Annotated[int, typer.Option(help="Frozen layers.")] = 6,
    mixed_precision: Annotated[bool, typer.Option(help="Half precision.")] = True,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")] = -1,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the first grouping's models (first seed) here, by cluster.")
    ] = None,
    restart: Annotated[bool, typer.Option(help="Forget runs that are finished, and kept models.")] = False,
) -> None:
    """Train every run that has no result yet and score it on the tests of its languages.

    Groupings that share a cluster share its runs: a cluster of one language is a monolingual model.
    Start the command several times to share the work among processes; with OMP_NUM_THREADS=1, two of
    them on two cores do a third more than one on both.
    """
    sources = split_names(source)
    known = list(find_files(corpus, "train", split_names(languages), sources))
    chosen = [read_grouping(Path(path)).restrict(known) for path in groupings.split(",")]
    n_seeds = [int(n) for n in seeds.split(",")]
    plan = list(plan_runs(chosen, n_seeds, sources))
    first = chosen[0]
    if zero_shot:
        plan += plan_zero_shot(first, zero_shot.split(","), n_seeds[0], sources)
    if other:
        plan += plan_combinations(first, other, source, next(iter(find_files(corpus, "train", [], [other]))))
    # All runs of one seed before the next: a stopped comparison is a whole one with fewer seeds.
    plan.sort(key=lambda run: (run.test_sources != run.sources, run.seed))
    settings = {
        "encoder": encoder, "limit": limit, "dev_limit": dev_limit, "test_limit": test_limit,
        "epochs": epochs, "max_steps": max_steps, "batch_size": batch_size, "window": window,
        "learn_rate": learn_rate, "frozen": frozen,
    }  # fmt: skip
    if restart:
        if keep is not None and (out / PLAN).exists():
            # Those of clusters that are no more would be packaged with the others.
            before, _ = read_plan(out)
            for cluster in before[0].clusters:
                shutil.rmtree(keep / cluster, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
    write_json(out / PLAN, {"groupings": [g.to_json() for g in chosen], "settings": settings})

    def kept_of(run: Run) -> Path | None:
        is_first = run.seed == 0 and first.clusters.get(run.cluster) == run.languages
        return keep / run.cluster if keep is not None and is_first else None

    for run, path, own in unfinished(plan, out, lambda run: settings, kept_of):
        msg.info(", ".join(run.languages))
        train_run(run, corpus, config, path, kept_of(run), own, mixed_precision, gpu)


def train_run(
    run: Run,
    corpus: Path,
    config: Path,
    path: Path,
    kept: Path | None,
    settings: dict[str, Any],
    mixed_precision: bool,
    gpu: int,
) -> None:
    """Train one run, score it and write its result, at last, to `path`."""
    n_sentences = count_sentences(corpus, run.languages, settings["limit"], run.sources)
    steps = settings["epochs"] * steps_per_epoch(n_sentences, settings["batch_size"])
    steps = min(steps, settings["max_steps"] or steps)
    overrides = {
        **run_overrides(
            corpus, path.with_suffix(".jsonl"), settings, languages=run.languages, sources=run.sources,
            n_frozen_layers=settings["frozen"], seed=run.seed, mixed_precision=mixed_precision,
        ),
        "vars.clusters": [run.cluster] if kept is not None else ["*"],
        # As in the paper no epoch is selected: the last weights count.
        **fixed_steps(steps, eval_frequency=steps),
        "components.ner.model.tok2vec.window": settings["window"],
    }  # fmt: skip
    start = time.perf_counter()
    trained = path.with_suffix(".model")
    train_pipeline(config, trained, overrides, gpu)
    seconds = time.perf_counter() - start
    nlp = spacy.load(trained / "model-last")
    limit = settings["test_limit"]
    examples = read_examples(nlp, corpus, "test", run.test_languages, limit, run.test_sources)
    result = {
        **run._asdict(),
        "settings": settings,
        "sentences": n_sentences,
        "train_seconds": seconds,
        "test": annotate(nlp, examples),
        "counts": count_by_sentence(examples),
    }
    if kept is not None:
        move_folder(trained / "model-last", kept)
    shutil.rmtree(trained)
    write_json(path, result)


def plan_runs(groupings: list[Grouping], n_seeds: list[int], sources: list[str]) -> Iterator[Run]:
    """Plan every cluster of every grouping once; equal clusters are run for the first grouping only.

    n_seeds: A number a grouping; the last one serves all that follow.
    """
    planned = set()
    for i, grouping in enumerate(groupings):
        for cluster, languages in grouping.clusters.items():
            for seed in range(n_seeds[min(i, len(n_seeds) - 1)]):
                if (tuple(languages), seed) not in planned:
                    planned.add((tuple(languages), seed))
                    yield Run(grouping.name, cluster, languages, languages, seed, sources, sources)


def plan_zero_shot(grouping: Grouping, without: list[str], n_seeds: int, sources: list[str]) -> list[Run]:
    """Train the clusters of some languages without them (the paper's Table 4)."""
    runs = []
    for cluster, languages in grouping.clusters.items():
        held_out = sorted(set(languages).intersection(without))
        rest = sorted(set(languages).difference(without))
        if held_out and rest:
            name = f"{cluster}-without-{'-'.join(held_out)}"
            runs += [
                Run(grouping.name, name, rest, held_out, seed, sources, sources) for seed in range(n_seeds)
            ]
    return runs


def plan_combinations(grouping: Grouping, other: str, source: str, language: str) -> list[Run]:
    """Combine train sets with another corpus of one language and test on it (the paper's Table 5)."""
    cluster = grouping.clusters[grouping.cluster_of[language]]
    both = [source, other] if source else []
    trained_on = {
        "cluster": (cluster, split_names(source)),
        "other": ([language], [other]),
        "all-combined": (grouping.languages, both),
        "cluster-combined": (cluster, both),
    }
    return [
        Run(f"{OTHER}{other}", name, languages, [language], 0, sources, [other])
        for name, (languages, sources) in trained_on.items()
    ]


if __name__ == "__main__":
    typer.run(main)

"""Teachers on gold labels, and students that learn from what was projected: six ways, many settings."""

import random
import shutil
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import spacy
import typer
from spacy.tokens import Doc
from wasabi import msg

from spacy_xner.corpus.docs import read_docs, write_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.files import fingerprint, read_json, write_json
from spacy_xner.scoring import annotate
from spacy_xner.training import fixed_steps, steps_per_epoch, train_pipeline, whole_epochs

from common import split_names
from evaluate import read_examples
from runs import CORPORA, claim, count_sentences, is_done, run_overrides, unfinished

app = typer.Typer(add_completion=False, help=__doc__)


class Recipe(NamedTuple):
    """How a student is made.

    goes_on: From the teacher, or else from the pretrained encoder. with_gold: Of silver sentences mixed with
    the gold ones, or of silver ones alone. reweighted: The loss that trusts what the model agrees with, or
    else the cross entropy. detached: Its weights are constants.
    """

    goes_on: bool
    with_gold: bool
    reweighted: bool
    detached: bool = False


ZERO_SHOT = "zero-shot"
# The settings of the paper's Table 3, in its order; the second of them, zero-shot, is the teacher itself.
TABLE_3 = {
    "sequential RW": Recipe(goes_on=True, with_gold=False, reweighted=True),
    "sequential CE": Recipe(goes_on=True, with_gold=False, reweighted=False),
    "silver alone": Recipe(goes_on=False, with_gold=False, reweighted=True),
    "mixed CE": Recipe(goes_on=False, with_gold=True, reweighted=False),
    "mixed RW": Recipe(goes_on=False, with_gold=True, reweighted=True),
}
RECIPES = TABLE_3 | {
    "silver alone CE": Recipe(goes_on=False, with_gold=False, reweighted=False),
    "sequential detached RW": Recipe(goes_on=True, with_gold=False, reweighted=True, detached=True),
    "silver alone detached RW": Recipe(goes_on=False, with_gold=False, reweighted=True, detached=True),
    "mixed detached RW": Recipe(goes_on=False, with_gold=True, reweighted=True, detached=True),
}


class Run(NamedTuple):
    """One student, or the teacher as it is.

    domains: Names of silver corpora, with a plus between. amount: Silver sentences, 0 for all.
    """

    language: str
    recipe: str
    domains: str
    amount: int
    n_frozen_layers: int
    gamma: float
    seed: int

    @property
    def name(self) -> str:
        """The name of its result file."""
        recipe = self.recipe.replace(" ", "-")
        if self.recipe == ZERO_SHOT:
            return f"{self.language}.{recipe}-seed{self.seed}"
        gamma = f"-gamma{self.gamma:g}" if RECIPES[self.recipe].reweighted else ""
        return (
            f"{self.language}.{recipe}-{self.domains}-{self.amount or 'all'}"
            f"-frozen{self.n_frozen_layers}{gamma}-seed{self.seed}"
        )


@app.command()
def teach(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy files.")],
    out: Annotated[Path, typer.Argument(help="Folder for {seed}/model-best; finished ones are kept.")],
    languages: Annotated[str, typer.Option(help="Languages with labels.")] = "en",
    source: Annotated[str, typer.Option(help="Corpora, as in the file names; empty for all.")] = "",
    config: Annotated[Path, typer.Option(help="Training config.")] = Path("configs/transformer.cfg"),
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    seeds: Annotated[int, typer.Option(help="Number of teachers.")] = 3,
    limit: Annotated[int, typer.Option(help="Training sentences a file; 0 takes all.")] = 0,
    dev_limit: Annotated[int, typer.Option(help="Dev sentences a file; 0 takes all.")] = 300,
    epochs: Annotated[int, typer.Option(help="Epochs.")] = 5,
    batch_size: Annotated[int, typer.Option(help="Sentences a step.")] = 32,
    frozen: Annotated[int, typer.Option(help="Frozen layers.")] = 0,
    learn_rate: Annotated[float, typer.Option(help="Peak of the learning rate.")] = 2e-4,
    gamma: Annotated[float, typer.Option(help="Of the focal loss.")] = 2.0,
    mixed_precision: Annotated[bool, typer.Option(help="Half precision.")] = True,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")] = -1,
) -> None:
    """Train teachers with the focal loss on gold labels."""
    n_sentences = count_sentences(corpus, split_names(languages), limit, split_names(source))
    steps = steps_per_epoch(n_sentences, batch_size)
    settings = {
        "encoder": encoder, "limit": limit, "dev_limit": dev_limit, "batch_size": batch_size,
        "learn_rate": learn_rate, "languages": languages, "source": source, "epochs": epochs,
        "frozen": frozen, "gamma": gamma,
    }  # fmt: skip
    for seed in range(seeds):
        path = out / str(seed)
        with claim(path.with_suffix(".json")) as is_mine:
            if not is_mine:
                msg.info(f"Teacher {seed}: another process is at it")
                continue
            if path.exists() and is_done(path.with_suffix(".json"), settings):
                msg.info(f"Teacher {seed}: done before")
                continue
            overrides = {
                **run_overrides(
                    corpus, out / f"{seed}.jsonl", settings, languages=split_names(languages),
                    sources=split_names(source), n_frozen_layers=frozen, seed=seed,
                    mixed_precision=mixed_precision,
                ),
                "components.ner.model.head.loss": {"@misc": "spacy_xner.focal.v1", "gamma": gamma},
                **whole_epochs(epochs, steps),
            }  # fmt: skip
            train_pipeline(config, path, overrides, gpu)
            shutil.rmtree(path / "model-last")
            write_json(path.with_suffix(".json"), {"settings": settings})
            msg.good(f"Trained {path / 'model-best'}")


@app.command()
def learn(
    corpus: Annotated[Path, typer.Argument(help="Folder with gold training files and the targets' tests.")],
    silver: Annotated[Path, typer.Argument(help="Folder of the silver corpora {lang}-{domain}-train.spacy.")],
    teachers: Annotated[Path, typer.Argument(help="Folder of teachers, as `teach` writes it.")],
    out: Annotated[Path, typer.Argument(help="Folder of the runs; finished ones are kept.")],
    languages: Annotated[str, typer.Option(help="Target languages.")],
    recipes: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join([ZERO_SHOT, *TABLE_3]),
    domains: Annotated[str, typer.Option(help="Silver corpora; news+talk mixes two.")] = "silver",
    amounts: Annotated[str, typer.Option(help="Silver sentences; 0 takes all.")] = "0",
    frozen: Annotated[str, typer.Option(help="Frozen layers.")] = "3",
    gammas: Annotated[str, typer.Option(help="Of the re-weighted loss.")] = "4",
    seeds: Annotated[int, typer.Option(help="Number of seeds; student n goes on from teacher n.")] = 3,
    gold_languages: Annotated[str, typer.Option(help="Languages of the gold training files.")] = "en",
    gold_source: Annotated[str, typer.Option(help="Corpora of gold labels; empty for all.")] = "",
    gold_limit: Annotated[int, typer.Option(help="Gold sentences a file; 0 takes all.")] = 0,
    test_limit: Annotated[int, typer.Option(help="Dev and test sentences a file; 0 takes all.")] = 500,
    epochs: Annotated[int, typer.Option(help="Epochs of students that go on from a teacher.")] = 1,
    fresh_epochs: Annotated[int, typer.Option(help="Epochs of students that begin with the encoder.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Sentences a step.")] = 32,
    learn_rate: Annotated[float, typer.Option(help="Of those that go on.")] = 5e-5,
    fresh_rate: Annotated[float, typer.Option(help="Of those that begin.")] = 2e-4,
    config: Annotated[Path, typer.Option(help="Training config.")] = Path("configs/transformer.cfg"),
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    mixed_precision: Annotated[bool, typer.Option(help="Half precision.")] = True,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")] = -1,
) -> None:
    """Train every student that has no result yet and score it on all dev and test files of its language.

    The last weights count. Start the command several times to share the work among processes.
    """
    settings = {
        "encoder": encoder, "gold_languages": gold_languages, "gold_source": gold_source,
        "gold_limit": gold_limit, "test_limit": test_limit, "epochs": epochs, "fresh_epochs": fresh_epochs,
        "batch_size": batch_size, "learn_rate": learn_rate, "fresh_rate": fresh_rate,
    }  # fmt: skip
    counts = {
        path.stem: read_json(path)["counts"]
        for language in split_names(languages)
        for path in sorted(silver.glob(f"{language}-*.json"))
    }
    known = read_json(out / CORPORA) if (out / CORPORA).exists() else {}
    write_json(out / CORPORA, {**known, **counts})
    plan = list(
        plan_runs(
            split_names(languages), split_names(recipes), split_names(domains),
            [int(n) for n in split_names(amounts)], [int(n) for n in split_names(frozen)],
            [float(n) for n in split_names(gammas)], seeds,
        )
    )  # fmt: skip

    find_files(corpus, "test", split_names(languages))

    def settings_of(run: Run) -> dict[str, Any]:
        return {**settings, **made_of(run, silver, teachers)}

    for run, path, own in unfinished(plan, out, settings_of):
        train_run(run, corpus, silver, teachers, path, own, config, mixed_precision, gpu)


def made_of(run: Run, silver: Path, teachers: Path) -> dict[str, Any]:
    """What the silver corpora and the teacher of a run are: another projection makes other students."""
    domains = run.domains.split("+") if run.domains else []
    files = find_files(silver, "train", [run.language], domains)[run.language] if domains else []
    weights = sorted((teachers / str(run.seed) / "model-best").glob("*/model"))
    is_own = run.recipe == ZERO_SHOT or RECIPES[run.recipe].goes_on
    return {
        "silver": {path.stem: fingerprint(path) for path in files},
        "teacher": [fingerprint(path) for path in weights] if is_own else [],
    }


def plan_runs(
    languages: list[str], recipes: list[str], domains: list[str], amounts: list[int], frozen: list[int],
    gammas: list[float], seeds: int,
) -> Iterator[Run]:  # fmt: skip
    """List the runs; settings that a recipe does not have make none of their own."""
    unknown = set(recipes) - {ZERO_SHOT, *RECIPES}
    if unknown:
        msg.fail(f"Unknown recipes {sorted(unknown)}; there are {[ZERO_SHOT, *RECIPES]}", exits=1)
    seen = set()
    for choice in product(range(seeds), languages, recipes, domains, amounts, frozen, gammas):
        seed, language, recipe, own_domains, amount, n_frozen, gamma = choice
        if recipe == ZERO_SHOT:
            run = Run(language, recipe, "", 0, 0, 0.0, seed)
        else:
            own_gamma = gamma if RECIPES[recipe].reweighted else 0.0
            run = Run(language, recipe, own_domains, amount, n_frozen, own_gamma, seed)
        if run not in seen:
            seen.add(run)
            yield run


def train_run(
    run: Run,
    corpus: Path,
    silver: Path,
    teachers: Path,
    path: Path,
    settings: dict[str, Any],
    config: Path,
    mixed_precision: bool,
    gpu: int,
) -> None:
    """Make one student, score it and write its result, at last, to `path`."""
    teacher = teachers / str(run.seed) / "model-best"
    start = time.perf_counter()
    trained = path.with_suffix(".model")
    n_sentences = 0
    if run.recipe == ZERO_SHOT:
        nlp = spacy.load(teacher)
    else:
        recipe = RECIPES[run.recipe]
        text = path.with_suffix(".corpus")
        n_sentences = gather(run, recipe, corpus, silver, text, settings)
        epochs = settings["epochs" if recipe.goes_on else "fresh_epochs"]
        steps = epochs * steps_per_epoch(n_sentences, settings["batch_size"])
        overrides = {
            **run_overrides(
                corpus, path.with_suffix(".jsonl"),
                {
                    **settings, "limit": 0, "dev_limit": 100,
                    "learn_rate": settings["learn_rate" if recipe.goes_on else "fresh_rate"],
                },
                languages=split_names(settings["gold_languages"]),
                sources=split_names(settings["gold_source"]), n_frozen_layers=run.n_frozen_layers,
                seed=run.seed, mixed_precision=mixed_precision,
            ),
            "paths.train": str(text), "corpora.train.languages": [], "corpora.train.sources": [],
            "paths.weights": str(teacher) if recipe.goes_on else None,
            "components.ner.model.head.loss": (
                {"@misc": "spacy_xner.reweighted.v1", "gamma": run.gamma, "detached": recipe.detached}
                if recipe.reweighted
                else {"@misc": "spacy_xner.cross_entropy.v1", "label_smoothing": 0.0}
            ),
            **fixed_steps(steps, eval_frequency=steps),
        }  # fmt: skip
        train_pipeline(config, trained, overrides, gpu)
        shutil.rmtree(text)
        nlp = spacy.load(trained / "model-last")
    seconds = time.perf_counter() - start
    result = {
        **run._asdict(),
        "settings": settings,
        "sentences": n_sentences,
        "train_seconds": seconds,
        "scores": {
            split: score_sets(nlp, corpus, run.language, split, settings["test_limit"])
            for split in ("dev", "test")
        },
    }
    write_json(path, result)
    shutil.rmtree(trained, ignore_errors=True)


def gather(run: Run, recipe: Recipe, corpus: Path, silver: Path, out: Path, settings: dict[str, Any]) -> int:
    """Put the training files of a student into one folder. RETURNS: Sentences.

    Domains share the amount alike, in sentences drawn with the run's seed: parallel text is often sorted.
    """
    vocab = spacy.blank("xx").vocab
    domains = run.domains.split("+")
    chosen = [
        (path, -(-run.amount // len(domains)))
        for path in find_files(silver, "train", [run.language], domains)[run.language]
    ]
    if len(chosen) < len(domains):
        msg.fail(f"{silver} has not all of {run.language}-{{{','.join(domains)}}}-train.spacy", exits=1)
    if recipe.with_gold:
        languages, sources = settings["gold_languages"], settings["gold_source"]
        gold = find_files(corpus, "train", split_names(languages), split_names(sources))
        chosen += [(path, settings["gold_limit"]) for paths in gold.values() for path in paths]
    n_sentences, n_silver = 0, len(domains)
    shutil.rmtree(out, ignore_errors=True)
    for i, (path, limit) in enumerate(chosen):
        docs: list[Doc] = list(read_docs(path).get_docs(vocab))
        if i < n_silver:
            random.Random(run.seed).shuffle(docs)
        docs = docs[: limit or None]
        write_docs(docs, out / path.name)
        n_sentences += len(docs)
    return n_sentences


def score_sets(
    nlp: spacy.Language, corpus: Path, language: str, split: str, limit: int
) -> dict[str, dict[str, Any]]:
    """Score a language's dev or test files one by one. RETURNS: Precision, recall, F1 and types by source."""
    scores = {}
    for path in sorted(corpus.glob(f"{language}-*-{split}.spacy")):
        source = path.stem.removeprefix(f"{language}-").removesuffix(f"-{split}")
        found = annotate(nlp, read_examples(nlp, path, split, [], limit))
        scores[source] = {key: found[key] for key in ("ents_p", "ents_r", "ents_f", "ents_per_type")}
    return scores


if __name__ == "__main__":
    app()

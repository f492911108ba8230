"""Overrides of training configs that experiments share: corpora, schedules, text of other languages."""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import read_lines
from spacy_xner.training import config_path, fixed_steps, steps_per_epoch, train_pipeline

from scripts.runner import Experiment, Run, Settings

# The length of a run.
# epochs: Passes over the corpus, each of them scored; with `steps` the number of parts that are scored.
# steps: Optimizer steps of every run, in the place of epochs; 0 for epochs.
# max_steps: Most steps of a run; 0 for no limit.
# max_passes: Most passes over the corpus; 0 for no limit.
LENGTH: Settings = {"epochs": 3, "steps": 0, "max_steps": 0, "max_passes": 0, "batch_size": 32}
# warmup: Share of the steps in which the learning rate rises; null leaves the config's number of steps.
TRANSFORMER: Settings = {
    "encoder": "multilingual-e5-small", "frozen": 0, "seed": 0, "learn_rate": 2e-4, "warmup": None, **LENGTH,
}  # fmt: skip


class Fitted(NamedTuple):
    """A trained pipeline: folder of model-best and model-last, evaluations after the first step, seconds."""

    folder: Path
    curve: list[dict[str, Any]]
    seconds: float

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return int(self.curve[-1]["step"])


class Trained(Experiment):
    """An experiment whose runs train a pipeline from an installed config."""

    config: ClassVar[str] = "transformer"

    def fit(self, run: Run, overrides: Settings, work: Path, name: str = "trained") -> Fitted:
        """Train into a folder of the work folder. Settings of the run with a dot override the config."""
        start = time.perf_counter()
        curve = work / f"{name}.jsonl"
        dotted = {key: value for key, value in run.settings.items() if "." in key}
        overrides = {**overrides, **dotted, "paths.curves": str(curve), "system.seed": run["seed"]}
        config = self.paths.get("config") or config_path(self.config)
        train_pipeline(config, work / name, overrides, self.gpu)
        return Fitted(work / name, read_lines(curve)[1:], time.perf_counter() - start)

    def transformer(self, run: Run, languages: list[str], sources: Sequence[str]) -> Settings:
        """Overrides of configs/transformer.cfg that every experiment has."""
        return {
            "paths.corpus": str(self.paths["corpus"]),
            "paths.encoder": run["encoder"],
            "vars.languages": languages,
            "vars.sources": list(sources),
            **{f"vars.{key}": run[key] for key in ("limit", "dev_limit", "batch_size", "learn_rate")},
            "vars.n_frozen_layers": run["frozen"],
            "vars.mixed_precision": self.mixed_precision,
        }

    def count(self, run: Run, languages: list[str], sources: Sequence[str] = ()) -> int:
        """Training sentences of some languages, each file up to the run's limit."""
        return count_sentences(self.paths["corpus"], languages, run["limit"], sources)

    def reader(self, run: Run, split: str, languages: list[str], sources: Sequence[str] = ()) -> Settings:
        """A dev or test corpus as it stands in a config, up to the run's limit."""
        return reader(self.paths["corpus"], split, languages, run[f"{split}_limit"], sources)


def schedule(run: Run, per_pass: int, *, n_scored: int) -> Settings:
    """Overrides for the length of a run.

    per_pass: Steps of a pass over the corpus.
    n_scored: Evaluations in equal distances, the last one after the last step; the steps are rounded down
        to a multiple of it.
    """
    total = run["steps"] or run["epochs"] * per_pass
    limits = (run["max_steps"], run["max_passes"] * per_pass)
    total = min([total, *(limit for limit in limits if limit)])
    frequency = max(1, total // n_scored)
    total = frequency * min(n_scored, total)
    overrides = {"vars.steps_per_epoch": per_pass, **fixed_steps(total, eval_frequency=frequency)}
    if run.settings.get("warmup") is not None:
        overrides["training.optimizer.learn_rate.warmup_steps"] = round(run["warmup"] * total)
    return overrides


def learn_from_text(languages: list[str], targets: list[str], objectives: dict[str, Any]) -> Settings:
    """Overrides for objectives on the targets' text, a batch of it beside each of the languages' labels.

    RAISES: XNER816 for a target that has labels.
    """
    if both := sorted(set(languages) & set(targets)):
        raise XnerError(Errors.XNER816.format(languages=", ".join(both)))
    return {
        "corpora.train.languages": [*languages, *targets],
        "vars.unlabelled": targets,
        "training.batcher.keep_surplus": False,
        "components.ner.objectives": objectives,
    }


def augment(language: str, target: str, **settings: Any) -> Settings:
    """Overrides for augmented fine-tuning. settings: Arguments of `spacy_xner.augmented_tuning.v1`."""
    objective = {"@misc": "spacy_xner.augmented_tuning.v1", **settings}
    return learn_from_text([language], [target], {"augmented": objective})


def text_steps(steps: int, n_texts: int, batch_size: int) -> int:
    """Batches of text in a pass: every batch of labels takes at most one along. steps: Batches of labels."""
    return min(steps, steps_per_epoch(n_texts, batch_size))


def read_sentences(paths: Iterable[Path], vocab: Vocab, limit: int = 0) -> Iterator[Doc]:
    """Read corpus files one after the other, each up to the limit; 0 takes all."""
    for path in paths:
        yield from islice(read_docs(path).get_docs(vocab), limit or None)


def read_examples(
    nlp: Language, corpus: Path, split: str, languages: list[str], limit: int, sources: Sequence[str] = ()
) -> list[Example]:
    """Read dev or test examples; the pipeline is not told their languages."""
    read = create_multilingual_corpus(
        corpus, split=split, languages=languages, sources=list(sources), limit=limit, known_language=False
    )
    return list(read(nlp))


def count_sentences(corpus: Path, languages: list[str], limit: int, sources: Sequence[str] = ()) -> int:
    """Training sentences of some languages, each file up to the limit."""
    files = find_files(corpus, "train", languages, sources)
    sizes = [len(read_docs(path)) for paths in files.values() for path in paths]
    return sum(min(limit, size) if limit else size for size in sizes)


def reader(
    corpus: Path, split: str, languages: list[str], limit: int, sources: Sequence[str] = ()
) -> Settings:
    """A corpus as it stands in a config."""
    return {
        "@readers": "spacy_xner.MultilingualCorpus.v1",
        "path": str(corpus),
        "split": split,
        "languages": languages,
        "sources": list(sources),
        "limit": limit,
    }

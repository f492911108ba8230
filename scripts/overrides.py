"""Overrides of training configs that experiments share: corpora, schedules, text of other languages."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from spacy_xner.files import read_lines
from spacy_xner.routes.settings import count_sentences, reader
from spacy_xner.training import config_path, fixed_steps, steps_per_epoch, train_pipeline

from scripts.runner import Experiment, Run, Settings

# The length of a run.
# epochs: Passes over the corpus, each of them scored; with `steps` the number of parts that are scored.
# steps: Optimizer steps of every run, in the place of epochs; 0 for epochs.
# max_steps: Most steps of a run; 0 for no limit.
# max_passes: Most passes over the corpus; 0 for no limit.
LENGTH: Settings = {"epochs": 3, "steps": 0, "max_steps": 0, "max_passes": 0, "batch_size": 32}
# warmup: Share of the steps in which the learning rate rises; null leaves the config's own.
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

    def fit_labels(
        self, run: Run, languages: list[str], changes: Settings, work: Path, *, n_scored: int
    ) -> tuple[Fitted, Settings]:
        """Train a transformer on the labels of some languages.

        changes: Further overrides of the config.
        n_scored: See `schedule`.
        RETURNS: The pipeline, and what every result says of a training: sentences, steps, seconds.
        """
        n_sentences = self.count(run, languages, run["sources"])
        per_pass = steps_per_epoch(n_sentences, run["batch_size"])
        overrides = {
            **self.transformer(run, languages, run["sources"]),
            **schedule(run, per_pass, n_scored=n_scored),
            **changes,
        }
        fitted = self.fit(run, overrides, work)
        return fitted, {"sentences": n_sentences, "steps": fitted.steps, "seconds": fitted.seconds}

    def transformer(self, run: Run, languages: list[str], sources: Sequence[str]) -> Settings:
        """Overrides of configs/transformer.cfg that every experiment has."""
        return {
            "paths.corpus": str(self.paths["corpus"]),
            "paths.encoder": run["encoder"],
            "vars.languages": languages,
            "vars.sources": list(sources),
            **{f"vars.{key}": run[key] for key in ("limit", "dev_limit", "batch_size", "learn_rate")},
            "vars.n_frozen_layers": run["frozen"],
            "vars.precision": self.precision,
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
        overrides["vars.warmup"] = run["warmup"]
    return overrides

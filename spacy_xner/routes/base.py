"""A route: what it needs, what it learns from, and the training that every route ends with."""

import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from spacy_xner.files import read_lines
from spacy_xner.routes.budget import limit_time, measure_step, until_convergence
from spacy_xner.routes.settings import reader
from spacy_xner.routes.task import Task
from spacy_xner.runs import choose
from spacy_xner.training import steps_per_epoch, train_pipeline


class Trained(NamedTuple):
    """A training that is over, with its pipeline in the route's folder.

    chosen: Index of the evaluation whose weights were kept; 0 is before training.
    epochs: Evaluations 1, 2, ... as of `describe_epoch`.
    n_sentences: Labelled sentences of the training set.
    seconds_before: Training time of the teacher, if another route trained it.
    """

    chosen: int
    epochs: list[dict[str, Any]]
    n_sentences: int
    seconds_before: float = 0.0


class Training(NamedTuple):
    """One training of a route.

    folder: Folder for the pipeline and its curve.
    config: Training config.
    n_sentences: Labelled sentences of the training set.

    share: Share of the route's minutes.
    max_epochs: Upper limit of a training to convergence.
    is_watched: The target's files are scored at every evaluation.
    """

    folder: Path
    config: Path
    overrides: dict[str, Any]
    n_sentences: int

    share: float = 1.0
    max_epochs: int = 20
    is_watched: bool = True


class Route(ABC):
    """A way to a tagger."""

    name: ClassVar[str]

    @abstractmethod
    def run(self, task: Task, folder: Path) -> Trained:
        """Train a pipeline into an empty folder, which no other route uses."""

    def missing(self, task: Task) -> str:
        """Say what the data lacks for this route; empty if nothing."""
        return ""

    @abstractmethod
    def about(self, task: Task) -> str:
        """Say what the route learns from."""

    def inputs(self, task: Task) -> dict[str, Any]:
        """Give the settings of this route alone, besides those of all. As JSON."""
        return {}


def train(task: Task, training: Training) -> Trained:
    """Train a pipeline into `folder`/pipeline, scoring the target at every evaluation.

    The best evaluation by the score is kept. A training that goes on from a teacher's weights keeps the last
    one: the source's dev set cannot see what such a student learns of the target, and would choose the
    teacher.
    """
    folder, overrides = training.folder, training.overrides
    if training.is_watched:
        overrides = {**overrides, "training.logger.watch": _watch(task)}
    if minutes := task.settings.minutes:
        seconds_per_step = measure_step(training.config, overrides, task.gpu)
        overrides = limit_time(overrides, 60 * minutes * training.share, seconds_per_step)
    else:
        steps = steps_per_epoch(training.n_sentences, task.settings.batch_size)
        overrides = until_convergence(overrides, steps, training.max_epochs)
    train_pipeline(training.config, folder / "training", overrides, task.gpu)
    lines = read_lines(folder / "curves.jsonl")
    is_student = "paths.weights" in overrides
    chosen = len(lines) - 1 if is_student else choose([line["score"] for line in lines])
    (folder / "training" / ("model-last" if is_student else "model-best")).replace(folder / "pipeline")
    shutil.rmtree(folder / "training")
    # Nothing is watched before training.
    epochs = [describe_epoch(line) for line in lines[1:]] if training.is_watched else []
    return Trained(chosen, epochs, training.n_sentences)


def describe_epoch(line: dict[str, Any]) -> dict[str, Any]:
    """Take from a line of a curve what the table needs of an evaluation."""
    watch = line["watch"]
    return {
        "step": line["step"],
        "source_dev": line["score"],
        "target_dev": watch["dev"]["ents_f"] if "dev" in watch else None,
        "test": {key: watch["test"][f"ents_{key}"] for key in "fpr"},
    }


def _watch(task: Task) -> dict[str, Any]:
    """Readers of the target's dev and test files."""
    limits = {"dev": task.settings.dev_limit, "test": task.settings.test_limit}
    return {
        split: reader(task.corpus, split, [task.target], limit, task.sources)
        for split, limit in limits.items()
        if task.has(task.target, split)
    }

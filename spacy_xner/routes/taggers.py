"""Routes that train the transformer tagger: on labels, silver data, or the target's text."""

import shutil
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import spacy

from spacy_xner.corpus.docs import make_doc, read_docs, sentence_of, write_docs
from spacy_xner.files import describe_file, read_json
from spacy_xner.projector.parallel import ParallelText
from spacy_xner.projector.settings import AlignerSettings, SilverSettings
from spacy_xner.projector.silver import Outputs, make_silver
from spacy_xner.routes.advice import UPPER_BOUND
from spacy_xner.routes.base import Route, Trained, Training, train
from spacy_xner.routes.settings import augment, count_sentences, read_sentences, run_overrides
from spacy_xner.routes.task import Task
from spacy_xner.tokenizer import blank_pipeline

# Batches of unlabelled text that a teacher labels before it is renewed.
REFRESH_EVERY = 50


class Joint(Route):
    """Train the tagger on the source alone, its lowest layers frozen (Moon et al. 2019)."""

    name = "joint"

    def run(self, task: Task, folder: Path) -> Trained:
        return train(task, tagger_training(task, folder, [task.language]))

    def about(self, task: Task) -> str:
        return f"labels in {task.language}"


class Languages(Route):
    """Train one tagger on the labels of several languages (Shaffer 2021)."""

    name = "languages"

    def run(self, task: Task, folder: Path) -> Trained:
        return train(task, tagger_training(task, folder, task.labelled))

    def missing(self, task: Task) -> str:
        return "" if set(task.labelled) - {task.language} else f"labels besides {task.language}'s"

    def about(self, task: Task) -> str:
        return f"labels in {', '.join(task.labelled)}"

    def inputs(self, task: Task) -> dict[str, Any]:
        return {"labelled": task.labelled}


class Supervised(Route):
    """Train on the target's labels, and select on its dev set if it has one: the upper bound."""

    name = UPPER_BOUND

    def run(self, task: Task, folder: Path) -> Trained:
        dev = task.target if task.has(task.target, "dev") else task.language
        changes = {"corpora.dev.languages": [dev]}
        return train(task, tagger_training(task, folder, [task.target], changes))

    def missing(self, task: Task) -> str:
        return "" if task.has(task.target, "train") else "a train file of the target"

    def about(self, task: Task) -> str:
        return f"labels in {task.target}"


class Silver(Route):
    """Project a tagger's entities through parallel text, and let it learn from them (Li et al. 2021).

    Teacher and student share the minutes. To convergence, the teacher is the finished joint tagger.
    """

    name = "project"

    def run(self, task: Task, folder: Path) -> Trained:
        teacher = find_teacher(task, folder)
        silver = folder / "silver"
        make_silver_corpus(task, teacher.folder / "pipeline", silver)
        changes = {
            "paths.train": str(silver),
            "paths.weights": str(teacher.folder / "pipeline"),
            "corpora.train.languages": [],
            "corpora.train.sources": [],
            "vars.limit": 0,
            "vars.learn_rate": task.settings.learn_rate / 4,
            "components.ner.model.head.loss": {"@misc": "spacy_xner.reweighted.v1", "gamma": 4.0},
        }
        training = tagger_training(task, folder, [task.language], changes)
        n_sentences = len(read_docs(silver / f"{task.target}-silver-train.spacy"))
        trained = train(task, training._replace(n_sentences=n_sentences, share=teacher.share))
        return _finish(trained, teacher, folder)

    def missing(self, task: Task) -> str:
        return "" if task.data.parallel else "parallel text (--parallel)"

    def about(self, task: Task) -> str:
        return f"labels in {task.language}, parallel text"

    def inputs(self, task: Task) -> dict[str, Any]:
        return {"parallel": [describe_file(path) for path in task.data.parallel], "pairs": task.data.pairs}


class SelfTraining(Route):
    """Let the joint tagger learn from what it finds in the target's text.

    Bari et al. 2020, on a transformer. The joint tagger takes its share of the minutes, as a teacher does.
    """

    name = "self-training"

    def run(self, task: Task, folder: Path) -> Trained:
        teacher = find_teacher(task, folder)
        write_labels(task, folder)
        write_texts(task, folder)
        changes = {
            "paths.train": str(folder / "corpus"),
            "paths.weights": str(teacher.folder / "pipeline"),
            "corpora.train.sources": [],
            "vars.limit": 0,
            "vars.learn_rate": task.settings.learn_rate / 4,
            **augment(task.language, task.target, target_reader=False, refresh_every=REFRESH_EVERY),
        }
        training = tagger_training(task, folder, [task.language], changes)
        trained = train(task, training._replace(share=teacher.share))
        return _finish(trained, teacher, folder)

    def missing(self, task: Task) -> str:
        return "" if task.has_text() else "text of the target (--text, or a train file)"

    def about(self, task: Task) -> str:
        return f"labels in {task.language}, text in {task.target}"

    def inputs(self, task: Task) -> dict[str, Any]:
        return {"text": [describe_file(path) for path in task.texts(task.target)]}


class Teacher(NamedTuple):
    """A joint tagger that another route goes on from.

    share: Share of the minutes that is left for the student.
    seconds: Training time, if another route trained it.
    """

    folder: Path
    share: float
    seconds: float


def find_teacher(task: Task, folder: Path) -> Teacher:
    """Take the finished joint tagger, or train one where time counts."""
    joint = task.out / f"{Joint.name}.json"
    if not task.settings.minutes and joint.exists():
        result = read_json(joint)
        if result["settings"] == task.conditions:
            return Teacher(task.out / Joint.name, 1.0, result["seconds"])
    share = 0.5 if task.settings.minutes else 1.0
    training = tagger_training(task, folder / "teacher", [task.language])
    train(task, training._replace(share=share, is_watched=False))
    return Teacher(folder / "teacher", share, 0.0)


def _finish(trained: Trained, teacher: Teacher, folder: Path) -> Trained:
    shutil.rmtree(folder / "teacher", ignore_errors=True)
    return trained._replace(seconds_before=teacher.seconds)


def make_silver_corpus(task: Task, teacher: Path, out: Path) -> None:
    """Project the teacher's entities through the parallel text, into {lang}-silver-train.spacy."""
    source, *target = task.data.parallel
    aligner = AlignerSettings(
        encoder=task.settings.encoder,
        layer=max(1, task.n_layers // 2),
        precision=task.precision,
    )
    text = ParallelText(source, target[0] if target else None, task.data.pairs)
    outputs = Outputs(out, task.target, "silver")
    settings = SilverSettings(str(teacher), text, task.target, task.language, aligner)
    outputs.check(make_silver(settings, outputs, gpu=task.gpu))


def tagger_training(
    task: Task, folder: Path, languages: list[str], changes: dict[str, Any] | None = None
) -> Training:
    """Describe a training of the transformer tagger with a quarter of its layers frozen.

    languages: Languages whose labels are learnt.
    changes: Further overrides of the config.
    """
    settings = task.settings
    overrides = {
        **run_overrides(
            task.corpus, folder / "curves.jsonl", asdict(settings), languages=languages,
            sources=task.sources, n_frozen_layers=task.n_layers // 4, seed=settings.seed,
            precision=task.precision,
        ),
        "corpora.dev.languages": [task.language],
        **(changes or {}),
    }  # fmt: skip
    n_sentences = count_sentences(task.corpus, languages, settings.limit, task.sources)
    return Training(folder, task.config("transformer"), overrides, n_sentences)


def write_labels(task: Task, folder: Path) -> Path:
    """Write the source's labelled sentences into a corpus in the route's folder. RETURNS: The file."""
    docs = read_sentences(task.files(task.language), spacy.blank("xx").vocab, task.settings.limit)
    path = folder / "corpus" / f"{task.language}-gold-train.spacy"
    write_docs(docs, path)
    return path


def write_texts(task: Task, folder: Path) -> int:
    """Write text of the target into a corpus in the route's folder, as many sentences as have labels.

    The text is that of the target's training files, or else lines of plain text.
    RETURNS: Number of sentences.
    """
    nlp = blank_pipeline()
    if task.has(task.target, "train"):
        docs = read_sentences(task.files(task.target), nlp.vocab)
    else:
        docs = (nlp.make_doc(line.strip()) for line in task.lines(task.target) if line.strip())
    limit = count_sentences(task.corpus, [task.language], task.settings.limit, task.sources)
    sentences = [
        make_doc(nlp.vocab, sentence_of(doc), task.target, labelled=False) for doc in islice(docs, limit)
    ]
    write_docs(sentences, folder / "corpus" / f"{task.target}-text-train.spacy")
    return len(sentences)

"""The routes of `compare.py`: what each needs of the data, and how it comes to a trained pipeline."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import spacy
from spacy.cli._util import setup_gpu
from spacy.schemas import ConfigSchemaTraining
from spacy.training.initialize import init_nlp
from spacy.training.loop import create_train_batches
from spacy.util import load_config, registry, resolve_dot_names
from wasabi import msg

from spacy_xner.corpus.docs import make_doc, read_docs, sentence_of, write_docs
from spacy_xner.corpus.names import file_language, find_files
from spacy_xner.files import describe_file, numbered_lines, read_json, read_lines
from spacy_xner.projector.parallel import ParallelText
from spacy_xner.projector.settings import AlignerSettings, SilverSettings
from spacy_xner.projector.silver import Outputs, make_silver
from spacy_xner.router.grouping import read_grouping
from spacy_xner.tokenizer import create_multilingual_tokenizer
from spacy_xner.training import fixed_steps, steps_per_epoch, train_pipeline
from spacy_xner.transformer.checkpoint import load_checkpoint
from spacy_xner.vectors.table import write_table
from spacy_xner.vectors.train import train_vectors

import translate
import vectors
from common import split_names
from comparison import UPPER_BOUND
from runs import augment, count_sentences, read_sentences, reader, run_overrides, text_steps
from tables import choose

# Of every training with a time limit.
N_EVALUATIONS = 8
# Steps whose time is measured, after those that warm up.
N_WARM, N_TIMED = 3, 20
# Batches of unlabelled text that a teacher labels before it is renewed.
REFRESH_EVERY = 50


@dataclass(frozen=True)
class Task:
    """What the user has and wants.

    settings: What makes results comparable: language, target, source, encoder, limits, minutes, learn_rate,
        batch_size, seed, corpus. parallel: One file of `source TAB target`, or two. text: Folder of
        {lang}.txt, .gz or .xz.
    """

    corpus: Path
    out: Path
    settings: dict[str, Any]
    parallel: tuple[Path, ...] = ()
    dictionary: Path | None = None
    reverse: bool = False
    text: Path | None = None
    grouping: Path | None = None
    pairs: int = 10_000
    words: int = 30_000
    configs: Path = Path("configs")
    mixed_precision: bool = True
    gpu: int = -1

    @property
    def language(self) -> str:
        """The language with labels."""
        return str(self.settings["language"])

    @property
    def target(self) -> str:
        """The language to tag."""
        return str(self.settings["target"])

    @property
    def sources(self) -> list[str]:
        """Corpora, as in the file names."""
        return split_names(self.settings["source"])

    @cached_property
    def n_layers(self) -> int:
        """Layers of the encoder."""
        return int(load_checkpoint(self.settings["encoder"])[0].config.num_hidden_layers)

    @cached_property
    def labelled(self) -> list[str]:
        """Languages with labels to train on: those of the target's cluster, all without a grouping."""
        known = set(find_files(self.corpus, "train", [], self.sources))
        if self.grouping is not None:
            grouping = read_grouping(self.grouping)
            known &= set(grouping.clusters[grouping.cluster_of[self.target]])
        return sorted(known - {self.target})

    def has(self, language: str, split: str) -> bool:
        """True if there is such a file."""
        return language in find_files(self.corpus, split, [], self.sources)

    def files(self, language: str) -> list[Path]:
        """Training files of a language."""
        return find_files(self.corpus, "train", [language], self.sources)[language]

    def texts(self, language: str) -> list[Path]:
        """Plain text of a language."""
        names = (f"{language}.txt{ending}" for ending in ("", ".gz", ".xz"))
        return [self.text / name for name in names if (self.text / name).is_file()] if self.text else []

    def lines(self, language: str) -> Iterator[str]:
        """Lines of the plain text of a language."""
        return (line for path in self.texts(language) for _, line in numbered_lines(path))

    def has_text(self) -> bool:
        """True if there is unlabelled text of the target: a train file's, or plain text."""
        return self.has(self.target, "train") or bool(self.texts(self.target))


class Trained(NamedTuple):
    """A training that is over, its pipeline in the route's folder.

    chosen: The evaluation that the pipeline is of, 0 for that before training. epochs: All but that.
    seconds_before: Of another route, whose pipeline was the teacher.
    """

    chosen: int
    epochs: list[dict[str, Any]]
    n_sentences: int
    seconds_before: float = 0.0


class Route(NamedTuple):
    """A way to a tagger.

    run: Trains it; the folder is empty and the route's own. missing: What the data lacks for it, or nothing.
    about: What it learns from. inputs: Its own settings, besides those of all.
    """

    run: Callable[[Task, Path], Trained]
    missing: Callable[[Task], str]
    about: Callable[[Task], str]
    inputs: Callable[[Task], dict[str, Any]]


def run_joint(task: Task, folder: Path) -> Trained:
    """Train the tagger on the source alone, its lowest layers frozen (Moon et al. 2019)."""
    return train_tagger(task, folder, [task.language])


def run_languages(task: Task, folder: Path) -> Trained:
    """Train one tagger on the labels of several languages (Shaffer 2021)."""
    return train_tagger(task, folder, task.labelled)


def run_supervised(task: Task, folder: Path) -> Trained:
    """Train on the target's own labels, and select on its dev set if it has one."""
    dev = task.target if task.has(task.target, "dev") else task.language
    return train_tagger(task, folder, [task.target], {"corpora.dev.languages": [dev]})


def run_project(task: Task, folder: Path) -> Trained:
    """Project a tagger's entities through parallel text, and let it learn from them (Li et al. 2021).

    Teacher and student share the minutes. To convergence, the teacher is the finished joint tagger.
    """
    teacher, share, before = find_teacher(task, folder)
    silver = folder / "silver"
    ours, *theirs = task.parallel
    settings = SilverSettings(
        str(teacher / "pipeline"),
        ParallelText(ours, theirs[0] if theirs else None, task.pairs),
        file_language(task.target),
        task.language,
        AlignerSettings(
            encoder=task.settings["encoder"],
            layer=max(1, task.n_layers // 2),
            mixed_precision=task.mixed_precision,
        ),
    )
    outputs = Outputs(silver, file_language(task.target), "silver")
    outputs.check(make_silver(settings, outputs, gpu=task.gpu, tell=msg.info))
    overrides = {
        "paths.train": str(silver),
        "paths.weights": str(teacher / "pipeline"),
        "corpora.train.languages": [],
        "corpora.train.sources": [],
        "vars.limit": 0,
        "vars.learn_rate": task.settings["learn_rate"] / 4,
        "components.ner.model.head.loss": {"@misc": "spacy_xner.reweighted.v1", "gamma": 4.0},
    }
    n_sentences = len(read_docs(outputs.corpus))
    trained = train_tagger(task, folder, [task.language], overrides, n_sentences=n_sentences, share=share)
    shutil.rmtree(folder / "teacher", ignore_errors=True)
    return trained._replace(seconds_before=before)


def run_self_training(task: Task, folder: Path) -> Trained:
    """Let the joint tagger learn from what it finds in the target's text.

    Bari et al. 2020, on a transformer. The joint tagger takes its share of the minutes, as a teacher does.
    """
    teacher, share, before = find_teacher(task, folder)
    write_labels(task, folder)
    n_texts = write_texts(task, folder)
    overrides = {
        "paths.train": str(folder / "corpus"),
        "paths.weights": str(teacher / "pipeline"),
        "corpora.train.sources": [],
        "vars.limit": 0,
        "vars.learn_rate": task.settings["learn_rate"] / 4,
        **augment(task.language, task.target, target_reader=False, refresh_every=REFRESH_EVERY),
    }
    trained = train_tagger(task, folder, [task.language], overrides, n_texts=n_texts, share=share)
    shutil.rmtree(folder / "teacher", ignore_errors=True)
    return trained._replace(seconds_before=before)


def find_teacher(task: Task, folder: Path) -> tuple[Path, float, float]:
    """Take the finished joint tagger, or train one where time counts.

    RETURNS: Its folder, the share of the minutes that is left, and the seconds that it took before.
    """
    joint = task.out / "joint.json"
    if not task.settings["minutes"] and joint.exists():
        found = read_json(joint)
        if found["settings"] == task.settings:
            return task.out / "joint", 1.0, found["seconds"]
    share = 0.5 if task.settings["minutes"] else 1.0
    train_tagger(task, folder / "teacher", [task.language], share=share, is_watched=False)
    return folder / "teacher", share, 0.0


def run_translate(task: Task, folder: Path) -> Trained:
    """Train a BiLSTM-CRF on labels and their word-by-word translations (Huang et al. 2019).

    The vectors of words come from the encoder: no vector files are needed.
    """
    gold = write_labels(task, folder)
    found = {
        task.language: [gold, *task.texts(task.language)],
        # Its words, not its labels.
        task.target: task.texts(task.target)
        or (task.files(task.target) if task.has(task.target, "train") else []),
    }
    for name, paths in found.items():
        vectors.distil(
            paths, folder / f"{name}.safetensors", encoder=task.settings["encoder"],
            layer=max(1, 2 * task.n_layers // 3), dictionary=task.dictionary,
            reverse=task.reverse == (name == task.target), limit=task.words,
            mixed_precision=task.mixed_precision,
        )  # fmt: skip
    vectors.merge([folder / f"{name}.safetensors" for name in found], folder / "vectors", width=200)
    assert task.dictionary is not None
    translate.words(gold, task.dictionary, folder / "vectors", task.target, reverse=task.reverse)
    both = ["gold", f"gold.{task.target}"]
    n_sentences = count_sentences(folder / "corpus", [task.language], 0, both)
    return train_bilstm(task, folder, {"corpora.train.sources": both}, n_sentences, data=folder)


def train_bilstm(
    task: Task,
    folder: Path,
    changes: dict[str, Any],
    n_sentences: int,
    *,
    data: Path,
    n_texts: int = 0,
    share: float = 1.0,
    is_watched: bool = True,
) -> Trained:
    """Train the BiLSTM-CRF on the corpus and the vectors in `data`; see `train`."""
    overrides = {
        "paths.train": str(data / "corpus"),
        "paths.dev": str(task.corpus),
        "paths.vectors": str(data / "vectors"),
        "paths.curves": str(folder / "curves.jsonl"),
        "vars.languages": [task.language],
        "corpora.dev.sources": task.sources,
        "vars.dev_limit": task.settings["dev_limit"],
        "vars.batch_size": task.settings["batch_size"],
        "vars.steps_per_epoch": steps_of(task, n_sentences, n_texts),
        "system.seed": task.settings["seed"],
        **changes,
    }
    config = task.configs / "bilstm.cfg"
    return train(
        task, folder, config, overrides, n_sentences, n_texts=n_texts, share=share, max_epochs=100,
        is_watched=is_watched,
    )  # fmt: skip


def write_labels(task: Task, folder: Path) -> Path:
    """Write the source's labelled sentences into the route's own corpus. RETURNS: The file."""
    docs = read_sentences(task.files(task.language), spacy.blank("xx").vocab, task.settings["limit"])
    path = folder / "corpus" / f"{task.language}-gold-train.spacy"
    write_docs(docs, path)
    return path


def write_texts(task: Task, folder: Path) -> int:
    """Write the target's text, as many sentences as have labels: of its training files, or plain lines.

    RETURNS: Sentences.
    """
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    if task.has(task.target, "train"):
        found = read_sentences(task.files(task.target), nlp.vocab)
    else:
        found = (nlp.make_doc(line.strip()) for line in task.lines(task.target) if line.strip())
    limit = count_sentences(task.corpus, [task.language], task.settings["limit"], task.sources)
    sentences = [
        make_doc(nlp.vocab, sentence_of(doc), task.target, labelled=False) for doc in islice(found, limit)
    ]
    write_docs(sentences, folder / "corpus" / f"{task.target}-text-train.spacy")
    return len(sentences)


def train_vectors_of(task: Task, language: str, out: Path) -> None:
    """Train fastText vectors on a language's plain text."""
    settings = {"max_words": task.words, "seed": task.settings["seed"]}
    write_table(train_vectors(task.lines(language), **settings), out)


def run_zero_resource(task: Task, folder: Path) -> Trained:
    """Train a BiLSTM-CRF without a dictionary and without parallel text (Bari et al. 2020).

    Vectors are trained on plain text and mapped by what they have alike. The source model has half of the
    minutes.
    """
    tables = [folder / f"{name}.safetensors" for name in (task.language, task.target)]
    for language, table in zip((task.language, task.target), tables, strict=True):
        train_vectors_of(task, language, table)
    vectors.map_unsupervised(*tables, folder / "mapped", seed=task.settings["seed"])
    mapped = [folder / "mapped" / f"{side}.safetensors" for side in ("source", "target")]
    vectors.merge(mapped, folder / "vectors")
    write_labels(task, folder)
    n_sentences = count_sentences(folder / "corpus", [task.language], 0)
    shape = {"vars.tie": True, "vars.dense": 100}
    source = folder / "source"
    train_bilstm(task, source, shape, n_sentences, data=folder, share=0.5, is_watched=False)
    n_texts = write_texts(task, folder)
    tuning = augment(task.language, task.target, refresh_every=REFRESH_EVERY)
    changes = {"paths.weights": str(source / "pipeline"), **tuning}
    trained = train_bilstm(
        task, folder, {**shape, **changes}, n_sentences, data=folder, n_texts=n_texts, share=0.5
    )
    shutil.rmtree(source)
    return trained


def train_tagger(
    task: Task,
    folder: Path,
    languages: list[str],
    changes: dict[str, Any] | None = None,
    *,
    n_sentences: int = 0,
    n_texts: int = 0,
    share: float = 1.0,
    is_watched: bool = True,
) -> Trained:
    """Train the transformer tagger with a quarter of its layers frozen; see `train`.

    changes: Of the config. n_sentences: Of the training set; by default that of the languages' labels.
    """
    overrides = {
        **run_overrides(
            task.corpus, folder / "curves.jsonl", task.settings, languages=languages, sources=task.sources,
            n_frozen_layers=task.n_layers // 4, seed=task.settings["seed"],
            mixed_precision=task.mixed_precision,
        ),
        "corpora.dev.languages": [task.language],
        **(changes or {}),
    }  # fmt: skip
    n_sentences = n_sentences or count_sentences(task.corpus, languages, task.settings["limit"], task.sources)
    config = task.configs / "transformer.cfg"
    return train(
        task, folder, config, overrides, n_sentences, n_texts=n_texts, share=share, is_warmed_up=True,
        is_watched=is_watched,
    )  # fmt: skip


def train(
    task: Task,
    folder: Path,
    config: Path,
    overrides: dict[str, Any],
    n_sentences: int,
    *,
    n_texts: int = 0,
    share: float = 1.0,
    max_epochs: int = 20,
    is_warmed_up: bool = False,
    is_watched: bool = True,
) -> Trained:
    """Train a route's pipeline into `folder`/pipeline, scoring the target at every evaluation.

    The best evaluation by the score is kept, but the last one of a training that goes on from a teacher: the
    source's dev set cannot see what that learns of the target, and would choose the teacher.

    n_texts: Sentences without labels. share: Of the minutes. max_epochs: To convergence,
        which is a quarter of them without a better score.
    is_warmed_up: The learning rate rises in the first tenth, or in less.
    """
    if is_watched:
        overrides = {
            **overrides,
            "training.logger.watch": {
                split: reader(
                    task.corpus, split, [task.target], task.settings[f"{split}_limit"], task.sources
                )
                for split in ("dev", "test")
                if task.has(task.target, split)
            },
        }
    steps = steps_of(task, n_sentences, n_texts)
    if minutes := task.settings["minutes"]:
        n_steps = 60 * minutes * share / measure_step(config, overrides, task.gpu)
        steps, n_evaluations = max(1, round(n_steps / N_EVALUATIONS)), N_EVALUATIONS
    else:
        n_evaluations = max_epochs
        overrides = {**overrides, "training.patience": steps * max_epochs // 4}
    overrides = {**overrides, **fixed_steps(steps * n_evaluations, eval_frequency=steps)}
    if is_warmed_up:
        warmup = min(50, steps * n_evaluations // 10)
        overrides = {**overrides, "training.optimizer.learn_rate.warmup_steps": warmup}
    train_pipeline(config, folder / "training", overrides, task.gpu)
    lines = read_lines(folder / "curves.jsonl")
    is_student = "paths.weights" in overrides
    chosen = len(lines) - 1 if is_student else choose([line["score"] for line in lines])
    (folder / "training" / ("model-last" if is_student else "model-best")).replace(folder / "pipeline")
    shutil.rmtree(folder / "training")
    # Nothing is watched before training.
    epochs = [describe_epoch(line) for line in lines[1:]] if is_watched else []
    return Trained(chosen, epochs, n_sentences)


def steps_of(task: Task, n_sentences: int, n_texts: int) -> int:
    """Batches of a pass: of labels, and of the text that they take along, at most one each."""
    batch_size = task.settings["batch_size"]
    labelled = steps_per_epoch(n_sentences, batch_size)
    return labelled + text_steps(labelled, n_texts, batch_size)


def measure_step(config: Path, overrides: dict[str, Any], gpu: int) -> float:
    """Train a few steps and forget them. RETURNS: Seconds a step, other programs left out."""
    setup_gpu(gpu, silent=True)
    if objectives := overrides.get("components.ner.objectives"):
        # A new length with every batch: one alone may let all sentences pass or none.
        drawn = {name: {**objective, "refresh_every": 1} for name, objective in objectives.items()}
        overrides = {**overrides, "components.ner.objectives": drawn}
    nlp = init_nlp(load_config(config, overrides=overrides, interpolate=False), use_gpu=gpu)
    plain = nlp.config.interpolate()
    training = registry.resolve(plain["training"], schema=ConfigSchemaTraining)
    [corpus] = resolve_dot_names(plain, [training["train_corpus"]])
    batches = create_train_batches(nlp, corpus, training["batcher"], 0)
    before = (0.0, 0.0)
    for number, (_, batch) in enumerate(islice(batches, N_WARM + N_TIMED)):
        if number == N_WARM:
            before = time.perf_counter(), time.process_time()
        nlp.update(batch, sgd=training["optimizer"], drop=training["dropout"])
    after = time.perf_counter(), time.process_time()
    wall, own = (b - a for a, b in zip(before, after, strict=True))
    # Several threads take more processor time than passes; a GPU works while the processor waits.
    return (wall if gpu >= 0 else min(wall, own)) / N_TIMED


def describe_epoch(line: dict[str, Any]) -> dict[str, Any]:
    """What the table needs of an evaluation."""
    watch = line["watch"]
    return {
        "step": line["step"],
        "source_dev": line["score"],
        "target_dev": watch["dev"]["ents_f"] if "dev" in watch else None,
        "test": {key: watch["test"][f"ents_{key}"] for key in "fpr"},
    }


def _describe(paths: Iterable[Path]) -> list[list[str | int]]:
    return [describe_file(path) for path in paths]


# What `compare.py` can do, in the order of the work. The upper bound is done on request only.
ROUTES = {
    "joint": Route(run_joint, lambda task: "", lambda task: f"labels in {task.language}", lambda task: {}),
    "languages": Route(
        run_languages,
        lambda task: "" if set(task.labelled) - {task.language} else f"labels besides {task.language}'s",
        lambda task: f"labels in {', '.join(task.labelled)}",
        lambda task: {"labelled": task.labelled},
    ),
    "project": Route(
        run_project,
        lambda task: "" if task.parallel else "parallel text (--parallel)",
        lambda task: f"labels in {task.language}, parallel text",
        lambda task: {"parallel": _describe(task.parallel), "pairs": task.pairs},
    ),
    "translate": Route(
        run_translate,
        lambda task: "" if task.dictionary else "a dictionary (--dictionary)",
        lambda task: f"labels in {task.language}, a dictionary",
        lambda task: {
            "dictionary": _describe([task.dictionary] if task.dictionary else []),
            "text": _describe([*task.texts(task.language), *task.texts(task.target)]),
            "words": task.words,
        },
    ),
    "self-training": Route(
        run_self_training,
        lambda task: "" if task.has_text() else "text of the target (--text, or a train file)",
        lambda task: f"labels in {task.language}, text in {task.target}",
        lambda task: {"text": _describe(task.texts(task.target))},
    ),
    "zero-resource": Route(
        run_zero_resource,
        lambda task: "" if task.texts(task.language) and task.texts(task.target) else "plain text (--text)",
        lambda task: f"labels in {task.language}, text in both",
        lambda task: {
            "text": _describe([*task.texts(task.language), *task.texts(task.target)]),
            "words": task.words,
        },
    ),
    UPPER_BOUND: Route(
        run_supervised,
        lambda task: "" if task.has(task.target, "train") else "a train file of the target",
        lambda task: f"labels in {task.target}",
        lambda task: {},
    ),
}

"""Routes that train the BiLSTM-CRF on word vectors: with a dictionary, or with plain text alone."""

import shutil
from pathlib import Path
from typing import Any

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import describe_file
from spacy_xner.routes.base import Route, Trained, Training, train
from spacy_xner.routes.settings import augment, count_sentences
from spacy_xner.routes.taggers import REFRESH_EVERY, write_labels, write_texts
from spacy_xner.routes.task import Task
from spacy_xner.training import steps_per_epoch
from spacy_xner.vectors.coverage import choose_words
from spacy_xner.vectors.dictionary import read_dictionary
from spacy_xner.vectors.distil import distil_vectors
from spacy_xner.vectors.maps import write_unsupervised
from spacy_xner.vectors.starts import MapSettings
from spacy_xner.vectors.table import (
    VectorTable,
    merge_tables,
    read_table,
    reduce_width,
    write_pipeline,
    write_table,
)
from spacy_xner.vectors.train import train_vectors
from spacy_xner.vectors.translate import translate_corpus
from spacy_xner.vectors.unsupervised import map_without_dictionary

# Numbers of a distilled vector that are kept.
WIDTH = 200
# Most frequent words of a table that are mapped.
MAPPED_WORDS = 200_000


class Translate(Route):
    """Train a BiLSTM-CRF on labels and their word-by-word translations (Huang et al. 2019).

    The vectors of words come from the encoder: no vector files are needed.
    """

    name = "translate"

    def run(self, task: Task, folder: Path) -> Trained:
        dictionary = task.data.dictionary
        if dictionary is None:
            raise XnerError(Errors.XNER646.format(route=self.name, missing=self.missing(task)))
        gold = write_labels(task, folder)
        # The target's training files give words here, and no labels.
        target_files = task.files(task.target) if task.has(task.target, "train") else []
        words = {
            task.language: [gold, *task.texts(task.language)],
            task.target: [*task.texts(task.target), *target_files],
        }
        tables = []
        for language, paths in words.items():
            reverse = task.data.reverse == (language == task.target)
            tables.append(distil_words(task, paths, dictionary, reverse=reverse))
            write_table(tables[-1], folder / f"{language}.safetensors")
        write_pipeline(reduce_width(merge_tables(tables), WIDTH), folder / "vectors")
        vectors = read_table(folder / "vectors")
        translate_corpus(gold, dictionary, vectors, task.target, reverse=task.data.reverse)
        both = ["gold", f"gold.{task.target}"]
        n_sentences = count_sentences(folder / "corpus", [task.language], 0, both)
        changes = {"corpora.train.sources": both}
        return train(task, bilstm_training(task, folder, folder, changes, n_sentences))

    def missing(self, task: Task) -> str:
        return "" if task.data.dictionary else "a dictionary (--dictionary)"

    def about(self, task: Task) -> str:
        return f"labels in {task.language}, a dictionary"

    def inputs(self, task: Task) -> dict[str, Any]:
        dictionary = task.data.dictionary
        return {
            "dictionary": [describe_file(dictionary)] if dictionary else [],
            "text": _describe_texts(task),
            "words": task.data.words,
        }


class ZeroResource(Route):
    """Train a BiLSTM-CRF without a dictionary and without parallel text (Bari et al. 2020).

    Vectors are trained on plain text and mapped by what they have alike. The source model has half of the
    minutes.
    """

    name = "zero-resource"

    def run(self, task: Task, folder: Path) -> Trained:
        paths = [folder / f"{language}.safetensors" for language in (task.language, task.target)]
        for language, path in zip((task.language, task.target), paths, strict=True):
            train_vectors_of(task, language, path)
        mapped = map_vectors_of(task, paths, folder / "mapped")
        write_pipeline(merge_tables(mapped), folder / "vectors")
        write_labels(task, folder)
        n_sentences = count_sentences(folder / "corpus", [task.language], 0)
        shape = {"vars.tie": True, "vars.dense": 100}
        source = bilstm_training(task, folder / "source", folder, shape, n_sentences)
        train(task, source._replace(share=0.5, is_watched=False))
        write_texts(task, folder)
        changes = {
            **shape,
            "paths.weights": str(source.folder / "pipeline"),
            **augment(task.language, task.target, refresh_every=REFRESH_EVERY),
        }
        student = bilstm_training(task, folder, folder, changes, n_sentences)
        trained = train(task, student._replace(share=0.5))
        shutil.rmtree(source.folder)
        return trained

    def missing(self, task: Task) -> str:
        has_both = task.texts(task.language) and task.texts(task.target)
        return "" if has_both else "plain text (--text)"

    def about(self, task: Task) -> str:
        return f"labels in {task.language}, text in both"

    def inputs(self, task: Task) -> dict[str, Any]:
        return {"text": _describe_texts(task), "words": task.data.words}


def distil_words(task: Task, paths: list[Path], dictionary: Path, *, reverse: bool) -> VectorTable:
    """Distil the vectors of one language's words: those of its text, and those of the dictionary.

    reverse: True if the dictionary's source words are this language's.
    """
    words = choose_words(paths, read_dictionary(dictionary, reverse=reverse), limit=task.data.words)
    layer = max(1, 2 * task.n_layers // 3)
    return distil_vectors(words, task.settings.encoder, layer=layer, precision=task.precision)


def train_vectors_of(task: Task, language: str, out: Path) -> None:
    """Train fastText vectors on a language's plain text, with capitals.

    The words of its training files follow, by their n-grams; its labels are not read.
    """
    files = task.files(language) if task.has(language, "train") else []
    table = train_vectors(
        task.lines(language), words=choose_words(files, lower=False), lower=False,
        max_words=task.data.words, seed=task.settings.seed,
    )  # fmt: skip
    write_table(table, out)


def map_vectors_of(task: Task, paths: list[Path], folder: Path) -> list[VectorTable]:
    """Map the tables of both languages into one space.

    RAISES: XNER616 for too few words, XNER621 if the map failed.
    """
    source, target = (read_table(path, MAPPED_WORDS) for path in paths)
    result = map_without_dictionary(source, target, MapSettings(seed=task.settings.seed))
    write_unsupervised(folder, result)
    result.check()
    return [result.source, result.target]


def bilstm_training(
    task: Task, folder: Path, data: Path, changes: dict[str, Any], n_sentences: int
) -> Training:
    """Describe a training of the BiLSTM-CRF on a corpus and vectors.

    data: Folder with `corpus` and `vectors`.
    changes: Further overrides of the config.
    """
    settings = task.settings
    overrides = {
        "paths.train": str(data / "corpus"),
        "paths.dev": str(task.corpus),
        "paths.vectors": str(data / "vectors"),
        "paths.curves": str(folder / "curves.jsonl"),
        "vars.languages": [task.language],
        "corpora.dev.sources": task.sources,
        "vars.dev_limit": settings.dev_limit,
        "vars.batch_size": settings.batch_size,
        "vars.steps_per_epoch": steps_per_epoch(n_sentences, settings.batch_size),
        "system.seed": settings.seed,
        **changes,
    }
    return Training(folder, task.config("bilstm"), overrides, n_sentences, max_epochs=100)


def _describe_texts(task: Task) -> list[list[str | int]]:
    return [describe_file(path) for path in [*task.texts(task.language), *task.texts(task.target)]]

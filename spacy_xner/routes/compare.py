"""Train the routes that the data allows, measure their pipelines, and write one table with advice."""

import gc
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import spacy
from spacy.cli._util import setup_gpu
from spacy.training import Example

from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import folder_size, read_json, write_json, write_text
from spacy_xner.routes import advice
from spacy_xner.routes.base import Route, Trained
from spacy_xner.routes.lexical import Translate, ZeroResource
from spacy_xner.routes.taggers import Joint, Languages, SelfTraining, Silver, Supervised
from spacy_xner.routes.task import Task
from spacy_xner.runs import claim, is_done
from spacy_xner.scoring import annotate, count_by_sentence

# In the order of the work: students go on from the joint tagger. The upper bound is done on request only.
ROUTES: dict[str, Route] = {
    route.name: route
    for route in (
        Joint(), Languages(), Silver(), Translate(), SelfTraining(), ZeroResource(), Supervised()
    )
}  # fmt: skip
N_WARMUP = 20


class Outcome(NamedTuple):
    """The end of a route.

    reason: Why it has no pipeline; empty if it has one.
    was_done: True if an earlier call had trained it.
    """

    reason: str = ""
    was_done: bool = False


class Report(NamedTuple):
    """A finished comparison.

    lines: Rows of the table under `advice.HEADER`.
    advice: Sentences.
    path: The table as Markdown.
    """

    lines: list[list[str]]
    advice: list[str]
    path: Path


def choose_routes(names: Sequence[str], *, upper_bound: bool = False) -> list[str]:
    """Check the names of routes; without any, take all but the upper bound.

    upper_bound: Add the training on the target's labels.
    RAISES: XNER645 for unknown names.
    """
    if unknown := sorted(set(names) - set(ROUTES)):
        raise XnerError(Errors.XNER645.format(unknown=unknown, known=", ".join(ROUTES)))
    chosen = list(names) or [name for name in ROUTES if name != advice.UPPER_BOUND]
    return list(dict.fromkeys([*chosen, *[advice.UPPER_BOUND] * upper_bound]))


def train_route(name: str, task: Task, on_start: Callable[[str], Any] = str) -> Outcome:
    """Train a route unless that was done before, or its data is missing.

    on_start: Called with the route's name before it is trained.
    RAISES: XNER640 if it was done with other settings, XNER641 if its result cannot be read. Errors of the
        data become the outcome's reason.
    """
    route = ROUTES[name]
    if missing := route.missing(task):
        return Outcome(f"needs {missing}")
    path = task.out / f"{name}.json"
    settings = {**task.conditions, **route.inputs(task)}
    with claim(path) as is_mine:
        if not is_mine:
            return Outcome("another process is at it")
        if is_done(path, settings):
            return Outcome(was_done=True)
        on_start(name)
        start = time.perf_counter()
        folder = task.out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            trained = route.run(task, folder)
        except XnerError as error:
            return Outcome(" ".join(str(error).split()))
        seconds = time.perf_counter() - start + trained.seconds_before
        write_json(path, _describe_result(route, task, settings, trained, seconds))
    return Outcome()


def compare_routes(task: Task, reasons: Mapping[str, str]) -> Report:
    """Measure the finished pipelines one after the other in this process, and write compare.md and .json.

    reasons: Why a route has no pipeline, by route; empty for those that have one.
    """
    setup_gpu(task.gpu, silent=True)
    names = [name for name, reason in reasons.items() if not reason]
    failed = {name: reason for name, reason in reasons.items() if reason}
    measured = {}
    for name in names:
        measured[name] = measure_pipeline(task, task.out / name / "pipeline")
        # Pipelines in memory at once would share their frozen layers and what these compute.
        gc.collect()
    results = {name: read_json(task.out / f"{name}.json") for name in names}
    rows = [advice.make_row(results[name], measured[name]) for name in names]
    differences = advice.compare_with_best(rows, {name: measured[name]["counts"] for name in names})
    n_sentences = len(measured[names[0]]["counts"]) if names else 0
    sentences = advice.advise(rows, differences, n_sentences, task.target)
    lines = advice.tabulate(rows, failed)
    content = {
        "settings": task.conditions,
        "routes": [row._asdict() for row in rows],
        "reasons": failed,
        "best_against": {name: difference._asdict() for name, difference in differences.items()},
        "advice": sentences,
    }
    write_json(task.out / "compare.json", content)
    conditions = advice.describe_conditions(task.conditions, n_sentences)
    path = task.out / "compare.md"
    write_text(path, advice.markdown(lines, sentences, conditions))
    return Report(lines, sentences, path)


def measure_pipeline(task: Task, path: Path) -> dict[str, Any]:
    """Measure a pipeline: words a second, megabytes, and entities of every test sentence.

    Every text is read once, because the BiLSTM remembers words. Sentences of the source language warm up.
    RETURNS: `words_per_second`, `megabytes`, and `counts`, which are right, predicted and gold entities of
        every sentence.
    """
    nlp = spacy.load(path)

    def read(split: str, language: str, limit: int) -> list[Example]:
        corpus = create_multilingual_corpus(
            task.corpus, split=split, languages=[language], sources=task.sources, limit=limit
        )
        return list(corpus(nlp))

    for _ in nlp.pipe([example.text for example in read("dev", task.language, N_WARMUP)]):
        pass
    examples = read("test", task.target, task.settings.test_limit)
    start = time.perf_counter()
    n_words = sum(len(doc) for doc in nlp.pipe([example.text for example in examples]))
    seconds = time.perf_counter() - start
    annotate(nlp, examples)
    return {
        "words_per_second": n_words / seconds,
        "megabytes": folder_size(path) / 1e6,
        "counts": count_by_sentence(examples)[task.target],
    }


def _describe_result(
    route: Route, task: Task, settings: dict[str, Any], trained: Trained, seconds: float
) -> dict[str, Any]:
    return {
        "route": route.name,
        "about": route.about(task),
        "settings": settings,
        "sentences": trained.n_sentences,
        "seconds": seconds,
        "chosen": trained.chosen,
        "epochs": trained.epochs,
    }

"""Micro-batches across requests: one thread reads the texts of many requests together.

A pipeline reads a full batch in a fraction of the time that its texts take one by one.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc

from spacy_xner.attributes import register_attributes
from spacy_xner.deploy.annotations import Annotated, describe
from spacy_xner.deploy.serve.limits import Limits, Refusal
from spacy_xner.deploy.serve.metrics import Metrics
from spacy_xner.errors import Errors, XnerError
from spacy_xner.pages import direction

LOGGER = logging.getLogger(__name__)
# Described texts, as `annotations.describe` does it.
Answer = list[dict[str, Any]]


class Job(NamedTuple):
    """The texts of a request.

    future: Gets the answer.
    """

    texts: Sequence[str]
    language: str | None
    future: "Future[Answer]"


class Batcher:
    """A queue of jobs, and the thread that answers them."""

    def __init__(self, nlp: Language, limits: Limits, metrics: Metrics) -> None:
        self.nlp, self.limits, self.metrics = nlp, limits, metrics
        self._jobs: deque[Job] = deque()
        self._n_waiting = 0
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="xner-batcher", daemon=True)
        register_attributes()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Take no more jobs, answer those that wait, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        """True while jobs are answered."""
        return self._thread.is_alive() and not self._is_closed

    @property
    def n_waiting(self) -> int:
        """The number of texts that wait."""
        return self._n_waiting

    def submit(self, texts: Sequence[str], language: str | None = None) -> "Future[Answer]":
        """Put the texts of a request into the queue.

        RETURNS: The future answer; to cancel it takes the texts out of the queue.
        RAISES: XNER724 for a full queue, XNER726 when the service ends.
        """
        job = Job(texts, language, Future())
        with self._changed:
            if self._is_closed:
                raise Refusal(503, Errors.XNER726)
            if self._n_waiting + len(texts) > self.limits.max_waiting:
                raise Refusal(503, Errors.XNER724.format(limit=self.limits.max_waiting))
            self._jobs.append(job)
            self._n_waiting += len(texts)
            self._changed.notify_all()
        return job.future

    def _run(self) -> None:
        while batch := self._take():
            waiting = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if waiting:
                self._answer(waiting)

    def _take(self) -> list[Job]:
        """Wait for a batch. RETURNS: Its jobs, one at least; none when the service ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closed)
            end = time.monotonic() + self.limits.wait
            self._changed.wait_for(
                lambda: self._n_waiting >= self.limits.batch_size or self._is_closed,
                timeout=max(0.0, end - time.monotonic()),
            )
            batch: list[Job] = []
            n_texts = 0
            while self._jobs and (not batch or n_texts + len(self._jobs[0].texts) <= self.limits.batch_size):
                batch.append(self._jobs.popleft())
                n_texts += len(batch[-1].texts)
            self._n_waiting -= n_texts
            return batch

    def _answer(self, batch: Sequence[Job]) -> None:
        try:
            answers = self._read(batch)
        # Any: a pipeline may have components of others, and one text must not take the service down.
        except Exception as error:
            if len(batch) > 1:
                # The others of the batch are not to suffer from the one that fails.
                for job in batch:
                    self._answer([job])
                return
            batch[0].future.set_exception(_refusal_of(error))
            return
        for job, answer in zip(batch, answers, strict=True):
            job.future.set_result(answer)

    def _read(self, batch: Sequence[Job]) -> list[Answer]:
        """Annotate the texts of a batch together. RETURNS: An answer for each job."""
        start = time.perf_counter()
        answers: list[Answer] = [[] for _ in batch]
        # Words that texts bring are forgotten afterwards: the memory of a service would grow with them.
        with self.nlp.memory_zone():
            pairs = [
                (self._make_doc(text, job.language), number)
                for number, job in enumerate(batch)
                for text in job.texts
            ]
            docs = self.nlp.pipe(pairs, as_tuples=True, batch_size=self.limits.batch_size)
            for doc, number in docs:
                row = describe(Annotated(doc, {}))
                row["direction"] = direction(doc.text, row["language"])
                answers[number].append(row)
        self.metrics.count_batch(sum(map(len, answers)), time.perf_counter() - start)
        return answers

    def _make_doc(self, text: str, language: str | None) -> Doc:
        doc = self.nlp.make_doc(text)
        if language is not None:
            doc._.language = language
        return doc


def _refusal_of(error: Exception) -> Refusal:
    if isinstance(error, XnerError):
        return Refusal(422, str(error))
    LOGGER.error("The pipeline failed on a text", exc_info=error)
    return Refusal(500, Errors.XNER727.format(reason=type(error).__name__))

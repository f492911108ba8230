"""Self-training with soft targets: a tagger learns a fixed teacher's probabilities on text without labels."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy
from spacy.tokens import Doc
from thinc.api import Optimizer
from thinc.types import Floats2d

from spacy_xner.errors import Errors, XnerError
from spacy_xner.objectives.teacher import Teacher, load_taggers
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.types import Rate, Weight


def create_taught(
    teacher: Path,
    weight: Weight = 1.0,
    share: Rate = 1.0,
    by: Literal["confidence", "length"] = "confidence",
) -> "Taught":
    """Create the objective of a student with a teacher that does not change.

    The student had better begin afresh: one that begins with its teacher's weights agrees with it already,
    and learns nothing from it.

    teacher: Folder of a trained pipeline with one tagger of the same labels and scheme, best one with mean
        weights (see `averaging`).
    weight: Factor of this loss in the sum.
    share: Share of the documents in every batch that are learnt.
    by: The teacher's most confident documents are learnt, or the shortest ones.
    SOURCE: Wu et al. 2020 (teacher-student learning without labels of the target), https://aclanthology.org/
        2020.acl-main.581/; documents by length as in Bari et al. 2020.
    DIFFERS: The divergence is that of the probabilities, not their squared difference.
    """
    return Taught(Path(teacher), weight, share, by)


class Taught:
    """See `create_taught`."""

    reads_labelled = False

    def __init__(self, path: Path, weight: float, share: float, by: str) -> None:
        self.path = path
        self.weight = weight
        self.share = share
        self.by = by

    def start(self, tagger: EntityTagger, languages: Iterable[str | None], name: str) -> None:
        """Load the teacher.

        RAISES: XNER312 without unlabelled text, XNER314 for an encoder that listens to another pipe, XNER657
            for a teacher whose tags are not the tagger's, XNER420 without one.
        """
        if not list(languages):
            raise XnerError(Errors.XNER312.format(name=name))
        if tagger.listens:
            raise XnerError(Errors.XNER314.format(name=name))
        taggers = list(load_taggers(self.path).values())
        tags = [(list(other.labels), other.cfg["scheme"]) for other in taggers]
        expected = (list(tagger.labels), tagger.cfg["scheme"])
        if tags != [expected]:
            raise XnerError(Errors.XNER657.format(path=self.path, expected=expected, found=tags))
        self._teacher = Teacher(taggers[0])

    def update(self, docs: list[Doc], tagger: EntityTagger) -> float:
        """Add the gradients of the chosen documents. RETURNS: The weighted loss in nats."""
        scores = self._teacher.scores(docs)
        rows = choose_rows(self._doubts(scores, tagger) if self.by == "confidence" else docs, self.share)
        return tagger.learn_scores([docs[i] for i in rows], [scores[i] for i in rows], weight=self.weight)

    @staticmethod
    def _doubts(scores: list[Floats2d], tagger: EntityTagger) -> list[float]:
        # Scores lie where the tagger is, which may be a GPU.
        return [-confidence(tagger.model.ops.to_numpy(rows)) for rows in scores]

    def finish_update(self, optimizer: Optimizer) -> None:
        """There is nothing beside the tagger's own weights."""


def choose_rows(items: list[Doc] | list[float], share: float) -> list[int]:
    """Choose the documents with the smallest numbers, or the shortest ones; at least one of a batch.

    RETURNS: Their places in the batch, in order.
    """
    sizes = [item if isinstance(item, float) else len(item) for item in items]
    n = max(1, round(share * len(sizes)))
    return sorted(sorted(range(len(sizes)), key=sizes.__getitem__)[:n])


def confidence(scores: Floats2d) -> float:
    """The mean over a document's tokens of the likeliest tag's probability. Shape: (n_tokens, n_tags)."""
    shifted = numpy.asarray(scores, dtype="float64")
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    return float((1 / numpy.exp(shifted).sum(axis=1)).mean())

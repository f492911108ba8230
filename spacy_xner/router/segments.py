"""Functions that identifiers of languages share: which parts of a document they read, and what they write."""

from typing import NamedTuple

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc, Span

from spacy_xner.attributes import LANGUAGE_SPANS, is_blank, preset_language
from spacy_xner.errors import Errors, XnerError
from spacy_xner.types import Level

Floats = NDArray[numpy.float32]


class Identification(NamedTuple):
    """Languages of the segments (the whole text, or its sentences) of one document.

    probabilities: Shape: (n_segments, n_languages).
    vectors: Shape: (n_segments, width).
    """

    segments: list[Span]
    probabilities: Floats
    vectors: Floats


def choose_segments(doc: Doc, labels: tuple[str, ...], level: Level, name: str) -> list[Span]:
    """Choose the segments to look at: none in a blank document or one whose language is known.

    labels: Languages that are known. name: The component's name.
    RAISES: XNER350 for a preset language that is no code, XNER408 for sentences without boundaries.
    """
    language = preset_language(doc, labels)
    if language in labels or is_blank(doc):
        return []
    if level == "doc" or language is not None:
        return [doc[:]]
    if not doc.has_annotation("SENT_START"):
        raise XnerError(Errors.XNER408.format(name=name))
    return [sentence for sentence in doc.sents if sentence.text.strip()]


def write_languages(
    doc: Doc, result: Identification, labels: tuple[str, ...], min_probability: float
) -> None:
    """Write languages, scores and vectors on a document.

    min_probability: Below it `doc._.language` stays empty; see `LanguageIdentifier`.
    """
    best = result.probabilities.argmax(1)
    preset = preset_language(doc, labels)
    names = [preset or labels[i] for i in best]
    doc.spans[LANGUAGE_SPANS] = [
        Span(doc, segment.start, segment.end, label=name)
        for segment, name in zip(result.segments, names, strict=True)
    ]
    doc.spans[LANGUAGE_SPANS].attrs.update(
        scores=result.probabilities.max(1).tolist(),
        probabilities=[dict(zip(labels, row, strict=True)) for row in result.probabilities.tolist()],
        vectors=result.vectors,
    )
    weights = numpy.array([len(segment) for segment in result.segments], dtype="float32")
    mean = weights @ result.probabilities / weights.sum()
    doc._.language_scores = dict(zip(labels, mean.tolist(), strict=True))
    if preset is None and mean.max() >= min_probability:
        doc._.language = labels[int(mean.argmax())]

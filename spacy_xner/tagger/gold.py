"""Gold tags for the tokens of a predicted document."""

import warnings
from typing import NamedTuple

import numpy
from numpy.typing import NDArray
from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc
from spacy.training import Example

from spacy_xner.attributes import is_labelled, unannotated_labels
from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.tags import MISSING, TagSet, TokenSpan


class Gold(NamedTuple):
    """Gold annotation on the predicted tokens.

    ids: Tag ids, -1 where annotation is missing. Shape: (n_tokens,).
    misaligned: Texts of entities that do not start and end at predicted token boundaries; their tokens
        are missing in `ids`.
    unknown: Labels outside of the tag set; the tokens of their entities are missing in `ids`.
    n_entities: Entities of the reference.
    open_tags: Tags of the labels that the reference does not annotate: where it has O, each of them may be
        right. Shape: (n_tags,).
    """

    ids: NDArray[numpy.int64]
    misaligned: list[str]
    unknown: list[str]
    n_entities: int
    open_tags: NDArray[numpy.bool_]


def token_boundaries(doc: Doc) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    """First and end character of every token. Shape: (n_tokens,), twice."""
    array = doc.to_array([IDX, LENGTH]).astype("int64")
    return array[:, 0], array[:, 0] + array[:, 1]


def align_gold(example: Example, tag_set: TagSet) -> Gold:
    """Carry the reference's entities over to the predicted tokens by characters.

    An unlabelled reference gives missing tags only.
    RAISES: XNER114 if the two texts differ.
    """
    predicted, reference = example.predicted, example.reference
    if predicted.text != reference.text:
        raise XnerError(Errors.XNER114.format(predicted=predicted.text[:60], reference=reference.text[:60]))
    if not is_labelled(reference):
        return Gold(numpy.full(len(predicted), MISSING), [], [], 0, tag_set.tags_of(()))
    starts, ends = token_boundaries(predicted)
    spans, masked = [], []
    misaligned, unknown = [], []
    for ent in reference.ents:
        first = int(numpy.searchsorted(ends, ent.start_char, side="right"))
        end = int(numpy.searchsorted(starts, ent.end_char, side="left"))
        fits = starts[first] == ent.start_char and ends[end - 1] == ent.end_char
        if not fits:
            misaligned.append(ent.text)
        elif ent.label_ not in tag_set.labels:
            unknown.append(ent.label_)
        if fits and ent.label_ in tag_set.labels:
            spans.append(TokenSpan(first, end, ent.label_))
        else:
            masked.append((first, end))
    ids = tag_set.encode(spans, len(predicted))
    # A predicted token that holds two entities belongs to neither.
    for first, end in masked:
        ids[first:end] = MISSING
    _mask_unannotated(ids, example)
    open_tags = tag_set.tags_of(unannotated_labels(reference))
    return Gold(ids, misaligned, unknown, len(reference.ents), open_tags)


def _mask_unannotated(ids: NDArray[numpy.int64], example: Example) -> None:
    """Partly annotated documents: tokens nobody looked at are missing."""
    iob = example.reference.to_array("ENT_IOB")
    if (iob != 0).all():
        return
    starts, ends = token_boundaries(example.predicted)
    left, right = token_boundaries(example.reference)
    for i in numpy.flatnonzero(iob == 0):
        first = int(numpy.searchsorted(ends, left[i], side="right"))
        end = int(numpy.searchsorted(starts, right[i], side="left"))
        ids[first:end] = MISSING


def report_unlearnable(golds: list[Gold], reported: set[str]) -> None:
    """Warn once of each kind of gold entities that cannot be learnt.

    reported: Kinds that were reported before; the new ones are added.
    """
    total = sum(gold.n_entities for gold in golds)
    misaligned = [text for gold in golds for text in gold.misaligned]
    unknown = [label for gold in golds for label in gold.unknown]
    if misaligned and "misaligned" not in reported:
        reported.add("misaligned")
        where = "in the first batch that has any"
        warnings.warn(
            Warnings.W101.format(n=len(misaligned), total=total, where=where, first=misaligned[0]),
            stacklevel=3,
        )
    if unknown and "unknown" not in reported:
        reported.add("unknown")
        labels = ", ".join(sorted(set(unknown)))
        warnings.warn(Warnings.W102.format(n=len(unknown), labels=labels), stacklevel=3)

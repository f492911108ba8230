"""Tag schemes: IOB1, IOB2 and BIOES tags to and from labelled token spans."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy
from numpy.typing import NDArray

from spacy_xner.errors import Errors, XnerError
from spacy_xner.types import Scheme

PREFIXES: dict[str, tuple[str, ...]] = {
    "IOB1": ("B", "I"),
    "IOB2": ("B", "I"),
    "BIOES": ("B", "I", "E", "S"),
}
_ANY_PREFIX = frozenset("BIES")
MISSING = -1


class TokenSpan(NamedTuple):
    """A labelled span. Units: tokens; `end` is exclusive."""

    start: int
    end: int
    label: str


def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """True if two half-open places have a position in common."""
    return one[0] < other[1] and other[0] < one[1]


@dataclass(frozen=True)
class TagSet:
    """The tags of a scheme over some labels; tag 0 is O."""

    labels: tuple[str, ...]
    scheme: Scheme

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """Tag names, O first, then the scheme's prefixes label by label."""
        prefixes = PREFIXES[self.scheme]
        return ("O", *(f"{prefix}-{label}" for label in self.labels for prefix in prefixes))

    def __len__(self) -> int:
        return 1 + len(self.labels) * len(PREFIXES[self.scheme])

    @cached_property
    def prefix_of_tag(self) -> NDArray[numpy.str_]:
        """First letter of every tag. Shape: (n_tags,)."""
        return numpy.array([tag[0] for tag in self.tags])

    @cached_property
    def label_of_tag(self) -> NDArray[numpy.int64]:
        """Index of every tag's label, -1 for O. Shape: (n_tags,)."""
        n_prefixes = len(PREFIXES[self.scheme])
        return numpy.concatenate(([-1], numpy.repeat(numpy.arange(len(self.labels)), n_prefixes)))

    def tags_of(self, labels: Collection[str]) -> NDArray[numpy.bool_]:
        """Which tags are of some labels; others than the set's have none. Shape: (n_tags,)."""
        chosen = [i for i, label in enumerate(self.labels) if label in labels]
        return numpy.isin(self.label_of_tag, chosen)

    def encode(self, spans: Iterable[TokenSpan], n_tokens: int) -> NDArray[numpy.int64]:
        """Turn spans into tag ids. Shape: (n_tokens,).

        RAISES: XNER113 if two spans overlap.
        """
        ids = numpy.zeros(n_tokens, dtype="int64")
        n_prefixes = len(PREFIXES[self.scheme])
        first_tag = {label: 1 + i * n_prefixes for i, label in enumerate(self.labels)}
        previous: TokenSpan | None = None
        for span in sorted(spans):
            if previous is not None and span.start < previous.end:
                raise XnerError(Errors.XNER113.format(a=tuple(previous), b=tuple(span)))
            b = first_tag[span.label]
            ids[span.start : span.end] = b + 1
            if self.scheme == "IOB1":
                # IOB1 writes B only where two entities of one label touch.
                touches = previous is not None and previous[1:] == (span.start, span.label)
                ids[span.start] = b if touches else b + 1
            else:
                ids[span.start] = b
            if self.scheme == "BIOES":
                ids[span.end - 1] = b + (3 if span.end - span.start == 1 else 2)
            previous = span
        return ids

    def decode(
        self, ids: NDArray[numpy.int64], lengths: Sequence[int] | None = None
    ) -> list[list[TokenSpan]]:
        """Read the entities of a batch of documents off their tag ids.

        Every sequence has a reading, as in CoNLL's conlleval: a stray I- (or E-) starts an entity, a
        change of label starts a new one.

        ids: Tag ids of all documents, one after the other. Shape: (n_tokens,).
        lengths: Tokens per document; without it, `ids` is one document.
        RETURNS: Spans per document, units: tokens of that document.
        SOURCE: conlleval's chunk rules, https://aclanthology.org/W02-2024/
        """
        sizes = [len(ids)] if lengths is None else list(lengths)
        offsets = numpy.concatenate(([0], numpy.cumsum(sizes, dtype="int64")))
        spans: list[list[TokenSpan]] = [[] for _ in sizes]
        if len(ids) == 0:
            return spans
        starts, ends = self._boundaries(ids, offsets)
        docs = numpy.searchsorted(offsets, starts, side="right") - 1
        labels = self.label_of_tag[ids[starts]]
        for doc, start, end, label in zip(
            docs.tolist(), starts.tolist(), ends.tolist(), labels.tolist(), strict=True
        ):
            offset = int(offsets[doc])
            spans[doc].append(TokenSpan(start - offset, end - offset, self.labels[label]))
        return spans

    def _boundaries(
        self, ids: NDArray[numpy.int64], offsets: NDArray[numpy.int64]
    ) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
        prefix, label = self.prefix_of_tag[ids], self.label_of_tag[ids]
        inside = label >= 0
        new_doc = numpy.zeros(len(ids) + 1, dtype=bool)
        new_doc[offsets[:-1][offsets[:-1] < len(ids)]] = True
        new_doc[-1] = True
        changes = numpy.concatenate(([True], label[1:] != label[:-1]))
        after_end = numpy.concatenate(([True], numpy.isin(prefix[:-1], ("E", "S"))))
        is_start = inside & (new_doc[:-1] | changes | after_end | numpy.isin(prefix, ("B", "S")))
        starts = numpy.flatnonzero(is_start)
        stops = numpy.flatnonzero(numpy.concatenate((is_start | ~inside | new_doc[:-1], [True])))
        ends = stops[numpy.searchsorted(stops, starts, side="right")]
        return starts, ends

    @cached_property
    def allowed(self) -> NDArray[numpy.bool_]:
        """Which tag may follow which. Index n_tags stands for the document's edge.

        RETURNS: Shape: (n_tags + 1, n_tags + 1), [from, to].
        """
        tags = [("O", None), *((t[0], t[2:]) for t in self.tags[1:]), ("O", None)]
        follows = _FOLLOWS[self.scheme]
        allowed = [[follows(a, b, la == lb) for b, lb in tags] for a, la in tags]
        return numpy.array(allowed, dtype=bool)


def _iob2_follows(before: str, after: str, same: bool) -> bool:
    return after != "I" or (same and before != "O")


def _iob1_follows(before: str, after: str, same: bool) -> bool:
    return after != "B" or (same and before != "O")


def _bioes_follows(before: str, after: str, same: bool) -> bool:
    if before in ("B", "I"):
        return same and after in ("I", "E")
    return after in ("O", "B", "S")


_FOLLOWS = {"IOB1": _iob1_follows, "IOB2": _iob2_follows, "BIOES": _bioes_follows}


def tags_to_spans(tags: Sequence[str], labels: Sequence[str] | None = None) -> list[TokenSpan]:
    """Read entities off the tags of one document, whatever their scheme.

    The reading is that of `TagSet.decode`, tag by tag: a sentence is too short for arrays.

    labels: Labels that may occur; by default those that do.
    RAISES: XNER109 if a tag is none of O and prefix-LABEL.
    """
    spans = []
    start, label, before = -1, "", "O"
    for i, tag in enumerate(tags):
        if tag == "O":
            prefix, name = "O", ""
        else:
            prefix, name = tag[:1], tag[2:]
            if prefix not in _ANY_PREFIX or tag[1:2] != "-" or not (labels is None or name in labels):
                known = tuple(sorted({tag[2:] for tag in tags if tag != "O"})) if labels is None else labels
                raise XnerError(Errors.XNER109.format(tag=tag, i=i, scheme="any", labels=tuple(known)))
        goes_on = start >= 0 and prefix in ("I", "E") and name == label and before not in ("E", "S")
        if start >= 0 and not goes_on:
            spans.append(TokenSpan(start, i, label))
            start = -1
        if prefix != "O" and not goes_on:
            start, label = i, name
        before = prefix
    if start >= 0:
        spans.append(TokenSpan(start, len(tags), label))
    return spans


def spans_to_tags(spans: Iterable[TokenSpan], n_tokens: int, scheme: Scheme = "IOB2") -> list[str]:
    """Write the entities of one document as tags of a scheme."""
    spans = list(spans)
    if not spans:
        return ["O"] * n_tokens
    tag_set = _make_tag_set(tuple(sorted({span.label for span in spans})), scheme)
    return [tag_set.tags[i] for i in tag_set.encode(spans, n_tokens).tolist()]


@lru_cache(maxsize=256)
def _make_tag_set(labels: tuple[str, ...], scheme: Scheme) -> TagSet:
    # Sentences of a corpus have few different sets of labels, and a tag set makes its tables once.
    return TagSet(labels, scheme)

"""From predictions to documents, or to those sentences of a document that were routed to a tagger."""

from collections.abc import Collection
from typing import NamedTuple

from spacy.tokens import Doc, Span, SpanGroup

from spacy_xner.attributes import CLUSTER_SPANS, cut_out, preset_of
from spacy_xner.errors import Errors, XnerError
from spacy_xner.tagger.decoding import Prediction

# A tagger with this among its clusters annotates every document.
ANY_CLUSTER = "*"


class Row(NamedTuple):
    """An entity on a document.

    score: Its probability; None if it is unknown.
    is_preset: True if another component has set it, and the tagger left it.
    """

    span: Span
    score: float | None
    is_preset: bool


def check_clusters(name: str, clusters: list[str]) -> list[str]:
    """A copy of the clusters of the tagger of this name. RAISES: XNER344 for none."""
    if not clusters or not all(isinstance(cluster, str) and cluster for cluster in clusters):
        raise XnerError(Errors.XNER344.format(name=name, clusters=clusters))
    return list(clusters)


def is_routed_to(doc: Doc, clusters: Collection[str]) -> bool:
    """True if a document belongs to one of the clusters, or nobody has routed it."""
    return doc._.cluster is None or ANY_CLUSTER in clusters or doc._.cluster in clusters


def parts_of(doc: Doc, clusters: Collection[str]) -> list[tuple[Span | None, Doc]]:
    """Find the parts of a document that a tagger of these clusters reads.

    RETURNS: Nothing, the document itself (without a segment), or the segments with their tokens cut out.
    """
    segments = doc.spans.get(CLUSTER_SPANS, ())
    if len({segment.label_ for segment in segments}) < 2 or ANY_CLUSTER in clusters:
        return [(None, doc)] if is_routed_to(doc, clusters) else []
    return [(segment, cut_out(segment)) for segment in segments if segment.label_ in clusters]


def write_entities(
    doc: Doc, segment: Span | None, prediction: Prediction, standing: list[Span], spans_key: str
) -> None:
    """Write the entities of a document or of a segment of it, in place of those that were there.

    Every entity gets its probability as `ent._.score`, too.
    standing: Entities of other components, which stay; a predicted one that overlaps one of them is dropped.
    spans_key: Where `doc.spans` gets the entities; empty for nowhere. They have `attrs["scores"]` if the
        prediction has probabilities, `attrs["preset"]` if other components have set any of them.
    """
    start = 0 if segment is None else segment.start
    for ent in doc.ents:
        if segment is None or overlap(ent, segment):
            ent._.score = None
    scores: list[float] | list[None] = prediction.probabilities or [None] * len(prediction.spans)
    rows = [Row(span, 1.0, True) for span in standing if segment is None or overlap(span, segment)]
    for place, score in zip(prediction.spans, scores, strict=True):
        span = Span(doc, start + place.start, start + place.end, label=place.label)
        if not any(overlap(span, preset) for preset in standing):
            rows.append(Row(span, score, False))
    if segment is None:
        doc.set_ents([row.span for row in rows])
    else:
        _replace_entities(doc, segment, [row.span for row in rows])
    for row in rows:
        row.span._.score = row.score
    if spans_key:
        before = doc.spans.get(spans_key) if segment is not None else None
        rows += [row for row in rows_of(before) if segment is not None and not overlap(row.span, segment)]
        _write_rows(doc, sorted(rows), spans_key, with_scores=prediction.probabilities is not None)


def rows_of(spans: SpanGroup | None) -> list[Row]:
    """Read back what `write_entities` wrote; without scores if somebody else has changed the spans."""
    if spans is None:
        return []
    scores = spans.attrs.get("scores", [])
    scores = scores if len(scores) == len(spans) else [None] * len(spans)
    return [Row(*row) for row in zip(spans, scores, preset_of(spans), strict=True)]


def overlap(one: Span, other: Span) -> bool:
    """True if two spans of a document have a token in common."""
    return bool(one.start < other.end and other.start < one.end)


def _replace_entities(doc: Doc, segment: Span, ents: list[Span]) -> None:
    # One after the other: an entity may reach into other sentences, and tokens without an entity are O.
    doc.set_ents([], missing=[ent for ent in doc.ents if overlap(ent, segment)], default="unmodified")
    doc.set_ents([], outside=[segment], default="unmodified")
    doc.set_ents(ents, default="unmodified")


def _write_rows(doc: Doc, rows: list[Row], spans_key: str, *, with_scores: bool) -> None:
    doc.spans[spans_key] = [row.span for row in rows]
    if with_scores:
        doc.spans[spans_key].attrs["scores"] = [row.score for row in rows]
    if any(row.is_preset for row in rows):
        doc.spans[spans_key].attrs["preset"] = [row.is_preset for row in rows]

"""Documents that are routed by sentences: cut the sentences of a tagger out, write their entities back."""

from collections.abc import Collection
from operator import itemgetter

from spacy.tokens import Doc, Span, SpanGroup

from spacy_xner.attributes import CLUSTER_SPANS, cut_out

# A tagger with this among its clusters annotates every document.
ANY_CLUSTER = "*"


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


def merge_part(doc: Doc, segment: Span | None, part: Doc, spans_key: str, confidence: bool) -> None:
    """Write the entities of a part on its document, in place of those that were there.

    segment: Where the part was cut out; None if the part is the document itself.
    """
    if segment is None:
        return
    ents = [
        Span(doc, segment.start + ent.start, segment.start + ent.end, label=ent.label_) for ent in part.ents
    ]
    # One after the other: an entity may reach into other sentences, and tokens without an entity are O.
    doc.set_ents([], missing=[ent for ent in doc.ents if overlap(ent, segment)], default="unmodified")
    doc.set_ents([], outside=[segment], default="unmodified")
    doc.set_ents(ents, default="unmodified")
    if spans_key:
        before = doc.spans.get(spans_key, SpanGroup(doc))
        rows = [row for row in zip(before, scores_of(before), strict=True) if not overlap(row[0], segment)]
        rows += zip(ents, scores_of(part.spans[spans_key]), strict=True)
        rows.sort(key=itemgetter(0))
        doc.spans[spans_key] = [span for span, _ in rows]
        if confidence:
            doc.spans[spans_key].attrs["scores"] = [score for _, score in rows]


def scores_of(spans: SpanGroup) -> list[float | None]:
    """The scores of spans; None for each if somebody else has changed the spans."""
    scores = spans.attrs.get("scores", [])
    return scores if len(scores) == len(spans) else [None] * len(spans)


def overlap(one: Span, other: Span) -> bool:
    """True if two spans of a document have a token in common."""
    return bool(one.start < other.end and other.start < one.end)

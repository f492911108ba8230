"""What the components write on documents: languages, clusters, projections."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from spacy.attrs import ENT_IOB, IS_SPACE, LEMMA, MORPH, POS, TAG
from spacy.tokens import Doc, Span

# Segments of a document, in `doc.spans`, labelled with a language or a cluster.
LANGUAGE_SPANS = "languages"
CLUSTER_SPANS = "clusters"
# Where `doc._.source` is, in `doc.user_data`.
SOURCE_KEY = "xner_source"
# Of tokens that an encoder may read.
TOKEN_ATTRIBUTES = (TAG, POS, MORPH, LEMMA)


class Place(Protocol):
    """A named tuple of a place in a document."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...

    @property
    def _replace(self) -> Callable[..., Any]: ...


PlaceT = TypeVar("PlaceT", bound=Place)


def register_attributes() -> None:
    """Register the document extensions; safe to call again.

    Components and readers call it when they are built, so that importing the package changes nothing.
    """
    for name in ("language", "language_scores", "cluster", "cluster_score", "projection"):
        if not Doc.has_extension(name):
            Doc.set_extension(name, default=None)
    if not Doc.has_extension("source"):
        Doc.set_extension("source", getter=_get_source, setter=_set_source)


def _set_source(doc: Doc, source: Doc | None) -> None:
    # As bytes, so that the document itself can be stored and sent to other processes.
    doc.user_data[SOURCE_KEY] = None if source is None else source.to_bytes()


def _get_source(doc: Doc) -> Doc | None:
    """The parallel document in another language, read anew at every access."""
    content = doc.user_data.get(SOURCE_KEY)
    return None if content is None else Doc(doc.vocab).from_bytes(content)


def preset_language(doc: Doc) -> str | None:
    """The language that is known already, be it from the context that `as_tuples` gives.

    The context's language is written to `doc._.language`.
    """
    context = doc._context
    if doc._.language is None and isinstance(context, Mapping) and context.get("language"):
        doc._.language = context["language"]
    return doc._.language


def is_blank(doc: Doc) -> bool:
    """True if there is nothing to read. (`doc.text` would be put together from all tokens.)"""
    return len(doc) == 0 or bool(doc.to_array([IS_SPACE]).all())


def without_outer_space(doc: Doc, places: Iterable[PlaceT]) -> list[PlaceT]:
    """Cut whitespace tokens off the ends of places, and drop those of nothing else.

    spaCy allows no entity to have them there.
    places: Named tuples with `start` and `end`. Units: tokens.
    """
    kept = []
    for place in places:
        start, end = place.start, place.end
        while start < end and doc[start].is_space:
            start += 1
        while start < end and doc[end - 1].is_space:
            end -= 1
        if start < end:
            kept.append(place._replace(start=start, end=end))
    return kept


def cut_out(segment: Span) -> Doc:
    """A segment's tokens as a document of their own; the document itself where the segment is all of it.

    `Span.as_doc` converts the whole document for every segment.
    """
    doc = segment.doc
    if len(segment) == len(doc):
        return doc
    part = Doc(
        doc.vocab,
        words=[token.text for token in segment],
        spaces=[bool(token.whitespace_) for token in segment],
    )
    # What earlier components left there.
    part.from_array(TOKEN_ATTRIBUTES, segment.to_array(TOKEN_ATTRIBUTES))
    if len(doc.tensor):
        part.tensor = doc.tensor[segment.start : segment.end]
    return part


def is_labelled(doc: Doc) -> bool:
    """True if the document has entity annotation, be it that there are none.

    spaCy's "missing" (`ent_iob` 0 on every token) means that nobody has looked.
    """
    # What `doc.has_annotation` says, without a Python object for every token.
    return len(doc) == 0 or bool(doc.to_array([ENT_IOB]).any())

"""Attributes of documents that the components write and read: languages, clusters, projections."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from spacy.attrs import ENT_IOB, IS_SPACE, LEMMA, MORPH, POS, TAG
from spacy.tokens import Doc, Span

from spacy_xner.errors import Errors, XnerError

# Segments of a document, in `doc.spans`, labelled with a language or a cluster.
LANGUAGE_SPANS = "languages"
CLUSTER_SPANS = "clusters"
# Where `doc._.source` is, in `doc.user_data`.
SOURCE_KEY = "xner_source"
# Attributes of tokens that an encoder may read.
TOKEN_ATTRIBUTES = (TAG, POS, MORPH, LEMMA)


# Two or three letters of a language, and subtags of region, script or variety: en, en-US, zh_Hant, be-x-old.
LANGUAGE_CODE = re.compile(r"[a-z]{2,3}(_[a-z0-9]{1,10})*")
REGION_OR_SCRIPT = re.compile(r"[a-z]{2}|[0-9]{3}|arab|cyrl|deva|hans|hant|hira|jpan|kana|kore|latn")
# Letters and symbols of Unicode that show nothing: fillers of Hangul, inherent vowels, empty Braille.
BLANK = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


SURROGATE = re.compile("[\ud800-\udfff]")


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
    # `corpus` is the corpus that a document is of, `unannotated` the labels that nobody looked for in it.
    for name in (
        "language", "language_scores", "cluster", "cluster_score", "projection", "corpus", "unannotated",
    ):  # fmt: skip
        if not Doc.has_extension(name):
            Doc.set_extension(name, default=None)
    if not Doc.has_extension("unknown_pieces"):
        Doc.set_extension("unknown_pieces", default=0)
    if not Doc.has_extension("source"):
        Doc.set_extension("source", getter=_get_source, setter=_set_source)
    # spaCy keeps it in `doc.user_data` by characters, so that it survives storing and merged tokens.
    if not Span.has_extension("score"):
        Span.set_extension("score", default=None)


def count_unknown(doc: Doc, n_unknown: int) -> None:
    """Write how many wordpieces of a document are unknown to the encoder that read it."""
    register_attributes()
    doc._.unknown_pieces = n_unknown


def _set_source(doc: Doc, source: Doc | None) -> None:
    # As bytes, so that the document itself can be stored and sent to other processes.
    doc.user_data[SOURCE_KEY] = None if source is None else source.to_bytes()


def _get_source(doc: Doc) -> Doc | None:
    """The parallel document in another language, read anew at every access."""
    content = doc.user_data.get(SOURCE_KEY)
    return None if content is None else Doc(doc.vocab).from_bytes(content)


def preset_language(doc: Doc, known: Collection[str] = ()) -> str | None:
    """Find the language that a document has already, and write it to `doc._.language` as a plain code.

    The language is `doc._.language`, or `{"language": ...}` in the context that `as_tuples` gives.

    known: Languages that the caller tells apart; see `normal_language`.
    RAISES: XNER350 for a language that is no code.
    """
    context = doc._context
    language = doc._.language
    if language is None and isinstance(context, Mapping):
        language = context.get("language")
    if language is None or language == "":
        return None
    if not isinstance(language, str) or language not in known:
        language = normal_language(language, known)
    if doc._.language != language:
        doc._.language = language
    return str(language)


def language_of(doc: Doc, segment: Span | None) -> str | None:
    """The language of a document, or of a segment of one whose sentences have languages of their own."""
    if segment is not None:
        for span in doc.spans.get(LANGUAGE_SPANS, ()):
            if span.start <= segment.start < span.end:
                return str(span.label_)
    language = doc._.language
    return language if isinstance(language, str) else None


def normal_language(language: Any, known: Collection[str] = ()) -> str:
    """Write a language as the package does: "de" for "DE", "en" for "en-US", "zh_yue" for "zh-yue".

    A region or a script is left out, unless the language with it is a known one.

    known: Languages whose names are taken as they are.
    RAISES: XNER350 for anything that is no code of a language.
    """
    code = language.strip().replace("-", "_").lower() if isinstance(language, str) else ""
    for name in known:
        if name.replace("-", "_").lower() == code:
            return name
    if not LANGUAGE_CODE.fullmatch(code):
        raise XnerError(Errors.XNER350.format(language=language))
    base, *subtags = code.split("_")
    if all(REGION_OR_SCRIPT.fullmatch(tag) for tag in subtags):
        return next((name for name in known if name.lower() == base), base)
    return code


def is_blank(doc: Doc) -> bool:
    """True if there is nothing to read. (`doc.text` would be put together from all tokens.)"""
    return len(doc) == 0 or bool(doc.to_array([IS_SPACE]).all())


def has_word(text: str) -> bool:
    """True if there is a letter or a digit of any script in a text."""
    return any(char not in BLANK and unicodedata.category(char)[0] in "LN" for char in text)


def has_surrogate(text: str) -> bool:
    """True if there is half of a character beyond 16 bits, which JSON can spell and no file can hold."""
    return SURROGATE.search(text) is not None


def is_visible(text: str) -> bool:
    """True if there is anything to see: not spaces, controls, marks or fillers alone."""
    return any(char not in BLANK and unicodedata.category(char)[0] in "LNPS" for char in text)


def without_outer_space(doc: Doc, places: Iterable[PlaceT]) -> list[PlaceT]:
    """Cut whitespace tokens off the ends of places, and drop those of nothing else.

    spaCy allows no entity to have them there.
    places: Named tuples with `start` and `end`. Units: tokens.
    """
    trimmed = []
    for place in places:
        start, end = place.start, place.end
        while start < end and doc[start].is_space:
            start += 1
        while start < end and doc[end - 1].is_space:
            end -= 1
        if start < end:
            trimmed.append(place._replace(start=start, end=end))
    return trimmed


def cut_out(segment: Span) -> Doc:
    """Copy the tokens of a segment into a document of their own.

    `Span.as_doc` converts the whole document for every segment.
    RETURNS: The document itself if the segment is all of it.
    """
    doc = segment.doc
    if len(segment) == len(doc):
        return doc
    part = Doc(
        doc.vocab,
        words=[token.text for token in segment],
        spaces=[bool(token.whitespace_) for token in segment],
    )
    # The annotation of earlier components.
    part.from_array(TOKEN_ATTRIBUTES, segment.to_array(TOKEN_ATTRIBUTES))
    if len(doc.tensor):
        part.tensor = doc.tensor[segment.start : segment.end]
    return part


def is_labelled(doc: Doc) -> bool:
    """True if somebody has looked for entities in a document, found or not.

    spaCy's "missing" (`ent_iob` 0 on every token) means that nobody has looked.
    """
    # The same as `doc.has_annotation`, without a Python object for every token.
    return len(doc) == 0 or bool(doc.to_array([ENT_IOB]).any())


def unannotated_labels(doc: Doc) -> frozenset[str]:
    """The labels that nobody looked for in an annotated document: text without an entity may have them."""
    return frozenset(doc._.unannotated or ())


def preset_of(spans: Any) -> list[bool]:
    """Say of every span of a group whether another component had set it before."""
    preset = spans.attrs.get("preset", [])
    return preset if len(preset) == len(spans) else [False] * len(spans)

"""What the components write on documents: languages and clusters."""

from collections.abc import Mapping

from spacy.attrs import IS_SPACE
from spacy.tokens import Doc

# Segments of a document, in `doc.spans`, labelled with a language or a cluster.
LANGUAGE_SPANS = "languages"
CLUSTER_SPANS = "clusters"


def register_attributes() -> None:
    """Register the document extensions; safe to call again.

    Components and readers call it when they are built, so that importing the package changes nothing.
    """
    for name in ("language", "language_scores", "cluster", "cluster_score"):
        if not Doc.has_extension(name):
            Doc.set_extension(name, default=None)


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


def is_labelled(doc: Doc) -> bool:
    """True if the document has entity annotation, be it that there are none.

    spaCy's "missing" (`ent_iob` 0 on every token) means that nobody has looked.
    """
    return doc.has_annotation("ENT_IOB")

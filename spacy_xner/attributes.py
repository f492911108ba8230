"""What the components write on documents: `doc._.language` and `doc._.cluster`."""

from spacy.tokens import Doc


def register_attributes() -> None:
    """Register the document extensions; safe to call again.

    Components and readers call it when they are built, so that importing the package changes nothing.
    """
    for name in ("language", "cluster"):
        if not Doc.has_extension(name):
            Doc.set_extension(name, default=None)


def is_labelled(doc: Doc) -> bool:
    """True if the document has entity annotation, be it that there are none.

    spaCy's "missing" (`ent_iob` 0 on every token) means that nobody has looked.
    """
    return doc.has_annotation("ENT_IOB")

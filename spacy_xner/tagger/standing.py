"""Entities that other components have set: which of them a tagger leaves where they are."""

import weakref
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from spacy_xner.attributes import preset_of


class EarlierPipes:
    """The components before a tagger in its pipeline that set entities.

    A tagger that is moved into another pipeline (`nlp.add_pipe(..., source=other)`) does not know its
    neighbours until that pipeline is saved and loaded.

    nlp: The pipeline that the tagger was made for; None if there is none.
    """

    def __init__(self, nlp: Language | None) -> None:
        self._nlp = None if nlp is None else weakref.ref(nlp)
        self._setters: list[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Another process gets the components alone; a weak reference cannot be sent.
        return {"_nlp": None, "_setters": self._find(None)}

    def entities(self, doc: Doc, spans_key: str) -> list[Span]:
        """Find the entities of a document that these components have set.

        Rulers are asked again on a copy without entities. So an entity that stood on the document before the
        pipeline ran (gold annotation, another run) does not pass for one of theirs. Other components may be
        slow and are believed: all entities are theirs but those that a tagger wrote under `spans_key`. If it
        is empty, the tagger's earlier entities cannot be told from theirs, and stay.
        """
        setters = self._find(doc.vocab)
        if setters is not None and all(hasattr(pipe, "match") for pipe in setters):
            return _set_again(doc, setters) if setters and doc.ents else []
        written = {place_of(span) for span, is_preset in _rows(doc, spans_key) if not is_preset}
        return [ent for ent in doc.ents if place_of(ent) not in written]

    def _find(self, vocab: Vocab | None) -> list[Any] | None:
        """RETURNS: The components in order; None if they are unknown."""
        nlp = self._nlp() if self._nlp is not None else None
        if nlp is None:
            return self._setters
        pipes = [pipe for _, pipe in nlp.pipeline]
        places = [i for i, pipe in enumerate(pipes) if getattr(pipe, "earlier", None) is self]
        # Documents of another vocabulary come from another pipeline.
        if not places or (vocab is not None and nlp.vocab is not vocab):
            return None
        return [pipe for name, pipe in nlp.pipeline[: places[0]] if _sets_entities(nlp, name, pipe)]


def place_of(span: Span) -> tuple[int, int, int]:
    """First and end token, and label: which entity a span is."""
    return span.start, span.end, span.label


def _sets_entities(nlp: Language, name: str, pipe: Any) -> bool:
    """True if a component says that it sets entities, or does not say what it sets."""
    if hasattr(pipe, "earlier"):
        return False  # Taggers of this kind share a document out among them, each by its clusters.
    if hasattr(pipe, "annotate_ents"):
        return bool(pipe.annotate_ents)  # spaCy's span ruler declares its spans alone.
    assigns = nlp.get_pipe_meta(name).assigns
    module = getattr(pipe, "__module__", None) or type(pipe).__module__
    return "doc.ents" in assigns or not (assigns or module.startswith("spacy."))


def _set_again(doc: Doc, rulers: list[Any]) -> list[Span]:
    bare: Doc | None = doc.copy()
    assert bare is not None
    bare.spans.clear()
    bare.set_ents([], default="missing")
    for ruler in rulers:
        bare = ruler(bare)
        if bare is None:  # The ruler's error handler let an error pass.
            return []
    return [
        Span(doc, ent.start, ent.end, label=ent.label, kb_id=ent.kb_id, span_id=ent.id) for ent in bare.ents
    ]


def _rows(doc: Doc, spans_key: str) -> list[tuple[Span, bool]]:
    """The spans that taggers wrote, and which of them were preset."""
    spans = doc.spans.get(spans_key) if spans_key else None
    if spans is None:
        return []
    return list(zip(spans, preset_of(spans), strict=True))

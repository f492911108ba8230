"""A teacher that does not change: the tag scores of a trained tagger, for other taggers to learn."""

from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc
from thinc.types import Floats2d

from spacy_xner.corpus.docs import without_annotation
from spacy_xner.loading import load_pipeline
from spacy_xner.tagger.component import EntityTagger


class Teacher:
    """The tag scores of the one tagger of a pipeline.

    tagger: It is never changed.
    """

    def __init__(self, tagger: EntityTagger) -> None:
        self.tagger = tagger

    def scores(self, docs: list[Doc]) -> list[Floats2d]:
        """Compute tag scores without dropout. Shape: (n_tokens, n_tags) a document.

        The documents themselves get neither annotation nor a count of unknown wordpieces.
        """
        copies = [without_annotation(doc) for doc in docs]
        scores: list[Floats2d] = self.tagger.model.predict(copies)
        return scores


def find_taggers(nlp: Language) -> dict[str, EntityTagger]:
    """Find the taggers of a pipeline by their names, those of disabled components too."""
    return {name: pipe for name, pipe in nlp.components if isinstance(pipe, EntityTagger)}


def load_taggers(path: str | Path) -> dict[str, EntityTagger]:
    """Load the taggers of a pipeline. RAISES: XNER420."""
    return find_taggers(load_pipeline(path))

"""Weak supervision with skweak: the pipeline as labelling sources beside lists and rules of one's own.

skweak's own `ModelAnnotator` takes every entity of a pipeline for equally good. Here the sure entities are
one source and the others a second one, and an aggregation trusts them differently.

    pip install skweak
    python docs/examples/skweak_sources.py xx_xner texts.txt labelled.spacy
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import spacy
from skweak.base import AbstractAnnotator
from skweak.voting import SequentialMajorityVoter
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span

SURE, UNSURE = "xner_sure", "xner_unsure"


class XnerAnnotator(AbstractAnnotator):
    """Two sources of one pipeline: entities with at least the probability `threshold`, and all others."""

    def __init__(self, nlp: Language, threshold: float = 0.8) -> None:
        super().__init__("xner")
        self.nlp, self.threshold = nlp, threshold

    def __call__(self, doc: Doc) -> Doc:
        """Annotate one document."""
        return next(iter(self.pipe([doc])))

    def pipe(self, docs: Iterable[Doc]) -> Iterator[Doc]:
        """Annotate a stream; the pipeline reads it in batches, and the documents get nothing but spans."""
        pairs = ((self._copy(doc), doc) for doc in docs)
        for annotated, doc in self.nlp.pipe(pairs, as_tuples=True):
            sources: dict[str, list[Span]] = {SURE: [], UNSURE: []}
            for ent in annotated.ents:
                is_sure = ent._.score is None or ent._.score >= self.threshold
                sources[SURE if is_sure else UNSURE].append(Span(doc, ent.start, ent.end, ent.label_))
            for name, spans in sources.items():
                doc.spans[name] = spans
            yield doc

    def _copy(self, doc: Doc) -> Doc:
        words, spaces = [token.text for token in doc], [bool(token.whitespace_) for token in doc]
        copy = Doc(self.nlp.vocab, words=words, spaces=spaces)
        copy._.language = doc._.language
        return copy


def make_voter(labels: list[str], weights: dict[str, float]) -> SequentialMajorityVoter:
    """Build an aggregation of all sources, which writes the span group `names`.

    weights: Votes a source; 1 for sources that are not named.
    """
    return SequentialMajorityVoter(
        "names", labels=labels, initial_weights={SURE: 2.0, UNSURE: 0.5, **weights}
    )


if __name__ == "__main__":
    nlp = spacy.load(sys.argv[1])
    texts = Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()
    annotated = list(XnerAnnotator(nlp).pipe(nlp.make_doc(text) for text in texts if text.strip()))
    voter = make_voter(["PER", "LOC", "ORG"], {})
    for document in voter.pipe(annotated):
        document.ents = list(document.spans["names"])
    DocBin(docs=annotated).to_disk(sys.argv[3])

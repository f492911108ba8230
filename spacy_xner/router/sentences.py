"""Vectors of sentences, which languages are clustered by, and their places in a figure."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch
from tqdm import tqdm

from spacy_xner.errors import Errors, XnerError
from spacy_xner.transformer.model import build_sentence_encoder

# The identifier's vectors, or those of the encoder before any training: its first token, or the maximum.
SentenceVectors = Literal["identifier", "base-first", "base-max"]
Floats = NDArray[numpy.float32]
BATCH_SIZE = 256


def select_sentences(examples: Iterable[Example]) -> list[Doc]:
    """Take the documents that can vote: those with text and a language. RAISES: XNER423 without any."""
    docs = (example.reference for example in examples)
    chosen = [doc for doc in docs if doc.text.strip() and doc._.language]
    if not chosen:
        raise XnerError(Errors.XNER423)
    return chosen


def embed_sentences(docs: Sequence[Doc], vectors: SentenceVectors, nlp: Language, encoder: str) -> Floats:
    """Compute the vector of every sentence.

    nlp: Pipeline with a trained `language_identifier`.
    encoder: Checkpoint of the vectors "base-first" and "base-max".
    RETURNS: Shape: (n_docs, width).
    """
    if vectors == "identifier":
        compute: Callable[[list[Doc]], Floats] = nlp.get_pipe("language_identifier").embed
    else:
        pooling: Literal["first", "max"] = "first" if vectors == "base-first" else "max"
        model = build_sentence_encoder(encoder, pooling=pooling, precision="auto")
        model.initialize()

        def compute(batch: list[Doc]) -> Floats:
            return model.ops.to_numpy(model.predict(batch))

    progress = tqdm(total=len(docs), desc=vectors, unit=" sentences", leave=False, disable=None)
    rows = []
    with progress:
        for batch in minibatch(docs, BATCH_SIZE):
            rows.append(compute(batch))
            progress.update(len(batch))
    return numpy.concatenate(rows)


def place_sentences(
    docs: Iterable[Doc], nlp: Language, encoder: str, *, n_docs: int, seed: int
) -> dict[str, Any]:
    """Place sentences in two dimensions by t-SNE, before and after fine-tuning.

    n_docs: At most so many sentences of each language.
    RETURNS: Plain JSON: `languages` of the sentences, and `points` by kind of vectors.
    SOURCE: Shaffer 2021, Figure 1.
    """
    from sklearn.manifold import TSNE

    by_language: dict[str, list[Doc]] = {}
    for doc in docs:
        group = by_language.setdefault(doc._.language, [])
        if len(group) < n_docs:
            group.append(doc)
    chosen = [doc for group in by_language.values() for doc in group]
    kinds: tuple[SentenceVectors, ...] = ("base-max", "identifier")
    points = {}
    for kind in kinds:
        # scikit-learn wants a perplexity below the number of points; 30 is its default.
        tsne = TSNE(init="pca", perplexity=min(30.0, (len(chosen) - 1) / 3), random_state=seed)
        points[kind] = tsne.fit_transform(embed_sentences(chosen, kind, nlp, encoder)).round(2).tolist()
    return {"languages": [doc._.language for doc in chosen], "points": points}

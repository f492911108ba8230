"""Train fastText vectors on plain text."""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy

from spacy_xner.errors import Errors, XnerError
from spacy_xner.vectors.table import VectorTable
from spacy_xner.vectors.words import normalise

# Punctuation marks are words too: taggers meet them everywhere.
_WORD = re.compile(r"\w+(?:['’.-]\w+)*|[^\w\s]")


def train_vectors(
    lines: Iterable[str],
    *,
    width: int = 200,
    max_words: int = 50_000,
    min_count: int = 5,
    window: int = 5,
    epochs: int = 5,
    workers: int = 2,
    seed: int = 0,
) -> VectorTable:
    """Train skip-gram vectors with character n-grams; the table begins with the most frequent word.

    lines: Text, a sentence or a paragraph each.
    width: Numbers a vector.
    max_words: Number of most frequent words that get a vector; 0 for all.
    min_count: Times that a word must occur.
    window: Context on each side. Units: words.
    workers: Threads. The same seed gives the same vectors with one thread only.
    RAISES: XNER608 without gensim, XNER609 for text with too few words.
    """
    try:
        from gensim.models import FastText
    except ImportError as error:
        raise XnerError(Errors.XNER608.format(what="Training vectors", reason=error)) from error
    with tempfile.TemporaryDirectory() as folder:
        # gensim reads a file in several threads, but sentences from Python in one thread.
        words = Path(folder) / "words.txt"
        with words.open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(" ".join(normalise(word) for word in _WORD.findall(line)) + "\n")
        model = FastText(
            sg=1, vector_size=width, window=window, min_count=min_count, max_final_vocab=max_words or None,
            epochs=epochs, workers=workers, seed=seed,
        )  # fmt: skip
        model.build_vocab(corpus_file=str(words))
        if not len(model.wv):
            raise XnerError(Errors.XNER609.format(min_count=min_count))
        model.train(
            corpus_file=str(words),
            epochs=epochs,
            total_examples=model.corpus_count,
            total_words=model.corpus_total_words,
        )
    return VectorTable(list(model.wv.index_to_key), numpy.ascontiguousarray(model.wv.vectors, "float32"))

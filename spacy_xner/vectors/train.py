"""Train fastText vectors on plain text."""

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy
from spacy.vocab import Vocab

from spacy_xner.corpus.docs import read_docs
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import numbered_lines
from spacy_xner.vectors.table import VectorTable
from spacy_xner.vectors.words import normalise

# Punctuation marks are words too: taggers meet them everywhere.
_WORD = re.compile(r"\w+(?:['’.-]\w+)*|[^\w\s]")


def read_texts(paths: Iterable[Path]) -> Iterator[str]:
    """Iterate over the lines of plain text, and over the sentences of corpora (.spacy)."""
    for path in paths:
        if path.suffix == ".spacy":
            vocab = Vocab()
            yield from (" ".join(token.text for token in doc) for doc in read_docs(path).get_docs(vocab))
        else:
            yield from (line for _, line in numbered_lines(path))


def train_vectors(
    lines: Iterable[str],
    *,
    words: Iterable[str] = (),
    lower: bool = True,
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
    words: Further words, which get the mean vector of their character n-grams, behind the others. A tagger
        meets them, and the n-grams are not kept.
    lower: Lower-case the text. With capitals names stand apart from the words that they are spelled like.
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
        text = Path(folder) / "words.txt"
        with text.open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(" ".join(normalise(word, lower) for word in _WORD.findall(line)) + "\n")
        model = FastText(
            sg=1, vector_size=width, window=window, min_count=min_count, max_final_vocab=max_words or None,
            epochs=epochs, workers=workers, seed=seed,
        )  # fmt: skip
        model.build_vocab(corpus_file=str(text))
        if not len(model.wv):
            raise XnerError(Errors.XNER609.format(min_count=min_count))
        model.train(
            corpus_file=str(text),
            epochs=epochs,
            total_examples=model.corpus_count,
            total_words=model.corpus_total_words,
        )
    table = VectorTable(list(model.wv.index_to_key), numpy.ascontiguousarray(model.wv.vectors, "float32"))
    new = list(dict.fromkeys(normalise(word, lower) for word in words))
    # `in` is true for every word that has n-grams.
    new = [word for word in new if word not in model.wv.key_to_index and word in model.wv]
    if not new:
        return table
    vectors = numpy.stack([model.wv[word] for word in new]).astype("float32")
    return VectorTable([*table.words, *new], numpy.concatenate((table.vectors, vectors)))

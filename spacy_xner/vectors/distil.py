"""Word vectors from a multilingual transformer: already in one space, for those who have no vector files."""

from collections.abc import Iterable

import numpy
from spacy.tokens import Doc
from spacy.util import minibatch
from spacy.vocab import Vocab
from tqdm import tqdm

from spacy_xner.errors import Errors, XnerError
from spacy_xner.transformer.model import build_transformer_encoder
from spacy_xner.types import Precision
from spacy_xner.vectors.mapping import normalise_rows
from spacy_xner.vectors.table import VectorTable

# Number of words in a batch; the encoder forms smaller batches by wordpieces.
BATCH = 1024


def distil_vectors(
    words: Iterable[str], encoder: str, *, layer: int = 0, precision: Precision = "float32"
) -> VectorTable:
    """Read each word by itself with an encoder: its vector is the mean of its wordpieces.

    words: Words of one language, the most frequent first. The mean of all words is subtracted, so that a
        vector tells the meaning of a word and not its language.
    layer: Layer that is read; 0 for the last.
    RETURNS: Rows of unit length.
    RAISES: XNER201, XNER207, XNER609 for no words.
    """
    words = list(dict.fromkeys(words))
    if not words:
        raise XnerError(Errors.XNER609.format(min_count=1))
    tok2vec = build_transformer_encoder(
        encoder, n_frozen_layers=-1, n_layers=layer, pooling="mean", precision=precision
    )
    tok2vec.initialize()
    vocab = Vocab()
    rows = []
    progress = tqdm(total=len(words), unit=" words", disable=None)
    # Words of similar length stand side by side, because the encoder sorts within a batch only.
    order = numpy.argsort([len(word) for word in words], kind="stable")
    for batch in minibatch(order.tolist(), BATCH):
        docs = [Doc(vocab, words=[words[i]]) for i in batch]
        rows.append(numpy.concatenate(tok2vec.predict(docs)))
        progress.update(len(batch))
    progress.close()
    vectors = numpy.concatenate(rows)[numpy.argsort(order)]
    return VectorTable(words, normalise_rows(vectors).numpy())

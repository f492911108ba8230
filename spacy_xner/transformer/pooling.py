"""From vectors of wordpieces to vectors of tokens or texts. Pure functions on torch tensors."""

from typing import Literal, NamedTuple

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from spacy_xner.transformer.wordpieces import TokenPieces

Ints = NDArray[numpy.int64]
# The vector of a token: its first wordpiece's, or the mean of its wordpieces.
Pooling = Literal["first", "mean"]
# The vector of a text: the special first token's, or the maximum of its wordpieces.
TextPooling = Literal["first", "max"]


class Encoded(NamedTuple):
    """Hidden states of all windows of a batch, padding included, and where to look in them.

    vectors: Shape: (n_rows, width).
    row_of_piece: The row of every wordpiece of every text. Shape: (n_pieces,).
    row_of_window: The row of every window's special first token. Shape: (n_windows,).
    """

    vectors: Tensor
    row_of_piece: Ints
    row_of_window: Ints


def pool_tokens(encoded: Encoded, tokens: TokenPieces, pooling: Pooling) -> Tensor:
    """Compute the vector of every token; zeros for a token without wordpieces.

    tokens: Ranges of wordpieces, counted through all texts.
    RETURNS: float32. Shape: (n_tokens, width).
    """
    return _first_pieces(encoded, tokens) if pooling == "first" else _mean_pieces(encoded, tokens)


def _first_pieces(encoded: Encoded, tokens: TokenPieces) -> Tensor:
    vectors, row_of_piece = encoded.vectors, encoded.row_of_piece
    last = max(len(row_of_piece) - 1, 0)
    rows = torch.from_numpy(row_of_piece[numpy.minimum(tokens.first, last)])
    pooled = vectors.index_select(0, rows.to(vectors.device)).float()
    has_pieces = tokens.end > tokens.first
    if has_pieces.all():
        return pooled
    return pooled * torch.from_numpy(has_pieces).to(pooled.device)[:, None]


def _mean_pieces(encoded: Encoded, tokens: TokenPieces) -> Tensor:
    vectors = encoded.vectors
    counts = tokens.end - tokens.first
    token_of_piece = numpy.repeat(numpy.arange(len(counts)), counts)
    place = numpy.arange(counts.sum()) - numpy.repeat(numpy.cumsum(counts) - counts, counts)
    rows = torch.from_numpy(encoded.row_of_piece[tokens.first[token_of_piece] + place])
    total = vectors.new_zeros(len(counts), vectors.shape[1], dtype=torch.float32).index_add(
        0,
        torch.from_numpy(token_of_piece).to(vectors.device),
        vectors.index_select(0, rows.to(vectors.device)).float(),
    )
    return total / torch.from_numpy(numpy.maximum(counts, 1)).to(total.device)[:, None]


def pool_texts(encoded: Encoded, n_pieces: Ints, text_of_window: Ints, pooling: TextPooling) -> Tensor:
    """Compute the vector of every text; zeros for a text without wordpieces.

    The special first token is taken as the mean over the text's windows.

    n_pieces: Wordpieces of every text. Shape: (n_texts,).
    text_of_window: Shape: (n_windows,).
    RETURNS: float32. Shape: (n_texts, width).
    """
    vectors = encoded.vectors.float()
    pooled = vectors.new_zeros(len(n_pieces), vectors.shape[1])
    if pooling == "max":
        text_of_piece = torch.from_numpy(numpy.repeat(numpy.arange(len(n_pieces)), n_pieces))
        index = text_of_piece.to(vectors.device)[:, None].expand(-1, vectors.shape[1])
        rows = torch.from_numpy(encoded.row_of_piece).to(vectors.device)
        return pooled.scatter_reduce(0, index, vectors[rows], "amax", include_self=False)
    texts = torch.from_numpy(text_of_window).to(vectors.device)
    rows = torch.from_numpy(encoded.row_of_window).to(vectors.device)
    counts = torch.bincount(texts, minlength=len(n_pieces)).clamp(min=1)
    return pooled.index_add(0, texts, vectors[rows]) / counts[:, None]

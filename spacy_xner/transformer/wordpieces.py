"""From texts to windows of wordpieces, and back from wordpieces to tokens. Pure functions."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ints = NDArray[numpy.int64]


class Pieces(NamedTuple):
    """Wordpieces of one text without special tokens. Offsets in characters of the text.

    ids, starts, ends: Shape: (n_pieces,).
    """

    ids: Ints
    starts: Ints
    ends: Ints


class TokenPieces(NamedTuple):
    """Which wordpieces overlap each token: half-open ranges, empty for none.

    first, end: Shape: (n_tokens,).
    """

    first: Ints
    end: Ints


class Window(NamedTuple):
    """A stretch of one document's wordpieces. Units: wordpieces of that document.

    This window has most context for the pieces from `own_start` to `own_end`: every piece of a document
    is owned by exactly one window.
    """

    doc: int
    start: int
    end: int
    own_start: int
    own_end: int


def split_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Pieces]:
    """Tokenize texts into wordpieces in one call, without special tokens."""
    pieces = []
    for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        offsets = numpy.array(encoding.offsets, dtype="int64").reshape(-1, 2)
        pieces.append(Pieces(numpy.array(encoding.ids, dtype="int64"), offsets[:, 0], offsets[:, 1]))
    return pieces


def align_tokens(pieces: Pieces, token_starts: Ints, token_ends: Ints, space_id: int) -> TokenPieces:
    """Find the wordpieces of every token by character offsets.

    A piece may serve several tokens (tokens within one wordpiece) and a token may have no piece
    (whitespace, characters that normalisation drops). A piece that is only SentencePiece's space mark is
    skipped as long as the token has another.

    space_id: Id of the space mark, -1 if the vocabulary has none.
    """
    first = numpy.searchsorted(pieces.ends, token_starts, side="right")
    end = numpy.searchsorted(pieces.starts, token_ends, side="left")
    end = numpy.maximum(first, end)
    if len(pieces.ids):
        inside = numpy.minimum(first, len(pieces.ids) - 1)
        is_mark = (pieces.ids[inside] == space_id) & (end - first > 1)
        first = first + is_mark
    return TokenPieces(first.astype("int64"), end.astype("int64"))


def join_tokens(tokens: Sequence[TokenPieces], n_pieces: Ints) -> TokenPieces:
    """Count the wordpieces of all texts through, one text after the other.

    tokens: Token pieces of every text, counted from the first wordpiece of that text.
    n_pieces: Wordpieces of every text. Shape: (n_texts,).
    """
    offsets = numpy.cumsum(n_pieces) - n_pieces
    return TokenPieces(
        numpy.concatenate([text.first + offset for text, offset in zip(tokens, offsets, strict=True)]),
        numpy.concatenate([text.end + offset for text, offset in zip(tokens, offsets, strict=True)]),
    )


def cut_windows(n_pieces: int, size: int, overlap: int, doc: int = 0) -> list[Window]:
    """Cut a document into overlapping windows that lose nothing.

    There are as few windows as the size allows, and all of them are of one length, so that no piece is
    computed more often than the overlap asks for and no window is padded. A border between two windows'
    own pieces lies in the middle of their overlap, where both have the same context.

    size: The most pieces of a window. overlap: Least number of pieces that neighbours share.
    """
    if n_pieces <= size:
        return [Window(doc, 0, n_pieces, 0, n_pieces)]
    n_windows = -(-(n_pieces - overlap) // (size - overlap))
    length = -(-(n_pieces + (n_windows - 1) * overlap) // n_windows)
    starts = [i * (n_pieces - length) // (n_windows - 1) for i in range(n_windows)]
    borders = [
        0,
        *((a + length + b) // 2 for a, b in itertools.pairwise(starts)),
        n_pieces,
    ]
    return [Window(doc, start, start + length, borders[i], borders[i + 1]) for i, start in enumerate(starts)]


def batch_windows(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group windows of like lengths, each group at most `budget` pieces with its padding.

    RETURNS: Indices of the windows, longest first; a window longer than the budget stands alone.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    batches: list[list[int]] = []
    room = 0
    for i in order:
        if not batches or room <= 0:
            batches.append([])
            room = max(1, budget // max(1, lengths[i]))
        batches[-1].append(i)
        room -= 1
    return batches

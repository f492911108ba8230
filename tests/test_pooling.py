"""Pooling of wordpieces equals a slow loop over tokens, windows and texts."""

import numpy
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from spacy_xner.transformer.pooling import Encoded, pool_texts, pool_tokens
from spacy_xner.transformer.wordpieces import TokenPieces, join_tokens

WIDTH = 3


@st.composite
def batches(draw):
    """Texts with their wordpieces, tokens and windows, and hidden states in any order with padding."""
    n_pieces = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    total = sum(n_pieces)
    n_rows = total + draw(st.integers(1, 6))
    order = draw(st.permutations(range(n_rows)))
    tokens = []
    for n in n_pieces:
        ranges = draw(st.lists(st.tuples(st.integers(0, n), st.integers(0, n)), max_size=4))
        ranges = numpy.array([sorted(pair) for pair in ranges], dtype="int64").reshape(-1, 2)
        tokens.append(TokenPieces(ranges[:, 0], ranges[:, 1]))
    text_of_window = [text for text, n in enumerate(n_pieces) for _ in range(draw(st.integers(n > 0, 2)))]
    row_of_window = draw(
        st.lists(st.integers(0, n_rows - 1), min_size=len(text_of_window), max_size=len(text_of_window))
    )
    vectors = torch.from_numpy(numpy.random.default_rng(n_rows).normal(size=(n_rows, WIDTH)))
    encoded = Encoded(
        vectors.float(),
        numpy.array(order[:total], dtype="int64"),
        numpy.array(row_of_window, dtype="int64"),
    )
    return encoded, numpy.array(n_pieces), tokens, numpy.array(text_of_window, dtype="int64")


def pieces_of(encoded, n_pieces, text):
    """Vectors of one text's wordpieces."""
    start = int(sum(n_pieces[:text]))
    return encoded.vectors[encoded.row_of_piece[start : start + int(n_pieces[text])]]


def reduce(vectors, kind):
    if not len(vectors):
        return torch.zeros(WIDTH)
    return {"first": vectors[0], "mean": vectors.mean(0), "max": vectors.amax(0)}[kind]


@pytest.mark.parametrize("pooling", ["first", "mean"])
@given(batches())
def test_tokens_are_pooled_as_one_by_one(pooling, batch):
    encoded, n_pieces, tokens, _ = batch
    # Without any wordpiece there is no window, and the network does not pool.
    assume(len(encoded.row_of_piece))
    expected = [
        reduce(pieces_of(encoded, n_pieces, text)[first:end], pooling)
        for text, ranges in enumerate(tokens)
        for first, end in zip(*ranges, strict=True)
    ]
    found = pool_tokens(encoded, join_tokens(tokens, n_pieces), pooling)
    assert found.shape == (len(expected), WIDTH)
    assert found.dtype == torch.float32
    if expected:
        torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("pooling", ["first", "max"])
@given(batches())
def test_texts_are_pooled_as_one_by_one(pooling, batch):
    encoded, n_pieces, _, text_of_window = batch
    expected = []
    for text in range(len(n_pieces)):
        windows = encoded.vectors[encoded.row_of_window[text_of_window == text]]
        pieces = pieces_of(encoded, n_pieces, text)
        expected.append(reduce(pieces, "max") if pooling == "max" else reduce(windows, "mean"))
    found = pool_texts(encoded, n_pieces, text_of_window, pooling)
    torch.testing.assert_close(found, torch.stack(expected))


def test_gradients_reach_the_pieces_of_a_token_alone():
    vectors = torch.ones(4, WIDTH, requires_grad=True)
    encoded = Encoded(vectors, numpy.array([0, 1, 3]), numpy.array([2]))
    tokens = TokenPieces(numpy.array([1]), numpy.array([3]))
    for pooling, expected in (("first", [0, 1, 0, 0]), ("mean", [0, 0.5, 0, 0.5])):
        vectors.grad = None
        pool_tokens(encoded, tokens, pooling).sum().backward()
        assert vectors.grad[:, 0].tolist() == expected

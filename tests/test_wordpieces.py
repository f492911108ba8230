"""Alignment, windows and batches of wordpieces."""

import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_xner.transformer.wordpieces import Pieces, align_tokens, batch_windows, cut_windows


@given(
    n_pieces=st.integers(0, 400),
    size=st.integers(4, 60),
    overlap=st.integers(0, 30),
    doc=st.just(7),
)
def test_windows_own_every_piece_once(n_pieces, size, overlap, doc):
    overlap = min(overlap, size // 2)
    windows = cut_windows(n_pieces, size, overlap, doc)
    owned = [i for w in windows for i in range(w.own_start, w.own_end)]
    assert owned == list(range(n_pieces))
    assert all(w.doc == 7 and w.end - w.start <= size for w in windows)
    assert all(w.start <= w.own_start <= w.own_end <= w.end for w in windows)


@given(n_pieces=st.integers(61, 2000), size=st.integers(4, 60), overlap=st.integers(0, 30))
def test_windows_are_as_few_and_as_short_as_their_overlap_allows(n_pieces, size, overlap):
    overlap = min(overlap, (size - 2) // 2)
    windows = cut_windows(n_pieces, size, overlap)
    # One window fewer could not reach the end.
    assert size + (len(windows) - 2) * (size - overlap) < n_pieces <= windows[-1].end
    [length] = {window.end - window.start for window in windows}
    assert length <= size
    shared = [a.end - b.start for a, b in itertools.pairwise(windows)]
    assert min(shared) >= overlap
    assert len(windows) * length < n_pieces + (len(windows) - 1) * overlap + len(windows)


@given(n_pieces=st.integers(30, 200))
def test_a_piece_is_taken_where_it_has_most_context(n_pieces):
    windows = cut_windows(n_pieces, 20, 8)

    def context(window, i):
        left = i - window.start if window.start else n_pieces
        right = window.end - 1 - i if window.end < n_pieces else n_pieces
        return min(left, right)

    for window in windows:
        for i in range(window.own_start, window.own_end):
            rivals = [w for w in windows if w.start <= i < w.end]
            # Two windows may tie in the middle of an even overlap.
            assert context(window, i) >= max(context(w, i) for w in rivals) - 1


@given(lengths=st.lists(st.integers(1, 50), max_size=60), budget=st.integers(1, 200))
def test_batches_hold_every_window_once_within_the_budget(lengths, budget):
    batches = batch_windows(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or lengths[batch[0]] * len(batch) <= budget


def _pieces(*spans, ids=None):
    array = numpy.array(spans, dtype="int64").reshape(-1, 2)
    ids = numpy.arange(len(array)) + 10 if ids is None else numpy.array(ids)
    return Pieces(ids, array[:, 0], array[:, 1])


@pytest.mark.parametrize(
    ("pieces", "tokens", "expected"),
    [
        # One piece a token.
        (_pieces((0, 3), (3, 7)), [(0, 3), (4, 7)], [(0, 1), (1, 2)]),
        # A token of two pieces.
        (_pieces((0, 2), (2, 5)), [(0, 5)], [(0, 2)]),
        # Two tokens within one piece.
        (_pieces((0, 5)), [(0, 2), (2, 5)], [(0, 1), (0, 1)]),
        # A whitespace token has no piece.
        (_pieces((0, 2), (5, 7)), [(0, 2), (2, 5), (5, 7)], [(0, 1), (1, 1), (1, 2)]),
        # A dropped character at the end, and no pieces at all.
        (_pieces((0, 2)), [(0, 2), (2, 3)], [(0, 1), (1, 1)]),
        (_pieces(), [(0, 2)], [(0, 0)]),
        # The space mark at the start of a CJK text is skipped.
        (_pieces((0, 1), (0, 2), ids=[5, 6]), [(0, 2)], [(1, 2)]),
        # It stays where the token has nothing else.
        (_pieces((0, 1), ids=[5]), [(0, 1)], [(0, 1)]),
    ],
)
def test_tokens_find_their_pieces(pieces, tokens, expected):
    starts, ends = numpy.array(tokens).T
    found = align_tokens(pieces, starts, ends, space_id=5)
    assert list(zip(found.first.tolist(), found.end.tolist(), strict=True)) == expected

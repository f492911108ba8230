"""Arithmetic of arrays."""

import numpy
import pytest

from spacy_xner.arrays import to_unit_length
from spacy_xner.tags import overlap


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_get_length_one_and_zeros_stay(dtype: str) -> None:
    vectors = numpy.random.default_rng(0).normal(size=(2, 3, 5)).astype(dtype)
    vectors[1, 2] = 0
    unit = to_unit_length(vectors)
    assert unit.dtype == vectors.dtype
    lengths = numpy.linalg.norm(unit, axis=-1)
    assert lengths[1, 2] == 0
    lengths[1, 2] = 1
    assert lengths == pytest.approx(numpy.ones((2, 3)), abs=1e-6)
    # The direction is the same.
    assert unit[0, 0] * numpy.linalg.norm(vectors[0, 0]) == pytest.approx(vectors[0, 0], abs=1e-6)


@pytest.mark.parametrize("one", [(0, 2), (1, 2), (2, 5), (3, 4)])
@pytest.mark.parametrize("other", [(0, 1), (1, 3), (2, 3), (4, 6)])
def test_places_overlap_if_a_position_is_in_both(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert overlap(one, other) == bool(set(range(*one)) & set(range(*other)))

"""Arithmetic of arrays that several rooms need."""

from typing import TypeVar

import numpy
from numpy.typing import NDArray

ArrayT = TypeVar("ArrayT", bound=NDArray[numpy.floating])


def to_unit_length(vectors: ArrayT) -> ArrayT:
    """Scale vectors to length 1; zero vectors stay zero.

    vectors: Shape: (..., width).
    RETURNS: The same shape and precision.
    """
    norms = numpy.maximum(numpy.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return vectors / norms

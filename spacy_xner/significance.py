"""Are two systems different? A paired bootstrap over the sentences of one test set."""

from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

Counts = NDArray[numpy.float64]


class Comparison(NamedTuple):
    """The difference of two systems on the same sentences. Units: F1 in percent.

    low, high: 95 % of the differences. p: Two-sided, twice the share of resamples
        in which the sign is the other.
    """

    difference: float
    low: float
    high: float
    p: float


def bootstrap(
    ours: list[Counts], others: list[Counts], *, n_resamples: int = 1000, seed: int = 0
) -> Comparison:
    """Compare two systems on the same sentences, each the mean of its seeds.

    ours, others: Right, predicted and gold entities of every sentence, an array a seed.
        Shape: (n_sentences, 3).
    SOURCE: paired bootstrap of Koehn 2004 over sentences.
    """
    a, b = numpy.mean(ours, axis=0), numpy.mean(others, axis=0)
    weights = numpy.random.default_rng(seed).multinomial(len(a), [1 / len(a)] * len(a), size=n_resamples)
    differences = _f1(weights @ a) - _f1(weights @ b)
    difference = float(_f1(a.sum(0)) - _f1(b.sum(0)))
    low, high = numpy.percentile(differences, [2.5, 97.5])
    other_sign = (differences <= 0) if difference > 0 else (differences >= 0)
    p = min(1.0, 2 * float(other_sign.mean()))
    return Comparison(100 * difference, 100 * float(low), 100 * float(high), p)


def _f1(totals: Counts) -> Any:
    """F1 from right, predicted and gold entities. Shape: (..., 3) to (...)."""
    return 2 * totals[..., 0] / numpy.maximum(totals[..., 1] + totals[..., 2], 1e-12)

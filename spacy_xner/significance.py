"""Are two systems different? A paired bootstrap over the sentences of one test set."""

from collections.abc import Mapping
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
    return bootstrap_mean({"": ours}, {"": others}, n_resamples=n_resamples, seed=seed)


def bootstrap_mean(
    ours: Mapping[str, list[Counts]],
    others: Mapping[str, list[Counts]],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare two systems by their mean F1 over test sets; the sentences of each set are drawn by themselves.

    ours, others: By test set, the same ones; see `bootstrap`.
    """
    random = numpy.random.default_rng(seed)
    total, drawn = 0.0, numpy.zeros(n_resamples)
    for name in ours:
        a, b = numpy.mean(ours[name], axis=0), numpy.mean(others[name], axis=0)
        weights = random.multinomial(len(a), [1 / len(a)] * len(a), size=n_resamples)
        drawn += (_f1(weights @ a) - _f1(weights @ b)) / len(ours)
        total += float(_f1(a.sum(0)) - _f1(b.sum(0))) / len(ours)
    low, high = numpy.percentile(drawn, [2.5, 97.5])
    other_sign = (drawn <= 0) if total > 0 else (drawn >= 0)
    p = min(1.0, 2 * float(other_sign.mean()))
    return Comparison(100 * total, 100 * float(low), 100 * float(high), p)


def _f1(totals: Counts) -> Any:
    """F1 from right, predicted and gold entities. Shape: (..., 3) to (...)."""
    return 2 * totals[..., 0] / numpy.maximum(totals[..., 1] + totals[..., 2], 1e-12)

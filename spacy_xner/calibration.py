"""Probabilities that mean what they say: scaling by language, measures of it, thresholds with a guarantee.

Pure functions on three arrays that belong together: the probability of every predicted entity, whether the
entity is right, and the language of its text.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy
from numpy.typing import NDArray

from spacy_xner.errors import Errors, XnerError

Probabilities = NDArray[numpy.float64]
Outcomes = NDArray[numpy.bool_]
Value = TypeVar("Value")

# The scaling of languages that have none of their own.
POOLED = ""
# Probabilities are kept so far away from 0 and 1: log-odds beyond 14 tell nothing.
_EPSILON = 1e-6


class Scaling(NamedTuple):
    """A map of probabilities: log-odds lose the offset and are divided by the temperature.

    temperature: Above 1 for a model that is too sure.
    offset: Log-odds at which half of the entities are right.
    SOURCE: Platt 1999; with offset 0 the temperature of Guo et al. 2017, https://arxiv.org/abs/1706.04599.
    """

    temperature: float = 1.0
    offset: float = 0.0

    def apply(self, probabilities: Sequence[float] | Probabilities) -> Probabilities:
        """Scale probabilities. Shape: (n_entities,) in and out."""
        return _expit((_logit(numpy.asarray(probabilities)) - self.offset) / self.temperature)


class RiskCoverage(NamedTuple):
    """How wrong the surest entities are, from the surest one to all of them.

    coverage: Share of the entities that are given out. Shape: (n_entities,).
    risk: Share of these that are wrong. Shape: (n_entities,).
    """

    coverage: Probabilities
    risk: Probabilities

    @property
    def area(self) -> float:
        """The mean risk over all coverages: lower is better."""
        return float(self.risk.mean()) if len(self.risk) else 0.0


def fit_scalings(
    probabilities: Sequence[float],
    right: Sequence[bool],
    languages: Sequence[str | None],
    *,
    shrinkage: float = 20.0,
) -> dict[str, Scaling]:
    """Fit one scaling for all entities and one for each language, which stays near it where data is small.

    shrinkage: Weight of the pooled scaling, as a number of entities.
    RETURNS: Scalings by language, and the pooled one at `POOLED`.
    RAISES: XNER185 without entities that are right and ones that are wrong.
    """
    scores, outcomes = _checked(probabilities, right)
    if outcomes.all() or not outcomes.any():
        raise XnerError(Errors.XNER185.format(n_right=int(outcomes.sum()), n=len(outcomes)))
    pooled = _fit(scores, outcomes, Scaling(), weight=1.0)
    names = numpy.array([language or POOLED for language in languages])
    scalings = {POOLED: pooled}
    for language in sorted(set(names.tolist()) - {POOLED}):
        chosen = names == language
        scalings[language] = _fit(scores[chosen], outcomes[chosen], pooled, weight=shrinkage)
    return scalings


def _fit(scores: Probabilities, outcomes: Outcomes, prior: Scaling, weight: float) -> Scaling:
    """Minimise the log loss of the outcomes, and `weight` times the squared distance from the prior."""
    # scipy.optimize takes half a second to be imported.
    from scipy.optimize import minimize

    logits, signs = _logit(scores), numpy.where(outcomes, 1.0, -1.0)
    start = numpy.array([numpy.log(prior.temperature), prior.offset])

    def loss(parameters: NDArray[numpy.float64]) -> tuple[float, NDArray[numpy.float64]]:
        scaled = (logits - parameters[1]) * numpy.exp(-parameters[0])
        slope = -signs * _expit(-signs * scaled)
        distance = parameters - start
        gradient = numpy.array([-(slope * scaled).sum(), -slope.sum() * numpy.exp(-parameters[0])])
        value = numpy.logaddexp(0.0, -signs * scaled).sum() + 0.5 * weight * (distance @ distance)
        return float(value), gradient + weight * distance

    # Temperatures from 1/20 to 20, offsets as far as log-odds go.
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-3.0, 3.0), (-14.0, 14.0)])
    return Scaling(float(numpy.exp(fitted.x[0])), float(fitted.x[1]))


def scaling_of(scalings: Mapping[str, Scaling], language: str | None) -> Scaling:
    """The scaling of a language, as `of_language` finds it; one that changes nothing without any."""
    return of_language(scalings, language, Scaling())


def of_language(values: Mapping[str, Value], language: str | None, default: Value) -> Value:
    """The value of a language, the pooled one for a language without, the default without any."""
    return values.get(language or POOLED, values.get(POOLED, default))


def expected_calibration_error(
    probabilities: Sequence[float], right: Sequence[bool], n_bins: int = 15
) -> float:
    """Mean distance between probability and share of right entities, over bins of equal width.

    SOURCE: Naeini et al. 2015, as Guo et al. 2017, equation 3. RETURNS: 0 for no entities.
    """
    scores, outcomes = _checked(probabilities, right)
    if not len(scores):
        return 0.0
    bins = numpy.minimum((scores * n_bins).astype(int), n_bins - 1)
    gaps = numpy.bincount(bins, weights=scores - outcomes, minlength=n_bins)
    return float(numpy.abs(gaps).sum() / len(scores))


class Bin(NamedTuple):
    """Entities with about the same probability.

    score: Their mean probability.
    precision: The share of them that is right.
    n: Their number.
    """

    score: float
    precision: float
    n: int


def reliability(probabilities: Sequence[float], right: Sequence[bool], n_bins: int = 15) -> list[Bin]:
    """Compare probabilities with the share of right entities, over the bins of the calibration error.

    RETURNS: Bins that have entities, the least probable ones first.
    """
    scores, outcomes = _checked(probabilities, right)
    bins = numpy.minimum((scores * n_bins).astype(int), n_bins - 1)
    chosen = [bins == number for number in numpy.unique(bins)]
    return [Bin(float(scores[row].mean()), float(outcomes[row].mean()), int(row.sum())) for row in chosen]


def brier_score(probabilities: Sequence[float], right: Sequence[bool]) -> float:
    """Mean squared distance between probability and outcome; 0 for no entities."""
    scores, outcomes = _checked(probabilities, right)
    return float(((scores - outcomes) ** 2).mean()) if len(scores) else 0.0


def risk_coverage(probabilities: Sequence[float], right: Sequence[bool]) -> RiskCoverage:
    """Give out the surest entities first, and count the wrong ones among them."""
    scores, outcomes = _checked(probabilities, right)
    wrong = ~outcomes[numpy.argsort(-scores, kind="stable")]
    counts = numpy.arange(1, len(scores) + 1)
    return RiskCoverage(counts / max(1, len(scores)), numpy.cumsum(wrong) / counts)


def find_threshold(
    probabilities: Sequence[float], right: Sequence[bool], precision: float, error_rate: float = 0.1
) -> float | None:
    """Find the lowest threshold above which entities have a precision, with a guarantee.

    With a probability of at least 1 - `error_rate` over held-out data, entities of other text like it whose
    probability is not below the threshold have at least this precision. The binomial distribution tests the
    surest entities, in parts that grow until a test fails; several such chains begin at different sizes and
    share the error rate.

    SOURCE: Angelopoulos et al. 2021, Learn then Test, https://arxiv.org/abs/2110.01052, section 3 with
        fixed-sequence testing.
    RETURNS: The threshold; None if this data shows none.
    RAISES: XNER186.
    """
    for setting, value in (("precision", precision), ("error_rate", error_rate)):
        if not 0.0 < value < 1.0:
            raise XnerError(Errors.XNER186.format(setting=setting, found=value))
    scores, outcomes = _checked(probabilities, right)
    order = numpy.argsort(-scores, kind="stable")
    scores, n_wrong = scores[order], numpy.cumsum(~outcomes[order])
    n_chains = 4
    level = error_rate / n_chains
    # Fewer entities cannot show the precision even if all of them are right.
    smallest = int(numpy.ceil(numpy.log(level) / numpy.log(precision)))
    if len(scores) < smallest:
        return None
    sizes = numpy.unique(numpy.geomspace(smallest, len(scores), 60).astype(int))
    # Entities with the same probability are given out together.
    sizes = numpy.unique(numpy.searchsorted(-scores, -scores[sizes - 1], side="right"))
    passes = _binomial_tail(n_wrong[sizes - 1], sizes, 1.0 - precision) <= level
    best = None
    for start in numpy.linspace(0, len(sizes) - 1, n_chains, endpoint=False).astype(int):
        failures = numpy.flatnonzero(~passes[start:])
        end = start + (failures[0] if len(failures) else len(sizes) - start)
        if end > start:
            best = max(best or 0, int(sizes[end - 1]))
    return None if best is None else float(scores[best - 1])


def _binomial_tail(n_wrong: NDArray, sizes: NDArray, rate: float) -> Probabilities:
    """The probability of so few errors or fewer if entities are wrong at this rate."""
    from scipy.stats import binom

    return numpy.asarray(binom.cdf(n_wrong, sizes, rate))


def _checked(probabilities: Sequence[float], right: Sequence[bool]) -> tuple[Probabilities, Outcomes]:
    """The arrays of both. RAISES: XNER187 for other lengths, or numbers that are no probabilities."""
    scores = numpy.asarray(probabilities, dtype=numpy.float64)
    outcomes = numpy.asarray(right, dtype=numpy.bool_)
    if scores.shape != outcomes.shape or not ((scores >= 0.0) & (scores <= 1.0)).all():
        raise XnerError(Errors.XNER187.format(n_scores=len(scores), n_outcomes=len(outcomes)))
    return scores, outcomes


def _logit(probabilities: Probabilities) -> Probabilities:
    clipped = numpy.clip(probabilities, _EPSILON, 1.0 - _EPSILON)
    return numpy.asarray(numpy.log(clipped) - numpy.log1p(-clipped))


def _expit(logits: Probabilities) -> Probabilities:
    return numpy.asarray(0.5 * (1.0 + numpy.tanh(0.5 * logits)))

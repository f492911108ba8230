"""Scalings, measures of calibration and thresholds, against slow or simulated truths."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_xner.calibration import (
    POOLED,
    Scaling,
    brier_score,
    expected_calibration_error,
    find_threshold,
    fit_scalings,
    reliability,
    risk_coverage,
    scaling_of,
)
from spacy_xner.errors import XnerError

PREDICTIONS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30)


def too_sure(n, temperature, offset, seed=0):
    """Entities of a model whose probabilities a scaling would make right."""
    rng = numpy.random.default_rng(seed)
    scores = rng.beta(4, 1, n)
    return scores, rng.random(n) < Scaling(temperature, offset).apply(scores)


def test_fitting_finds_the_scaling_that_made_the_outcomes():
    scores, right = too_sure(20_000, 2.5, 1.0)
    scaling = fit_scalings(scores, right, ["de"] * len(scores))["de"]
    assert scaling.temperature == pytest.approx(2.5, rel=0.1)
    assert scaling.offset == pytest.approx(1.0, abs=0.15)
    before = expected_calibration_error(scores, right)
    after = expected_calibration_error(scaling.apply(scores), right)
    assert after < 0.02 < 0.1 < before


def test_fitting_finds_the_lowest_loss():
    scores, right = too_sure(300, 1.7, -0.5)

    def loss(scaling):
        p = scaling.apply(scores).clip(1e-12, 1 - 1e-12)
        prior = 0.5 * (numpy.log(scaling.temperature) ** 2 + scaling.offset**2)
        return prior - numpy.log(numpy.where(right, p, 1 - p)).sum()

    fitted = fit_scalings(scores, right, [None] * len(scores))[POOLED]
    grid = [Scaling(numpy.exp(t), b) for t in numpy.linspace(-3, 3, 61) for b in numpy.linspace(-4, 4, 81)]
    assert loss(fitted) <= min(map(loss, grid)) + 1e-6


def test_small_languages_stay_near_the_pooled_scaling():
    many, right = too_sure(5_000, 2.0, 0.0)
    few, wrong = numpy.full(5, 0.9), numpy.zeros(5, dtype=bool)
    scores, outcomes = numpy.concatenate([many, few]), numpy.concatenate([right, wrong])
    languages = ["de"] * len(many) + ["fi"] * len(few)
    near, far = (fit_scalings(scores, outcomes, languages, shrinkage=weight) for weight in (1000.0, 0.01))
    assert abs(near["fi"].offset - near[POOLED].offset) < 0.1 < far["fi"].offset - far[POOLED].offset
    assert scaling_of(near, "sw") == near[POOLED]
    assert scaling_of({}, "sw").apply(scores) == pytest.approx(scores)


@given(PREDICTIONS, st.floats(0.1, 10), st.floats(-5, 5))
def test_scaling_keeps_the_order(predictions, temperature, offset):
    scores = numpy.sort([score for score, _ in predictions])
    scaled = Scaling(temperature, offset).apply(scores)
    assert ((scaled >= 0) & (scaled <= 1)).all()
    assert (numpy.diff(scaled) >= 0).all()


@given(PREDICTIONS)
def test_measures_are_those_of_slow_loops(predictions):
    scores, right = zip(*predictions, strict=True)
    error = 0.0
    for i in range(15):
        members = [k for k, score in enumerate(scores) if min(int(score * 15), 14) == i]
        if members:
            mean_score = sum(scores[k] for k in members) / len(members)
            mean_right = sum(right[k] for k in members) / len(members)
            error += len(members) / len(scores) * abs(mean_score - mean_right)
    assert expected_calibration_error(scores, right) == pytest.approx(error, abs=1e-9)
    bins = reliability(scores, right)
    assert sum(row.n for row in bins) == len(scores)
    # The curve that is drawn shows the error that is told.
    gaps = sum(row.n * abs(row.score - row.precision) for row in bins) / len(scores)
    assert gaps == pytest.approx(error, abs=1e-9)
    squares = [(score - outcome) ** 2 for score, outcome in predictions]
    assert brier_score(scores, right) == pytest.approx(sum(squares) / len(squares))
    curve = risk_coverage(scores, right)
    ranked = sorted(predictions, key=lambda prediction: -prediction[0])
    for k, (coverage, risk) in enumerate(zip(*curve, strict=True), start=1):
        assert coverage == pytest.approx(k / len(ranked))
        assert risk == pytest.approx(sum(not outcome for _, outcome in ranked[:k]) / k)


def test_measures_of_no_entities_are_zero():
    assert reliability([], []) == []
    assert expected_calibration_error([], []) == brier_score([], []) == risk_coverage([], []).area == 0


def test_thresholds_keep_their_promise_on_other_text():
    n_broken, lowest = 0, []
    for seed in range(200):
        scores, right = too_sure(800, 2.0, 0.0, seed)
        threshold = find_threshold(scores, right, 0.75, error_rate=0.1)
        if threshold is None:
            continue
        lowest.append(threshold)
        others, outcomes = too_sure(20_000, 2.0, 0.0, seed + 1000)
        n_broken += outcomes[others >= threshold].mean() < 0.75
    assert n_broken <= 0.1 * 200
    # Most of the data shows some threshold, or the promise would be an empty one.
    assert len(lowest) > 150


def test_no_threshold_where_the_data_shows_none():
    assert find_threshold([0.9] * 20, [True] * 20, 0.95) is None
    assert find_threshold([0.9] * 500, [True, False] * 250, 0.95) is None
    assert find_threshold([0.9] * 500 + [0.1] * 500, [True] * 500 + [False] * 500, 0.95) == 0.9


def test_equal_probabilities_are_given_out_together():
    scores = [0.9] * 200
    assert find_threshold(scores, [True] * 150 + [False] * 50, 0.9) is None


def test_errors_of_calibration():
    with pytest.raises(XnerError, match="XNER185"):
        fit_scalings([0.5, 0.6], [True, True], ["de", "de"])
    with pytest.raises(XnerError, match="XNER186"):
        find_threshold([0.5], [True], 1.0)
    with pytest.raises(XnerError, match="XNER187"):
        brier_score([0.5, 1.5], [True, False])

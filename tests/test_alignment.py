"""From similarities to places: against brute force."""

import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_xner.projector.alignment import (
    belonging,
    belonging_loss,
    cosine_gradient,
    cosine_similarity,
    find_places,
    itermax,
    linked_places,
    max_weight_matching,
    mutual_argmax,
    score_places,
    share_of_overlap,
)

SETTINGS = {"temperature": 0.1, "max_length": 4, "min_score": 0.2, "rival": 2.0}


@st.composite
def matrices(draw, n_most=5):
    """Similarities without ties."""
    rows, columns = draw(st.integers(1, n_most)), draw(st.integers(1, n_most))
    seed = draw(st.integers(0, 10_000))
    return numpy.random.default_rng(seed).uniform(-0.2, 1, (rows, columns)).astype("float32")


def softmax(values):
    weights = [numpy.exp(v) for v in values]
    return [w / sum(weights) for w in weights]


def test_cosines_of_known_vectors():
    found = cosine_similarity(
        numpy.array([[2.0, 0], [0, 0]], "float32"), numpy.array([[3.0, 0], [0, 1], [-1, 0]], "float32")
    )
    assert found.tolist() == [[1, 0, -1], [0, 0, 0]]


@given(matrices())
def test_mutual_argmax_is_the_best_of_both(similarity):
    expected = [
        [row.max() == value == similarity[:, j].max() for j, value in enumerate(row)] for row in similarity
    ]
    assert mutual_argmax(similarity).tolist() == expected


@given(matrices())
def test_itermax_keeps_the_first_links_and_adds_others(similarity):
    once, twice = itermax(similarity, n_rounds=1), itermax(similarity, n_rounds=2)
    assert (once == mutual_argmax(similarity)).all()
    assert (twice | once).tolist() == twice.tolist()
    # What is new is not between two tokens that were linked before.
    fresh = twice & ~once
    assert not (fresh & once.any(1, keepdims=True) & once.any(0, keepdims=True)).any()


def test_itermax_links_what_argmax_leaves():
    similarity = numpy.array([[0.9, 0.8], [-0.2, -0.1]], "float32")
    assert mutual_argmax(similarity).tolist() == [[True, False], [False, False]]
    # The second target token is still nearest to the first source token, at a discount.
    assert itermax(similarity).tolist() == [[True, True], [False, False]]


@given(matrices(4), st.floats(-0.5, 0.9))
def test_matching_is_the_best_of_all_matchings(similarity, null):
    rows, columns = similarity.shape
    gains = similarity - null
    best = 0.0
    for n in range(1, min(rows, columns) + 1):
        for left in itertools.combinations(range(rows), n):
            for right in itertools.permutations(range(columns), n):
                best = max(best, sum(gains[i, j] for i, j in zip(left, right, strict=True)))
    links = max_weight_matching(similarity, null=null)
    assert links.sum(0).max() <= 1
    assert links.sum(1).max() <= 1
    assert gains[links].sum() == pytest.approx(best, abs=1e-5)
    assert (gains[links] > 0).all()


@pytest.mark.parametrize(
    ("max_gap", "expected"), [(0, [(0, 1), (2, 4), (7, 8)]), (1, [(0, 4), (7, 8)]), (3, [(0, 8)])]
)
def test_runs_of_links_are_places(max_gap, expected):
    links = numpy.zeros((3, 9), dtype=bool)
    links[1, [0, 2, 7]] = True
    links[2, 3] = True
    links[0, 8] = True
    assert linked_places(links, (1, 3), max_gap=max_gap) == expected
    assert linked_places(links[:, 4:7], (1, 3), max_gap=max_gap) == []


@given(matrices(), st.data())
def test_scores_of_places_follow_their_definition(similarity, data):
    rows, columns = similarity.shape
    start = data.draw(st.integers(0, rows - 1))
    entity = (start, data.draw(st.integers(start + 1, rows)))
    first = data.draw(st.integers(0, columns - 1))
    end = data.draw(st.integers(first + 1, columns))
    found = score_places(*belonging(similarity, 0.3), entity, numpy.array([first]), numpy.array([end]))
    of_place = numpy.mean([sum(softmax(similarity[:, j] / 0.3)[slice(*entity)]) for j in range(first, end)])
    of_entity = numpy.mean([sum(softmax(similarity[i] / 0.3)[first:end]) for i in range(*entity)])
    assert float(found[0]) == pytest.approx(numpy.sqrt(of_place * of_entity), abs=1e-5)


def best_by_hand(similarity, entities, settings):
    """Let the entities choose one after the other, the surest first, by trying every place."""
    columns = similarity.shape[1]
    places = [
        (a, b) for a in range(columns) for b in range(a + 1, min(columns, a + settings["max_length"]) + 1)
    ]

    def score(entity, place):
        starts, ends = numpy.array([place[0]]), numpy.array([place[1]])
        both = belonging(similarity, settings["temperature"])
        return float(score_places(*both, entity, starts, ends)[0])

    chosen = {}
    while len(chosen) < len(entities):
        options = [
            (score(entities[i], place), i, place)
            for i in range(len(entities))
            if i not in chosen
            for place in places
            if all(place[1] <= own[0] or own[1] <= place[0] for own in chosen.values() if own)
        ]
        if not options or max(options)[0] < settings["min_score"]:
            break
        _, i, place = max(options)
        chosen[i] = place
    return [chosen.get(i) for i in range(len(entities))]


@given(matrices(6), st.data())
def test_entities_choose_the_best_places_that_are_left(similarity, data):
    rows = len(similarity)
    cut = data.draw(st.integers(0, rows - 1))
    entities = [(0, cut), (cut, rows)] if cut else [(0, rows)]
    found = find_places(similarity, entities, **SETTINGS)
    expected = best_by_hand(similarity, entities, SETTINGS)
    assert [own[0][:2] if own else None for own in found] == expected


def test_a_second_mention_is_a_rival():
    similarity = numpy.full((3, 5), -1, "float32")
    similarity[0, [1, 4]] = [0.9, 0.89]
    similarity[1, 2] = similarity[2, 3] = 0.9
    found = find_places(similarity, [(0, 1), (1, 3)], **{**SETTINGS, "rival": 0.9})
    assert [own[:2] for own in found[0]] == [(1, 2), (4, 5)]
    assert [own[:2] for own in found[1]] == [(2, 4)]
    assert [own[:2] for own in find_places(similarity, [(0, 1)], **SETTINGS)[0]] == [(1, 2)]


def test_nothing_to_align_has_no_places():
    assert find_places(numpy.zeros((3, 0), "float32"), [(0, 1)], **SETTINGS) == [[]]
    assert find_places(numpy.zeros((3, 2), "float32"), [], **SETTINGS) == []
    assert mutual_argmax(numpy.zeros((0, 3), "float32")).shape == (0, 3)


@pytest.mark.parametrize(
    ("one", "other", "expected"), [((0, 2), (0, 2), 1), ((0, 2), (2, 3), 0), ((0, 3), (1, 5), 2 / 5)]
)
def test_overlap_of_places(one, other, expected):
    assert share_of_overlap(one, other) == expected


def numeric_gradient(function, array, step=1e-5):
    gradient = numpy.zeros_like(array)
    for i in numpy.ndindex(array.shape):
        for sign in (1, -1):
            moved = array.copy()
            moved[i] += sign * step
            gradient[i] += sign * function(moved) / (2 * step)
    return gradient


def test_the_gradient_of_cosines_is_right():
    rng = numpy.random.default_rng(0)
    source, target, weights = rng.normal(size=(3, 4)), rng.normal(size=(2, 4)), rng.normal(size=(3, 2))
    found = cosine_gradient(source, target, weights)
    expected = (
        numeric_gradient(lambda x: (cosine_similarity(x, target) * weights).sum(), source),
        numeric_gradient(lambda x: (cosine_similarity(source, x) * weights).sum(), target),
    )
    for a, b in zip(found, expected, strict=True):
        assert numpy.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("inside", [[0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 1, 1]])
def test_the_loss_of_belonging_is_that_of_its_probabilities(inside):
    similarity = numpy.random.default_rng(1).uniform(-1, 1, size=(3, 4))
    inside = numpy.array(inside, dtype=bool)
    loss, gradient = belonging_loss(similarity, (1, 3), inside, 0.2)
    to_source, to_target = belonging(similarity, 0.2)
    rows = [to_target[i][inside].sum() for i in (1, 2)]
    columns = [to_source[1:3, j].sum() for j in numpy.flatnonzero(inside)]
    assert loss == pytest.approx(-numpy.log(rows).mean() - numpy.log(columns).mean())
    expected = numeric_gradient(lambda x: belonging_loss(x, (1, 3), inside, 0.2)[0], similarity)
    assert numpy.allclose(gradient, expected, atol=1e-5)


def test_there_is_nothing_to_learn_without_a_place():
    loss, gradient = belonging_loss(numpy.ones((2, 3)), (0, 1), numpy.zeros(3, dtype=bool), 0.1)
    assert loss == 0
    assert not gradient.any()

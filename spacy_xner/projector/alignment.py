"""From the similarities of two sentences' words to the places of entities. Pure functions.

A similarity matrix has a row a source token and a column a target token; spans are half-open.
SOURCE: mutual argmax, itermax and matching: Jalili Sabet et al. 2020, "SimAlign".
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from spacy_xner.arrays import to_unit_length
from spacy_xner.tags import overlap

Matrix = NDArray[numpy.floating]
Links = NDArray[numpy.bool_]
Ints = NDArray[numpy.int64]
Place = tuple[int, int]  # first token, end token


class Candidate(NamedTuple):
    """A place of an entity in the target sentence. Units: tokens.

    score: Between 0 and 1; see `score_spans`.
    """

    start: int
    end: int
    score: float


def cosine_similarity(source: Matrix, target: Matrix) -> Matrix:
    """Compare all tokens of two sentences. A zero vector is similar to nothing.

    source: Shape: (n_source, width). target: Shape: (n_target, width).
    RETURNS: Shape: (n_source, n_target).
    """
    return to_unit_length(source) @ to_unit_length(target).T


def cosine_gradient(source: Matrix, target: Matrix, d_similarity: Matrix) -> tuple[Matrix, Matrix]:
    """Lead the gradient of `cosine_similarity` back to the vectors. RETURNS: Shapes of source and target."""

    def back(vectors: Matrix, d_unit: Matrix) -> Matrix:
        unit = to_unit_length(vectors)
        norms = numpy.maximum(numpy.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
        return (d_unit - (d_unit * unit).sum(-1, keepdims=True) * unit) / norms

    unit_source, unit_target = to_unit_length(source), to_unit_length(target)
    return back(source, d_similarity @ unit_target), back(target, d_similarity.T @ unit_source)


def mutual_argmax(similarity: Matrix) -> Links:
    """Link tokens that are the most similar of their sentences to each other."""
    links = numpy.zeros(similarity.shape, dtype=bool)
    if similarity.size:
        best_target, best_source = similarity.argmax(1), similarity.argmax(0)
        rows = numpy.arange(len(similarity))
        mutual = best_source[best_target] == rows
        links[rows[mutual], best_target[mutual]] = True
    return links


def itermax(similarity: Matrix, *, n_rounds: int = 2, discount: float = 0.9) -> Links:
    """Link mutually most similar tokens, then again among those that are left.

    In later rounds pairs with one linked token count `discount` times, pairs of two linked ones nothing.
    """
    links = mutual_argmax(similarity)
    for _ in range(n_rounds - 1):
        n_linked = links.any(1, keepdims=True).astype("int64") + links.any(0, keepdims=True)
        rest = numpy.where(n_linked == 2, 0.0, similarity * numpy.where(n_linked == 1, discount, 1.0))
        links |= mutual_argmax(rest) & (rest > 0)
    return links


def max_weight_matching(similarity: Matrix, *, null: float = 0.0) -> Links:
    """Link tokens one to one so that the sum of similarities is greatest.

    null: Similarity of a token to nothing: pairs that are not above it stay unlinked.
    """
    links = numpy.zeros(similarity.shape, dtype=bool)
    gains = numpy.maximum(similarity - null, 0.0)
    rows, columns = linear_sum_assignment(gains, maximize=True)
    linked = gains[rows, columns] > 0
    links[rows[linked], columns[linked]] = True
    return links


def linked_places(links: Links, entity: Place, *, max_gap: int) -> list[Place]:
    """Where the links of an entity's tokens lead: runs of target tokens.

    max_gap: Runs with at most so many unlinked tokens between them are one.
    """
    linked = numpy.flatnonzero(links[entity[0] : entity[1]].any(axis=0))
    if not len(linked):
        return []
    breaks = numpy.flatnonzero(numpy.diff(linked) > max_gap + 1)
    starts, ends = linked[numpy.r_[0, breaks + 1]], linked[numpy.r_[breaks, len(linked) - 1]] + 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def belonging(similarity: Matrix, temperature: float) -> tuple[Matrix, Matrix]:
    """With which probability tokens belong to those of the other sentence: a softmax in both directions.

    temperature: Small values believe in the most similar token alone.
    RETURNS: Probabilities of target tokens to belong to source tokens (columns sum to 1), and of source
        tokens to belong to target tokens (rows sum to 1). Shape: (n_source, n_target) each.
    """
    return _softmax(similarity / temperature, 0), _softmax(similarity / temperature, 1)


def score_places(to_source: Matrix, to_target: Matrix, entity: Place, starts: Ints, ends: Ints) -> Matrix:
    """Score places as translations of an entity as a whole.

    The score is the geometric mean of the share of the place that belongs to the entity and the share of
    the entity that belongs to the place.

    to_source, to_target: See `belonging`. starts, ends: Shape: (n_places,).
    RETURNS: Shape: (n_places,).
    """
    tokens = slice(*entity)
    of_place = _range_sums(to_source[tokens].sum(0), starts, ends) / (ends - starts)
    of_entity = _range_sums(to_target[tokens].mean(0), starts, ends)
    return numpy.sqrt(of_place * of_entity)


def belonging_loss(
    similarity: Matrix, entity: Place, inside: Links, temperature: float
) -> tuple[float, Matrix]:
    """Ask that an entity's tokens belong to its places, and the tokens of the places to the entity.

    inside: True for the target tokens of its places. Shape: (n_target,).
    RETURNS: Mean negative log probability in nats of both directions, and the gradient by the similarities;
        nothing to learn for an entity without a place.
    """
    gradient = numpy.zeros_like(similarity)
    tokens = slice(*entity)
    if not inside.any():
        return 0.0, gradient
    to_source, to_target = belonging(similarity, temperature)
    right = to_target[tokens] * inside  # (n_entity, n_target)
    mass = numpy.maximum(right.sum(1, keepdims=True), 1e-12)
    gradient[tokens] = (to_target[tokens] - right / mass) / len(mass)
    loss = -numpy.log(mass).mean()
    of_entity = numpy.zeros(len(similarity), dtype=bool)
    of_entity[tokens] = True
    right = to_source[:, inside] * of_entity[:, None]  # (n_source, n_inside)
    mass = numpy.maximum(right.sum(0, keepdims=True), 1e-12)
    gradient[:, inside] += (to_source[:, inside] - right / mass) / mass.shape[1]
    return float(loss - numpy.log(mass).mean()), gradient / temperature


def find_places(
    similarity: Matrix,
    entities: Sequence[Place],
    *,
    temperature: float,
    max_length: int,
    min_score: float,
    rival: float,
) -> list[list[Candidate]]:
    """Choose the best places of all entities together, each target token at most once.

    Entities choose in the order of their scores. An entity keeps other places too that nobody has chosen
    and that are nearly as good: there it may be mentioned again.

    max_length: Target tokens a place. min_score: Places below it are none.
    rival: Share of the best place's score from which on another one is kept.
    """
    n_target = similarity.shape[1]
    if not entities or not n_target:
        return [[] for _ in entities]
    starts, ends = _all_places(n_target, max_length)
    both = belonging(similarity, temperature)
    scores = numpy.stack([score_places(*both, entity, starts, ends) for entity in entities])
    free = numpy.ones(len(starts), dtype=bool)
    chosen: list[list[Candidate]] = [[] for _ in entities]
    waiting = set(range(len(entities)))
    while waiting and free.any():
        rows = sorted(waiting)
        best = int(numpy.where(free, scores[rows], -1.0).argmax())
        entity, place = rows[best // len(starts)], best % len(starts)
        if scores[entity, place] < min_score:
            break
        chosen[entity].append(_candidate(starts, ends, scores, entity, place))
        waiting.discard(entity)
        free &= (ends <= starts[place]) | (starts >= ends[place])
    for entity, places in enumerate(chosen):
        left = free.copy()
        threshold = max(min_score, rival * places[0].score) if places else 2.0
        while left.any():
            place = int(numpy.where(left, scores[entity], -1.0).argmax())
            if scores[entity, place] < threshold:
                break
            places.append(_candidate(starts, ends, scores, entity, place))
            left &= (ends <= starts[place]) | (starts >= ends[place])
    return chosen


def equal_places(words: Sequence[str], place: Place) -> list[Place]:
    """All places with the same words as one, that one among them; none overlaps another."""
    start, end = place
    equal = [place]
    for i in range(len(words) - (end - start) + 1):
        other = (i, i + end - start)
        if words[slice(*other)] == words[start:end] and not any(overlap(other, one) for one in equal):
            equal.append(other)
    return sorted(equal)


def share_of_overlap(one: Place, other: Place) -> float:
    """Tokens that two places have together, of the tokens that any of them has."""
    common = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return common / (one[1] - one[0] + other[1] - other[0] - common)


def _candidate(starts: Ints, ends: Ints, scores: Matrix, entity: int, place: int) -> Candidate:
    return Candidate(int(starts[place]), int(ends[place]), float(scores[entity, place]))


def _all_places(n_tokens: int, max_length: int) -> tuple[Ints, Ints]:
    """Starts and ends of all places of at most so many tokens."""
    lengths = numpy.arange(1, min(max_length, n_tokens) + 1)
    starts = numpy.concatenate([numpy.arange(n_tokens - length + 1) for length in lengths])
    return starts, starts + numpy.repeat(lengths, n_tokens - lengths + 1)


def _range_sums(values: Matrix, starts: Ints, ends: Ints) -> Matrix:
    sums = numpy.concatenate([[0.0], numpy.cumsum(values, dtype="float64")])
    return numpy.clip(sums[ends] - sums[starts], 0.0, None)


def _softmax(scores: Matrix, axis: int) -> Matrix:
    shifted = numpy.exp(scores - scores.max(axis, keepdims=True))
    return shifted / shifted.sum(axis, keepdims=True)

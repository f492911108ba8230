"""Aligners as thinc models: sentence pairs go in, places of the source's entities in the target come out."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy
from spacy.tokens import Doc
from thinc.api import Dropout, Model, Softmax_v2, chain, with_array
from thinc.types import Floats2d

from spacy_xner.projector.alignment import (
    Candidate,
    Links,
    Matrix,
    Place,
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
)
from spacy_xner.tagger.model import Encoder
from spacy_xner.transformer.model import PairEncoder, Query, pieces_of
from spacy_xner.transformer.wordpieces import TokenPieces
from spacy_xner.types import Count, Positive, Share, Size

Method = Literal["span", "mutual", "itermax", "matching"]


class Pair(NamedTuple):
    """A sentence, its translation, and the places of the sentence's entities. Units: tokens."""

    source: Doc
    target: Doc
    entities: list[Place]


class Gold(NamedTuple):
    """Where in the target of a pair the translation of its only entity is.

    inside: True for the tokens of the translation. Shape: (n_target,).
    known: False for tokens without annotation. Shape: (n_target,).
    """

    inside: Links
    known: Links


# The loss of a batch in nats, and what leads its gradient back into the encoder.
Lesson = tuple[float, Callable[[], Any]]
# From pairs to the candidates of every entity of the source. Its attribute `learn` is a function of the
# model, pairs of one entity each and their `Gold`, and returns a `Lesson`.
Aligner: TypeAlias = Model[list[Pair], list[list[list[Candidate]]]]


def build_similarity_aligner(
    tok2vec: Encoder,
    method: Method = "span",
    temperature: Positive = 0.05,
    min_score: Share = 0.1,
    rival: Share = 0.9,
    max_length: Size = 40,
    max_gap: Count = 2,
    null: float = 0.0,
) -> Aligner:
    """Build an aligner that compares the token vectors of a multilingual encoder.

    It needs no training. With layers that are not frozen it can be trained: from triples whose source is a
    whole sentence it learns that the tokens of an entity and of its place belong to each other.

    tok2vec: The middle layers of multilingual encoders compare best across languages, with the mean over
        wordpieces.
    method: "span" scores places as a whole and lets the entities choose one after the other. The
        others link tokens, and a place is a run of linked ones: "mutual" argmax, "itermax", "matching".
    temperature: See `alignment.belonging`; the scores of all methods are those of `score_places`.
    min_score: Places with lower scores are none.
    rival, max_length: Settings of the method "span"; see `alignment.find_places`.
    max_gap: Setting of the other methods; see `alignment.linked_places`.
    null: Setting of "matching": similarity of a token to nothing.
    """
    align = partial(
        align_entities, method=method, temperature=temperature, min_score=min_score, rival=rival,
        max_length=max_length, max_gap=max_gap, null=null,
    )  # fmt: skip
    model: Aligner = Model(
        "similarity_aligner", forward_similarity, init=init_similarity, layers=[tok2vec],
        refs={"tok2vec": tok2vec},
        attrs={"align": align, "learn": partial(learn_belonging, temperature=temperature)},
    )  # fmt: skip
    return model


def build_pair_aligner(
    pair2vec: PairEncoder, threshold: Share = 0.5, max_gap: Count = 1, label_pieces: bool = False
) -> Aligner:
    """Build an aligner that is trained to mark the translation of a text in a sentence.

    pair2vec: Reads the entity's text as the first segment of a pair and the target as the second.
    threshold: Tokens whose probability is above it are inside.
    max_gap: Runs of inside tokens with at most so many others between them are one place, whose score is
        the mean of its tokens' probabilities.
    label_pieces: Every wordpiece is labelled, as in the paper's figure, and a token's probability is the mean
        of its pieces'; otherwise a token is what the encoder's pooling makes of it, its first piece.
    SOURCE: Li et al. 2021, section 3.1 and figure 1.
    """
    output: Model[Floats2d, Floats2d] = Softmax_v2(nO=2)
    inside: Model[list[Query], list[Floats2d]] = chain(pair2vec, with_array(chain(Dropout(), output)))
    model: Aligner = Model(
        "pair_aligner", forward_pairs, init=init_pairs, layers=[inside],
        refs={"tok2vec": pair2vec, "inside": inside, "output": output},
        # Numbers among the attributes would be stored and loaded by thinc, whatever the config says.
        attrs={
            "mark": partial(mark_places, threshold=threshold, max_gap=max_gap),
            "learn": partial(learn_inside, by_piece=label_pieces),
            "read": partial(read_inside, by_piece=label_pieces),
        },
    )  # fmt: skip
    return model


def forward_pairs(
    model: Aligner, pairs: list[Pair], is_train: bool
) -> tuple[list[list[list[Candidate]]], Callable[[Any], Any]]:
    """Ask for all entities of all pairs in one batch. (Training goes through the part `inside`.)"""
    queries = [
        (pair.source[slice(*entity)].text, pair.target)
        for pair in pairs
        for entity in pair.entities
        if len(pair.target)
    ]
    answers = iter(model.attrs["read"](model, queries) if queries else [])
    mark = model.attrs["mark"]
    candidates = [[mark(next(answers)) if len(pair.target) else [] for _ in pair.entities] for pair in pairs]
    return candidates, lambda d_candidates: []


def read_inside(model: Aligner, queries: list[tuple[str, Doc]], *, by_piece: bool) -> list[Matrix]:
    """Compute the probability of every token of the documents to be inside. Shape: (n_tokens,) a query."""
    asked = [Query(text, doc, by_piece) for text, doc in queries]
    inside = [model.ops.to_numpy(rows)[:, 1] for rows in model.get_ref("inside").predict(asked)]
    if not by_piece:
        return inside
    ranges = pieces_of(model.get_ref("tok2vec"), [doc for _, doc in queries])
    return [mean_of_pieces(rows, place) for rows, place in zip(inside, ranges, strict=True)]


def mean_of_pieces(inside: Matrix, pieces: TokenPieces) -> Matrix:
    """Mean over the wordpieces of every token; 0 for a token without any. Shape: (n_tokens,)."""
    sums = numpy.concatenate([[0.0], numpy.cumsum(inside, dtype="float64")])
    counts = numpy.maximum(pieces.end - pieces.first, 1)
    return (sums[pieces.end] - sums[pieces.first]) / counts


def to_pieces(answer: Gold, pieces: TokenPieces, n_pieces: int) -> Gold:
    """Give every wordpiece the label of its token; a piece of no token is not known.

    RETURNS: Shape: (n_pieces,) each.
    """
    gold = Gold(numpy.zeros(n_pieces, dtype=bool), numpy.zeros(n_pieces, dtype=bool))
    for first, end, inside, known in zip(*pieces, *answer, strict=True):
        gold.inside[first:end] |= inside
        gold.known[first:end] |= known
    return gold


def learn_inside(model: Aligner, pairs: list[Pair], gold: list[Gold], *, by_piece: bool = False) -> Lesson:
    """Learn the cross entropy of all known tokens, or of their wordpieces, whose mean is the loss."""
    if not any(answer.known.any() for answer in gold):
        return 0.0, lambda: None
    queries = [Query(pair.source[slice(*pair.entities[0])].text, pair.target, by_piece) for pair in pairs]
    scores, backprop = model.get_ref("inside").begin_update(queries)
    if by_piece:
        ranges = pieces_of(model.get_ref("tok2vec"), [pair.target for pair in pairs])
        gold = [
            to_pieces(answer, pieces, len(rows))
            for answer, pieces, rows in zip(gold, ranges, scores, strict=True)
        ]
    xp, ops = model.ops.xp, model.ops
    known = xp.asarray(numpy.concatenate([answer.known for answer in gold]).astype("float32"))
    inside = xp.asarray(numpy.concatenate([answer.inside for answer in gold]).astype("int64"))
    flat = ops.flatten(scores)  # (n_tokens, 2)
    # Pieces of whitespace alone have no label.
    rows, n_known = xp.arange(len(inside)), max(1.0, float(known.sum()))
    loss = -(xp.log(xp.maximum(flat[rows, inside], 1e-12)) * known).sum() / n_known
    gradient = flat.copy()
    gradient[rows, inside] -= 1.0
    gradient *= known[:, None] / n_known
    return float(loss), lambda: backprop(ops.unflatten(gradient, [len(rows) for rows in scores]))


def learn_belonging(model: Aligner, pairs: list[Pair], gold: list[Gold], *, temperature: float) -> Lesson:
    """Learn `alignment.belonging_loss`, the mean over the pairs whose entity has a place."""
    placed = [(pair, answer) for pair, answer in zip(pairs, gold, strict=True) if answer.inside.any()]
    if not placed:
        return 0.0, lambda: None
    docs = [doc for pair, _ in placed for doc in (pair.source, pair.target)]
    vectors, backprop = model.get_ref("tok2vec").begin_update(docs)
    arrays = [model.ops.to_numpy(rows) for rows in vectors]
    total = 0.0
    gradients: list[Matrix] = []
    for (pair, answer), source, target in zip(placed, arrays[::2], arrays[1::2], strict=True):
        similarity = cosine_similarity(source, target)
        loss, d_similarity = belonging_loss(similarity, pair.entities[0], answer.inside, temperature)
        total += loss / len(placed)
        gradients += cosine_gradient(source, target, d_similarity / len(placed))
    return total, lambda: backprop([model.ops.asarray2f(rows) for rows in gradients])


def mark_places(inside: Matrix, *, threshold: float, max_gap: int) -> list[Candidate]:
    """Turn probabilities into places, the most probable first.

    inside: Probability of every target token to be inside. Shape: (n_target,).
    """
    places = linked_places((inside > threshold)[None], (0, 1), max_gap=max_gap)
    candidates = [Candidate(start, end, float(inside[start:end].mean())) for start, end in places]
    return sorted(candidates, key=lambda candidate: -candidate.score)


def init_pairs(model: Aligner, X: list[Pair] | None = None, Y: Any = None) -> None:
    """Read the encoder's weights and build the output layer."""
    pair2vec, output = model.get_ref("tok2vec"), model.get_ref("output")
    pair2vec.initialize()
    output.set_dim("nI", pair2vec.get_dim("nO"))
    output.initialize()


def forward_similarity(
    model: Aligner, pairs: list[Pair], is_train: bool
) -> tuple[list[list[list[Candidate]]], Callable[[Any], Any]]:
    """Encode all sentences in one batch and align pair by pair. (Training goes through `learn`.)"""
    align = model.attrs["align"]
    candidates: list[list[list[Candidate]]] = [[[] for _ in pair.entities] for pair in pairs]
    todo = [i for i, pair in enumerate(pairs) if pair.entities and len(pair.target)]
    docs = [doc for i in todo for doc in (pairs[i].source, pairs[i].target)]
    vectors = [model.ops.to_numpy(rows) for rows in model.get_ref("tok2vec").predict(docs)] if docs else []
    for i, source, target in zip(todo, vectors[::2], vectors[1::2], strict=True):
        candidates[i] = align(cosine_similarity(source, target), pairs[i].entities)
    return candidates, lambda d_candidates: []


def init_similarity(model: Aligner, X: list[Pair] | None = None, Y: Any = None) -> None:
    """Read the encoder's weights."""
    docs = [doc for pair in X or () for doc in (pair.source, pair.target)]
    model.get_ref("tok2vec").initialize(X=docs or None)


def align_entities(
    similarity: Matrix,
    entities: list[Place],
    *,
    method: Method,
    temperature: float,
    min_score: float,
    rival: float,
    max_length: int,
    max_gap: int,
    null: float,
) -> list[list[Candidate]]:
    """Find the places of all entities of a pair; the settings are those of `build_similarity_aligner`."""
    if method == "span":
        return find_places(
            similarity,
            entities,
            temperature=temperature,
            max_length=max_length,
            min_score=min_score,
            rival=rival,
        )
    link: dict[str, Callable[[Matrix], Links]] = {
        "mutual": mutual_argmax,
        "itermax": itermax,
        "matching": partial(max_weight_matching, null=null),
    }
    links = link[method](similarity)
    both = belonging(similarity, temperature)
    candidates = []
    for entity in entities:
        places = linked_places(links, entity, max_gap=max_gap)
        starts, ends = numpy.array(places, dtype="int64").reshape(-1, 2).T
        scores = score_places(*both, entity, starts, ends)
        scored = [Candidate(*place, float(score)) for place, score in zip(places, scores, strict=True)]
        scored.sort(key=lambda candidate: -candidate.score)
        candidates.append([candidate for candidate in scored if candidate.score >= min_score])
    return candidates

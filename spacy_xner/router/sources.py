"""Which languages to learn from for a target: those whose sentences are nearest. Pure functions.

SOURCE: NN-Rank, https://arxiv.org/abs/2510.03202: the languages of the nearest sentences, of 25 target ones.
DIFFERS: The vectors are the identifier's, with the mean of all languages' means taken off.
"""

from collections.abc import Mapping

import numpy
from numpy.typing import NDArray

from spacy_xner.errors import Errors, XnerError

Floats = NDArray[numpy.float32]
# Sentences of a language that are looked at, and neighbours of each.
N_SENTENCES, N_NEIGHBOURS = 25, 10


def rank_sources(
    sources: Mapping[str, Floats], targets: Mapping[str, Floats], n_neighbours: int = N_NEIGHBOURS
) -> dict[str, float]:
    """Rank languages by the share of the targets' nearest sentences that are theirs.

    Every source has as many sentences as the smallest one, so that a large one gets no more votes; every
    target counts alike. Equal shares are ordered by the similarity of the languages' means.

    sources, targets: Vectors of sentences by language. Shape: (n_sentences, width).
    RETURNS: Shares by language, the best one first.
    RAISES: XNER664 for a language without sentences.
    """
    empty = sorted(name for name, vectors in [*sources.items(), *targets.items()] if not len(vectors))
    if empty or not sources or not targets:
        raise XnerError(Errors.XNER664.format(languages=", ".join(empty) or "all"))
    n = min(len(vectors) for vectors in sources.values())
    middle = numpy.mean([v.mean(axis=0) for v in [*sources.values(), *targets.values()]], axis=0)
    names = list(sources)
    pool = _unit(numpy.concatenate([sources[name][:n] for name in names]) - middle)
    owner = numpy.repeat(numpy.arange(len(names)), n)
    votes, nearness = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for vectors in targets.values():
        centred = _unit(vectors - middle)
        nearest = numpy.argsort(-(centred @ pool.T), axis=1, kind="stable")[:, :n_neighbours]
        counts = numpy.bincount(owner[nearest].ravel(), minlength=len(names)) / nearest.size
        for i, name in enumerate(names):
            votes[name] += float(counts[i]) / len(targets)
            nearness[name] += float(_unit(centred.mean(axis=0)) @ _unit(pool[owner == i].mean(axis=0)))
    ranked = sorted(names, key=lambda name: (-round(votes[name], 9), -nearness[name], name))
    return {name: votes[name] for name in ranked}


def _unit(vectors: Floats) -> Floats:
    """Vectors of length 1. Shape: (..., width)."""
    lengths = numpy.linalg.norm(vectors, axis=-1, keepdims=True)
    return numpy.asarray(vectors / numpy.maximum(lengths, 1e-12))

"""Sentences to clusters, clusters to groups of languages. Pure functions.

SOURCE: Shaffer 2021, "Language Clustering for Multilingual Named Entity Recognition", section 3; bottom-up
clustering of languages after Tan et al. 2019.
"""

import itertools
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy
from numpy.typing import NDArray

from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.router.grouping import Grouping

Floats = NDArray[numpy.float32]
Ints = NDArray[numpy.int64]
# Ward's linkage needs all distances: 5,000 sentences are 0.1 GB, 15,000 are 0.9 GB, 60,000 would be 14 GB.
MAX_EXACT = 15_000


class Vote(NamedTuple):
    """How the sentences of a language spread over the clusters.

    winner: Number of the cluster with the most sentences.
    counts: Sentences in each cluster. Shape: (k,).
    purity: Share of the sentences in the winning cluster.
    tied: True if another cluster has as many.
    """

    winner: int
    counts: list[int]
    purity: float
    tied: bool


class Discovery(NamedTuple):
    """A grouping that was computed, and what speaks for it.

    votes: Vote of every language.
    stabilities: See `stability`, by number of clusters; empty where the number was given.
    """

    grouping: Grouping
    votes: dict[str, Vote]
    stabilities: dict[int, float]


def find_grouping(
    vectors: Floats,
    languages: Sequence[str],
    k: int,
    *,
    name: str,
    candidates: Sequence[int] = range(2, 9),
    seed: int = 0,
) -> Discovery:
    """Cluster sentences and let the sentences of each language vote for its cluster.

    vectors: Shape: (n_sentences, width).
    languages: Language of each sentence.
    k: Number of clusters; 0 chooses the most stable one of the candidates.
    name: Name of the grouping.
    RAISES: XNER402, XNER403 for a bad name.
    """
    stabilities: dict[int, float] = {}
    if k == 0:
        k, stabilities = choose_k(vectors, languages, candidates, seed=seed)
    votes = vote(cluster_sentences(vectors, k, seed=seed), languages, k)
    grouping = make_grouping(votes, k, name)
    about = {**grouping.about, "sentences": len(vectors), "stability": stabilities}
    return Discovery(Grouping(name, grouping.clusters, about), votes, stabilities)


def cluster_sentences(vectors: Floats, k: int, *, max_exact: int = MAX_EXACT, seed: int = 0) -> Ints:
    """Cluster sentences bottom-up, so that the squared distances within clusters stay smallest.

    Up to `max_exact` sentences are clustered by Ward's criterion exactly. From a longer list `max_exact`
    sentences are drawn and clustered; every other sentence joins the cluster with the nearest mean, as Ward's
    criterion says for a single point that joins a large cluster. Memory: O(max_exact ** 2 + n_sentences).
    Linkage along a graph of nearest neighbours would also be small, but its clusters depend on which edges
    happen to join them.

    vectors: Shape: (n_sentences, width).
    RETURNS: Cluster numbers from 0. Shape: (n_sentences,).
    RAISES: XNER402 for less than two clusters, or more clusters than sentences.
    """
    from sklearn.cluster import AgglomerativeClustering

    n = len(vectors)
    if not 2 <= k <= n:
        raise XnerError(Errors.XNER402.format(n_sentences=n, n_languages="their", k=k))
    chosen = numpy.arange(n)
    if n > max_exact:
        chosen = numpy.sort(numpy.random.default_rng(seed).choice(n, max(max_exact, k), replace=False))
    labels = AgglomerativeClustering(n_clusters=k, linkage="ward").fit_predict(vectors[chosen])
    if len(chosen) == n:
        return labels.astype("int64")
    means = numpy.stack([vectors[chosen[labels == i]].mean(0) for i in range(k)])
    assigned = nearest(vectors, means)
    assigned[chosen] = labels
    return assigned


def nearest(vectors: Floats, means: Floats) -> Ints:
    """Find the nearest mean of every vector by Euclidean distance.

    vectors: Shape: (n, width).
    means: Shape: (k, width).
    RETURNS: Row numbers of means. Shape: (n,).
    """
    # |v - m|^2 without |v|^2, which is the same for every mean.
    return (((means**2).sum(1) - 2 * vectors @ means.T).argmin(1)).astype("int64")


def vote(labels: Ints, languages: Sequence[str], k: int) -> dict[str, Vote]:
    """Let the sentences of every language vote for its cluster; the lowest number wins a tie.

    labels: Cluster number of each sentence. Shape: (n_sentences,).
    languages: Language of each sentence.
    """
    votes = {}
    names = numpy.asarray(languages)
    for language in sorted(set(languages)):
        counts = numpy.bincount(labels[names == language], minlength=k)
        winner = int(counts.argmax())
        tied = int((counts == counts[winner]).sum()) > 1
        votes[language] = Vote(winner, counts.tolist(), float(counts[winner] / counts.sum()), tied)
    return votes


def make_grouping(votes: dict[str, Vote], k: int, name: str = "found") -> Grouping:
    """Turn votes into `cluster1`, `cluster2`, ..., in the order of their first languages.

    Warns of clusters with one language (W401) and of clusters without a language (W402).
    RAISES: XNER402 for a single language.
    """
    if len(votes) < 2:
        n_sentences = sum(sum(v.counts) for v in votes.values())
        raise XnerError(Errors.XNER402.format(n_sentences=n_sentences, n_languages=len(votes), k=k))
    groups: dict[int, list[str]] = {}
    for language in sorted(votes):
        groups.setdefault(votes[language].winner, []).append(language)
    clusters = {f"cluster{i}": languages for i, languages in enumerate(groups.values(), start=1)}
    numbers = {winner: f"cluster{i}" for i, winner in enumerate(groups, start=1)}
    alone = [f"{cluster} ({members[0]})" for cluster, members in clusters.items() if len(members) == 1]
    if alone:
        warnings.warn(Warnings.W401.format(clusters=", ".join(alone)), stacklevel=2)
    if len(clusters) < k:
        warnings.warn(Warnings.W402.format(n=k - len(clusters), k=k, left=len(clusters)), stacklevel=2)
    about = {
        "k": k,
        "purity": {language: round(v.purity, 4) for language, v in votes.items()},
        "ties": sorted(language for language, v in votes.items() if v.tied),
        "votes": {
            language: {numbers.get(i, f"no_language_{i}"): n for i, n in enumerate(v.counts) if n}
            for language, v in votes.items()
        },
    }
    return Grouping(name, clusters, about)


def compare_numbers(
    vectors: Floats, languages: Sequence[str], numbers: Sequence[int], *, seed: int = 0
) -> dict[int, dict[str, list[str]]]:
    """Find the languages of every cluster for several numbers of clusters. RETURNS: Clusters by number.

    Warnings of single numbers are left out: the table shows what they would say.
    RAISES: XNER402.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            k: find_grouping(vectors, languages, k, name=f"k{k}", seed=seed).grouping.clusters
            for k in numbers
        }


def stability(
    vectors: Floats, languages: Sequence[str], k: int, *, n_resamples: int = 5, seed: int = 0
) -> float:
    """Measure how much the groups of languages agree when the sentences are drawn anew.

    Each resample holds four fifths of the sentences.

    RETURNS: Mean adjusted Rand index over all pairs of resamples; 1 is full agreement.
    """
    from sklearn.metrics import adjusted_rand_score

    rng = numpy.random.default_rng(seed)
    names = numpy.asarray(languages)
    groupings = []
    for _ in range(n_resamples):
        rows = rng.permutation(len(vectors))[: max(k, len(vectors) * 4 // 5)]
        votes = vote(cluster_sentences(vectors[rows], k, max_exact=2000, seed=seed), names[rows].tolist(), k)
        groupings.append({language: v.winner for language, v in votes.items()})
    common = sorted(set.intersection(*(set(groups) for groups in groupings)))
    pairs = itertools.combinations([[groups[lang] for lang in common] for groups in groupings], 2)
    return float(numpy.mean([adjusted_rand_score(a, b) for a, b in pairs]))


def choose_k(
    vectors: Floats,
    languages: Sequence[str],
    candidates: Sequence[int],
    *,
    n_resamples: int = 5,
    seed: int = 0,
) -> tuple[int, dict[int, float]]:
    """Choose the number of clusters whose groups of languages are the most stable.

    RETURNS: The smallest k whose stability is within 0.01 of the best, and the stability of every candidate.
    RAISES: XNER402 if no candidate is possible.
    """
    n_languages = len(set(languages))
    possible = [k for k in candidates if 2 <= k <= min(n_languages, len(vectors))]
    if not possible:
        k = max(candidates, default=0)
        raise XnerError(Errors.XNER402.format(n_sentences=len(vectors), n_languages=n_languages, k=k))
    scores = {
        k: stability(vectors, languages, k, n_resamples=n_resamples, seed=seed) for k in sorted(possible)
    }
    best = max(scores.values())
    return min(k for k, score in scores.items() if score >= best - 0.01), scores

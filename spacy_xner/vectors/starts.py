"""Starts of a map without a dictionary: seed pairs of words, and the dictionary that each one leads to.

SOURCE: Bari et al. 2020 (paper 5), equation 5; Artetxe et al. 2018, "A robust self-learning method"
(distributions, stochastic dictionary induction).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from spacy_xner.errors import Errors, XnerError
from spacy_xner.vectors.adversary import ADVERSARY, Adversary, learn_rotation, random_rotation
from spacy_xner.vectors.mapping import (
    Pairs,
    join_pairs,
    mean_cosine,
    mean_similarity,
    mutual_pairs,
    normalise_rows,
    procrustes,
    refine,
)
from spacy_xner.vectors.spelling import MIN_PAIRS, SPELLING, cognates, identical
from spacy_xner.vectors.table import VectorTable

INITIALISERS = ("identical", "cognates", "distributions", "adversarial")
# A rotation at random, from which nothing can be learnt: the floor of the criterion.
RANDOM = "random"
# Inductions between two searches for hubs (words near to everything). The rotation changes little from one
# induction to the next.
HUBS_EVERY = 5


class Exploration(NamedTuple):
    """Settings of the stochastic dictionary induction.

    n_words: Number of most frequent words of either language. Memory grows with its square (4,000 words:
        0.2 GB). 0 leaves the induction out.
    n_groups: Number of groups at first; a word is matched within its group alone.
    patience: Iterations without a better objective, after which the number of groups is halved.
    n_iterations: Upper limit of all iterations.
    """

    n_words: int = 4_000
    n_groups: int = 10
    patience: int = 20
    n_iterations: int = 1_000


EXPLORATION = Exploration()


class MapSettings(NamedTuple):
    """Settings of a map without a dictionary.

    initialisers: Kinds of starts to try, among INITIALISERS.
    restarts: Number of adversarial starts in each direction.
    n_iterations: Inductions of a dictionary after the stochastic ones.
    n_frequent: Number of most frequent words from which dictionaries are induced.
    weighting: Weighting of the last map, see `map_tables`.
    spelling: Weight of spelling in the last map, see `compare_spelling`.
    min_words: Words that either table must have.
    consensus: The last map begins with the pairs that so many starts have in common; 0 takes those of the
        best start. Wrong pairs of one start are rarely another's.
    """

    initialisers: tuple[str, ...] = INITIALISERS
    restarts: int = 2
    seed: int = 0
    n_iterations: int = 10
    n_frequent: int = 10_000
    weighting: float = 0.25
    spelling: float = SPELLING
    min_words: int = 5_000
    consensus: int = 2
    adversary: Adversary = ADVERSARY
    exploration: Exploration = EXPLORATION


MAP_SETTINGS = MapSettings()


class Start(NamedTuple):
    """The dictionary that a start led to.

    pairs: Words that are each other's nearest.
    criterion: Mean cosine of the words and their translations (`mean_cosine`).
    """

    pairs: Pairs
    criterion: float


def follow_starts(
    source: VectorTable, target: VectorTable, settings: MapSettings
) -> tuple[dict[str, Start], dict[str, str]]:
    """Refine every start by itself. The initialiser "random" may be among those of the settings.

    RETURNS: The starts by name, and by name the reasons why others were skipped.
    RAISES: XNER619 for unknown initialisers.
    """
    if unknown := set(settings.initialisers) - {RANDOM, *INITIALISERS}:
        raise XnerError(Errors.XNER619.format(unknown=sorted(unknown), known=", ".join(INITIALISERS)))
    x, y = normalise_rows(source.vectors), normalise_rows(target.vectors)
    starts: dict[str, Start] = {}
    skipped: dict[str, str] = {}
    for name in settings.initialisers:
        # Each initialiser has a generator, so that it leads to the same place whatever others are tried.
        generator = torch.Generator().manual_seed(settings.seed)
        seeds = (
            _draw_starts(name, x, y, settings, generator)
            if name in (RANDOM, "adversarial")
            else _halve(_match_words(name, source, target, x, y))
        )
        for i, pairs in enumerate(seeds):
            label = name if name == RANDOM else f"{name} {i + 1}"
            if len(pairs.source) < MIN_PAIRS // 2:
                skipped[label] = f"{len(pairs.source)} pairs of words are too few"
                continue
            # Good starts gain too: words spelled alike in English and German end at twice the precision.
            if name != RANDOM and settings.exploration.n_words:
                pairs = explore(x, y, pairs, settings.exploration, generator)
            starts[label] = self_learn(
                x, y, pairs, n_iterations=settings.n_iterations, n_frequent=settings.n_frequent
            )
    return starts, skipped


def match_distributions(x: Tensor, y: Tensor, *, n_words: int = 4_000) -> Pairs:
    """Pair words whose similarities to all words of their language are distributed alike.

    SOURCE: Artetxe et al. 2018, section 3.2.
    """
    n = min(n_words, len(x), len(y))
    profiles = []
    for rows in (x[:n], y[:n]):
        u, values, _ = torch.linalg.svd(rows, full_matrices=False)
        # Rows of the square root of the matrix of similarities. Their columns are words of one language, in
        # no common order; sorted values can be compared.
        profiles.append(normalise_rows(((u * values) @ u.T).sort(dim=1).values.numpy()))
    return mutual_pairs(*profiles)


def explore(x: Tensor, y: Tensor, start: Pairs, settings: Exploration, generator: torch.Generator) -> Pairs:
    """Refine the rotation by stochastic dictionary induction.

    Words are matched within random groups, and whenever the objective stalls, groups of twice the size are
    drawn, in the end one of all words. Without chance, a poor dictionary induces itself again. Artetxe et al.
    drop single similarities; groups of words do as well, in a fraction of the time.

    RETURNS: The nearest word of each of both sides' most frequent words. Shape: (2 * n_words,), twice, or
        fewer in a smaller table.
    SOURCE: Artetxe et al. 2018, section 3.3.
    """
    rotation = procrustes(x[start.source], y[start.target])
    x, y = x[: settings.n_words], y[: settings.n_words]
    n_groups, best, n_stalled = min(settings.n_groups, len(x), len(y)), -1.0, 0
    for i in tqdm(range(settings.n_iterations), unit=" inductions", disable=None):
        mapped = x @ rotation
        if i % HUBS_EVERY == 0:
            hubs = mean_similarity(mapped, y) / 2, mean_similarity(y, mapped) / 2
        start, objective = _induce_in_groups(mapped, y, hubs, n_groups, generator)
        rotation = procrustes(x[start.source], y[start.target])
        n_stalled = 0 if objective > best + 1e-5 else n_stalled + 1
        best = max(best, objective)
        if n_stalled >= settings.patience:
            if n_groups == 1:
                break
            n_groups, n_stalled = n_groups // 2, 0
    return start


def self_learn(x: Tensor, y: Tensor, start: Pairs, *, n_iterations: int, n_frequent: int) -> Start:
    """Rotate by words that are each other's nearest, repeatedly (Bari et al. 2020, equation 5)."""
    mapped, _ = refine(x, y, start, n_iterations=n_iterations, n_frequent=n_frequent, weighting=0.0)
    return Start(_induce(mapped, y, n_frequent), mean_cosine(mapped, y))


def _draw_starts(
    name: str, x: Tensor, y: Tensor, settings: MapSettings, generator: torch.Generator
) -> Iterator[Pairs]:
    """Induce dictionaries by rotations that are random, or learnt from a random one by an adversary."""
    if name == RANDOM:
        yield _induce(x @ random_rotation(x.shape[1], generator), y, settings.n_frequent)
        return
    for _ in range(settings.restarts):
        # Each direction is a start by itself, with its map and its discriminator. Both are learnt before the
        # first one is explored with the same generator.
        rotations = (
            learn_rotation(x, y, settings.adversary, generator),
            learn_rotation(y, x, settings.adversary, generator).T,
        )
        for rotation in rotations:
            yield _induce(x @ rotation, y, settings.n_frequent)


def _match_words(name: str, source: VectorTable, target: VectorTable, x: Tensor, y: Tensor) -> Pairs:
    if name == "distributions":
        return match_distributions(x, y)
    return (identical if name == "identical" else cognates)(source, target)


def _halve(pairs: Pairs) -> Iterator[Pairs]:
    """Make two starts of one; they share no word, so that it is no accident if both end at one dictionary."""
    for half in (0, 1):
        yield Pairs(pairs.source[half::2], pairs.target[half::2])


def _induce(x: Tensor, y: Tensor, n_frequent: int) -> Pairs:
    return mutual_pairs(x[:n_frequent], y[:n_frequent])


def _induce_in_groups(
    x: Tensor, y: Tensor, hubs: tuple[Tensor, Tensor], n_groups: int, generator: torch.Generator
) -> tuple[Pairs, float]:
    """Deal the words of both sides into groups, and find every word's nearest by CSLS in its group.

    hubs: Penalty that CSLS subtracts from similarities, by word. Shapes: (n_source,), (n_target,).
    RETURNS: Pairs in the order of both sides' words, and their mean cosine.
    """
    dealt = (torch.randperm(len(rows), generator=generator).tensor_split(n_groups) for rows in (x, y))
    nearest_target = torch.empty(len(x), dtype=torch.long)
    nearest_source = torch.empty(len(y), dtype=torch.long)
    for rows, columns in zip(*dealt, strict=True):
        scores = x[rows] @ y[columns].T - hubs[0][rows, None] - hubs[1][columns]
        nearest_target[rows] = columns[scores.argmax(dim=1)]
        nearest_source[columns] = rows[scores.argmax(dim=0)]
    forward = Pairs(torch.arange(len(x)), nearest_target)
    backward = Pairs(nearest_source, torch.arange(len(y)))
    pairs = join_pairs(forward, backward)
    return pairs, float((x[pairs.source] * y[pairs.target]).sum(dim=1).mean())

"""Map word vectors of two languages into one space without a dictionary, and say whether it worked.

SOURCE: Bari et al. 2020 (paper 5), equations 3 to 5; Lample et al. 2018, "Word translation without parallel
data" (adversarial start, criterion); Artetxe et al. 2018, "A robust self-learning method" (distributions,
stochastic induction).
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, leaky_relu, linear
from tqdm import tqdm

from spacy_xner.errors import Errors, XnerError
from spacy_xner.vectors.mapping import (
    Pairs,
    join_pairs,
    mean_similarity,
    mutual_pairs,
    nearest,
    nearest_rotation,
    normalise_rows,
    procrustes,
    refine,
)
from spacy_xner.vectors.spelling import MIN_PAIRS, SPELLING, cognates, compare_spelling, identical
from spacy_xner.vectors.table import VectorTable

INITIALISERS = ("identical", "cognates", "distributions", "adversarial")
# How much of two starts' dictionaries has to be the same. Where there is nothing to find every start ends
# elsewhere: dictionaries of unrelated synthetic spaces overlap by less than 0.01, those of both halves of the
# words alike in English and Spanish by 0.45, in English and German by 0.22 (P@1 12), synthetic ones with
# little noise by more than 0.8. The criterion itself tells little: it rises to within a fifth of the right
# one's wherever a start leads.
AGREE, RELATED = 0.25, 0.05
# No two languages share nearly all words; English and Spanish share 453 of 20,000 each, short ones aside.
MAX_SAME = 0.9
# Inductions by chance until it is found anew which words are near to everything. The rotation changes little
# from one to the next.
HUBS_EVERY = 5


class Adversary(NamedTuple):
    """Settings of the adversarial start; where they are not Lample et al.'s, for less work.

    hidden: Width of the discriminator's two layers. n_frequent: Words that are told apart. n_steps: Of the
    mapping, an epoch. n_discriminator: Steps of the discriminator to one of the mapping. smoothing: Taken off
    the labels 0 and 1. learning_rate, discriminator_rate: A discriminator that learns faster than the mapping
    is soon sure of everything, and nothing can be learnt from it. decay: Of both rates, an epoch.
    beta: Pull towards a rotation.
    """

    hidden: int = 256
    n_frequent: int = 5_000
    batch_size: int = 32
    n_epochs: int = 6
    n_steps: int = 2500
    n_discriminator: int = 1
    dropout: float = 0.1
    smoothing: float = 0.1
    learning_rate: float = 1.0
    discriminator_rate: float = 0.1
    decay: float = 0.98
    beta: float = 0.03


ADVERSARY = Adversary()


class Exploration(NamedTuple):
    """Settings of the stochastic induction.

    n_words: Most frequent words of either side; memory grows with its square (4,000 words: 0.2 GB), 0 leaves
        the induction out. n_groups: Of words that see one another alone, at first; half as many when the
        objective has not grown for `patience` iterations. n_iterations: At most.
    """

    n_words: int = 4_000
    n_groups: int = 10
    patience: int = 20
    n_iterations: int = 1_000


EXPLORATION = Exploration()


class Unsupervised(NamedTuple):
    """Tables in one space, and whether to believe it.

    verdict: OK, WEAK (look at some translations before use) or FAILED. evidence: What it rests on, as JSON.
    """

    source: VectorTable
    target: VectorTable
    verdict: str
    evidence: dict[str, Any]


class Start(NamedTuple):
    """Where a start led.

    pairs: Words that are each other's nearest. criterion: As of `mean_cosine`.
    """

    pairs: Pairs
    criterion: float


def map_without_dictionary(
    source: VectorTable,
    target: VectorTable,
    *,
    initialisers: Sequence[str] = INITIALISERS,
    restarts: int = 2,
    seed: int = 0,
    n_iterations: int = 10,
    n_frequent: int = 10_000,
    weighting: float = 0.25,
    spelling: float = SPELLING,
    min_words: int = 5_000,
    adversary: Adversary = ADVERSARY,
    exploration: Exploration = EXPLORATION,
) -> Unsupervised:
    """Try several starts, refine each, and keep the one that the others agree with most.

    restarts: Of the adversarial start, both ways. n_frequent: Most frequent words, from which dictionaries
        are induced. weighting, spelling: Of the last map, see `map_tables` and `compare_spelling`.
    min_words: Of either side.
    RAISES: XNER611 for tables of different widths, XNER616 for small ones, XNER617 for twice the same,
        XNER618 for vectors that are not finite, XNER619 for unknown initialisers.
    """
    if unknown := set(initialisers) - set(INITIALISERS):
        raise XnerError(Errors.XNER619.format(unknown=sorted(unknown), known=", ".join(INITIALISERS)))
    _check(source, target, min_words)
    found, skipped = follow_starts(
        source, target, ("random", *initialisers), restarts=restarts, seed=seed, n_iterations=n_iterations,
        n_frequent=n_frequent, adversary=adversary, exploration=exploration,
    )  # fmt: skip
    return choose_start(
        source, target, found, skipped, n_frequent=n_frequent, weighting=weighting, spelling=spelling
    )


def follow_starts(
    source: VectorTable,
    target: VectorTable,
    initialisers: Sequence[str],
    *,
    restarts: int = 2,
    seed: int = 0,
    n_iterations: int = 10,
    n_frequent: int = 10_000,
    adversary: Adversary = ADVERSARY,
    exploration: Exploration = EXPLORATION,
) -> tuple[dict[str, Start], dict[str, str]]:
    """See where each start leads; "random" is one from which nothing can be learnt.

    RETURNS: Starts by name, and why others were not followed.
    """
    x, y = normalise_rows(source.vectors), normalise_rows(target.vectors)
    found: dict[str, Start] = {}
    skipped: dict[str, str] = {}
    for name in initialisers:
        # Of its own, so that a start leads to the same place whatever others are tried.
        generator = torch.Generator().manual_seed(seed)
        starts = _find_starts(name, source, target, x, y, restarts, generator, adversary, n_frequent)
        for i, pairs in enumerate(starts):
            label = name if name == "random" else f"{name} {i + 1}"
            if len(pairs.source) < MIN_PAIRS // 2:
                skipped[label] = f"{len(pairs.source)} pairs of words are too few"
                continue
            # Good starts gain too: words spelled alike in English and German end at twice the precision.
            if name != "random" and exploration.n_words:
                pairs = explore(x, y, pairs, exploration, generator)
            found[label] = self_learn(x, y, pairs, n_iterations=n_iterations, n_frequent=n_frequent)
    return found, skipped


def choose_start(
    source: VectorTable,
    target: VectorTable,
    found: dict[str, Start],
    skipped: dict[str, str],
    *,
    n_frequent: int = 10_000,
    weighting: float = 0.25,
    spelling: float = SPELLING,
) -> Unsupervised:
    """Map by the start that the others agree with most, and judge it by the one that does most.

    n_frequent, weighting, spelling: See `map_without_dictionary`. The verdict is the start's, which spelling
        has not mended yet.
    """
    # One word that is nearest to all others, of vectors that are all the same.
    if not found:
        return Unsupervised(source, target, "FAILED", {"starts": {}, "skipped": skipped})
    x, y = normalise_rows(source.vectors), normalise_rows(target.vectors)
    evidence = _compare(found, min(n_frequent, len(x), len(y)))
    best = evidence["best"]
    evidence |= {"same_words": _find_same(source, target, found[best].pairs, n_frequent), "skipped": skipped}
    mapped = refine(
        x, y, found[best].pairs, n_iterations=2, n_frequent=n_frequent, weighting=weighting,
        spelling=compare_spelling(source, target, weight=spelling, n_frequent=n_frequent),
    )  # fmt: skip
    verdict = judge(evidence["agreement"], len(found[best].pairs.source))
    first, second = (rows.numpy() for rows in mapped)
    return Unsupervised(source._replace(vectors=first), target._replace(vectors=second), verdict, evidence)


def _compare(found: dict[str, Start], n_words: int) -> dict[str, Any]:
    """Choose the start whose dictionary is most like the others', of such two that of the better criterion.

    n_words: That could be each other's nearest.
    """
    overlaps = {
        name: {other: overlap(found[name].pairs, found[other].pairs) for other in found if other != name}
        for name in found
    }
    starts = {
        name: {
            "criterion": start.criterion,
            "mutual": len(start.pairs.source) / n_words,
            "agreement": max(overlaps[name].values(), default=0.0),
            # What the random rotation has in common with a start is chance.
            "consensus": sum(
                share for other, share in overlaps[name].items() if "random" not in (name, other)
            ),
        }
        for name, start in found.items()
    }
    # The criterion tells starts that found the map from those that did not, and nothing among the former: on
    # dictionary words of en-de, those that most others agree with have 31.4 and its own choices 28.6.
    best = max(found, key=lambda name: (starts[name]["consensus"], starts[name]["criterion"]))
    floor = found["random"].criterion if "random" in found else 0.0
    agreement = starts[best]["agreement"]
    return {"best": best, "floor": floor, "agreement": agreement, "starts": starts, "overlaps": overlaps}


def judge(agreement: float, n_pairs: int) -> str:
    """OK if another start arrived at the same dictionary, WEAK if it arrived near; a lone one has FAILED.

    agreement: Overlap of the best start's dictionary and the one most like it. n_pairs: In the best one's.
    """
    if agreement < RELATED or n_pairs < MIN_PAIRS:
        return "FAILED"
    return "OK" if agreement >= AGREE else "WEAK"


def match_distributions(x: Tensor, y: Tensor, *, n_words: int = 4_000) -> Pairs:
    """Words to which all words of their own language are similar in like degrees.

    SOURCE: Artetxe et al. 2018, section 3.2.
    """
    n = min(n_words, len(x), len(y))
    profiles = []
    for rows in (x[:n], y[:n]):
        u, values, _ = torch.linalg.svd(rows, full_matrices=False)
        # The square root of the matrix of similarities; its rows have no order in common, sorted ones have.
        profiles.append(normalise_rows(((u * values) @ u.T).sort(dim=1).values.numpy()))
    return mutual_pairs(*profiles)


def learn_rotation(x: Tensor, y: Tensor, settings: Adversary, generator: torch.Generator) -> Tensor:
    """Learn a map of the source's rows that a discriminator cannot tell from the target's rows.

    RETURNS: Of all epochs' the rotation of the best criterion; a map that stretches may have a better one and
        yet be worse. Shape: (width, width).
    SOURCE: Bari et al. 2020, equations 3 and 4; Lample et al. 2018, section 3.
    """
    width = x.shape[1]
    n_rows = [min(settings.n_frequent, len(rows)) for rows in (x, y)]
    shapes = [(settings.hidden, width), (settings.hidden, settings.hidden), (1, settings.hidden)]
    # Small: a discriminator that is steep from the outset drives the mapping anywhere.
    weights = [torch.randn(s, generator=generator) / (3 * s[1]) ** 0.5 for s in shapes]
    weights = [p.requires_grad_() for w in weights for p in (w, torch.zeros(len(w)))]
    mapping = random_rotation(width, generator)
    rate, best, best_score = settings.learning_rate, mapping, -1.0
    descent = torch.optim.SGD(weights, lr=settings.discriminator_rate)

    def sample() -> tuple[Tensor, Tensor]:
        a, b = (torch.randint(n, (settings.batch_size,), generator=generator) for n in n_rows)
        return x[a], y[b]

    def loss(mapped: Tensor, others: Tensor, truth: float) -> Tensor:
        """Of taking mapped rows for such with this probability, and the others for the contrary."""
        rows = torch.cat((mapped, others))
        mask = torch.rand(rows.shape, generator=generator) >= settings.dropout
        # Unit variance, whatever the width.
        hidden = rows * mask * (width**0.5 / (1 - settings.dropout))
        hidden = leaky_relu(linear(hidden, weights[0], weights[1]), 0.2)
        hidden = leaky_relu(linear(hidden, weights[2], weights[3]), 0.2)
        labels = torch.full((len(rows),), 1 - truth).index_fill_(0, torch.arange(len(mapped)), truth)
        return binary_cross_entropy_with_logits(linear(hidden, weights[4], weights[5])[:, 0], labels)

    progress = tqdm(total=settings.n_epochs * settings.n_steps, unit=" steps", disable=None)
    for _ in range(settings.n_epochs):
        for _ in range(settings.n_steps):
            for _ in range(settings.n_discriminator):
                rows, others = sample()
                descent.zero_grad()
                loss(rows @ mapping, others, 1 - settings.smoothing).backward()
                descent.step()
            rows, others = sample()
            trained = mapping.clone().requires_grad_()
            # The second half of equation 4 does not depend on the map.
            (gradient,) = torch.autograd.grad(loss(rows @ trained, others, settings.smoothing), trained)
            mapping = pull_to_rotation(mapping - rate * gradient, settings.beta)
            progress.update()
        # A map that diverged: what came before counts, at worst the random rotation, another at each start.
        if not mapping.isfinite().all():
            break
        rotation = nearest_rotation(mapping)
        score = mean_cosine(x @ rotation, y, n_frequent=2_000)
        # Not halved when the criterion falls, as Lample et al. do: it goes up and down before a map is found.
        rate *= settings.decay
        if score > best_score:
            best, best_score = rotation, score
        descent.param_groups[0]["lr"] *= settings.decay
    progress.close()
    return best


def pull_to_rotation(mapping: Tensor, beta: float) -> Tensor:
    """A step towards the nearest rotation. SOURCE: Lample et al. 2018, equation 7."""
    return (1 + beta) * mapping - beta * mapping @ mapping.T @ mapping


def random_rotation(width: int, generator: torch.Generator) -> Tensor:
    """Shape: (width, width)."""
    q, r = torch.linalg.qr(torch.randn(width, width, generator=generator))
    return q * r.diagonal().sign()


def self_learn(x: Tensor, y: Tensor, start: Pairs, *, n_iterations: int, n_frequent: int) -> Start:
    """Rotate by words that are each other's nearest, time and again (equation 5)."""
    mapped, _ = refine(x, y, start, n_iterations=n_iterations, n_frequent=n_frequent, weighting=0.0)
    return Start(_induce(mapped, y, n_frequent), mean_cosine(mapped, y))


def explore(x: Tensor, y: Tensor, start: Pairs, settings: Exploration, generator: torch.Generator) -> Pairs:
    """Rotate by the words that are nearest among those that chance shows them, at first few, in the end all.

    Otherwise a poor dictionary finds itself again. Artetxe et al. leave similarities out one by one; groups
    of words are as good, and are compared in a share of the time.
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


def _induce_in_groups(
    x: Tensor, y: Tensor, hubs: tuple[Tensor, Tensor], n_groups: int, generator: torch.Generator
) -> tuple[Pairs, float]:
    """Deal the words of both sides into groups, and find every word's nearest by CSLS in its group.

    hubs: What CSLS takes off the similarities of each side's words. Shapes: (n_source,), (n_target,).
    RETURNS: Pairs in the order of both sides' words, and their mean cosine.
    """
    dealt = (torch.randperm(len(rows), generator=generator).tensor_split(n_groups) for rows in (x, y))
    there, back = (torch.empty(len(rows), dtype=torch.long) for rows in (x, y))
    for rows, columns in zip(*dealt, strict=True):
        scores = x[rows] @ y[columns].T - hubs[0][rows, None] - hubs[1][columns]
        there[rows] = columns[scores.argmax(dim=1)]
        back[columns] = rows[scores.argmax(dim=0)]
    pairs = join_pairs(Pairs(torch.arange(len(x)), there), Pairs(back, torch.arange(len(y))))
    return pairs, float((x[pairs.source] * y[pairs.target]).sum(dim=1).mean())


def mean_cosine(x: Tensor, y: Tensor, *, n_frequent: int = 10_000) -> float:
    """Mean cosine of the most frequent source words and the target words that CSLS chooses for them.

    SOURCE: Lample et al. 2018, section 3.5.
    """
    chosen = nearest(x[:n_frequent], y, 1).ids[:, 0]
    return float((x[:n_frequent] * y[chosen]).sum(dim=1).mean())


def overlap(a: Pairs, b: Pairs) -> float:
    """Share of two dictionaries' pairs that are in both (Dice)."""
    first, second = (set(zip(p.source.tolist(), p.target.tolist(), strict=True)) for p in (a, b))
    return 2 * len(first & second) / max(1, len(first) + len(second))


def _find_starts(
    name: str,
    source: VectorTable,
    target: VectorTable,
    x: Tensor,
    y: Tensor,
    restarts: int,
    generator: torch.Generator,
    adversary: Adversary,
    n_frequent: int,
) -> Iterator[Pairs]:
    if name == "random":
        yield _induce(x @ random_rotation(x.shape[1], generator), y, n_frequent)
    elif name != "adversarial":
        if name == "distributions":
            pairs = match_distributions(x, y)
        else:
            pairs = (identical if name == "identical" else cognates)(source, target)
        # Halves have no word in common: if both lead to one dictionary, that is no accident.
        yield Pairs(pairs.source[::2], pairs.target[::2])
        yield Pairs(pairs.source[1::2], pairs.target[1::2])
    else:
        for _ in range(restarts):
            # Each direction has a map and a discriminator of its own, so that they are two starts.
            for mapping in (
                learn_rotation(x, y, adversary, generator),
                learn_rotation(y, x, adversary, generator).T,
            ):
                yield _induce(x @ mapping, y, n_frequent)


def _induce(x: Tensor, y: Tensor, n_frequent: int) -> Pairs:
    return mutual_pairs(x[:n_frequent], y[:n_frequent])


def _find_same(source: VectorTable, target: VectorTable, pairs: Pairs, n_frequent: int) -> dict[str, Any]:
    """How many words are in both tables, and the share of them that are each other's nearest."""
    same = identical(source, target, n_frequent=n_frequent)
    expected, induced = (set(zip(p.source.tolist(), p.target.tolist(), strict=True)) for p in (same, pairs))
    return {"n": len(expected), "found": len(expected & induced) / max(1, len(expected))}


def _check(source: VectorTable, target: VectorTable, min_words: int) -> None:
    sizes = len(source.words), len(target.words)
    if min(sizes) < min_words:
        raise XnerError(Errors.XNER616.format(limit=min_words, source=sizes[0], target=sizes[1]))
    widths = source.vectors.shape[1], target.vectors.shape[1]
    if widths[0] != widths[1]:
        raise XnerError(Errors.XNER611.format(source=widths[0], target=widths[1]))
    for side, table in (("source", source), ("target", target)):
        bad = numpy.flatnonzero(~numpy.isfinite(table.vectors).all(axis=1))
        if len(bad):
            raise XnerError(Errors.XNER618.format(n=len(bad), side=side, first=table.words[bad[0]]))
    share = len(set(source.words) & set(target.words)) / min(sizes)
    if share > MAX_SAME or numpy.array_equal(source.vectors, target.vectors):
        raise XnerError(Errors.XNER617.format(share=share))

"""Choose among starts of a map without a dictionary, and say whether the map can be believed."""

from collections import Counter
from typing import Any, NamedTuple

import torch

from spacy_xner.errors import Errors, XnerError
from spacy_xner.vectors.mapping import Pairs, normalise_rows, refine
from spacy_xner.vectors.spelling import MIN_PAIRS, compare_spelling, identical
from spacy_xner.vectors.starts import MAP_SETTINGS, RANDOM, MapSettings, Start
from spacy_xner.vectors.table import VectorTable

# How much of two starts' dictionaries has to be the same. Where there is nothing to find, every start ends
# elsewhere: dictionaries of unrelated synthetic spaces overlap by less than 0.01, those of both halves of the
# words alike in English and Spanish by 0.45, in English and German by 0.22 (P@1 12), synthetic ones with
# little noise by more than 0.8. The criterion itself tells little: it rises to within a fifth of the right
# one's wherever a start leads.
AGREE, RELATED = 0.25, 0.05
FAILED = "FAILED"


class Unsupervised(NamedTuple):
    """Two tables that were mapped into one space without a dictionary, and whether to believe the map.

    verdict: OK, WEAK (look at some translations before use) or FAILED.
    evidence: The numbers that the verdict rests on, as JSON.
    """

    source: VectorTable
    target: VectorTable
    verdict: str
    evidence: dict[str, Any]

    def check(self) -> None:
        """Refuse a map that failed. RAISES: XNER621."""
        if self.verdict == FAILED:
            raise XnerError(Errors.XNER621)


def choose_start(
    source: VectorTable,
    target: VectorTable,
    starts: dict[str, Start],
    skipped: dict[str, str],
    settings: MapSettings = MAP_SETTINGS,
) -> Unsupervised:
    """Map by the start that the others agree with most.

    The verdict rests on the overlap of that start's dictionary with the one most like it. It ignores
    spelling, because spelling alone makes even a failed map look plausible.

    skipped: Reasons why other starts were not followed; they become part of the evidence.
    """
    # No start is left where all vectors are the same: one word is nearest to all others.
    if not starts:
        return Unsupervised(source, target, FAILED, {"starts": {}, "skipped": skipped})
    n_frequent = settings.n_frequent
    x, y = normalise_rows(source.vectors), normalise_rows(target.vectors)
    evidence = _compare(starts, min(n_frequent, len(x), len(y)))
    pairs = starts[evidence["best"]].pairs
    evidence |= {"same_words": _find_same(source, target, pairs, n_frequent), "skipped": skipped}
    agreed = agreed_pairs(starts, settings.consensus) if settings.consensus else pairs
    evidence["agreed"] = len(agreed.source)
    # Too few pairs do not tell a map; then the verdict is a poor one anyway.
    seed = agreed if len(agreed.source) >= max(MIN_PAIRS, len(pairs.source) // 4) else pairs
    mapped = refine(
        x, y, seed, n_iterations=2, n_frequent=n_frequent, weighting=settings.weighting,
        spelling=compare_spelling(source, target, weight=settings.spelling, n_frequent=n_frequent),
    )  # fmt: skip
    verdict = judge(evidence["agreement"], len(pairs.source))
    first, second = (rows.numpy() for rows in mapped)
    return Unsupervised(source._replace(vectors=first), target._replace(vectors=second), verdict, evidence)


def agreed_pairs(starts: dict[str, Start], n_starts: int) -> Pairs:
    """Pairs that at least so many starts found, the random one aside; most frequent source words first."""
    counts = Counter(
        pair for name, start in starts.items() if name != RANDOM for pair in _as_set(start.pairs)
    )
    agreed = sorted(pair for pair, n in counts.items() if n >= n_starts)
    rows = torch.tensor(agreed, dtype=torch.long).reshape(-1, 2)
    return Pairs(rows[:, 0], rows[:, 1])


def judge(agreement: float, n_pairs: int) -> str:
    """Judge a map: OK if another start arrived at the same dictionary, WEAK if at a similar one, else FAILED.

    agreement: Overlap of the best start's dictionary and the one most like it.
    n_pairs: Number of pairs in the best start's dictionary.
    """
    if agreement < RELATED or n_pairs < MIN_PAIRS:
        return FAILED
    return "OK" if agreement >= AGREE else "WEAK"


def overlap(a: Pairs, b: Pairs) -> float:
    """Share of two dictionaries' pairs that are in both (Dice)."""
    first, second = _as_set(a), _as_set(b)
    return 2 * len(first & second) / max(1, len(first) + len(second))


def _compare(starts: dict[str, Start], n_words: int) -> dict[str, Any]:
    """Choose the start whose dictionary is most like the others'; the criterion decides between equals.

    n_words: Number of words that could be each other's nearest.
    """
    overlaps = {
        name: {other: overlap(start.pairs, starts[other].pairs) for other in starts if other != name}
        for name, start in starts.items()
    }
    numbers = {
        name: {
            "criterion": start.criterion,
            "mutual": len(start.pairs.source) / n_words,
            "agreement": max(overlaps[name].values(), default=0.0),
            # The overlap of a start with the random rotation is chance.
            "consensus": sum(share for other, share in overlaps[name].items() if RANDOM not in (name, other)),
        }
        for name, start in starts.items()
    }
    # The criterion tells starts that reached the map from those that did not, and nothing among the former:
    # on dictionary words of en-de, the starts with the most consensus have a P@1 of 31.4 and those with the
    # best criterion one of 28.6.
    best = max(starts, key=lambda name: (numbers[name]["consensus"], numbers[name]["criterion"]))
    floor = starts[RANDOM].criterion if RANDOM in starts else 0.0
    agreement = numbers[best]["agreement"]
    return {"best": best, "floor": floor, "agreement": agreement, "starts": numbers, "overlaps": overlaps}


def _find_same(source: VectorTable, target: VectorTable, pairs: Pairs, n_frequent: int) -> dict[str, Any]:
    """Count the words in both tables, and the share of them that are each other's nearest."""
    expected = _as_set(identical(source, target, n_frequent=n_frequent))
    return {"n": len(expected), "found": len(expected & _as_set(pairs)) / max(1, len(expected))}


def _as_set(pairs: Pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.source.tolist(), pairs.target.tolist(), strict=True))

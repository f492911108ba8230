"""What spelling says of two languages' words: names, loans and cognates are a dictionary of their own.

SOURCE: Riley and Gildea 2018, "Orthographic features for bilingual lexicon induction" (features).
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import normalize

from spacy_xner.vectors.mapping import Pairs, Spelling, join_pairs
from spacy_xner.vectors.romanise import romanise
from spacy_xner.vectors.table import VectorTable

# Two halves of fewer than 25 pairs each say next to nothing about a rotation.
MIN_PAIRS = 50
# Chosen on 3,200 words of en-es and en-de that no map had seen, among 0.1, 0.2, 0.4 and 0.8.
SPELLING = 0.2


def identical(source: VectorTable, target: VectorTable, *, n_frequent: int = 20_000) -> Pairs:
    """Words that both languages spell alike, without numbers and the like if there are enough others."""
    targets = {word: row for row, word in enumerate(target.words[:n_frequent])}
    rows = [(row, targets[word]) for row, word in enumerate(source.words[:n_frequent]) if word in targets]
    # Numbers, signs and short words are alike without meaning the same, or stand apart from all other words.
    strong = [pair for pair in rows if sum(map(str.isalpha, source.words[pair[0]])) > 2]
    return _to_pairs(strong if len(strong) >= max(MIN_PAIRS, source.vectors.shape[1]) else rows)


def cognates(source: VectorTable, target: VectorTable, *, n_frequent: int = 10_000, near: int = 6) -> Pairs:
    """Words that are alike in Latin letters but not in their own; words spelled alike in both are left out.

    near: Words of at least so many letters may differ in one.
    """
    both = set(source.words) & set(target.words)
    sides = [
        [(row, _forms(word, near)) for row, word in enumerate(table.words[:n_frequent]) if word not in both]
        for table in (source, target)
    ]
    rows: dict[str, int] = {}
    for row, forms in sides[1]:
        for form in forms:
            rows.setdefault(form, row)
    chosen: dict[int, int] = {}
    # A form is its most frequent word's, a source's whole word is looked up first, every word has one pair.
    for row, forms in sides[0]:
        hits = [rows[form] for form in forms if form in rows]
        if hits:
            chosen.setdefault(hits[0], row)
    return _to_pairs([(row, hit) for hit, row in chosen.items()])


def _forms(word: str, near: int) -> list[str]:
    """The word in Latin letters, and without any but the first: words an edit apart share a form."""
    plain = romanise(word).lower()
    if sum(map(str.isalpha, plain)) < 3:
        return []
    return [plain, *(plain[:i] + plain[i + 1 :] for i in range(1, len(plain)) if len(plain) >= near)]


def compare_spelling(
    source: VectorTable,
    target: VectorTable,
    *,
    weight: float = SPELLING,
    n_frequent: int = 10_000,
    width: int = 200,
) -> Spelling | None:
    """Find identical words and cognates among the first 20,000, and features of the most frequent words.

    The product of two words' features is about the share of the letters, and of two and three in a row, that
    they have in common in Latin letters (the cosine of both sets).
    weight: That share is multiplied by; nothing comes of none. width: Features are projected at random, which
        is off by 0.07 of the share at a width of 200.
    """
    if not weight:
        return None
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.random_projection import GaussianRandomProjection

    pairs = join_pairs(*(find(source, target, n_frequent=20_000) for find in (identical, cognates)))
    grams = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 3), n_features=1 << 14, binary=True)
    projection = GaussianRandomProjection(width, random_state=0).fit(grams.transform([""]))
    first, second = (
        torch.from_numpy(projection.transform(grams.transform(map(romanise, table.words[:n_frequent]))))
        for table in (source, target)
    )
    scale = weight**0.5
    return Spelling(pairs, (scale * normalize(first).float(), scale * normalize(second).float()))


def _to_pairs(rows: Sequence[tuple[int, int]]) -> Pairs:
    table = torch.tensor(rows, dtype=torch.long).reshape(-1, 2)
    return Pairs(table[:, 0], table[:, 1])

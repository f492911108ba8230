"""Map word vectors of two languages into one space, and measure how well words find their translations.

SOURCE: Mikolov et al. 2013 (a linear map), Xing et al. 2015 (orthogonal, unit length), Artetxe et al. 2016
and 2018 (centring, whitening, weighting), Lample et al. 2018 (CSLS and its use for refinement).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from spacy_xner.errors import Errors, XnerError
from spacy_xner.vectors.table import VectorTable, index_words

N_NEIGHBOURS = 10


class Pairs(NamedTuple):
    """Rows of words that translate each other. Shape: (n_pairs,), twice."""

    source: Tensor
    target: Tensor


class Spelling(NamedTuple):
    """Similar spelling of the words of two tables (`compare_spelling`).

    pairs: Words that are spelled alike.
    features: Rows of the most frequent words of both tables; the product of two rows tells how similar the
        spelling of the two words is. Shapes: (n_source, n_features), (n_target, n_features).
    """

    pairs: Pairs
    features: tuple[Tensor, Tensor]


class Precision(NamedTuple):
    """How often a translation is among the nearest target words.

    by_neighbours: Share of the source words, by the number of neighbours among which the translation is.
    n_words: Number of source words that were looked up.
    coverage: Share of the dictionary's source words that have a vector and a translation with a vector.
    """

    by_neighbours: dict[int, float]
    n_words: int
    coverage: float


def normalise_rows(vectors: NDArray[numpy.float32]) -> Tensor:
    """Bring rows to unit length, centre them, and repeat the first step. Shape: (n_words, width)."""
    rows = torch.nn.functional.normalize(torch.from_numpy(vectors).float())
    return torch.nn.functional.normalize(rows - rows.mean(dim=0))


def find_pairs(source: VectorTable, target: VectorTable, dictionary: Mapping[str, Sequence[str]]) -> Pairs:
    """Find the rows of a dictionary's words.

    RAISES: XNER612 if fewer pairs than the vectors are wide have vectors.
    """
    source_rows, target_rows = index_words(source.words), index_words(target.words)
    rows = [
        (source_rows[word], target_rows[translation])
        for word, translations in dictionary.items()
        for translation in translations
        if word in source_rows and translation in target_rows
    ]
    width = source.vectors.shape[1]
    if len(rows) < width:
        n_entries = sum(map(len, dictionary.values()))
        raise XnerError(Errors.XNER612.format(n_entries=n_entries, n_known=len(rows), width=width))
    table = torch.tensor(rows)
    return Pairs(table[:, 0], table[:, 1])


def procrustes(source: Tensor, target: Tensor) -> Tensor:
    """Find the rotation of the source's rows that comes nearest to the target's. Shape: (width, width).

    SOURCE: Schoenemann 1966
    """
    return nearest_rotation(source.T.double() @ target.double()).to(source.dtype)


def nearest_rotation(mapping: Tensor) -> Tensor:
    """Take the stretching out of a map. Shape: (width, width)."""
    u, _, v = torch.linalg.svd(mapping)
    return u @ v


def map_tables(
    source: Tensor, target: Tensor, pairs: Pairs, *, weighting: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Map both sides into one space.

    weighting: 0 rotates the source. Greater values whiten both sides, weight the directions by this power of
        how much the sides agree in them, and take the whitening back.
    RETURNS: Rows of unit length. Shapes: (n_source, width), (n_target, width).
    SOURCE: Artetxe et al. 2018, "Generalizing and improving bilingual word embedding mappings".
    """
    if not weighting:
        return source @ procrustes(source[pairs.source], target[pairs.target]), target
    x, y = source[pairs.source].double(), target[pairs.target].double()
    white_x, white_y = _whitening(x), _whitening(y)
    u, agreement, v = torch.linalg.svd((x @ white_x).T @ (y @ white_y))
    # These are sums over pairs; means would do as well, because rows are brought to unit length afterwards.
    weights = torch.diag(agreement**weighting)
    map_x = white_x @ u @ weights @ u.T @ torch.linalg.inv(white_x) @ u
    map_y = white_y @ v.T @ weights @ v @ torch.linalg.inv(white_y) @ v.T
    normalize = torch.nn.functional.normalize
    return normalize(source @ map_x.float()), normalize(target @ map_y.float())


def _whitening(rows: Tensor) -> Tensor:
    """Find the symmetric matrix that makes columns uncorrelated, of unit variance. Shape: (width, width)."""
    values, vectors = torch.linalg.eigh(rows.T @ rows)
    return vectors @ torch.diag(values.clamp(min=1e-8) ** -0.5) @ vectors.T


def align(
    source: VectorTable,
    target: VectorTable,
    dictionary: Mapping[str, Sequence[str]],
    *,
    n_iterations: int = 2,
    n_frequent: int = 10_000,
    weighting: float = 0.25,
    spelling: Spelling | None = None,
) -> tuple[VectorTable, VectorTable]:
    """Map two tables into one space with a dictionary, and refine the map with induced dictionaries.

    n_iterations: Number of inductions of a dictionary.
    n_frequent: Number of most frequent words of both sides from which dictionaries are induced.
    weighting: See `map_tables`.
    spelling: Spelling of both tables, which counts in the inductions; None uses the vectors alone.
    RAISES: XNER611 for tables of different widths, XNER612 for a dictionary that does not cover them.
    """
    if source.vectors.shape[1] != target.vectors.shape[1]:
        raise XnerError(Errors.XNER611.format(source=source.vectors.shape[1], target=target.vectors.shape[1]))
    given = find_pairs(source, target, dictionary)
    x, y = refine(
        normalise_rows(source.vectors), normalise_rows(target.vectors), given,
        n_iterations=n_iterations, n_frequent=n_frequent, weighting=weighting, fixed=given, spelling=spelling,
    )  # fmt: skip
    return VectorTable(source.words, x.numpy()), VectorTable(target.words, y.numpy())


def refine(
    x: Tensor,
    y: Tensor,
    start: Pairs,
    *,
    n_iterations: int,
    n_frequent: int,
    weighting: float,
    fixed: Pairs | None = None,
    spelling: Spelling | None = None,
) -> tuple[Tensor, Tensor]:
    """Map, find words that are each other's nearest, and map again with these.

    fixed: Pairs that are added to every induced dictionary; pairs that are induced too count twice.
    spelling: Spelling of both tables. Its pairs are added to every induced dictionary too. Its features are
        appended to the vectors for the search of nearest words only; the map is fitted without them.
    """
    added = [pairs for pairs in (fixed, spelling and spelling.pairs) if pairs is not None]
    mapped = map_tables(x, y, start, weighting=weighting)
    for _ in range(n_iterations):
        sides = [rows[:n_frequent] for rows in mapped]
        if spelling is not None:
            sides = [
                torch.cat((rows[: len(features)], features[:n_frequent]), dim=1)
                for rows, features in zip(sides, spelling.features, strict=True)
            ]
        mapped = map_tables(x, y, join_pairs(*added, mutual_pairs(*sides)), weighting=weighting)
    return mapped


def join_pairs(*parts: Pairs) -> Pairs:
    """Put the pairs of several dictionaries into one."""
    return Pairs(*(torch.cat(rows) for rows in zip(*parts, strict=True)))


def mutual_pairs(x: Tensor, y: Tensor) -> Pairs:
    """Find words that are each other's nearest by CSLS."""
    # The penalty of a query is left out: it does not change the order of the query's scores.
    nearest_target = _search(x, y, 1, mean_similarity(y, x) / 2).ids[:, 0]
    nearest_source = _search(y, x, 1, mean_similarity(x, y) / 2).ids[:, 0]
    rows = torch.arange(len(x))
    is_mutual = nearest_source[nearest_target] == rows
    return Pairs(rows[is_mutual], nearest_target[is_mutual])


class Neighbours(NamedTuple):
    """The nearest rows, the nearest first. Shapes: (n_queries, n), twice."""

    scores: Tensor
    ids: Tensor


def nearest(queries: Tensor, keys: Tensor, n: int, *, csls: bool = True, k: int = N_NEIGHBOURS) -> Neighbours:
    """Find the nearest keys of every query. Rows must have unit length, or one length for all.

    csls: Take half the mean similarity of either side's k nearest off the cosine, because a word that is near
        to everything (a hub) is no word's translation.
    RAISES: XNER608 without faiss.
    SOURCE: Lample et al. 2018, equation 3, halved: cos - r(query) / 2 - r(key) / 2.
    """
    if not csls:
        return _search(queries, keys, n)
    neighbours = _search(queries, keys, n, mean_similarity(keys, queries, k) / 2)
    return neighbours._replace(scores=neighbours.scores - mean_similarity(queries, keys, k)[:, None] / 2)


def mean_cosine(x: Tensor, y: Tensor, *, n_frequent: int = 10_000) -> float:
    """Mean cosine of the most frequent source words and the target words that CSLS chooses for them.

    The criterion of maps that are learnt without a dictionary.
    SOURCE: Lample et al. 2018, section 3.5.
    """
    chosen = nearest(x[:n_frequent], y, 1).ids[:, 0]
    return float((x[:n_frequent] * y[chosen]).sum(dim=1).mean())


def mean_similarity(queries: Tensor, keys: Tensor, k: int = N_NEIGHBOURS) -> Tensor:
    """Average the products of every query and its k nearest keys. Shape: (n_queries,). RAISES: XNER608."""
    return _search(queries, keys, k).scores.mean(dim=1)


def _search(queries: Tensor, keys: Tensor, n: int, penalties: Tensor | None = None) -> Neighbours:
    """Find the keys of the greatest inner products, without holding more than some blocks of them.

    penalties: Numbers that are taken off the products of each key. Shape: (n_keys,).
    """
    try:
        import faiss
    except ImportError as error:
        raise XnerError(Errors.XNER608.format(what="Searching vectors", reason=error)) from error
    if penalties is not None:
        # A key's penalty becomes one more number of its vector, which meets a one in every query.
        queries = torch.cat((queries, torch.ones(len(queries), 1)), dim=1)
        keys = torch.cat((keys, -penalties[:, None]), dim=1)
    index = faiss.IndexFlatIP(keys.shape[1])
    index.add(keys.float().numpy())
    scores, ids = index.search(queries.float().numpy(), min(n, len(keys)))
    return Neighbours(torch.from_numpy(scores), torch.from_numpy(ids))


def precision(
    source: VectorTable,
    target: VectorTable,
    dictionary: Mapping[str, Sequence[str]],
    *,
    csls: bool = True,
    at: Sequence[int] = (1, 5, 10),
) -> Precision:
    """Measure how many words of a dictionary find one of their translations among all target words."""
    source_rows, target_rows = index_words(source.words), index_words(target.words)
    gold = {
        source_rows[word]: {target_rows[t] for t in translations if t in target_rows}
        for word, translations in dictionary.items()
        if word in source_rows
    }
    gold = {row: rows for row, rows in gold.items() if rows}
    normalize = torch.nn.functional.normalize
    x, y = (normalize(torch.from_numpy(table.vectors)) for table in (source, target))
    if not gold:
        return Precision(dict.fromkeys(at, 0.0), 0, 0.0)
    # Hubs are told by all source words, not only by the words that are looked up.
    penalties = mean_similarity(y, x) / 2 if csls else None
    nearest_rows = _search(x[torch.tensor(list(gold))], y, max(at), penalties).ids
    hits = numpy.array(
        [
            [target_row in rows for target_row in ids]
            for ids, rows in zip(nearest_rows.tolist(), gold.values(), strict=True)
        ]
    )
    by_neighbours = {n: float(hits[:, :n].any(axis=1).mean()) for n in at}
    return Precision(by_neighbours, len(gold), len(gold) / max(1, len(dictionary)))

"""Words of corpora, tables and text files, and the share of them that has no vector."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import spacy

from spacy_xner.corpus.docs import read_docs
from spacy_xner.files import numbered_lines
from spacy_xner.vectors.dictionary import BilingualDictionary
from spacy_xner.vectors.table import Lookup, VectorTable, read_table
from spacy_xner.vectors.words import normalise


class Unknown(NamedTuple):
    """Shares of a corpus' words that have no vector.

    types: Share of the different words.
    tokens: Share of all words.
    """

    types: float
    tokens: float


def read_words(path: Path) -> Iterator[str]:
    """Iterate over the words of a corpus (.spacy), a table, a pipeline with vectors, or a text file."""
    if path.suffix == ".spacy":
        vocab = spacy.blank("xx").vocab
        return (token.text for doc in read_docs(path).get_docs(vocab) for token in doc)
    if path.suffix == ".safetensors" or ".vec" in path.suffixes or path.is_dir():
        return iter(read_table(path).words)
    return (word for _, line in numbered_lines(path) for word in line.split())


def choose_words(
    paths: Iterable[Path],
    dictionary: BilingualDictionary | None = None,
    *,
    lower: bool = True,
    limit: int = 0,
) -> list[str]:
    """Collect the words of some files, the most frequent first, and then the target words of a dictionary.

    limit: Number of words to keep; 0 keeps all.
    """
    counts: Counter[str] = Counter()
    for path in paths:
        counts.update(normalise(word, lower) for word in read_words(path))
    words = [word for word, _ in counts.most_common()]
    groups = dictionary.values() if dictionary else ()
    words += [word for group in groups for text in group for word in text.split()]
    return list(dict.fromkeys(words))[: limit or None]


def count_unknown(table: VectorTable, paths: Sequence[Path]) -> dict[str, Unknown]:
    """Measure how many words of each file have no vector, by the file's name without its ending.

    SOURCE: Huang et al. 2019 (what matters for neural cross-lingual NER), Table 6.
    """
    lookup = Lookup(table)
    unknown = {}
    for path in paths:
        counts = Counter(normalise(word) for word in read_words(path))
        vectors = lookup(list(counts))
        missing = [n for n, vector in zip(counts.values(), vectors, strict=True) if not vector.any()]
        unknown[path.stem] = Unknown(
            types=len(missing) / max(1, len(counts)), tokens=sum(missing) / max(1, counts.total())
        )
    return unknown

"""How far a language is from the training languages, before anything is trained. Pure functions."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from spacy.tokens import Doc

from spacy_xner.transformer.wordpieces import Pieces

Split = Callable[[Sequence[str]], list[Pieces]]
# A script that makes up less of the source's letters than this was not learnt from it.
LEAST_SHARE = 0.01


class TransferRisk(NamedTuple):
    """Properties of text that make zero-shot transfer to a language harder.

    fertility: Wordpieces a token.
    unknown: Share of the wordpieces that the vocabulary does not have.
    unseen: Share of the wordpieces that do not occur in the source's text.
    script_overlap: Share of the letters whose script the source is written in.
    SOURCE: Moon et al. 2019, Table 2 (fertility).
    """

    fertility: float
    unknown: float
    unseen: float
    script_overlap: float


def describe_risk(
    docs: Iterable[Doc], source: Iterable[Doc], split: Split, unknown_id: int | None
) -> TransferRisk:
    """Compare a language's text with the source's.

    split: Cuts texts into wordpieces: `TransformerNetwork.split`.
    """
    docs = list(docs)
    texts, source_texts = [doc.text for doc in docs], [doc.text for doc in source]
    pieces = Counter(chain.from_iterable(text_pieces.ids.tolist() for text_pieces in split(texts)))
    seen = set(chain.from_iterable(text_pieces.ids.tolist() for text_pieces in split(source_texts)))
    n_pieces = max(1, pieces.total())
    source_scripts = count_scripts(source_texts)
    min_count = LEAST_SHARE * source_scripts.total()
    scripts = count_scripts(texts)
    shared = sum(n for script, n in scripts.items() if source_scripts[script] > min_count)
    return TransferRisk(
        fertility=pieces.total() / max(1, sum(map(len, docs))),
        unknown=pieces[unknown_id] / n_pieces if unknown_id is not None else 0.0,
        unseen=sum(n for piece, n in pieces.items() if piece not in seen) / n_pieces,
        script_overlap=shared / max(1, scripts.total()),
    )


def count_scripts(texts: Iterable[str]) -> Counter[str]:
    """Count letters by script: LATIN, CYRILLIC, ARABIC, CJK, HANGUL and so on."""
    counts: Counter[str] = Counter()
    for character, n in Counter(chain.from_iterable(texts)).items():
        if character.isalpha():
            counts[_script(character)] += n
    return counts


def _script(character: str) -> str:
    """The first word of a letter's Unicode name, which is its script's."""
    return unicodedata.name(character, "UNKNOWN").split()[0]

"""Romanisation: words of any script in Latin letters.

SOURCE: Hermjakob et al. 2018, uroman; Huang et al. 2019 (what matters for cross-lingual NER), section 2.
"""

from functools import cache, lru_cache
from typing import Any

from spacy_xner.locks import ForkableLock

# uroman writes into its tables while it reads them, and takes seconds to load them.
_uroman_lock = ForkableLock()


def romanise(word: str) -> str:
    """Write a word in Latin letters; ASCII stays as it is, and so does what has no Latin form.

    Capitals stay capitals. Han characters are read as Chinese. Rules that uroman has for one language alone
    (a Russian e at the beginning of a word as ye) are left out: the same word is spelled alike everywhere.
    """
    # English words, which are most, neither load uroman nor fill the cache.
    return word if word.isascii() else _romanise(word)


@lru_cache(maxsize=1 << 16)
def _romanise(word: str) -> str:
    with _uroman_lock:
        romanised = _load_uroman().romanize_string(word)
    # Marks and joiners without a letter romanise to nothing.
    return romanised.strip() or word


@cache
def _load_uroman() -> Any:
    """Load the tables of uroman once, which takes seconds."""
    from uroman import Uroman

    return Uroman()

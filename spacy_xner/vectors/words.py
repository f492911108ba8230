"""Words as vectors know them: numbers and addresses in one form, lower-cased."""

import re
from functools import lru_cache

NUMBER, ADDRESS = "num", "url"
_NUMBER = re.compile(r"[+-]?\d+([.,:/-]\d+)*[.%]?")
_ADDRESS = re.compile(r"(https?://|www\.)\S+", re.IGNORECASE)


# Stands between a language and its word where tables are merged without sharing words; no token has it.
SEPARATOR = "\x1f"


def key_of(word: str, language: str | None) -> str:
    """Name a word of one language, for tables in which other languages spell words alike."""
    return f"{language or ''}{SEPARATOR}{word}"


@lru_cache(maxsize=100_000)
def normalise(word: str, lower: bool = True) -> str:
    """Replace numbers by "num" and addresses by "url"; lower-case the rest if asked for.

    SOURCE: Huang et al. 2019 (what matters for neural cross-lingual NER), section 3.1.
    """
    if _NUMBER.fullmatch(word):
        return NUMBER
    if _ADDRESS.fullmatch(word):
        return ADDRESS
    return word.lower() if lower else word

"""Romanisation: words of any script in Latin letters.

SOURCE: Hermjakob et al. 2018, uroman; Wu et al. 2019 (what matters for neural cross-lingual NER), section 2.
"""

from functools import cache, lru_cache
from typing import Any

# uroman has ISO 639-3 codes; these are the languages that some of its rules are for.
_UROMAN_CODES = {
    "ar": "ara", "as": "asm", "be": "bel", "bg": "bul", "bn": "ben", "de": "deu", "el": "ell", "en": "eng",
    "fa": "fas", "gu": "guj", "kk": "kaz", "ks": "kas", "ky": "kir", "lt": "lit", "lv": "lav", "mk": "mkd",
    "os": "oss", "pa": "pan", "ps": "pus", "ru": "rus", "sa": "san", "sr": "srp", "tr": "tur", "ug": "uig",
    "uk": "ukr", "yi": "yid",
}  # fmt: skip


def romanise(word: str, language: str | None = None) -> str:
    """Write a word in Latin letters; ASCII stays as it is, and so does what has no Latin form.

    Capitals stay capitals. Han characters are read as Chinese, whatever the language.

    language: Two-letter code, for rules of its own such as Bulgarian's.
    """
    # English words, which are most, neither load uroman nor fill the cache.
    return word if word.isascii() else _romanise(word, _UROMAN_CODES.get(language or ""))


@lru_cache(maxsize=1 << 16)
def _romanise(word: str, code: str | None) -> str:
    # Marks and joiners without a letter romanise to nothing.
    return _load_uroman().romanize_string(word, code).strip() or word


@cache
def _load_uroman() -> Any:
    """Load the tables of uroman once, which takes seconds."""
    from uroman import Uroman

    return Uroman()

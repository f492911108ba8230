"""Which wordpieces a trimmed vocabulary keeps, and a tokenizer of these alone. Pure functions.

A text is cut into the same pieces as before if every piece that occurs in one of its words is kept: the best
way through the word is still there, and no other way has got better.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from string import ascii_lowercase
from typing import Any, Literal, NamedTuple, TypeAlias

from tokenizers import Tokenizer

from spacy_xner.errors import Errors, XnerError

Keep: TypeAlias = Literal["scripts", "words", "all"]
SPACE_MARK = "\u2581"
# Scripts of so many letters that no text has them all. Such a script counts as one of the texts' from this
# share of their letters on: a single foreign name would bring all of it otherwise.
LARGE_SCRIPTS = frozenset({"CJK", "HANGUL", "HIRAGANA", "KATAKANA", "ETHIOPIC"})
SCRIPT_SHARE = 0.001
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
# Scripts as the names of their letters begin, where two names stand for one script.
_SAME_SCRIPT = {"IDEOGRAPHIC": "CJK", "KATAKANA-HIRAGANA": "KATAKANA", "FULLWIDTH": "LATIN"}
# Languages of other scripts than the Latin one. The list need not be complete: it serves a warning.
_SCRIPTS_OF = {
    "ARABIC": "ar fa ur ps sd ug ckb arz", "HEBREW": "he yi", "DEVANAGARI": "hi mr ne sa", "BENGALI": "bn as",
    "CYRILLIC": "ru uk bg sr mk be kk ky mn tg tt ba cv", "GREEK": "el", "ARMENIAN": "hy", "GEORGIAN": "ka",
    "HANGUL": "ko", "CJK": "zh ja yue wuu", "HIRAGANA": "ja", "THAI": "th", "LAO": "lo", "KHMER": "km",
    "MYANMAR": "my", "TAMIL": "ta", "TELUGU": "te", "KANNADA": "kn", "MALAYALAM": "ml", "GUJARATI": "gu",
    "GURMUKHI": "pa", "ORIYA": "or", "SINHALA": "si", "ETHIOPIC": "am ti",
}  # fmt: skip


class Vocabulary(NamedTuple):
    """The pieces of a tokenizer.

    ids: Id of every piece, without added tokens that the model does not know.
    added: Ids of added tokens, such as the special ones.
    inside: The mark before a piece within a word: "##" in WordPiece, nothing in Unigram.
    required: Further ids that tokenization needs.
    """

    ids: dict[str, int]
    added: frozenset[int]
    inside: str
    required: frozenset[int]


class Words(NamedTuple):
    """The material of texts: their different words, and how often each small letter occurs."""

    words: frozenset[str]
    letters: Counter[str]

    @property
    def scripts(self) -> frozenset[str]:
        """The scripts that make more than a trace of the letters."""
        counts: Counter[str] = Counter()
        for letter, n in self.letters.items():
            counts[script_of(letter)] += n
        return frozenset(s for s, n in counts.items() if n >= SCRIPT_SHARE * self.letters.total())


def read_vocabulary(tokenizer_json: str) -> Vocabulary:
    """Read the pieces. RAISES: XNER144 for another kind than Unigram and WordPiece."""
    content = json.loads(tokenizer_json)
    model = content["model"]
    kind = model.get("type")
    added = frozenset(token["id"] for token in content.get("added_tokens", ()))
    if kind == "Unigram":
        ids = {piece: i for i, (piece, _) in enumerate(model["vocab"])}
        # The cost of an unknown character is counted from the score of the rarest piece.
        rarest = min(range(len(model["vocab"])), key=lambda i: model["vocab"][i][1])
        return Vocabulary(ids, added, "", frozenset({rarest, model["unk_id"]} - {None}))
    if kind == "WordPiece":
        inside, unknown = model["continuing_subword_prefix"], model["vocab"].get(model["unk_token"])
        return Vocabulary(model["vocab"], added, inside, frozenset({unknown} - {None}))
    raise XnerError(Errors.XNER144.format(kind=kind))


def read_words(tokenizer: Tokenizer, texts: Iterable[str]) -> Words:
    """Cut texts into words as the tokenizer does before it looks for pieces."""
    words: set[str] = set()
    letters: Counter[str] = Counter()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
        splitter = tokenizer.pre_tokenizer
        words.update(word for word, _ in splitter.pre_tokenize_str(normal)) if splitter else words.add(normal)
        letters.update(char for char in normal.lower() if char.isalpha())
    return Words(frozenset(words), letters)


def choose_ids(vocabulary: Vocabulary, words: Words, keep: Keep) -> list[int]:
    """Choose the pieces to keep: those in the words, single characters, bytes, special tokens.

    keep: With "scripts" also all pieces that are written with letters of the texts or a to z, or in a large
        script of the texts, and those without letters; with "all" the whole vocabulary.
    RETURNS: Sorted ids.
    """
    if keep == "all":
        return sorted({*vocabulary.ids.values(), *vocabulary.added})
    chosen = {*vocabulary.added, *vocabulary.required, *_pieces_in(vocabulary, words.words)}
    is_written = _writes(words) if keep == "scripts" else lambda _: False
    for piece, i in vocabulary.ids.items():
        bare = piece.removeprefix(vocabulary.inside or SPACE_MARK)
        if len(bare) <= 1 or _BYTE.fullmatch(piece) or is_written(bare):
            chosen.add(i)
    return sorted(chosen)


def _writes(words: Words) -> Callable[[str], bool]:
    """Make the test whether texts with these letters may have a piece."""
    large = words.scripts & LARGE_SCRIPTS
    # Foreign names stand in Latin letters in texts of every script.
    small = {*words.letters, *ascii_lowercase}

    def is_written(piece: str) -> bool:
        letters = (char for char in piece.lower() if char.isalpha())
        return all(char in small or script_of(char) in large for char in letters)

    return is_written


def _pieces_in(vocabulary: Vocabulary, words: Iterable[str]) -> set[int]:
    """Find all pieces that occur anywhere in the words."""
    ids, inside = vocabulary.ids, vocabulary.inside
    longest = max(map(len, ids), default=0)
    starts = set()
    for word in words:
        for start in range(len(word)):
            prefix = inside if start else ""
            for end in range(start + 1, min(len(word), start + longest) + 1):
                i = ids.get(prefix + word[start:end])
                if i is not None:
                    starts.add(i)
    return starts


@cache
def script_of(letter: str) -> str:
    """Name the script of a letter, such as LATIN."""
    script = unicodedata.name(letter, "?").split(" ")[0]
    return _SAME_SCRIPT.get(script, script)


def without_letters(languages: Iterable[str], words: Words) -> list[str]:
    """Find the languages of which the texts have no letters."""
    missing = []
    for language in languages:
        base = language.replace("-", "_").split("_")[0]
        scripts = {script for script, codes in _SCRIPTS_OF.items() if base in codes.split()} or {"LATIN"}
        if not scripts & words.scripts:
            missing.append(language)
    return missing


def cut_tokenizer(tokenizer_json: str, ids: list[int]) -> str:
    """Write a tokenizer that knows the pieces of these sorted ids alone, numbered anew in their order."""
    content = json.loads(tokenizer_json)
    new = {old: i for i, old in enumerate(ids)}
    model = content["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][i] for i in ids if i < len(model["vocab"])]
        model["unk_id"] = new.get(model["unk_id"])
    else:
        model["vocab"] = {piece: new[i] for piece, i in model["vocab"].items() if i in new}
    for token in content.get("added_tokens", ()):
        token["id"] = new[token["id"]]
    _renumber(content.get("post_processor"), new)
    return json.dumps(content, ensure_ascii=False)


def _renumber(processor: Any, new: Mapping[int, int]) -> None:
    """Renumber the special tokens that a post-processor writes around a text."""
    if not isinstance(processor, dict):
        return
    for part in processor.get("processors", ()):
        _renumber(part, new)
    for token in (processor.get("special_tokens") or {}).values():
        token["ids"] = [new[i] for i in token["ids"]]
    for kind in ("sep", "cls"):
        if kind in processor:
            piece, i = processor[kind]
            processor[kind] = [piece, new[i]]

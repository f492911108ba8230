"""Reverse translation: labelled sentences word by word into another language, with their labels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy
from numpy.typing import NDArray

from spacy_xner.arrays import to_unit_length
from spacy_xner.corpus.conll import Sentence
from spacy_xner.tags import TokenSpan

# Vectors of lower-cased words in the space of both languages: unit length, or zeros for an unknown word.
# Shape: (n_words, width).
Embed: TypeAlias = Callable[[Sequence[str]], NDArray[numpy.float32]]


class Coverage(NamedTuple):
    """How much of a text a dictionary translates. Units: tokens."""

    n_tokens: int
    n_translated: int


def translate_sentence(
    sentence: Sentence,
    dictionary: Mapping[str, Sequence[str]],
    embed: Embed,
    *,
    alpha: float = 0.5,
    window: int = 0,
) -> Sentence:
    """Replace every token that the dictionary has by the translation that fits token and context best.

    A translation of several words becomes as many tokens, all of them within the token's span. Other tokens
    stay. Translations take over capitals; of equal ones the first is taken.

    dictionary: Lower-cased words and their translations, which are not empty.
    alpha: Weight of the token itself; its context has the rest.
    window: Context on each side, 0 takes the whole sentence. Units: tokens.
    SOURCE: Huang et al. 2019 (what matters for neural cross-lingual NER), equation 1.
    """
    words = [token.lower() for token in sentence.tokens]
    candidates = [(i, text.split()) for i, word in enumerate(words) for text in dictionary.get(word, ())]
    if not candidates:
        return sentence
    positions = numpy.array([i for i, _ in candidates])
    scores = _score(words, positions, [parts for _, parts in candidates], embed, alpha, window)
    # A stable sort: the best of every position comes first, and of equals the dictionary's first.
    order = numpy.lexsort((-scores, positions))
    firsts = numpy.unique(positions, return_index=True)[1]
    chosen = dict(candidates[i] for i in order[firsts].tolist())
    return _replace(sentence, chosen)


def measure_coverage(sentences: Iterable[Sentence], dictionary: Mapping[str, Sequence[str]]) -> Coverage:
    """Count the tokens of a text and those of them that `translate_sentence` replaces."""
    has_entry = [bool(dictionary.get(token.lower())) for sentence in sentences for token in sentence.tokens]
    return Coverage(len(has_entry), sum(has_entry))


def _score(
    words: list[str],
    positions: NDArray[numpy.int64],
    translations: list[list[str]],
    embed: Embed,
    alpha: float,
    window: int,
) -> NDArray[numpy.float64]:
    """Equation 1 for all translations of a sentence's words at once.

    positions: Where the word of each translation is. Shape: (n_translations,).
    translations: Their words, one or more of each.
    RETURNS: Shape: (n_translations,).
    """
    parts = [part for translation in translations for part in translation]
    vocabulary = dict.fromkeys([*words, *parts])
    row_of_word = dict(zip(vocabulary, range(len(vocabulary)), strict=True))
    vectors = embed(list(vocabulary))
    context = vectors[[row_of_word[word] for word in words]]
    # A translation of several words is the direction of their sum.
    starts = numpy.cumsum([0, *map(len, translations[:-1])])
    sums = numpy.add.reduceat(vectors[[row_of_word[part] for part in parts]], starts)
    targets = to_unit_length(sums)
    distances = numpy.abs(positions[:, None] - numpy.arange(len(words)))
    weights = numpy.where(distances == 0, alpha, (1 - alpha) / (distances + 1) ** 2)
    if window:
        weights[distances > window] = 0
    scores: NDArray[numpy.float64] = (targets @ context.T * weights).sum(axis=1)
    return scores


def _replace(sentence: Sentence, chosen: Mapping[int, Sequence[str]]) -> Sentence:
    """Put translations, each a list of words, in the place of tokens, and move the spans along."""
    tokens: list[str] = []
    spaces: list[bool] = []
    starts: list[int] = []
    for i, (token, space) in enumerate(zip(sentence.tokens, sentence.spaces, strict=True)):
        starts.append(len(tokens))
        translation = chosen.get(i)
        own = [token] if translation is None else _with_case(token, " ".join(translation)).split(" ")
        tokens += own
        spaces += [True] * (len(own) - 1) + [space]
    starts.append(len(tokens))
    spans = [TokenSpan(starts[span.start], starts[span.end], span.label) for span in sentence.spans]
    return Sentence(tokens, spaces, spans)


def _with_case(token: str, translation: str) -> str:
    if token.isupper() and len(token) > 1:
        return translation.upper()
    return translation[:1].title() + translation[1:] if token[:1].isupper() else translation

"""Labelled sentences word by word in another language, or in another order: training sets for transfer.

SOURCE: Huang et al. 2019, "What matters for neural cross-lingual named entity recognition".
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy
import spacy
from numpy.typing import NDArray
from spacy.tokens import Doc
from tqdm import tqdm

from spacy_xner.arrays import to_unit_length
from spacy_xner.corpus.conll import Sentence
from spacy_xner.corpus.docs import make_doc, read_docs, sentence_of, write_docs
from spacy_xner.corpus.origins import DICTIONARY, mark_taught, taught_by
from spacy_xner.errors import Errors, XnerError
from spacy_xner.tags import TokenSpan
from spacy_xner.vectors.dictionary import BilingualDictionary, check_direction, read_dictionary
from spacy_xner.vectors.table import Lookup, VectorTable

# Vectors of lower-cased words in the space of both languages: unit length, or zeros for an unknown word.
# Shape: (n_words, width).
Embed: TypeAlias = Callable[[Sequence[str]], NDArray[numpy.float32]]


class Coverage(NamedTuple):
    """How much of a text a dictionary translates. Units: tokens."""

    n_tokens: int
    n_translated: int


class Made(NamedTuple):
    """A corpus file that was made of another one.

    coverage: How much of it a dictionary translated; zeros where nothing was to be translated.
    """

    path: Path
    n_sentences: int
    coverage: Coverage = Coverage(0, 0)


class WordChoice(NamedTuple):
    """How a translation is chosen among those of the dictionary.

    alpha: Weight of the token itself; its context has the rest.
    window: Tokens of context on each side; 0 takes the whole sentence.
    """

    alpha: float = 0.5
    window: int = 0


WORD_CHOICE = WordChoice()


def translate_corpus(
    corpus: Path,
    dictionary: Path,
    table: VectorTable,
    language: str,
    *,
    reverse: bool = False,
    choice: WordChoice = WORD_CHOICE,
) -> Made:
    """Translate a corpus word by word into `{lang}-{source}.{language}-{split}.spacy` beside it.

    The file keeps the corpus' language in its name, because the labels are that language's; its documents are
    in the other language.

    table: Vectors of the words of both languages in one space.
    language: Language of the translations.
    reverse: Swap the dictionary's source and target.
    RAISES: XNER605 for a dictionary in the wrong direction, XNER615 if no translation has a vector, XNER622
        for a file name that names no split; those of `read_docs` and `read_dictionary`.
    """
    path = name_beside(corpus, language)
    stored = read_docs(corpus)
    docs = list(stored.get_docs(spacy.blank("xx").vocab))
    entries = read_dictionary(dictionary, reverse=reverse)
    # The table has the words of both languages and does not say which language a word belongs to.
    check_direction(entries, Counter(token.lower_ for doc in docs for token in doc), (), dictionary)
    embed = Lookup(table)
    _check_vectors(entries, embed, dictionary)
    sentences = [sentence_of(doc) for doc in docs]
    progress = tqdm(sentences, unit=" sentences", disable=None)
    translated = (translate_sentence(sentence, entries, embed, choice) for sentence in progress)
    _write(translated, path, language, {*taught_by(stored), DICTIONARY.format(name=dictionary.name)})
    return Made(path, len(sentences), measure_coverage(sentences, entries))


def shuffle_corpus(corpus: Path, seed: int = 0) -> Made:
    """Shuffle the words of every sentence into `{lang}-{source}.shuffled-{split}.spacy`; entities stay whole.

    The F1 that a model loses on such text is due to the order of words (Huang et al. 2019, Table 3).
    RAISES: XNER622 for a file name that names no split; those of `read_docs`.
    """
    path = name_beside(corpus, "shuffled")
    rng = random.Random(seed)
    stored = read_docs(corpus)
    docs: list[Doc] = list(stored.get_docs(spacy.blank("xx").vocab))
    shuffled = (shuffle_sentence(sentence_of(doc), rng) for doc in docs)
    _write(shuffled, path, docs[0]._.language, taught_by(stored))
    return Made(path, len(docs))


def name_beside(corpus: Path, name: str) -> Path:
    """Name the file that is made of a corpus file. RAISES: XNER622."""
    stem, hyphen, split = corpus.stem.rpartition("-")
    if not hyphen or not stem or corpus.suffix != ".spacy":
        raise XnerError(Errors.XNER622.format(path=corpus))
    return corpus.with_name(f"{stem}.{name}-{split}.spacy")


def translate_sentence(
    sentence: Sentence,
    dictionary: Mapping[str, Sequence[str]],
    embed: Embed,
    choice: WordChoice = WORD_CHOICE,
) -> Sentence:
    """Replace every token that the dictionary has by the translation that fits token and context best.

    A translation of several words becomes as many tokens, all of them within the token's span. Other tokens
    stay. Translations take over capitals; of equal ones the first is taken.

    dictionary: Lower-cased words and their translations, which are not empty.
    SOURCE: Huang et al. 2019, equation 1.
    """
    words = [token.lower() for token in sentence.tokens]
    candidates = [(i, text.split()) for i, word in enumerate(words) for text in dictionary.get(word, ())]
    if not candidates:
        return sentence
    positions = numpy.array([i for i, _ in candidates])
    scores = _score(words, positions, [parts for _, parts in candidates], embed, choice)
    # A stable sort: the best of every position comes first, and of equals the dictionary's first.
    order = numpy.lexsort((-scores, positions))
    firsts = numpy.unique(positions, return_index=True)[1]
    chosen = dict(candidates[i] for i in order[firsts].tolist())
    return _replace(sentence, chosen)


def shuffle_sentence(sentence: Sentence, rng: random.Random) -> Sentence:
    """Put words and whole entities in another order."""
    inside = {i for span in sentence.spans for i in range(span.start, span.end)}
    pieces = [(span.start, span.end, span.label) for span in sentence.spans]
    pieces += [(i, i + 1, "") for i in range(len(sentence.tokens)) if i not in inside]
    rng.shuffle(pieces)
    order = [i for start, end, _ in pieces for i in range(start, end)]
    spans, position = [], 0
    for start, end, label in pieces:
        if label:
            spans.append(TokenSpan(position, position + end - start, label))
        position += end - start
    return Sentence([sentence.tokens[i] for i in order], [sentence.spaces[i] for i in order], spans)


def measure_coverage(sentences: Iterable[Sentence], dictionary: Mapping[str, Sequence[str]]) -> Coverage:
    """Count the tokens of a text and those of them that `translate_sentence` replaces."""
    has_entry = [bool(dictionary.get(token.lower())) for sentence in sentences for token in sentence.tokens]
    return Coverage(len(has_entry), sum(has_entry))


def _score(
    words: list[str],
    positions: NDArray[numpy.int64],
    translations: list[list[str]],
    embed: Embed,
    choice: WordChoice,
) -> NDArray[numpy.float64]:
    """Score all translations of a sentence's words at once (equation 1).

    positions: Position of the word that each translation is of. Shape: (n_translations,).
    translations: The words of each translation, one or more.
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
    weights = numpy.where(distances == 0, choice.alpha, (1 - choice.alpha) / (distances + 1) ** 2)
    if choice.window:
        weights[distances > choice.window] = 0
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
        words = [token] if translation is None else _with_case(token, " ".join(translation)).split(" ")
        tokens += words
        spaces += [True] * (len(words) - 1) + [space]
    starts.append(len(tokens))
    spans = [TokenSpan(starts[span.start], starts[span.end], span.label) for span in sentence.spans]
    return Sentence(tokens, spaces, spans)


def _with_case(token: str, translation: str) -> str:
    if token.isupper() and len(token) > 1:
        return translation.upper()
    return translation[:1].title() + translation[1:] if token[:1].isupper() else translation


def _check_vectors(entries: BilingualDictionary, embed: Embed, path: Path) -> None:
    words = [word for texts in entries.values() for text in texts for word in text.split()]
    if not embed(words).any():
        raise XnerError(Errors.XNER615.format(n=len(words), where=path, first=words[0]))


def _write(sentences: Iterable[Sentence], path: Path, language: str, origins: set[str]) -> None:
    """Write sentences. origins: Corpora and dictionaries that they go back to; see `corpus.origins`."""
    vocab = spacy.blank("xx").vocab

    def documents() -> Iterator[Doc]:
        for sentence in sentences:
            doc = make_doc(vocab, sentence, language)
            if origins:
                mark_taught(doc, origins)
            yield doc

    write_docs(documents(), path)

"""Code-switching: words and entities of training sentences in other languages, by dictionaries.

spaCy imports this module to look up an augmenter: nothing heavy stands among the imports.

SOURCE: Qin et al. 2020 (CoSDA-ML), https://arxiv.org/abs/2006.06402: sentences, words, and
the language of each word are drawn. Whole entities are replaced as in EntityCS, https://arxiv.org/abs/2210.12540.
DIFFERS: An entity is replaced as a whole or not at all, and by one language.
"""

import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from spacy_xner.corpus.conll import Sentence
from spacy_xner.corpus.docs import make_doc, sentence_of, without_annotation
from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.tags import TokenSpan
from spacy_xner.types import Share
from spacy_xner.vectors.dictionary import BilingualDictionary, read_dictionary

# Sentences after which an augmenter that has found no word says so.
N_SILENT = 1000


class Replacement(NamedTuple):
    """Tokens in the place of others. end: Behind the last token that is replaced."""

    end: int
    tokens: list[str]
    spaces: list[bool]


def create_code_switcher(
    dictionaries: dict[str, Path],
    sentences: Share = 0.5,
    words: Share = 0.3,
    entities: Share = 0.3,
    language: str | None = "en",
    reverse: bool = False,
    seed: int = 0,
) -> "CodeSwitcher":
    """Create an augmenter that replaces words and entities by translations; labels stay with their tokens.

    It works with every reader that has an `augmenter`, `spacy.Corpus.v1` for instance. Switched documents
    keep their entities and lose all other annotation. Documents without annotation of entities stay as they
    are.

    dictionaries: Files by the language of the translations; see `vectors.dictionary`.
    sentences: Share of the sentences that are switched.
    words: Share of the words of such a sentence, outside of entities, that are replaced if a dictionary has
        them.
    entities: Share of its entities that are replaced, by the translation of the whole or of all its words.
    language: Only documents in this language, or in an unknown one, are switched; None for all.
    reverse: Swap source and target of the dictionaries.
    seed: Random seed; every reading of a corpus draws other words.
    RAISES: XNER154 without a dictionary, XNER603 and XNER604 for a damaged one.
    """
    if not dictionaries:
        raise XnerError(Errors.XNER154)
    entries = {
        lang: read_dictionary(Path(path), reverse=reverse) for lang, path in sorted(dictionaries.items())
    }
    return CodeSwitcher(entries, sentences, words, entities, language, seed)


class CodeSwitcher:
    """See `create_code_switcher`. dictionaries: Translations by language and lower-cased word."""

    def __init__(
        self,
        dictionaries: dict[str, BilingualDictionary],
        sentences: float,
        words: float,
        entities: float,
        language: str | None,
        seed: int,
    ) -> None:
        self._dictionaries = dictionaries
        self._sentences, self._words, self._entities = sentences, words, entities
        self._language = language
        self._random = random.Random(seed)
        self._n_seen, self._n_known = 0, 0

    def __call__(self, nlp: Language, example: Example) -> Iterator[Example]:
        """Switch an example, or give it out as it is. Warns once if no word is in the dictionaries: W154."""
        yield self._switch(nlp, example) if self._may_switch(example.reference) else example

    def _may_switch(self, doc: Doc) -> bool:
        language = doc._.language if Doc.has_extension("language") else None
        fits = self._language is None or language in (None, self._language)
        # Tokens without annotation would come out as tokens without an entity.
        return fits and doc.has_annotation("ENT_IOB", require_complete=True)

    def _switch(self, nlp: Language, example: Example) -> Example:
        sentence = sentence_of(example.reference)
        self._report(sentence)
        if self._random.random() >= self._sentences:
            return example
        replacements = self._draw(sentence, nlp.make_doc)
        if not replacements:
            return example
        before = example.predicted
        switched = replace_places(sentence, replacements)
        reference = make_doc(nlp.vocab, switched, example.reference._.language)
        is_gold = [token.text for token in before] == sentence.tokens
        predicted = without_annotation(reference) if is_gold else nlp.make_doc(reference.text)
        predicted._.language = before._.language
        return Example(predicted, reference)

    def _report(self, sentence: Sentence) -> None:
        """Look whether the dictionaries have any word of the first sentences."""
        if self._n_known or self._n_seen >= N_SILENT:
            return
        self._n_seen += 1
        entries = self._dictionaries.values()
        self._n_known += any(token.lower() in known for token in sentence.tokens for known in entries)
        if self._n_seen == N_SILENT and not self._n_known:
            names = ", ".join(self._dictionaries)
            warnings.warn(Warnings.W154.format(n=N_SILENT, languages=names), stacklevel=2)

    def _draw(self, sentence: Sentence, make: Callable[[str], Doc]) -> dict[int, Replacement]:
        """Draw the places to replace and their translations, by the first token of each."""
        chosen = {}
        inside = {i for span in sentence.spans for i in range(span.start, span.end)}
        for span in sentence.spans:
            words = sentence.tokens[span.start : span.end]
            if self._random.random() < self._entities and (text := self._translate(words)):
                chosen[span.start] = _tokenize(text, span.end, make)
        for i, token in enumerate(sentence.tokens):
            if i not in inside and self._random.random() < self._words and (text := self._translate([token])):
                chosen[i] = _tokenize(text, i + 1, make)
        return chosen

    def _translate(self, words: list[str]) -> str:
        """Translate a word or an entity into a language that has it; empty if none has."""
        options = {
            lang: parts for lang, entries in self._dictionaries.items() if (parts := _look_up(words, entries))
        }
        if not options:
            return ""
        parts = options[self._random.choice(list(options))]
        return " ".join(_with_case(word, self._random.choice(translations)) for word, translations in parts)


def _look_up(words: list[str], entries: BilingualDictionary) -> list[tuple[str, list[str]]]:
    """Find the translations of several words as one, or else of each of them; empty if one is missing."""
    whole = entries.get(" ".join(words).lower())
    if whole:
        return [(" ".join(words), whole)]
    parts = [(word, entries.get(word.lower(), [])) for word in words]
    return parts if all(translations for _, translations in parts) else []


def _with_case(words: str, translation: str) -> str:
    """Write a translation as its words were written: in capitals, or with capitals in front."""
    if words.isupper() and len(words) > 1:
        return translation.upper()
    if all(word[:1].isupper() for word in words.split()):
        return " ".join(word[:1].title() + word[1:] for word in translation.split())
    return translation


def _tokenize(text: str, end: int, make: Callable[[str], Doc]) -> Replacement:
    """Cut a translation as the pipeline cuts text: Chinese has a token a character."""
    doc = make(text)
    return Replacement(end, [token.text for token in doc], [bool(token.whitespace_) for token in doc])


def replace_places(sentence: Sentence, replacements: dict[int, Replacement]) -> Sentence:
    """Put tokens in the place of others, and move the spans along.

    replacements: By their first token. Each lies within one span, is one, or lies outside of all.
    """
    tokens: list[str] = []
    spaces: list[bool] = []
    # Where every old token begins now; one more for the end.
    starts: list[int] = []
    i = 0
    while i < len(sentence.tokens):
        end, new_tokens, new_spaces = replacements.get(
            i, Replacement(i + 1, [sentence.tokens[i]], [sentence.spaces[i]])
        )
        starts += [len(tokens)] * (end - i)
        tokens += new_tokens
        # The space behind the place is the sentence's.
        spaces += [*new_spaces[:-1], sentence.spaces[end - 1]]
        i = end
    starts.append(len(tokens))
    spans = [TokenSpan(starts[span.start], starts[span.end], span.label) for span in sentence.spans]
    return Sentence(tokens, spaces, spans)

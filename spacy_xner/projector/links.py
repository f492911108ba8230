"""Links between the tokens of a sentence and its translation, read from files or computed.

SOURCE: Li et al. 2021, section 4.2.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch

from spacy_xner.attributes import register_attributes
from spacy_xner.corpus.conll import Sentence
from spacy_xner.corpus.docs import sentence_of
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import numbered_lines
from spacy_xner.projector.alignment import Links, Place, belonging, cosine_similarity, mutual_argmax
from spacy_xner.projector.parallel import TextPair, make_text
from spacy_xner.tagger.model import Encoder
from spacy_xner.vectors.dictionary import BilingualDictionary

# Pairs that are encoded together.
BATCH_SIZE = 64


class LinkedPair(NamedTuple):
    """A sentence, its translation, and which of their tokens belong together."""

    source: Sentence
    target: Sentence
    links: Links


def read_linked(path: Path) -> Iterator[LinkedPair]:
    """Read `source TAB target TAB links`: words with spaces between, links such as `0-0 1-2` from 0 on.

    RAISES: XNER506 for other lines.
    """
    for number, line in numbered_lines(path):
        columns = line.split("\t")
        try:
            source, target = (column.split() for column in columns[:2])
            links = numpy.zeros((len(source), len(target)), dtype=bool)
            for link in columns[2].split():
                row, column = map(int, link.split("-"))
                links[row, column] = True
        except (ValueError, IndexError) as error:
            raise XnerError(Errors.XNER506.format(path=path, line=number, text=line[-80:])) from error
        yield LinkedPair(_spaced(source), _spaced(target), links)


def annotate_pairs(
    pairs: Iterable[TextPair], teacher: Language, nlp: Language, source_language: str, language: str
) -> Iterator[tuple[Doc, Doc]]:
    """Tokenize both sides of all whole pairs; the teacher finds the entities of the source side.

    nlp: Tokenizes the target side.
    """
    register_attributes()
    whole = ((make_text(teacher, pair.source, source_language), pair) for pair in pairs if pair.is_whole)
    for doc, pair in teacher.pipe(whole, as_tuples=True):
        yield doc, make_text(nlp, pair.target, language)


def link_alike(pairs: Iterable[tuple[Doc, Doc]], tok2vec: Encoder, least: float) -> Iterator[LinkedPair]:
    """Link the words of parallel text that an encoder takes for each other's translations.

    tok2vec, least: See `link_by_similarity`.
    """
    for batch in minibatch(pairs, BATCH_SIZE):
        for (source, target), links in zip(batch, link_by_similarity(tok2vec, batch, least), strict=True):
            yield LinkedPair(sentence_of(source), sentence_of(target), links)


def link_translated(
    pairs: Iterable[tuple[Doc, Doc]], dictionary: BilingualDictionary
) -> Iterator[LinkedPair]:
    """Link the words of parallel text that a dictionary translates."""
    for pair in pairs:
        source, target = sentence_of(pair[0]), sentence_of(pair[1])
        yield LinkedPair(source, target, link_by_dictionary(source.tokens, target.tokens, dictionary))


def link_by_similarity(tok2vec: Encoder, pairs: list[tuple[Doc, Doc]], least: float = 0.5) -> list[Links]:
    """Link tokens that are the most similar of their sentences to each other, where that is beyond doubt.

    tok2vec: Encoder of both languages.
    least: Least probability that one belongs to the other, in both directions; see `alignment.belonging`.
    """
    docs = [doc for pair in pairs for doc in pair]
    vectors = [tok2vec.ops.to_numpy(rows) for rows in tok2vec.predict(docs)]
    links = []
    for source, target in zip(vectors[::2], vectors[1::2], strict=True):
        similarity = cosine_similarity(source, target)
        probable = numpy.minimum(*belonging(similarity, 0.05)) >= least if similarity.size else False
        links.append(mutual_argmax(similarity) & probable)
    return links


def link_by_dictionary(
    source: Sequence[str], target: Sequence[str], dictionary: BilingualDictionary
) -> Links:
    """Link words that translate each other or are written alike.

    A word with two such partners is not linked.
    """
    places: dict[str, list[int]] = {}
    for column, word in enumerate(target):
        places.setdefault(word.lower(), []).append(column)
    links = numpy.zeros((len(source), len(target)), dtype=bool)
    for row, word in enumerate(source):
        for translation in {word.lower(), *dictionary.get(word.lower(), ())}:
            links[row, places.get(translation, [])] = True
    alone = (links.sum(1, keepdims=True) == 1) & (links.sum(0, keepdims=True) == 1)
    return links & alone


def aligned_place(links: Links, place: Place) -> Place | None:
    """Find the translation of a phrase, if the links leave no doubt.

    The first and the last token of the phrase are linked, its linked tokens of the other sentence are a run
    without holes, and none of that run is linked to a token outside of the phrase.

    SOURCE: Och and Ney 2004, consistent phrase pairs of statistical translation.
    """
    start, end = place
    inside = links[start:end]
    columns = numpy.flatnonzero(inside.any(axis=0))
    if not (inside[0].any() and inside[-1].any()) or columns[-1] - columns[0] + 1 != len(columns):
        return None
    if links[:start, columns].any() or links[end:, columns].any():
        return None
    return int(columns[0]), int(columns[-1]) + 1


def _spaced(tokens: list[str]) -> Sentence:
    return Sentence(tokens, [True] * (len(tokens) - 1) + [False], [])

"""What aligners learn from: an entity's text, a sentence, and where in it the entity's translation is.

Triples come from tables, from Wikipedia-style anchors, and from parallel text with linked words.
SOURCE: Li et al. 2021, section 4.2.
"""

import random
import re
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy
from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_xner.corpus.conll import Sentence
from spacy_xner.corpus.docs import make_doc, sentence_of
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import numbered_lines
from spacy_xner.projector.alignment import (
    Links,
    Place,
    belonging,
    cosine_similarity,
    equal_places,
    mutual_argmax,
)
from spacy_xner.tagger.model import Encoder
from spacy_xner.tags import TokenSpan, overlap
from spacy_xner.vectors.dictionary import BilingualDictionary

# The label of the entity, which an aligner never looks at.
LABEL = "ENTITY"
_ANCHOR = re.compile(r"\[\[([^\[\]|]+)(?:\|([^\[\]|]+))?\]\]")
# Negatives are drawn from so many entities of earlier sentences.
N_EARLIER = 1000
Mention = tuple[str, Sentence | None]


class Triple(NamedTuple):
    """An entity's text in one language, and a sentence of another in which its translation is marked.

    A sentence without a mark says that the entity is not in it.
    source: The sentence in which the entity was found, with it alone as a span.
    """

    entity: str
    sentence: Sentence
    source: Sentence | None = None


class LinkedPair(NamedTuple):
    """A sentence, its translation, and which of their tokens belong together."""

    source: Sentence
    target: Sentence
    links: Links


def make_triple_doc(nlp: Language, triple: Triple, language: str) -> Doc:
    """Build the document that an `entity_projector` learns from.

    Its source is the sentence of the entity, or where that is not known the entity.
    """
    doc = make_doc(nlp.vocab, triple.sentence, language)
    if triple.source is not None:
        doc._.source = make_doc(nlp.vocab, triple.source, "")
    else:
        source = nlp.make_doc(triple.entity)
        source.set_ents([Span(source, 0, len(source), label=LABEL)])
        doc._.source = source
    return doc


def read_table(path: Path, nlp: Language) -> Iterator[Triple]:
    """Read `entity TAB sentence TAB translation of the entity`; without the last the entity is not in it.

    Every occurrence of the translation is marked.
    RAISES: XNER505 for a line with fewer columns or whose translation is not in the sentence.
    """
    for number, line in numbered_lines(path):
        entity, *rest = line.split("\t")
        text, place = (*rest, "", "")[:2]
        place = place.strip()
        if not entity.strip() or not text.strip() or place not in text:
            raise XnerError(Errors.XNER505.format(path=path, line=number, text=line[:80]))
        yield Triple(entity, _mark(nlp, text, place))


def read_anchors(path: Path, nlp: Language, *, negatives: float = 0.25, seed: int = 0) -> Iterator[Triple]:
    """Read text with anchors as Wikipedia writes them: `[[entity|its translation]]`, or `[[entity]]`.

    Every occurrence of the translation is marked. negatives: See `make_triples`.
    """
    rng = random.Random(seed)
    earlier: list[Mention] = []
    for _, line in numbered_lines(path):
        text = _ANCHOR.sub(lambda match: match[2] or match[1], line)
        places: dict[str, list[str]] = {}
        for match in _ANCHOR.finditer(line):
            places.setdefault(match[1], []).append(match[2] or match[1])
        positives = [Triple(entity, _mark(nlp, text, *own)) for entity, own in places.items()]
        here = {entity.lower() for entity in places}
        yield from _with_negatives(positives, earlier, here, negatives, rng)
        earlier = [*earlier, *((entity, None) for entity in places)][-N_EARLIER:]


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


def link_by_similarity(tok2vec: Encoder, pairs: list[tuple[Doc, Doc]], least: float = 0.5) -> list[Links]:
    """Link tokens that are the most similar of their sentences to each other, where there is no doubt.

    least: Probability with which both must belong to each other, of all tokens; see `alignment.belonging`.
    """
    vectors = [tok2vec.ops.to_numpy(own) for own in tok2vec.predict([doc for pair in pairs for doc in pair])]
    found = []
    for source, target in zip(vectors[::2], vectors[1::2], strict=True):
        similarity = cosine_similarity(source, target)
        sure = numpy.minimum(*belonging(similarity, 0.05)) >= least if similarity.size else False
        found.append(mutual_argmax(similarity) & sure)
    return found


def link_by_dictionary(
    source: Sequence[str], target: Sequence[str], dictionary: BilingualDictionary
) -> Links:
    """Link words that translate each other, or are written alike, where no other word of either side does."""
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
    """Where a phrase's translation is, if the links leave no doubt.

    Its first and last token are linked, the tokens that it is linked to are a run without holes, and none of
    them is linked to a token outside of the phrase.
    SOURCE: the consistency of phrase pairs of statistical translation (Och and Ney 2004).
    """
    start, end = place
    own = links[start:end]
    columns = numpy.flatnonzero(own.any(axis=0))
    if not (own[0].any() and own[-1].any()) or columns[-1] - columns[0] + 1 != len(columns):
        return None
    if links[:start, columns].any() or links[end:, columns].any():
        return None
    return int(columns[0]), int(columns[-1]) + 1


def find_names(tokens: Sequence[str], stop_words: Collection[str]) -> list[Place]:
    """Runs of capitalised tokens; a stop word between two of them belongs to the name, at an end it does not.

    The first word of a sentence is part of a name only if the second one is.
    """
    is_stop = [token.lower() in stop_words for token in tokens]
    is_capital = [token[:1].isupper() and not stop for token, stop in zip(tokens, is_stop, strict=True)]
    # Anything is capitalised at the beginning of a sentence.
    is_capital[:1] = [is_capital[:2] == [True, True]]
    names: list[Place] = []
    for i in numpy.flatnonzero(is_capital).tolist():
        if names and (i == names[-1][1] or (i == names[-1][1] + 1 and is_stop[i - 1])):
            names[-1] = (names[-1][0], i + 1)
        else:
            names.append((i, i + 1))
    return names


def find_phrases(tokens: Sequence[str], stop_words: Collection[str], max_length: int = 3) -> list[Place]:
    """Runs of words that are neither stop words nor punctuation: noun phrases and the like."""
    is_content = [any(c.isalpha() for c in token) and token.lower() not in stop_words for token in tokens]
    runs: list[Place] = []
    for i in numpy.flatnonzero(is_content).tolist():
        if runs and runs[-1][1] == i and i - runs[-1][0] < max_length:
            runs[-1] = (runs[-1][0], i + 1)
        else:
            runs.append((i, i + 1))
    return runs


def make_triples(
    pairs: Iterable[LinkedPair],
    stop_words: Collection[str],
    *,
    phrases: float = 0.3,
    negatives: float = 0.25,
    seed: int = 0,
) -> Iterator[Triple]:
    """Make triples of the names and phrases of linked sentences.

    The source's entities are its names; where it has none, `find_names` looks for them. A name that is
    mentioned again is one triple, and so is everything in the target that is written like its translation.

    phrases: Share of phrases among the positive triples. negatives: Share of triples whose entity, one of an
        earlier sentence, is not in the sentence.
    """
    rng = random.Random(seed)
    earlier: list[Mention] = []
    for pair in pairs:
        tokens = pair.source.tokens
        names = [span[:2] for span in pair.source.spans] or find_names(tokens, stop_words)
        positives = [_positive(pair, place) for place in names]
        # So many of the phrases that they have their share of the positives in the mean.
        chance = phrases / (1 - phrases) * len(names) if phrases < 1 else len(tokens)
        others = [
            place
            for place in find_phrases(tokens, stop_words)
            if not any(overlap(place, name) for name in names)
        ]
        n_phrases = int(chance) + (rng.random() < chance % 1)
        positives += [_positive(pair, place) for place in rng.sample(others, min(n_phrases, len(others)))]
        different = {triple.entity: triple for triple in positives if triple is not None}
        text = " ".join(tokens).lower()
        yield from _with_negatives(different.values(), earlier, text, negatives, rng)
        earlier = [*earlier, *(_mention(pair.source, name) for name in names)][-N_EARLIER:]


def _with_negatives(
    positives: Iterable[Triple],
    earlier: Sequence[Mention],
    present: Container[str],
    negatives: float,
    rng: random.Random,
) -> Iterator[Triple]:
    """Say of the sentence of some triples that entities of earlier ones are not in it.

    present: What is in it, in lower case: a text, or names.
    """
    for triple in positives:
        yield triple
        if earlier and rng.random() < negatives / (1 - negatives):
            strange, source = rng.choice(earlier)
            if strange.lower() not in present:
                yield Triple(strange, triple.sentence._replace(spans=[]), source)


def _positive(pair: LinkedPair, place: Place) -> Triple | None:
    found = aligned_place(pair.links, place)
    if found is None:
        return None
    entity, source = _mention(pair.source, place)
    # An aligner that reads the entity alone cannot tell one mention from another.
    marked = [TokenSpan(*own, LABEL) for own in equal_places(pair.target.tokens, found)]
    return Triple(entity, pair.target._replace(spans=marked), source)


def _mention(sentence: Sentence, place: Place) -> tuple[str, Sentence]:
    """The text of a place, and the sentence with it alone as a span."""
    words = islice(zip(sentence.tokens, sentence.spaces, strict=True), *place)
    text = "".join(token + " " * space for token, space in words).strip()
    return text, sentence._replace(spans=[TokenSpan(*place, LABEL)])


def _mark(nlp: Language, text: str, *parts: str) -> Sentence:
    """Tokenize a text and mark all occurrences of parts of it: those that are whole tokens, if there are."""
    doc = nlp.make_doc(text)
    # The longest first: one may be in another.
    pattern = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True) if part)
    found = [match.span() for match in re.finditer(pattern, text)] if pattern else []
    marked: list[TokenSpan] = []
    for mode in ("strict", "expand"):
        spans = [doc.char_span(*own, alignment_mode=mode) for own in found]
        places = sorted({(span.start, span.end) for span in spans if span is not None})
        marked = [TokenSpan(*own, LABEL) for own in places]
        if marked:
            break
    return sentence_of(doc)._replace(spans=marked)


def _spaced(tokens: list[str]) -> Sentence:
    return Sentence(tokens, [True] * (len(tokens) - 1) + [False], [])

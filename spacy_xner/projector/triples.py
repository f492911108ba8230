"""Triples, from which aligners learn: an entity's text, a sentence, the place of its translation there.

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
from spacy_xner.projector.alignment import Place, equal_places
from spacy_xner.projector.links import LinkedPair, aligned_place
from spacy_xner.tags import TokenSpan, overlap

# Label of the entity; an aligner never looks at it.
LABEL = "ENTITY"
_ANCHOR = re.compile(r"\[\[([^\[\]|]+)(?:\|([^\[\]|]+))?\]\]")
# Negatives are drawn from the last entities of earlier sentences, this number of them.
N_EARLIER = 1000
Mention = tuple[str, Sentence | None]


class Triple(NamedTuple):
    """An entity's text in one language, and a sentence of another in which its translation is marked.

    A sentence without a mark says that the entity is not in it.

    entity: Text of the entity.
    sentence: Sentence of the other language; its spans are the places of the translation.
    source: Sentence in which the entity was found, with the entity as its only span.
    """

    entity: str
    sentence: Sentence
    source: Sentence | None = None


def make_triple_doc(nlp: Language, triple: Triple, language: str) -> Doc:
    """Build the document that an `entity_projector` learns from.

    The document's source is the sentence of the entity, or the entity alone where no sentence is known.
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
    """Read lines of `entity TAB sentence TAB translation of the entity`.

    Every occurrence of the translation is marked. Without a translation the entity is not in the sentence.

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

    Every occurrence of the translation is marked.

    negatives: See `make_triples`.
    """
    rng = random.Random(seed)
    earlier: list[Mention] = []
    for _, line in numbered_lines(path):
        text = _ANCHOR.sub(lambda match: match[2] or match[1], line)
        places: dict[str, list[str]] = {}
        for match in _ANCHOR.finditer(line):
            places.setdefault(match[1], []).append(match[2] or match[1])
        positives = [Triple(entity, _mark(nlp, text, *parts)) for entity, parts in places.items()]
        here = {entity.lower() for entity in places}
        yield from _with_negatives(positives, earlier, here, negatives, rng)
        earlier = [*earlier, *((entity, None) for entity in places)][-N_EARLIER:]


def find_names(tokens: Sequence[str], stop_words: Collection[str]) -> list[Place]:
    """Find runs of capitalised tokens.

    A stop word between two of them belongs to the name, a stop word at an end does not. The first word of a
    sentence is part of a name only if the second one is.
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
    """Find runs of words that are neither stop words nor punctuation: noun phrases and the like."""
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
    mentioned twice is one triple, and everything that the target writes like its translation is marked.

    stop_words: Words of the source that are no part of names and phrases.
    phrases: Share of phrases among the positive triples.
    negatives: Share of triples whose entity, which an earlier sentence has, is not in the sentence.
    """
    rng = random.Random(seed)
    earlier: list[Mention] = []
    for pair in pairs:
        tokens = pair.source.tokens
        names = [span[:2] for span in pair.source.spans] or find_names(tokens, stop_words)
        positives = [_positive(pair, place) for place in names]
        # On average, this number of phrases has the share that was asked for.
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
    """Add triples that say that the entity of an earlier sentence is not in this one.

    positives: Triples of one sentence.
    earlier: Entities of earlier sentences.
    present: Lower-cased text of the sentence, or its names.
    """
    for triple in positives:
        yield triple
        if earlier and rng.random() < negatives / (1 - negatives):
            strange, source = rng.choice(earlier)
            if strange.lower() not in present:
                yield Triple(strange, triple.sentence._replace(spans=[]), source)


def _positive(pair: LinkedPair, place: Place) -> Triple | None:
    translation = aligned_place(pair.links, place)
    if translation is None:
        return None
    entity, source = _mention(pair.source, place)
    # An aligner that reads the entity alone cannot tell one mention from another.
    marked = [TokenSpan(*equal, LABEL) for equal in equal_places(pair.target.tokens, translation)]
    return Triple(entity, pair.target._replace(spans=marked), source)


def _mention(sentence: Sentence, place: Place) -> tuple[str, Sentence]:
    """RETURNS: Text of a place, and the sentence with that place as its only span."""
    words = islice(zip(sentence.tokens, sentence.spaces, strict=True), *place)
    text = "".join(token + " " * space for token, space in words).strip()
    return text, sentence._replace(spans=[TokenSpan(*place, LABEL)])


def _mark(nlp: Language, text: str, *parts: str) -> Sentence:
    """Tokenize a text and mark all occurrences of some parts.

    Occurrences that are whole tokens are marked alone, if there are any.
    """
    doc = nlp.make_doc(text)
    # The longest part comes first: one part may contain another.
    pattern = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True) if part)
    occurrences = [match.span() for match in re.finditer(pattern, text)] if pattern else []
    marked: list[TokenSpan] = []
    for mode in ("strict", "expand"):
        spans = [doc.char_span(*occurrence, alignment_mode=mode) for occurrence in occurrences]
        places = sorted({(span.start, span.end) for span in spans if span is not None})
        marked = [TokenSpan(*place, LABEL) for place in places]
        if marked:
            break
    return sentence_of(doc)._replace(spans=marked)

"""The corpus of an aligner: triples from files of five kinds, split into training and dev sentences."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import get_lang_class

from spacy_xner.errors import Errors, XnerError
from spacy_xner.loading import load_pipeline
from spacy_xner.projector.links import (
    LinkedPair,
    annotate_pairs,
    link_alike,
    link_translated,
    read_linked,
)
from spacy_xner.projector.parallel import read_pairs
from spacy_xner.projector.triples import Triple, make_triple_doc, make_triples, read_anchors, read_table
from spacy_xner.transformer.model import build_transformer_encoder
from spacy_xner.vectors.dictionary import read_dictionary

TripleKind = Literal["table", "anchors", "links", "dictionary", "similarity"]


@dataclass(frozen=True)
class TripleSettings:
    """The sources of triples, and how they are made of them.

    kind: "table" reads `entity TAB sentence TAB translation`, "anchors" text with [[entity|translation]],
        "links" lines of `source TAB target TAB 0-0 1-2`; "dictionary" and "similarity" link parallel text.
    source: File to read, or the source side of parallel text.
    language: Language of the sentences.
    source_language: Language of the entities.
    target: Target side, if it is in another file.
    dictionary: File of word pairs, for the kind "dictionary".
    teacher: Pipeline that finds entities on the source side; without one, capitalised words are names.
    encoder: Checkpoint, for the kind "similarity".
    layer: Layer of the encoder that is compared.
    least: Probability with which words must belong together.
    phrases: Share of phrases among the positive triples.
    negatives: Share of triples whose entity is not in the sentence; a table has its own.
    seed: Random seed of all choices.
    """

    kind: TripleKind
    source: Path
    language: str
    source_language: str = "en"
    target: Path | None = None
    dictionary: Path | None = None
    teacher: str = ""
    encoder: str = "multilingual-e5-small"
    layer: int = 6
    least: float = 0.5
    phrases: float = 0.3
    negatives: float = 0.25
    seed: int = 0


class AlignerCorpus(NamedTuple):
    """Documents that an `entity_projector` learns from. No sentence is on both sides."""

    train: list[Doc]
    dev: list[Doc]


def find_triples(settings: TripleSettings, nlp: Language) -> Iterator[Triple]:
    """Read or make triples.

    nlp: Tokenizes the sentences.
    RAISES: XNER420 for a teacher that is no pipeline, XNER505 and XNER506 for bad lines, XNER516 without a
        dictionary, and the errors of `read_pairs` and `read_dictionary`.
    """
    if settings.kind == "table":
        yield from read_table(settings.source, nlp)
    elif settings.kind == "anchors":
        yield from read_anchors(settings.source, nlp, negatives=settings.negatives, seed=settings.seed)
    else:
        stop_words = get_lang_class(settings.source_language).Defaults.stop_words
        yield from make_triples(
            _link_pairs(settings, nlp),
            stop_words,
            phrases=settings.phrases,
            negatives=settings.negatives,
            seed=settings.seed,
        )


def make_aligner_corpus(
    triples: Iterable[Triple], nlp: Language, settings: TripleSettings, *, dev_share: float, limit: int = 0
) -> AlignerCorpus:
    """Turn triples into documents. A sentence is on one side with all of its entities.

    dev_share: Share of the sentences for dev.
    limit: First n triples; 0 takes all.
    RAISES: XNER515 if a side would be empty.
    """
    corpus = AlignerCorpus([], [])
    rng = random.Random(settings.seed)
    is_dev: dict[str, bool] = {}
    for triple in islice(triples, limit or None):
        on_dev = is_dev.setdefault("".join(triple.sentence.tokens), rng.random() < dev_share)
        docs = corpus.dev if on_dev else corpus.train
        docs.append(make_triple_doc(nlp, triple, settings.language))
    if not corpus.train or not corpus.dev:
        n_train, n_dev = map(len, corpus)
        raise XnerError(Errors.XNER515.format(source=settings.source, n_train=n_train, n_dev=n_dev))
    return corpus


def _link_pairs(settings: TripleSettings, nlp: Language) -> Iterator[LinkedPair]:
    if settings.kind == "links":
        yield from read_linked(settings.source)
        return
    if settings.kind == "dictionary" and settings.dictionary is None:
        raise XnerError(Errors.XNER516)
    teacher = load_pipeline(settings.teacher) if settings.teacher else nlp
    pairs = annotate_pairs(
        read_pairs(settings.source, settings.target),
        teacher,
        nlp,
        settings.source_language,
        settings.language,
    )
    if settings.dictionary is not None and settings.kind == "dictionary":
        yield from link_translated(pairs, read_dictionary(settings.dictionary))
        return
    tok2vec = build_transformer_encoder(settings.encoder, settings.layer, settings.layer, "mean")
    tok2vec.initialize()
    yield from link_alike(pairs, tok2vec, settings.least)

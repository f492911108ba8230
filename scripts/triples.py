"""Make the corpus of an entity aligner: entities, sentences, and where in them their translations are."""

import random
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.tokens import Doc
from spacy.util import get_lang_class, minibatch
from tqdm import tqdm
from wasabi import msg

from spacy_xner.attributes import register_attributes
from spacy_xner.corpus.docs import sentence_of, write_docs
from spacy_xner.projector.parallel import TextPair, make_text, read_pairs
from spacy_xner.projector.triples import (
    LinkedPair,
    Triple,
    link_by_dictionary,
    link_by_similarity,
    make_triple_doc,
    make_triples,
    read_anchors,
    read_linked,
    read_table,
)
from spacy_xner.tokenizer import create_multilingual_tokenizer
from spacy_xner.transformer.model import build_transformer_encoder
from spacy_xner.vectors.dictionary import BilingualDictionary, read_dictionary


class Kind(str, Enum):
    """Where triples come from."""

    table = "table"
    anchors = "anchors"
    links = "links"
    dictionary = "dictionary"
    similarity = "similarity"


def main(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="table: `entity TAB sentence TAB translation`; anchors: text with [[entity|translation]]; "
            "links: `source TAB target TAB 0-0 1-2`; dictionary and similarity: parallel text, linked by a "
            "dictionary or by the encoder."
        ),
    ],
    source: Annotated[Path, typer.Argument(help="The file; of parallel text, or its source side.")],
    out: Annotated[Path, typer.Argument(help="Folder for {lang}-{name}-train.spacy and -dev.spacy.")],
    language: Annotated[str, typer.Option(help="Language of the sentences.")],
    target: Annotated[Path | None, typer.Option(help="Target side, if it is a file of its own.")] = None,
    source_language: Annotated[str, typer.Option(help="Language of the entities.")] = "en",
    name: Annotated[str, typer.Option(help="Name in the file names; the kind if it is not given.")] = "",
    dictionary: Annotated[Path | None, typer.Option(help="Word pairs, StarDict's .ifo, or .tei.")] = None,
    teacher: Annotated[str, typer.Option(help="Pipeline that finds entities on the source side.")] = "",
    encoder: Annotated[str, typer.Option(help="Checkpoint for similarity.")] = "multilingual-e5-small",
    layer: Annotated[int, typer.Option(help="Layer of it that is compared.")] = 6,
    least: Annotated[float, typer.Option(help="Probability with which words must belong together.")] = 0.5,
    phrases: Annotated[float, typer.Option(min=0, max=1, help="Share of phrases that are no names.")] = 0.3,
    negatives: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, help="Share of entities that are not in the sentence; a table has its own."
        ),
    ] = 0.25,
    dev_share: Annotated[float, typer.Option(min=0, max=1, help="Share of the sentences for dev.")] = 0.05,
    limit: Annotated[int, typer.Option(help="First n triples; 0 takes all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of all choices.")] = 0,
) -> None:
    """Write the documents that `spacy train configs/aligner.cfg` learns from.

    Without a teacher, runs of capitalised words are taken for names. Paper: 30,000 triples a language, a
    quarter of them negative.
    """
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    if kind is Kind.dictionary and dictionary is None:
        raise typer.BadParameter("--dictionary FILE is missing, with a line `word TAB translation` each")
    if kind is Kind.table:
        triples: Iterable[Triple] = read_table(source, nlp)
    elif kind is Kind.anchors:
        triples = read_anchors(source, nlp, negatives=negatives, seed=seed)
    else:
        if kind is Kind.links:
            pairs: Iterable[LinkedPair] = read_linked(source)
        else:
            annotate = spacy.load(teacher) if teacher else nlp
            texts = _annotate(read_pairs(source, target), annotate, nlp, source_language, language)
            pairs = (
                link_alike(texts, encoder, layer, least)
                if kind is Kind.similarity
                else link_translated(texts, read_dictionary(dictionary or Path()))
            )
        stop_words = get_lang_class(source_language).Defaults.stop_words
        triples = make_triples(pairs, stop_words, phrases=phrases, negatives=negatives, seed=seed)
    train: list[Doc] = []
    dev: list[Doc] = []
    rng = random.Random(seed)
    is_dev: dict[str, bool] = {}
    for triple in tqdm(islice(triples, limit or None), unit=" triples", disable=None):
        # A sentence is on one side with all of its entities.
        own = is_dev.setdefault("".join(triple.sentence.tokens), rng.random() < dev_share)
        (dev if own else train).append(make_triple_doc(nlp, triple, language))
    if not train or not dev:
        msg.fail(f"{source}: {len(train)} triples for training and {len(dev)} for dev are too few", exits=1)
    for split, docs in (("train", train), ("dev", dev)):
        path = out / f"{language}-{name or kind.value}-{split}.spacy"
        write_docs(docs, path)
        n_negative = sum(not doc.ents for doc in docs)
        msg.good(f"{path}: {len(docs):,} triples, {n_negative:,} of them negative")


def link_alike(
    texts: Iterable[tuple[Doc, Doc]], encoder: str, layer: int, least: float
) -> Iterator[LinkedPair]:
    """Link the words of parallel text that an encoder takes for each other's translations."""
    tok2vec = build_transformer_encoder(encoder, layer, layer, "mean")
    tok2vec.initialize()
    for batch in minibatch(texts, 64):
        for (source, target), links in zip(batch, link_by_similarity(tok2vec, batch, least), strict=True):
            yield LinkedPair(sentence_of(source), sentence_of(target), links)


def link_translated(
    texts: Iterable[tuple[Doc, Doc]], dictionary: BilingualDictionary
) -> Iterator[LinkedPair]:
    """Link the words of parallel text that a dictionary translates."""
    for pair in texts:
        source, target = sentence_of(pair[0]), sentence_of(pair[1])
        yield LinkedPair(source, target, link_by_dictionary(source.tokens, target.tokens, dictionary))


def _annotate(
    pairs: Iterable[TextPair],
    teacher: spacy.Language,
    nlp: spacy.Language,
    source_language: str,
    language: str,
) -> Iterator[tuple[Doc, Doc]]:
    register_attributes()
    whole = ((make_text(teacher, pair.source, source_language), pair) for pair in pairs if pair.is_whole)
    for doc, pair in teacher.pipe(whole, as_tuples=True):
        yield doc, make_text(nlp, pair.target, language)


if __name__ == "__main__":
    typer.run(main)

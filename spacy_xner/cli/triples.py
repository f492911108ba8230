"""`spacy xner triples`: the training corpus of an entity aligner."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.options import Seed


class Kind(str, Enum):
    """Files that triples come from."""

    table = "table"
    anchors = "anchors"
    links = "links"
    dictionary = "dictionary"
    similarity = "similarity"


KIND_HELP = (
    "table: `entity TAB sentence TAB translation`; anchors: text with [[entity|translation]]; links: `source "
    "TAB target TAB 0-0 1-2`; dictionary and similarity: parallel text, linked by a dictionary or an encoder."
)


@verb("triples")
def triples_cli(
    kind: Annotated[Kind, typer.Argument(help=KIND_HELP)],
    source: Annotated[Path, typer.Argument(help="File to read, or the source side of parallel text.")],
    out: Annotated[Path, typer.Argument(help="Folder for {lang}-{name}-train.spacy and -dev.spacy.")],
    language: Annotated[str, typer.Option(help="Language of the sentences.")],
    target: Annotated[Path | None, typer.Option(help="Target side, if it is in another file.")] = None,
    source_language: Annotated[str, typer.Option(help="Language of the entities.")] = "en",
    name: Annotated[str, typer.Option(help="Name in the file names; the kind by default.")] = "",
    dictionary: Annotated[Path | None, typer.Option(help="Word pairs, StarDict's .ifo, or .tei.")] = None,
    teacher: Annotated[str, typer.Option(help="Pipeline that finds entities on the source side.")] = "",
    encoder: Annotated[str, typer.Option(help="Checkpoint for similarity.")] = "multilingual-e5-small",
    layer: Annotated[int, typer.Option(min=0, help="Layer of the encoder that is compared.")] = 6,
    least: Annotated[float, typer.Option(help="Probability with which words must belong together.")] = 0.5,
    phrases: Annotated[float, typer.Option(min=0, max=1, help="Share of phrases that are no names.")] = 0.3,
    negatives: Annotated[
        float,
        typer.Option(min=0, max=0.9, help="Share of entities not in the sentence; a table has its own."),
    ] = 0.25,
    dev_share: Annotated[float, typer.Option(min=0, max=1, help="Share of the sentences for dev.")] = 0.05,
    limit: Annotated[int, typer.Option(min=0, help="First n triples; 0 takes all.")] = 0,
    seed: Seed = 0,
) -> None:
    """Write the documents that a pipeline of the config `aligner` learns from.

    Without a teacher, runs of capitalised words are taken for names. The paper has 30,000 triples a language,
    a quarter of them negative. EXAMPLE: python -m spacy xner triples links linked.tsv corpus --language de
    """
    from tqdm import tqdm

    from spacy_xner.corpus.docs import write_docs
    from spacy_xner.corpus.names import file_language
    from spacy_xner.projector.aligner_corpus import TripleSettings, find_triples, make_aligner_corpus
    from spacy_xner.tokenizer import blank_pipeline

    nlp = blank_pipeline()
    settings = TripleSettings(
        kind=kind.value, source=source, language=language, source_language=source_language, target=target,
        dictionary=dictionary, teacher=teacher, encoder=encoder, layer=layer, least=least, phrases=phrases,
        negatives=negatives, seed=seed,
    )  # fmt: skip
    triples = tqdm(find_triples(settings, nlp), unit=" triples", leave=False, disable=None)
    corpus = make_aligner_corpus(triples, nlp, settings, dev_share=dev_share, limit=limit)
    for split, docs in corpus._asdict().items():
        path = out / f"{file_language(language)}-{name or kind.value}-{split}.spacy"
        write_docs(docs, path)
        n_negative = sum(not doc.ents for doc in docs)
        msg.good(f"{path}: {len(docs):,} triples, {n_negative:,} of them negative")

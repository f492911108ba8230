"""`spacy xner assemble`: one pipeline of an identifier, a router and a tagger for each cluster."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.options import Languages, split_names


class Level(str, Enum):
    """The unit of text that is routed."""

    doc = "doc"
    sentence = "sentence"


@verb("assemble")
def assemble_cli(
    grouping: Annotated[Path, typer.Argument(help="Grouping file.")],
    taggers: Annotated[Path, typer.Argument(help="Folder with a trained pipeline for each cluster.")],
    identifier: Annotated[Path, typer.Argument(help="Pipeline with a trained language_identifier.")],
    corpus: Annotated[Path, typer.Argument(help="Corpus that the languages' mean vectors are made of.")],
    out: Annotated[Path, typer.Argument(help="Folder for the assembled pipeline.")],
    languages: Languages = "",
    source: Annotated[str, typer.Option(help="Corpus, as in the file names; empty for all.")] = "",
    threshold: Annotated[float, typer.Option(help="Probability below which the vector decides.")] = 0.5,
    fallback: Annotated[str, typer.Option(help="Cluster for text like no known language.")] = "",
    level: Annotated[Level, typer.Option(help="Route whole texts or each sentence.")] = Level.doc,
) -> None:
    """Put trained parts together to the routed pipeline, which `spacy.load` loads.

    A language of the corpus that the identifier learnt must stand in the grouping.

    EXAMPLE: python -m spacy xner assemble found.json training/clusters training/identifier/model-best
    corpus training/xner
    """
    from spacy_xner.corpus.reader import create_multilingual_corpus
    from spacy_xner.files import fresh_folder
    from spacy_xner.router.assemble import N_MEAN_TEXTS, assemble, initialize_router
    from spacy_xner.router.grouping import read_grouping

    table = read_grouping(grouping)
    reader = create_multilingual_corpus(
        corpus,
        split="train",
        languages=split_names(languages),
        sources=split_names(source),
        limit=N_MEAN_TEXTS,
    )
    nlp = assemble(
        table, taggers, identifier, threshold=threshold, fallback=fallback or None, level=level.value
    )
    initialize_router(nlp, table, reader)
    with fresh_folder(out) as folder:
        nlp.to_disk(folder)
    msg.good(f"Assembled {', '.join(nlp.pipe_names)} in {out}")

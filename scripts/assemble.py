"""Assemble the routed pipeline: identifier, router, and the tagger of every cluster."""

from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.language import Language
from wasabi import msg

from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import fresh_folder
from spacy_xner.router.grouping import Grouping, read_grouping

from common import split_names


def main(
    grouping: Annotated[Path, typer.Argument(help="Grouping file.")],
    taggers: Annotated[Path, typer.Argument(help="Folder with a trained pipeline a cluster.")],
    identifier: Annotated[Path, typer.Argument(help="Pipeline with a trained language_identifier.")],
    corpus: Annotated[Path, typer.Argument(help="Corpus of the languages' mean vectors.")],
    out: Annotated[Path, typer.Argument(help="Folder for the assembled pipeline.")],
    languages: Annotated[str, typer.Option(help="Comma-separated; all of the corpus by default.")] = "",
    source: Annotated[str, typer.Option(help="Corpus, as in the file names; empty for all.")] = "",
    threshold: Annotated[float, typer.Option(help="Probability below which the vector decides.")] = 0.5,
    fallback: Annotated[str, typer.Option(help="Cluster for text like no known language.")] = "",
    level: Annotated[str, typer.Option(help="Route whole texts (doc) or each sentence (sentence).")] = "doc",
) -> None:
    """Source every component from its own pipeline into one.

    A language of the corpus that the identifier learnt must stand in the grouping.
    """
    table = read_grouping(grouping)
    reader = create_multilingual_corpus(
        corpus,
        split="train",
        languages=split_names(languages),
        sources=split_names(source),
        limit=200,
    )
    nlp = assemble(table, taggers, identifier, threshold=threshold, fallback=fallback or None, level=level)
    router = nlp.get_pipe("cluster_router")
    router.initialize(lambda: reader(nlp), nlp=nlp, grouping=table.to_json())
    with fresh_folder(out) as folder:
        nlp.to_disk(folder)
    msg.good(f"Assembled {', '.join(nlp.pipe_names)} in {out}")


def assemble(
    grouping: Grouping,
    taggers: Path,
    identifier: Path,
    *,
    threshold: float = 0.5,
    fallback: str | None = None,
    level: str = "doc",
) -> Language:
    """Build the pipeline; its router has no mean vectors yet.

    taggers: Has a folder or link by the name of every cluster.
    RAISES: XNER405 for a cluster without a tagger.
    """
    found = sorted(path.parent.name for path in taggers.glob("*/meta.json"))
    missing = [cluster for cluster in grouping.clusters if cluster not in found]
    if missing:
        message = Errors.XNER405.format(
            name=grouping.name, missing=", ".join(missing), where=taggers, found=", ".join(found) or "none"
        )
        raise XnerError(message)
    source = spacy.load(identifier)
    tokenizer = source.config["nlp"]["tokenizer"]
    nlp = spacy.blank("xx", config={"nlp": {"tokenizer": tokenizer, "batch_size": 256}})
    if level == "sentence":
        nlp.add_pipe("sentencizer")
    nlp.add_pipe("language_identifier", source=source)
    nlp.get_pipe("language_identifier").level = level
    nlp.get_pipe_config("language_identifier")["level"] = level
    nlp.add_pipe("cluster_router", config={"threshold": threshold, "fallback": fallback})
    for cluster in grouping.clusters:
        tagger = spacy.load(taggers / cluster)
        name = f"ner_{cluster}"
        nlp.add_pipe("ner", name=name, source=tagger)
    return nlp


if __name__ == "__main__":
    typer.run(main)

"""Assemble the routed pipeline: identifier, router, and the tagger of every cluster."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import spacy
from spacy.language import Language
from spacy.training import Example

from spacy_xner.errors import Errors, XnerError
from spacy_xner.loading import load_pipeline
from spacy_xner.router.grouping import Grouping

IDENTIFIER, ROUTER = "language_identifier", "cluster_router"
# Texts of a language that its mean vector is made of.
N_MEAN_TEXTS = 200


def assemble(
    grouping: Grouping,
    taggers: Path,
    identifier: Path,
    *,
    threshold: float = 0.5,
    fallback: str | None = None,
    level: Literal["doc", "sentence"] = "doc",
) -> Language:
    """Build the routed pipeline from trained parts; `initialize_router` gives it the mean vectors.

    taggers: Folder of pipelines or trainings by the names of the clusters; see `find_taggers`.
    identifier: Pipeline with a trained `language_identifier`.
    threshold, fallback: Settings of `ClusterRouter`.
    level: Route whole texts or each sentence.
    RAISES: XNER405 for a cluster without a tagger, XNER420 and XNER421 for a part that is no such pipeline.
    """
    trained = find_taggers(taggers)
    missing = [cluster for cluster in grouping.clusters if cluster not in trained]
    if missing:
        message = Errors.XNER405.format(
            name=grouping.name,
            missing=", ".join(missing),
            where=taggers,
            found=", ".join(sorted(trained)) or "none",
        )
        raise XnerError(message)
    source = load_pipeline(identifier, IDENTIFIER)
    tokenizer = source.config["nlp"]["tokenizer"]
    nlp = spacy.blank("xx", config={"nlp": {"tokenizer": tokenizer, "batch_size": 256}})
    if level == "sentence":
        nlp.add_pipe("sentencizer")
    nlp.add_pipe(IDENTIFIER, source=source)
    nlp.get_pipe(IDENTIFIER).level = level
    nlp.get_pipe_config(IDENTIFIER)["level"] = level
    nlp.add_pipe(ROUTER, config={"threshold": threshold, "fallback": fallback})
    for cluster in grouping.clusters:
        nlp.add_pipe("ner", name=f"ner_{cluster}", source=load_pipeline(trained[cluster], "ner"))
    return nlp


def find_taggers(folder: Path) -> dict[str, Path]:
    """Find the pipeline of every cluster: the folder of its name, or `model-best` in that of a training."""
    trainings = {path.parents[1].name: path.parent for path in folder.glob("*/model-best/meta.json")}
    return trainings | {path.parent.name: path.parent for path in folder.glob("*/meta.json")}


def initialize_router(
    nlp: Language, grouping: Grouping, read: Callable[[Language], Iterable[Example]]
) -> None:
    """Give the router its grouping and the mean vector of every language.

    read: A corpus reader. Each of its languages must stand in the grouping.
    RAISES: XNER404, XNER409.
    """
    router = nlp.get_pipe(ROUTER)
    router.initialize(lambda: read(nlp), nlp=nlp, grouping=grouping.to_json(), n_texts=N_MEAN_TEXTS)

"""The tiny pipelines that are damaged."""

import json
import os
from pathlib import Path
from typing import Any

import numpy
import torch
from spacy.language import Language
from thinc.api import fix_random_seed

from tests import tiny


def make_pipelines(folder: Path) -> dict[str, Path]:
    """Train the tiny pipelines that are damaged. RETURNS: Folders by name."""
    # A forked child has no use for its parent's threads, and waits for them in vain.
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    checkpoint = tiny.make_checkpoint(folder / "checkpoint")
    made = {
        "tagger": make_tagger(checkpoint),
        "other": make_tagger(checkpoint, seed=1),
        "bilstm": make_bilstm(0),
        "other bilstm": make_bilstm(1),
        "routed": make_routed(checkpoint),
        "projector": tiny.make_projector(checkpoint),
        "aligner": make_aligner(checkpoint),
    }
    paths = {name: folder / name.replace(" ", "_") for name in made}
    for name, nlp in made.items():
        nlp.to_disk(paths[name])
    return paths


def make_tagger(
    checkpoint: Path, clusters: str = "*", languages: tuple[str, ...] = (), seed: int = 0
) -> Language:
    """Train a tagger on all sentences, or on those of some languages."""
    fix_random_seed(seed)
    nlp = tiny.make_nlp(checkpoint, {"clusters": [clusters]}, n_frozen_layers=1)
    nlp.config["nlp"]["tokenizer"] = {"@tokenizers": tiny.TOKENIZER}
    examples = tiny.make_examples(nlp)
    tiny.fit(
        nlp, [eg for eg in examples if not languages or eg.reference._.language in languages], "ner", 60, 0.02
    )
    return nlp


def make_bilstm(seed: int) -> Language:
    """Train a BiLSTM whose documents read words and characters."""
    fix_random_seed(seed)
    nlp = tiny.make_bilstm(("maria", "lisbon", "nokia", "toyota", "москву", "the"))
    if seed:
        nlp.vocab.vectors.data = numpy.random.default_rng(seed).normal(size=(6, 4)).astype("float16")
    tiny.train(nlp, 60)
    return nlp


def make_routed(checkpoint: Path) -> Language:
    """Assemble an identifier, a router and a tagger a cluster."""
    fix_random_seed(0)
    identifier = tiny.make_identifier(checkpoint)
    tiny.train_identifier(identifier, 60)
    nlp = tiny.blank()
    nlp.add_pipe("language_identifier", source=identifier)
    router = nlp.add_pipe("cluster_router")
    for cluster, languages in tiny.GROUPING["clusters"].items():
        nlp.add_pipe("ner", name=f"ner_{cluster}", source=make_tagger(checkpoint, cluster, tuple(languages)))
    examples = tiny.make_examples(nlp, known_language=False)
    router.initialize(lambda: examples, nlp=nlp, grouping=tiny.GROUPING)
    return nlp


def make_aligner(checkpoint: Path) -> Language:
    """Train an aligner on the entities of the sentences."""
    fix_random_seed(0)
    nlp = tiny.make_aligner(checkpoint)
    tiny.teach(nlp, tiny.triples(nlp), 40, 0.01)
    return nlp


def read_texts(nlp: Language) -> list[Any]:
    """All that the pipeline writes on the sentences, numbers to the fourth digit."""
    found = []
    for text, entities, _ in tiny.SENTENCES:
        for doc in nlp.pipe([tiny.parallel(nlp, text, entities)]):
            scores = doc.spans["xner"].attrs.get("scores", []) if "xner" in doc.spans else []
            found.append(
                [
                    [token.text for token in doc],
                    [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents],
                    [round(float(score), 4) for score in scores],
                    doc._.language,
                    {key: round(value, 4) for key, value in (doc._.language_scores or {}).items()},
                    doc._.cluster,
                    doc._.projection,
                ]
            )
    return json.loads(json.dumps(found))

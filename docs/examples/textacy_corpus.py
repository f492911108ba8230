"""A textacy corpus in many languages: the names in it, by type, with how sure the pipeline is of them.

textacy hands the metadata of a record to the pipeline: a text whose record tells its language is taken to
be in it.

    pip install textacy
    python docs/examples/textacy_corpus.py xx_xner texts.jsonl
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import spacy
import textacy
from spacy.language import Language
from textacy.extract import entities


class Name(NamedTuple):
    """A name of a corpus. expected: The number of right ones among its entities, by their probabilities."""

    text: str
    label: str
    n_entities: int
    expected: float
    languages: list[str]


def make_corpus(nlp: Language, rows: Iterable[dict[str, Any]]) -> textacy.Corpus:
    """Annotate rows with a `text` and any further fields, which become the metadata of the documents."""
    records = ((row["text"], {key: value for key, value in row.items() if key != "text"}) for row in rows)
    return textacy.Corpus(nlp, data=records)


def count_names(corpus: textacy.Corpus, labels: set[str], threshold: float = 0.0) -> list[Name]:
    """Count the names of a corpus, those first of which most are expected to be right."""
    counts: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for doc in corpus:
        # An entity without its determiner is another span, and has no probability.
        for ent in entities(doc, include_types=labels, drop_determiners=False):
            score = 1.0 if ent._.score is None else ent._.score
            if score >= threshold:
                counts.setdefault((ent.text, ent.label_), []).append((score, doc._.language or "und"))
    names = [
        Name(*name, len(hits), sum(score for score, _ in hits), sorted({lang for _, lang in hits}))
        for name, hits in counts.items()
    ]
    return sorted(names, key=lambda name: -name.expected)


if __name__ == "__main__":
    with Path(sys.argv[2]).open(encoding="utf-8") as lines:
        corpus = make_corpus(spacy.load(sys.argv[1]), map(json.loads, lines))
    for name in count_names(corpus, {"PER", "LOC", "ORG"}):
        print(name.text, name.label, name.n_entities, round(name.expected, 2), *name.languages)

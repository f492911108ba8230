"""Score a pipeline on test files: entities, with examples right and wrong, and languages."""

import time
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from spacy.cli._util import setup_gpu
from spacy.tokens import Doc
from spacy.training import Example
from wasabi import msg

from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.files import write_json
from spacy_xner.scoring import UNKNOWN_LANGUAGE, annotate

from common import split_names


def main(
    model: Annotated[str, typer.Argument(help="Pipeline folder or installed package.")],
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy.")],
    out: Annotated[Path, typer.Argument(help="JSON file for the scores.")],
    split: Annotated[str, typer.Option(help="Which files.")] = "test",
    languages: Annotated[str, typer.Option(help="Comma-separated; all by default.")] = "",
    source: Annotated[str, typer.Option(help="Corpus, as in the file names; empty for all.")] = "",
    limit: Annotated[int, typer.Option(help="First n sentences a file, 0 for all.")] = 0,
    n_examples: Annotated[int, typer.Option(help="Examples a language in the report.")] = 2,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")] = -1,
) -> None:
    """Write scores overall, by language, label and entity length, with words a second."""
    setup_gpu(gpu)
    nlp = spacy.load(model)
    wanted = split_names(languages)
    examples = read_examples(nlp, corpus, split, wanted, limit, split_names(source))
    texts = [example.reference.text for example in examples]
    start = time.perf_counter()
    n_words = sum(len(doc) for doc in nlp.pipe(texts))
    seconds = time.perf_counter() - start
    scores = annotate(nlp, examples)
    scores["words_per_second"] = n_words / seconds
    if "cluster_router" in nlp.pipe_names:
        scores["routing_acc"] = score_routing(examples, nlp.get_pipe("cluster_router").grouping.cluster_of)
    confusion = confuse(examples) if scores.get("language_acc") is not None else None
    # Test files without annotation have scores of None.
    has_entities = scores.get("ents_f") is not None
    shown = show_examples(examples, n_examples) if has_entities else []
    write_json(out, {"scores": scores, "confusion": confusion, "examples": shown})
    if has_entities:
        rows = [
            (lang, *(f"{100 * s[key]:.1f}" for key in "prf"), int(s["support"]))
            for lang, s in scores["ents_per_language"].items()
        ]
        msg.table(rows, header=("language", "P", "R", "F", "entities"), divider=True)
        msg.good(f"F1 {100 * scores['ents_f']:.1f}, written to {out}")
    if confusion is not None:
        names = confusion["languages"]
        table = [(name, *row) for name, row in zip(names, confusion["counts"], strict=True)]
        msg.table(table, header=("gold / found", *names), divider=True)
        msg.good(f"Language accuracy {100 * scores['language_acc']:.1f}, written to {out}")
    if "routing_acc" in scores:
        msg.good(f"Routed to the cluster of their language: {100 * scores['routing_acc']:.1f} %")


def confuse(examples: list[Example]) -> dict[str, Any]:
    """Count found languages (columns) of each gold language (rows)."""
    from sklearn.metrics import confusion_matrix

    pairs = [(eg.reference._.language, eg.predicted._.language or UNKNOWN_LANGUAGE) for eg in examples]
    languages = sorted({language for pair in pairs for language in pair if language})
    gold, found = zip(*(pair for pair in pairs if pair[0]), strict=True)
    return {"languages": languages, "counts": confusion_matrix(gold, found, labels=languages).tolist()}


def score_routing(examples: list[Example], cluster_of: dict[str, str]) -> float:
    """Share of texts that went to the cluster of their gold language."""
    known = [eg for eg in examples if eg.reference._.language in cluster_of]
    right = [eg.predicted._.cluster == cluster_of[eg.reference._.language] for eg in known]
    return sum(right) / max(1, len(right))


def read_examples(
    nlp: spacy.Language,
    corpus: Path,
    split: str,
    languages: list[str],
    limit: int,
    sources: list[str] | None = None,
) -> list[Example]:
    """Read the test examples of all languages; the pipeline has to find out the languages."""
    reader = create_multilingual_corpus(
        corpus, split=split, languages=languages, sources=sources, limit=limit, known_language=False
    )
    return list(reader(nlp))


def show_examples(examples: list[Example], n: int) -> list[dict[str, Any]]:
    """Choose the first right and the first wrong predictions of every language."""
    chosen: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for example in examples:
        gold, predicted = _manual(example.reference), _manual(example.predicted)
        language = example.reference._.language
        group = chosen.setdefault((language, gold == predicted), [])
        if len(group) < n and gold:
            group.append(
                {
                    "language": language,
                    "right": gold == predicted,
                    "text": example.reference.text,
                    "gold": gold,
                    "predicted": predicted,
                }
            )
    return [row for key in sorted(chosen) for row in chosen[key]]


def _manual(doc: Doc) -> list[dict[str, Any]]:
    """Entities as displaCy's manual mode takes them."""
    return [{"start": e.start_char, "end": e.end_char, "label": e.label_} for e in doc.ents]


if __name__ == "__main__":
    typer.run(main)

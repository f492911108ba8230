"""Identifiers of languages side by side: the trained component, py3langid and lingua, of the same languages.

Needs `pip install py3langid lingua-language-detector`. WikiAnn's dev sentences of the languages that the
component was trained on, and Tatoeba's, are identified with `min_probability = 0`. Sentences in languages
that it was not trained on say which probability marks a guess: many of those should be below it, and few in
the languages that it knows.

python benchmarks/languages.py training/identifier/model-best corpus $XNER_DATA/tatoeba --unseen da,fi,it,ko
    --out benchmarks/results/languages.json
"""

import gzip
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from wasabi import msg

from spacy_xner.corpus.docs import read_docs
from spacy_xner.files import write_json
from spacy_xner.loading import load_pipeline
from spacy_xner.machine import describe_machine

LIBRARIES = ("py3langid", "lingua")
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
Texts = dict[str, list[str]]


def main(
    identifier: Annotated[Path, typer.Argument(help="Pipeline with a trained language_identifier.")],
    corpus: Annotated[Path, typer.Argument(help="Folder with {lang}-wikiann-dev.spacy.")],
    tatoeba: Annotated[Path, typer.Argument(help="Folder with en-{lang}.tsv.gz.")],
    out: Annotated[Path, typer.Option(help="Result file.")],
    unseen: Annotated[str, typer.Option(help="Languages that the component was not trained on.")],
    limit: Annotated[int, typer.Option(help="Sentences a language.")] = 200,
) -> None:
    """Measure all systems, and the component's probabilities by threshold."""
    nlp = load_pipeline(str(identifier), "language_identifier")
    nlp.get_pipe("language_identifier").min_probability = 0.0
    languages = list(nlp.get_pipe("language_identifier").labels)
    wikiann = read_corpus(corpus, [*languages, *unseen.split(",")], limit)
    spoken = read_tatoeba(tatoeba, languages, limit)
    systems = {"language_identifier": nlp, **{name: with_library(name, languages) for name in LIBRARIES}}
    results: dict[str, Any] = {}
    for name, system in systems.items():
        sets = {"wikiann": {lang: wikiann[lang] for lang in languages if lang in wikiann}, "tatoeba": spoken}
        start = time.perf_counter()
        right = {title: accuracies(system, texts) for title, texts in sets.items()}
        n_texts = sum(len(texts) for each in sets.values() for texts in each.values())
        speed = round(n_texts / (time.perf_counter() - start))
        known = {lang: wikiann[lang] for lang in languages if lang in wikiann}
        others = {lang: wikiann[lang] for lang in unseen.split(",") if lang in wikiann}
        guesses = thresholds(system, known, others)
        results[name] = {"accuracy": right, "sentences_per_second": speed, "thresholds": guesses}
        for title, scores in right.items():
            msg.info(f"{name}, {title}: {sum(scores.values()) / len(scores):.1f} % right")
    about = {"languages": languages, "unseen": unseen.split(","), "sentences": limit}
    write_json(out, {"benchmark": "languages", **about, "machine": describe_machine()._asdict(), **results})


def with_library(name: str, languages: Sequence[str]) -> spacy.Language:
    """A pipeline in which a library identifies languages."""
    nlp = spacy.blank("xx")
    detector = {"@misc": f"spacy_xner.{name}_detector.v1"}
    config = {"detector": detector, "languages": list(languages), "min_probability": 0.0}
    nlp.add_pipe("library_language_identifier", name="language_identifier", config=config)
    return nlp


def read_corpus(folder: Path, languages: Iterable[str], limit: int) -> Texts:
    """Texts of dev files by language."""
    vocab = spacy.blank("xx").vocab
    paths = {lang: folder / f"{lang}-wikiann-dev.spacy" for lang in languages}
    return {
        lang: [doc.text for doc in islice(read_docs(path).get_docs(vocab), limit)]
        for lang, path in paths.items()
        if path.exists()
    }


def read_tatoeba(folder: Path, languages: Sequence[str], limit: int) -> Texts:
    """Sentences of both sides of parallel files, of languages that are known."""
    texts: Texts = {}
    for path in sorted(folder.glob("*.tsv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows = [line.rstrip("\n").split("\t") for line in islice(lines, limit)]
        for place, lang in enumerate(path.name.split(".")[0].split("-")):
            if lang in languages:
                texts.setdefault(lang, [row[place] for row in rows if len(row) > place])
    return texts


def accuracies(system: spacy.Language, texts: Texts) -> dict[str, float]:
    """Percent of the sentences of each language whose language is found."""
    return {
        lang: round(100 * sum(doc._.language == lang for doc in system.pipe(sentences)) / len(sentences), 2)
        for lang, sentences in texts.items()
    }


def thresholds(system: spacy.Language, known: Texts, unseen: Texts) -> list[dict[str, float]]:
    """The share that each threshold makes a guess, in percent of the sentences.

    RETURNS: A row a threshold. `unseen_marked` is the share of guesses among sentences in unseen
        languages, `known_marked` among those in known ones, `known_wrong_marked` among
        the wrong answers in these.
    """
    best = {
        lang: [(max(doc._.language_scores.values()), doc._.language) for doc in system.pipe(sentences)]
        for lang, sentences in {**known, **unseen}.items()
    }
    foreign = [score for lang in unseen for score, _ in best[lang]]
    home = [score for lang in known for score, _ in best[lang]]
    wrong = [score for lang in known for score, guess in best[lang] if guess != lang]

    def share(scores: list[float], threshold: float) -> float:
        return round(100 * sum(score < threshold for score in scores) / max(1, len(scores)), 2)

    return [
        {
            "threshold": threshold,
            "unseen_marked": share(foreign, threshold),
            "known_marked": share(home, threshold),
            "known_wrong_marked": share(wrong, threshold),
        }
        for threshold in THRESHOLDS
    ]


if __name__ == "__main__":
    typer.run(main)

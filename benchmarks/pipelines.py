"""Trained pipelines side by side: words a second, megabytes on disk, F1."""

import time
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.tokens import Doc
from spacy.training import Example
from wasabi import msg

from spacy_xner.corpus import create_multilingual_corpus
from spacy_xner.scoring import annotate


def main(
    models: Annotated[
        list[Path], typer.Argument(help="Pipelines; the first is what the others are compared to.")
    ],
    corpus: Annotated[Path, typer.Option(help="Folder of {lang}-{source}-test.spacy.")],
    languages: Annotated[str, typer.Option(help="Languages to tag.")] = "en",
    limit: Annotated[int, typer.Option(help="Sentences a language.")] = 500,
    repetitions: Annotated[int, typer.Option(help="Passes in turn; the fastest counts.")] = 3,
) -> None:
    """Tag the same text with every pipeline in turn, and print the ratio of speeds."""
    pipelines = {str(path): spacy.load(path) for path in models}
    read = create_multilingual_corpus(corpus, "test", languages.split(","), limit=limit)
    examples = {name: list(read(nlp)) for name, nlp in pipelines.items()}
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    for _ in range(repetitions):
        for name, nlp in pipelines.items():
            docs = [example.predicted.copy() for example in examples[name]]
            seconds[name].append(time_pass(nlp, docs))
    n_words = sum(len(example.predicted) for example in next(iter(examples.values())))
    speeds = {name: n_words / min(times) for name, times in seconds.items()}
    rows = [
        (
            name,
            f"{speeds[name]:,.0f}",
            f"{speeds[name] / speeds[str(models[0])]:.1f}x",
            f"{megabytes(Path(name)):.0f}",
            f"{100 * f_score(nlp, examples[name]):.1f}",
        )
        for name, nlp in pipelines.items()
    ]
    msg.table(rows, header=("", "words/s", "ratio", "MB", "F1"), divider=True, aligns=tuple("lrrrr"))


def time_pass(nlp: spacy.Language, docs: list[Doc]) -> float:
    """Seconds that a pipeline takes for documents."""
    start = time.perf_counter()
    for _ in nlp.pipe(docs):
        pass
    return time.perf_counter() - start


def f_score(nlp: spacy.Language, examples: list[Example]) -> float:
    """Entity F1."""
    return float(annotate(nlp, examples)["ents_f"])


def megabytes(folder: Path) -> float:
    """Size of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    typer.run(main)

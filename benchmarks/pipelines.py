"""Trained pipelines side by side: words a second, megabytes on disk, F1."""

import time
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.tokens import Doc
from spacy.training import Example
from wasabi import msg

from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.machine import describe_machine
from spacy_xner.scoring import annotate


def main(
    models: Annotated[
        list[Path], typer.Argument(help="Pipelines; the first is what the others are compared to.")
    ],
    corpus: Annotated[Path, typer.Option(help="Folder of {lang}-{source}-test.spacy.")],
    languages: Annotated[str, typer.Option(help="Languages to tag.")] = "en",
    limit: Annotated[int, typer.Option(help="Sentences a language.")] = 500,
    repetitions: Annotated[int, typer.Option(help="Rounds; the fastest counts.")] = 3,
) -> None:
    """Tag the same text with every pipeline in turn, and print the ratio of speeds.

    Every round loads the pipelines anew: the BiLSTM keeps how words are spelled, and text that it has read
    before is none that users have. The column "again" has the speed with known words.
    """
    msg.info(str(describe_machine()))
    read = create_multilingual_corpus(corpus, "test", languages.split(","), limit=limit)
    first: dict[Path, list[float]] = {path: [] for path in models}
    again: dict[Path, list[float]] = {path: [] for path in models}
    scores: dict[Path, float] = {}
    n_words = 0
    for _ in range(repetitions):
        for path in models:
            nlp = spacy.load(path)
            examples = list(read(nlp))
            n_words = sum(len(example.predicted) for example in examples)
            # Tables that load with the first word, but no word of the text.
            list(nlp.pipe(["0", "\u0434"]))
            for seconds in (first, again):
                seconds[path].append(time_pass(nlp, [example.predicted.copy() for example in examples]))
            scores[path] = f_score(nlp, examples)
    speeds = [{path: n_words / min(times) for path, times in seconds.items()} for seconds in (first, again)]
    rows = [
        (
            str(path),
            *(f"{speed[path]:,.0f} ({speed[path] / speed[models[0]]:.1f}x)" for speed in speeds),
            f"{megabytes(path):.0f}",
            f"{100 * scores[path]:.1f}",
        )
        for path in models
    ]
    header = ("", "words/s", "again", "MB", "F1")
    msg.table(rows, header=header, divider=True, aligns=tuple("lrrrr"))


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

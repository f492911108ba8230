"""Options of `spacy xner compare`, by what they say: the task, its data, how much of it, how to train."""

from pathlib import Path
from typing import Annotated

import typer

# The task.
Corpus = Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy files.")]
Out = Annotated[Path, typer.Argument(help="Folder of the table and pipelines; finished routes are kept.")]
Target = Annotated[str, typer.Option(help="Language to tag; it needs a test file.")]
Language = Annotated[str, typer.Option(help="Language with labels.")]
Source = Annotated[str, typer.Option(help="Corpora, as in the file names; empty for all.")]
RouteNames = Annotated[str, typer.Option(help="Comma-separated; all that the data allows by default.")]
UpperBound = Annotated[bool, typer.Option(help="Also train on the target's own labels.")]

# Data besides labels.
Parallel = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True, help="Parallel text: `source TAB target`, or give the option twice, a side each."
    ),
]
Dictionary = Annotated[
    Path | None, typer.Option(exists=True, help="MUSE, TSV, StarDict (.ifo) or FreeDict (.tei).")
]
Reverse = Annotated[bool, typer.Option(help="The dictionary goes from target to source.")]
Text = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="Folder of plain text, {lang}.txt, .gz or .xz."),
]
Grouping = Annotated[
    Path | None,
    typer.Option(exists=True, help="Clusters of languages; only labels of the target's are learnt."),
]

# How much of the data, and how much time.
Minutes = Annotated[float, typer.Option(min=0, help="Training steps a route; 0 to convergence.")]
Limit = Annotated[int, typer.Option(help="Labelled sentences a file; 0 takes all.")]
DevLimit = Annotated[int, typer.Option(help="Dev sentences a file; 0 takes all.")]
TestLimit = Annotated[int, typer.Option(help="Test sentences a file; 0 takes all.")]
Pairs = Annotated[int, typer.Option(help="Pairs of sentences; 0 takes all.")]
Words = Annotated[int, typer.Option(help="Words a language that get vectors; 0 takes all.")]

# How to train.
Encoder = Annotated[str, typer.Option(help="Checkpoint.")]
LearnRate = Annotated[float, typer.Option(help="Rate of transformers; students take a quarter.")]
BatchSize = Annotated[int, typer.Option(help="Sentences a step.")]
Seed = Annotated[
    int, typer.Option(help="Random seed. Training of word vectors with several threads is not repeatable.")
]
Configs = Annotated[Path | None, typer.Option(help="Folder of training configs; the installed ones.")]

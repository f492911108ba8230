"""The tables of a released pipeline, from the scores that `weasel run all release` leaves.

python benchmarks/release.py release/metrics/release.json release/packages/WHEEL --settings "..." --out FILE
"""

import shlex
import sys
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from record import Record, Table
from wasabi import msg

from spacy_xner.deploy.sources import annotation_of, gold_first
from spacy_xner.files import read_json


def main(
    metrics: Annotated[Path, typer.Argument(help="Scores that `spacy xner evaluate` has written.")],
    wheel: Annotated[Path, typer.Argument(help="The wheel of the same pipeline.")],
    settings: Annotated[
        str, typer.Option(help="The text above the tables: data, steps, and test sentences.")
    ],
    out: Annotated[Path, typer.Option(help="JSON file for the tables.")],
) -> None:
    """Write F1 by corpus and language as a result file."""
    tables = tables_of(read_json(metrics)["scores"], wheel.stat().st_size)
    for table in tables:
        msg.table(table.rows, header=table.header, title=table.title, divider=True)
    Record(shlex.join(["python", "benchmarks/release.py", *sys.argv[1:]]), settings).write(out, tables)


def tables_of(scores: dict[str, Any], n_bytes: int) -> list[Table]:
    """RETURNS: F1 by corpus, gold ones first; F1 in each language of the silver ones; the whole."""
    by_corpus = scores["ents_per_corpus"]
    cells = scores["ents_per_corpus_language"]
    order = gold_first(sorted(by_corpus))
    header = ["corpus", "annotation", "languages", "entities", "F1", "P", "R", "F1 by language"]
    rows = []
    for corpus in order:
        spoken = languages_of(cells, corpus)
        by_language = ", ".join(f"{name} {_percent(f)}" for name, f in spoken.items())
        rows.append([
            corpus, annotation_of(corpus), str(len(spoken)), f"{by_corpus[corpus]['support']:,}",
            *(_percent(by_corpus[corpus][key]) for key in "fpr"), by_language,
        ])  # fmt: skip
    silver = {name: languages_of(cells, name) for name in order if annotation_of(name) == "silver"}
    gold = [name for name in order if name not in silver]
    whole = [
        ["mean F1 of the gold corpora", _percent(mean(by_corpus[name]["f"] for name in gold))],
        *(
            [f"mean F1 of {corpus} over {len(values)} languages", _percent(mean(values.values()))]
            for corpus, values in silver.items()
        ),
        ["expected calibration error, all test sentences", f"{scores['ents_ece']:.3f}"],
        ["wheel, MB", f"{n_bytes / 1e6:.0f}"],
    ]
    return [
        Table("F1 on test sets, by corpus", header, rows),
        Table("The whole", ["figure", "value"], whole),
    ]


def languages_of(cells: dict[str, Any], corpus: str) -> dict[str, float]:
    """F1 in each language of a corpus, out of cells that are named CORPUS:LANGUAGE."""
    named = (key.rpartition(":") for key in sorted(cells))
    return {language: cells[f"{name}:{language}"]["f"] for name, _, language in named if name == corpus}


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


if __name__ == "__main__":
    typer.run(main)

"""Speed of the corpus reader: sentences a second of the processor, with and without tokenizing their text.

python benchmarks/reading.py corpus/wikiann --languages en,de,ru,ar --out benchmarks/results/reading.json
"""

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import spacy
import typer
from record import Record, Table
from wasabi import msg

from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.tokenizer import create_multilingual_tokenizer


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-train.spacy files.")],
    languages: Annotated[str, typer.Option(help="Comma-separated.")] = "en,de,ru,ar",
    rounds: Annotated[int, typer.Option(help="Passes over the corpus; the fastest one counts.")] = 3,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Read the training sentences of a corpus."""
    rows = []
    for gold_tokens, tokens in ((False, "of the pipeline's tokenizer"), (True, "of the corpus")):
        speeds = [read(corpus, languages.split(","), gold_tokens) for _ in range(rounds)]
        n_sentences = speeds[0][0]
        rows.append([tokens, f"{n_sentences:,}", f"{max(speed for _, speed in speeds):,.0f}"])
    table = Table("Reading a corpus", ["tokens", "sentences", "sentences a CPU second"], rows)
    msg.table(table.rows, header=table.header, title=table.title, divider=True)
    if out is not None:
        command = shlex.join(["python", "benchmarks/reading.py", *sys.argv[1:]])
        about = f"WikiAnn train in {languages}; one core, the fastest of {rounds} passes."
        Record(command, about).write(out, [table])


def read(corpus: Path, languages: list[str], gold_tokens: bool) -> tuple[int, float]:
    """Read a corpus with an empty vocabulary. RETURNS: Sentences, and sentences a second of the processor."""
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    reader = create_multilingual_corpus(corpus, split="train", languages=languages, gold_tokens=gold_tokens)
    start = time.process_time()
    n_sentences = sum(1 for _ in reader(nlp))
    return n_sentences, n_sentences / (time.process_time() - start)


if __name__ == "__main__":
    typer.run(main)

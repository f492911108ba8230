"""A label of one's own from 200 sentences: F1 of old and new labels, with and without rehearsal.

The new label is MasakhaNER's DATE in Swahili, beside the types that the tagger has. Old knowledge is scored
on the sample's test sentences in the tagger's languages, whose training sentences are the text that is
rehearsed. MasakhaNER is for research (CC BY-NC 4.0): no pipeline that has learnt from it is released.

python benchmarks/extend.py PIPELINE MASAKHANER CORPUS --work extended --languages ar,fr,he,sw,yo
"""

import shlex
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from record import Record, Table
from wasabi import msg

from spacy_xner.cli.options import split_names
from spacy_xner.corpus.convert import convert_tagged, make_label_rules
from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.deploy.extend import Course, Extended, Material, extend_folder
from spacy_xner.deploy.lessons import OTHERS, YOURS
from spacy_xner.evaluation import read_examples
from spacy_xner.files import write_text
from spacy_xner.tokenizer import blank_pipeline

SETTINGS = (
    "{n_train} labelled sentences of at most 20 words in Swahili (MasakhaNER, with DATE), {epochs} passes; "
    "rehearsal on {n_texts} sentences without their labels; scored on {n_test} Swahili test sentences "
    "and on {n_old} of the sample in {languages}. Seconds are the processor's, of one thread, scoring "
    "included."
)
# Longer sentences take long on a processor.
MOST_WORDS = 20
WAYS = {"with rehearsal": 1.0, "without": 0.0}


def main(
    pipeline: Annotated[Path, typer.Argument(help="Trained pipeline with one tagger.")],
    masakhaner: Annotated[Path, typer.Argument(help="Folder with sw/train.txt and sw/test.txt.")],
    corpus: Annotated[Path, typer.Argument(help="Folder of the sample, {lang}-sample-{split}.spacy.")],
    work: Annotated[Path, typer.Option(help="Folder for the corpus and the pipelines.")],
    languages: Annotated[str, typer.Option(help="The tagger's languages, comma-separated.")] = "sw",
    n_train: Annotated[int, typer.Option(help="Labelled sentences.")] = 200,
    n_test: Annotated[int, typer.Option(help="Test sentences.")] = 100,
    epochs: Annotated[int, typer.Option(help="Passes over the sentences.")] = 20,
    ways: Annotated[str, typer.Option(help="Comma-separated: with rehearsal, without.")] = ",".join(WAYS),
    out: Annotated[Path, typer.Option(help="Result file.")] = Path("benchmarks/results/extend.json"),
) -> None:
    """Extend the pipeline in each way, and write a table after each."""
    record = Record(f"python {shlex.join(sys.argv)}", "")
    msg.info(str(record.machine))
    names = split_names(languages)
    labelled = convert_first(masakhaner, work, {"train": n_train, "test": n_test})
    vocab = blank_pipeline().vocab
    texts = [
        doc.text
        for paths in find_files(corpus, "train", names).values()
        for path in paths
        for doc in read_docs(path).get_docs(vocab)
    ]
    results: dict[str, tuple[Extended, float]] = {}
    for way in split_names(ways):
        start = time.process_time()

        def read(nlp: object) -> Material:
            examples = {split: read_examples(nlp, labelled, split, [], 0) for split in ("train", "test")}
            sets = {YOURS: examples["test"], OTHERS: read_examples(nlp, corpus, "test", names, 0)}
            return Material(examples["train"], texts, sets)

        course = Course(epochs=epochs, rehearsal=WAYS[way])
        place = work / way.replace(" ", "-")
        done = extend_folder(pipeline, place, read, course, lambda *step: print(*step, flush=True))
        results[way] = done, time.process_time() - start
        n_old = len(read_examples(blank_pipeline(), corpus, "test", names, 0))
        record.settings = SETTINGS.format(
            n_train=n_train,
            epochs=epochs,
            n_texts=len(texts),
            n_test=n_test,
            n_old=n_old,
            languages=languages,
        )
        record.write(out, [tabulate(results)], rows={name: done for name, (done, _) in results.items()})
        msg.good(f"{way}: {results[way][1]:.0f} s")


def tabulate(results: dict[str, tuple[Extended, float]]) -> Table:
    """Make a row of every group of labels, with a column of F1 after it for each way."""
    [first, *_] = results.values()
    rows = []
    for i, row in enumerate(first[0].rows):
        after = [f"{100 * done.rows[i].after:.1f}" for done, _ in results.values()]
        rows.append([row.name, row.group, f"{row.n_entities:,}", f"{100 * row.before:.1f}", *after])
    seconds = [f"{seconds:.0f}" for _, seconds in results.values()]
    header = ["sentences", "labels", "entities", "F1 before", *(f"after, {way}" for way in results)]
    return Table(
        "A label of one's own from few sentences", header, [*rows, ["seconds", "", "", "", *seconds]]
    )


def convert_first(folder: Path, work: Path, sizes: dict[str, int]) -> Path:
    """Convert the first Swahili sentences of the splits with an entity. RETURNS: Folder of the corpus."""
    out = work / "corpus"
    for split, size in sizes.items():
        text = (folder / "sw" / f"{split}.txt").read_text(encoding="utf-8")
        parts = (part for part in text.split("\n\n") if "B-" in part and part.count("\n") < MOST_WORDS)
        sentences = islice(parts, size)
        write_text(work / "tagged" / "sw" / f"{split}.tsv", "\n\n".join(sentences) + "\n")
    list(convert_tagged(work / "tagged", out, "masakhaner", make_label_rules(keep=True)))
    return out


if __name__ == "__main__":
    typer.run(main)

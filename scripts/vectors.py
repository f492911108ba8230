"""Word vectors: train or distil them, map languages into one space, measure and merge."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy
import spacy
import typer
from spacy.vectors import Vectors
from wasabi import msg

from spacy_xner.corpus.docs import read_docs
from spacy_xner.files import fresh_folder, numbered_lines, write_json
from spacy_xner.vectors.dictionary import (
    BilingualDictionary,
    check_direction,
    invert,
    read_dictionary,
    split_dictionary,
)
from spacy_xner.vectors.distil import distil_vectors
from spacy_xner.vectors.mapping import Precision, align, precision
from spacy_xner.vectors.spelling import SPELLING, compare_spelling
from spacy_xner.vectors.table import Lookup, VectorTable, merge_tables, read_table, reduce_width, write_table
from spacy_xner.vectors.train import train_vectors
from spacy_xner.vectors.unsupervised import EXPLORATION, INITIALISERS, map_without_dictionary
from spacy_xner.vectors.words import normalise

from common import split_names

app = typer.Typer(add_completion=False, help=__doc__)

Reverse = Annotated[bool, typer.Option(help="The dictionary goes from target to source.")]
Skip = Annotated[int, typer.Option(help="Entries not to measure by: MUSE's 5,000 for training.")]
Limit = Annotated[int, typer.Option(help="The first so many words; 0 takes all.")]
Spelling = Annotated[
    float,
    typer.Option(
        min=0, help="How much a like spelling counts in dictionaries that are found anew; 0 for nothing."
    ),
]


@app.command()
def train(
    text: Annotated[
        Path, typer.Argument(help="Plain text, a sentence or paragraph a line; .gz and .xz too.")
    ],
    out: Annotated[Path, typer.Argument(help="Table to write (.safetensors).")],
    width: Annotated[int, typer.Option(help="Numbers a vector.")] = 200,
    max_words: Annotated[int, typer.Option(help="Most frequent words to keep; 0 keeps all.")] = 50_000,
    min_count: Annotated[int, typer.Option(help="Times that a word must occur.")] = 5,
    epochs: Annotated[int, typer.Option(help="Passes over the text.")] = 5,
    workers: Annotated[int, typer.Option(help="Threads; one alone is repeatable.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the first vectors.")] = 0,
) -> None:
    """Train fastText vectors; needs the extra [vectors]."""
    lines = (line for _, line in numbered_lines(text))
    table = train_vectors(
        lines,
        width=width,
        max_words=max_words,
        min_count=min_count,
        epochs=epochs,
        workers=workers,
        seed=seed,
    )
    write_table(table, out)
    msg.good(f"{out}: {len(table.words):,} words, width {width}")


@app.command()
def distil(
    words: Annotated[
        list[Path], typer.Argument(help="Words: corpora (.spacy), tables, or text files with a word a line.")
    ],
    out: Annotated[Path, typer.Option(help="Table to write (.safetensors).")],
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    layer: Annotated[int, typer.Option(help="Layer that is read; 0 for the last.")] = 8,
    lower: Annotated[bool, typer.Option(help="Words in lower case.")] = True,
    dictionary: Annotated[Path | None, typer.Option(help="Its target words too, after the others.")] = None,
    reverse: Annotated[bool, typer.Option(help="The dictionary's source words instead.")] = False,
    limit: Limit = 0,
    mixed_precision: Annotated[bool, typer.Option(help="Half precision.")] = True,
) -> None:
    """Take the vectors of one language's words from a multilingual encoder: they are in one space already."""
    counts: Counter[str] = Counter()
    for path in words:
        counts.update(normalise(word, lower) for word in _read_words(path))
    chosen = [word for word, _ in counts.most_common()]
    if dictionary is not None:
        translations = read_dictionary(dictionary, reverse=reverse).values()
        chosen += [word for group in translations for text in group for word in text.split()]
    chosen = list(dict.fromkeys(chosen))[: limit or None]
    table = distil_vectors(chosen, encoder, layer=layer, mixed_precision=mixed_precision)
    write_table(table, out)
    msg.good(f"{out}: {len(table.words):,} words, width {table.vectors.shape[1]}")


@app.command("align")
def align_tables(
    source: Annotated[Path, typer.Argument(help="Table of the source language.")],
    target: Annotated[Path, typer.Argument(help="Table of the target language.")],
    dictionary: Annotated[Path, typer.Argument(help="Pairs: MUSE, TSV, StarDict (.ifo) or FreeDict (.tei).")],
    out: Annotated[Path, typer.Argument(help="Folder for source.safetensors and target.safetensors.")],
    reverse: Reverse = False,
    n_train: Annotated[int, typer.Option(help="Entries to map by; the next ones test.")] = 5000,
    n_test: Annotated[int, typer.Option(help="Entries to measure by; 0 measures nothing.")] = 1500,
    iterations: Annotated[int, typer.Option(help="Times that the dictionary is induced anew.")] = 2,
    weighting: Annotated[float, typer.Option(help="Power of the weighting; 0 for a rotation.")] = 0.25,
    spelling: Spelling = SPELLING,
    limit: Limit = 200_000,
) -> None:
    """Map two tables into one space with a dictionary, and refine the map."""
    tables = read_table(source, limit), read_table(target, limit)
    entries = read_dictionary(dictionary, reverse=reverse)
    check_direction(entries, set(tables[0].words), set(tables[1].words), dictionary)
    train_entries, test_entries = split_dictionary(entries, n_train, n_test)
    forget(out, source, target)
    sizes = " and ".join(f"{len(table.words):,}" for table in tables)
    msg.info(f"Mapping {sizes} words, {iterations} times by a new dictionary")
    mapped = align(
        *tables, train_entries, n_iterations=iterations, weighting=weighting,
        spelling=compare_spelling(*tables, weight=spelling) if iterations else None,
    )  # fmt: skip
    for table, name in zip(mapped, ("source", "target"), strict=True):
        write_table(table, out / f"{name}.safetensors")
    if n_test:
        show_precision(*mapped, test_entries, out / "precision.json")
        msg.info("From target to source")
        show_precision(*mapped[::-1], invert(test_entries, train_entries), out / "precision-back.json")


def forget(out: Path, *inputs: Path) -> None:
    """Remove what an earlier map left, which would look like this one's; stops if these are its inputs."""
    names = ["source.safetensors", "target.safetensors"]
    names += ["verdict.json", "failed.json", "precision.json", "precision-back.json"]
    old = [(out / name).resolve() for name in names]
    if lost := [path for path in inputs if path.resolve() in old]:
        msg.fail(f"{lost[0]} would be overwritten by its map: choose another folder than {out}", exits=1)
    for path in old:
        path.unlink(missing_ok=True)


@app.command("map")
def map_unsupervised(
    source: Annotated[Path, typer.Argument(help="Table of the source language.")],
    target: Annotated[Path, typer.Argument(help="Table of the target language.")],
    out: Annotated[Path, typer.Argument(help="Folder for both tables and verdict.json, or failed.json.")],
    initialisers: Annotated[str, typer.Option(help="Starts to try.")] = ",".join(INITIALISERS),
    restarts: Annotated[int, typer.Option(help="Of the adversarial start, both ways.")] = 2,
    explored: Annotated[
        int,
        typer.Option(help="Words that a start is led through by chance before it is refined; 0 for none."),
    ] = EXPLORATION.n_words,
    weighting: Annotated[float, typer.Option(help="Power in the last map; 0 for a rotation.")] = 0.25,
    spelling: Spelling = SPELLING,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    dictionary: Annotated[Path | None, typer.Option(help="Pairs to measure by, no more.")] = None,
    reverse: Reverse = False,
    skip: Skip = 5000,
    n_test: Annotated[int, typer.Option(help="Entries to measure by.")] = 1500,
    min_words: Annotated[int, typer.Option(help="Words that either table must have.")] = 5000,
    limit: Limit = 200_000,
) -> None:
    """Map two tables into one space without a dictionary; a map that failed is not written (exit code 1)."""
    entries = {} if dictionary is None else read_dictionary(dictionary, reverse=reverse)
    forget(out, source, target)
    found = map_without_dictionary(
        read_table(source, limit), read_table(target, limit),
        initialisers=split_names(initialisers), restarts=restarts, seed=seed, min_words=min_words,
        weighting=weighting, spelling=spelling, exploration=EXPLORATION._replace(n_words=explored),
    )  # fmt: skip
    failed = found.verdict == "FAILED"
    rows = [
        (name, *(f"{start[key]:.3f}" for key in ("criterion", "mutual", "agreement")))
        for name, start in found.evidence["starts"].items()
    ]
    rows += [(name, reason, "", "") for name, reason in found.evidence["skipped"].items()]
    msg.table(rows, header=("start", "criterion", "mutual", "agreement"), divider=True)
    if not failed:
        write_table(found.source, out / "source.safetensors")
        write_table(found.target, out / "target.safetensors")
    write_json(
        out / ("failed.json" if failed else "verdict.json"), {"verdict": found.verdict, **found.evidence}
    )
    if entries:
        _, test_entries = split_dictionary(entries, skip, n_test)
        show_precision(found.source, found.target, test_entries, None if failed else out / "precision.json")
    if failed:
        msg.fail("FAILED: no two starts found the same words. Give more text, or a dictionary (`align`)")
        raise typer.Exit(1)
    if found.verdict == "WEAK":
        msg.warn("WEAK: look at some translations before you use these tables")
    else:
        msg.good(f"OK: {out}")


@app.command()
def evaluate(
    source: Annotated[Path, typer.Argument(help="Table of the source language.")],
    target: Annotated[Path, typer.Argument(help="Table of the target language, in the same space.")],
    dictionary: Annotated[Path, typer.Argument(help="Pairs to find.")],
    reverse: Reverse = False,
    skip: Skip = 5000,
    n_test: Annotated[int, typer.Option(help="Entries to measure by.")] = 1500,
    limit: Limit = 200_000,
) -> None:
    """Measure how many source words find a translation among all target words (P@1, 5 and 10)."""
    _, entries = split_dictionary(read_dictionary(dictionary, reverse=reverse), skip, n_test)
    show_precision(read_table(source, limit), read_table(target, limit), entries)


@app.command()
def merge(
    tables: Annotated[list[Path], typer.Argument(help="Tables: .vec, .vec.gz, .safetensors, or pipelines.")],
    out: Annotated[Path, typer.Option(help="Folder of the pipeline, for `--paths.vectors`.")],
    limit: Limit = 0,
    width: Annotated[int, typer.Option(help="Principal components to keep; 0 keeps all numbers.")] = 0,
    half_precision: Annotated[bool, typer.Option(help="Store 16 bits a number.")] = True,
    randomise: Annotated[
        bool, typer.Option(help="Random numbers for the same words, as a baseline.")
    ] = False,
) -> None:
    """Put tables of one space into a blank pipeline, every word once, for `[initialize] vectors`."""
    table = merge_tables([read_table(path, limit) for path in tables])
    if width:
        table = reduce_width(table, width)
    if randomise:
        generator = numpy.random.default_rng(0)
        table = table._replace(vectors=generator.standard_normal(table.vectors.shape, dtype="float32"))
    nlp = spacy.blank("xx")
    data = table.vectors.astype("float16" if half_precision else "float32")
    keys = [nlp.vocab.strings.add(word) for word in table.words]
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, keys=keys, name="xner")
    with fresh_folder(out) as folder:
        nlp.to_disk(folder)
    msg.good(f"{out}: {len(keys):,} words, {data.nbytes / 1e6:.0f} MB")


@app.command()
def coverage(
    table: Annotated[Path, typer.Argument(help="Table, or merged pipeline.")],
    corpora: Annotated[list[Path], typer.Argument(help="Corpora (.spacy), a language each.")],
    out: Annotated[Path | None, typer.Option(help="JSON file for the report.")] = None,
) -> None:
    """Count words without a vector, by type and by token (Huang et al. 2019, Table 6)."""
    known = Lookup(read_table(table))
    found = {}
    for path in corpora:
        counts = Counter(normalise(word) for word in _read_words(path))
        is_known = dict(zip(counts, known(list(counts)).any(axis=1).tolist(), strict=True))
        missing = [word for word in counts if not is_known[word]]
        found[path.stem] = {
            "types": len(missing) / max(1, len(counts)),
            "tokens": sum(counts[word] for word in missing) / max(1, counts.total()),
        }
    rows = [(name, *(f"{100 * share:.1f} %" for share in shares.values())) for name, shares in found.items()]
    msg.table(rows, header=("corpus", "unknown types", "unknown tokens"), divider=True)
    if out is not None:
        write_json(out, found)


def show_precision(
    source: VectorTable, target: VectorTable, entries: BilingualDictionary, out: Path | None = None
) -> None:
    """Print precision by cosine and by CSLS."""
    found: dict[str, Precision] = {
        name: precision(source, target, entries, csls=csls)
        for name, csls in (("cosine", False), ("CSLS", True))
    }
    at = next(iter(found.values())).by_neighbours
    last = found["CSLS"]
    if not last.n_words:
        msg.warn(
            f"Nothing to measure by: {len(entries)} entries, none with vectors of both. Is --skip too many?"
        )
        return
    rows = [
        (name, *(f"{100 * share:.1f}" for share in p.by_neighbours.values())) for name, p in found.items()
    ]
    msg.table(rows, header=("", *(f"P@{n}" for n in at)), divider=True, aligns=["l", *"r" * len(at)])
    msg.info(f"{last.n_words:,} words, {100 * last.coverage:.0f} % of the entries")
    if out is not None:
        write_json(out, {name: p._asdict() for name, p in found.items()})


def _read_words(path: Path) -> Iterator[str]:
    if path.suffix == ".spacy":
        vocab = spacy.blank("xx").vocab
        return (token.text for doc in read_docs(path).get_docs(vocab) for token in doc)
    if path.suffix == ".safetensors" or ".vec" in path.suffixes or path.is_dir():
        return iter(read_table(path).words)
    return (word for _, line in numbered_lines(path) for word in line.split())


if __name__ == "__main__":
    app()

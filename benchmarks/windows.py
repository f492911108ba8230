"""Speed and F1 of a trained tagger on long documents, by the size of its windows and their overlap.

Test sentences are joined to documents of two lengths. All windows take turns on every few documents, and
their seconds are those of the processor, so that other work on the machine slows none more than another.

python benchmarks/windows.py PIPELINE CORPUS --languages de,en --out benchmarks/results/windows.json
"""

import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import spacy
import torch
import typer
from record import Record, Table
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch
from wasabi import msg

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.tags import TokenSpan
from spacy_xner.transformer.wordpieces import cut_windows

LENGTHS = (200, 2000)


class Setting(NamedTuple):
    """Wordpieces of a window with its special tokens, and wordpieces that neighbours share."""

    window: int
    overlap: int


class Figures(NamedTuple):
    """The measures of a setting. seconds: Seconds of the processor. positions: Wordpieces of all windows."""

    seconds: float
    f1: float
    positions: float
    changed: int


SETTINGS = [Setting(*pair) for pair in ((512, 64), (256, 32), (192, 32), (128, 32), (128, 16))]


def main(
    pipeline: Annotated[Path, typer.Argument(help="Folder of a pipeline with one transformer tagger.")],
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-test.spacy files.")],
    languages: Annotated[str, typer.Option(help="Comma-separated; all of them by default.")] = "",
    n_words: Annotated[int, typer.Option(min=1, help="Words a length, of all languages together.")] = 8000,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Measure words a second and F1 of every setting on documents of 200 and 2,000 words."""
    command = shlex.join(["python", "benchmarks/windows.py", *sys.argv[1:]])
    nlp = spacy.load(pipeline)
    torch.set_num_threads(1)
    names = [name for name in languages.split(",") if name]
    record = Record(
        command,
        f"WikiAnn test sentences ({languages or 'all languages'}) joined to documents, about {n_words:,} "
        "words a length; seconds of the processor, the settings in turns, one thread.",
    )
    tables, more = [], {}
    for length in LENGTHS:
        files = find_files(corpus, "test", names)
        docs = [
            doc
            for paths in files.values()
            for doc in join(read_docs(paths[0]).get_docs(nlp.vocab), length, n_words // len(files))
        ]
        figures = measure(nlp, docs)
        n_tokens = sum(map(len, docs))
        tables.append(make_table(f"Documents of {length:,} words", figures, n_tokens))
        more[str(length)] = {f"{s.window}/{s.overlap}": f._asdict() for s, f in figures.items()}
        msg.table(tables[-1].rows, header=tables[-1].header, title=tables[-1].title, divider=True)
        if out is not None:
            record.write(out, tables, figures=more)


def join(sentences: Iterable[Doc], n_words: int, total: int) -> list[Doc]:
    """Join sentences with their entities to documents of so many words, until there are `total` words."""
    docs: list[Doc] = []
    parts: list[Doc] = []
    for sentence in sentences:
        # Attributes of documents cannot be joined.
        sentence.user_data.clear()
        parts.append(sentence)
        if sum(map(len, parts)) >= n_words:
            docs.append(Doc.from_docs(parts, ensure_whitespace=True))
            parts = []
        if sum(map(len, docs)) >= total:
            break
    return docs


def measure(nlp: Language, gold: list[Doc]) -> dict[Setting, Figures]:
    """Run every setting on a few documents at a time."""
    tagger: Any = next(pipe for _, pipe in nlp.pipeline if hasattr(pipe, "tag_set"))
    network = tagger.model.get_ref("tok2vec").shims[0].network
    seconds = dict.fromkeys(SETTINGS, 0.0)
    docs_of: dict[Setting, list[Doc]] = {setting: [] for setting in SETTINGS}
    nlp(gold[0].text)
    for group in minibatch(gold, max(1, 2000 // len(gold[0]))):
        for setting in SETTINGS:
            network.size, network.overlap = setting.window - 2, setting.overlap
            docs = [plain(doc) for doc in group]
            start = time.process_time()
            docs_of[setting] += tagger.pipe(docs)
            seconds[setting] += time.process_time() - start
    n_pieces = [len(pieces.ids) for pieces in network.split([doc.text for doc in gold])]
    base = [entities(doc) for doc in docs_of[SETTINGS[0]]]
    return {
        setting: Figures(
            seconds[setting],
            100 * tagger.score([Example(a, b) for a, b in zip(docs, gold, strict=True)])["ents_f"],
            sum(positions(n, setting) for n in n_pieces) / sum(n_pieces),
            sum(len(entities(doc) ^ other) for doc, other in zip(docs, base, strict=True)),
        )
        for setting, docs in docs_of.items()
    }


def plain(doc: Doc) -> Doc:
    """The words of a document alone."""
    return Doc(doc.vocab, words=[t.text for t in doc], spaces=[bool(t.whitespace_) for t in doc])


def entities(doc: Doc) -> set[TokenSpan]:
    """The entities of a document."""
    return {TokenSpan(ent.start, ent.end, ent.label_) for ent in doc.ents}


def positions(n_pieces: int, setting: Setting) -> int:
    """Places that the encoder computes for a document, special tokens included."""
    windows = cut_windows(n_pieces, setting.window - 2, setting.overlap)
    return sum(window.end - window.start + 2 for window in windows)


def make_table(title: str, figures: dict[Setting, Figures], n_words: int) -> Table:
    """A row a setting, compared with the first one."""
    base = figures[SETTINGS[0]]
    rows = [
        [
            f"{setting.window} / {setting.overlap}",
            f"{n_words / f.seconds:,.0f} ({base.seconds / f.seconds:.2f}x)",
            f"{f.positions:.2f}",
            f"{f.f1:.2f} ({f.f1 - base.f1:+.2f})",
            f"{f.changed}",
        ]
        for setting, f in figures.items()
    ]
    header = ["window / overlap", "words a CPU second", "positions a piece", "F1", "other entities"]
    return Table(title, header, rows)


if __name__ == "__main__":
    typer.run(main)

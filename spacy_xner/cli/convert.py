"""`spacy xner convert`: tagged files and raw text to corpus files."""

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from wasabi import msg

from spacy_xner.cli.app import group, verb
from spacy_xner.cli.options import Languages, split_names

if TYPE_CHECKING:
    from spacy_xner.corpus.convert import Written

convert = group("convert", "Convert corpora to {lang}-{source}-{split}.spacy files.")
Out = Annotated[Path, typer.Argument(help="Folder for the .spacy files.")]


class UnknownLabels(str, Enum):
    """Treatment of a label that the table does not have."""

    error = "error"
    drop = "drop"
    keep = "keep"


@verb("tagged", convert)
def tagged_cli(
    folder: Annotated[Path, typer.Argument(help="Folder {lang}/{split}.* of CoNLL-like files.")],
    out: Out,
    source: Annotated[str, typer.Option(help="Name of the corpus in the file names.")] = "",
    languages: Languages = "",
    limit: Annotated[int, typer.Option(help="First n sentences of a file; 0 takes all.")] = 0,
    misc: Annotated[bool, typer.Option(help="Keep MISC; otherwise it becomes O.")] = True,
    label: Annotated[list[str] | None, typer.Option(help="Rename a label: OLD=NEW; OLD= drops it.")] = None,
    unknown_labels: Annotated[
        UnknownLabels, typer.Option(help="Labels outside of the table.")
    ] = UnknownLabels.error,
    keep_labels: Annotated[
        bool, typer.Option(help="Keep all labels as they are; --label goes on top.")
    ] = False,
    unlabelled: Annotated[bool, typer.Option(help="Write no entity annotation.")] = False,
    dev_size: Annotated[
        int, typer.Option(help="Without a train file: the last n of the dev file stay dev, the others train.")
    ] = 0,
    splits: Annotated[str, typer.Option(help="Splits to convert: train,dev,test; all.")] = "",
) -> None:
    """Convert tagged files of any supported format.

    EXAMPLE: python -m spacy xner convert tagged data/mine corpus/mine --source mine
    """
    from spacy_xner.corpus.convert import Selection, convert_tagged, make_label_rules

    rules = make_label_rules(label or [], keep=keep_labels, unknown=unknown_labels.value, misc=misc)
    selection = Selection(split_names(languages), limit, not unlabelled, dev_size, split_names(splits))
    for written in convert_tagged(folder, out, source, rules, selection, show_progress):
        show(written)


@verb("text", convert)
def text_cli(
    path: Annotated[Path, typer.Argument(help="Plain text, one sentence a line; .gz and .xz too.")],
    out: Out,
    language: Annotated[str, typer.Option(help="Language of the text.")],
    source: Annotated[str, typer.Option(help="Name in the file name.")] = "raw",
    split: Annotated[str, typer.Option(help="Split in the file name.")] = "train",
) -> None:
    """Convert raw text to unlabelled documents.

    EXAMPLE: python -m spacy xner convert text spanish.txt corpus/mine --language es
    """
    from spacy_xner.corpus.convert import convert_text

    show(convert_text(path, out, language, source, split, show_progress))


def show_progress(docs: Iterable[Any], name: str) -> Iterable[Any]:
    """Draw a progress bar, which vanishes at its end, if standard error is a terminal."""
    from tqdm import tqdm

    return tqdm(docs, desc=name, unit=" sentences", leave=False, disable=None)


def show(written: "Written") -> None:
    """Print what was written."""
    counts = ", ".join(f"{written.counts[key]:,} {key}" for key in sorted(written.counts))
    msg.good(f"{written.path.name}: {counts}")

"""Convert corpora to `{lang}-{source}-{split}.spacy` files."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.tokens import Doc
from tqdm import tqdm
from wasabi import msg

from spacy_xner.attributes import register_attributes
from spacy_xner.corpus.conll import LABEL_TABLE, Sentence, map_labels, read_tagged
from spacy_xner.corpus.docs import make_doc, write_docs
from spacy_xner.corpus.names import file_language
from spacy_xner.files import numbered_lines
from spacy_xner.tags import TokenSpan
from spacy_xner.tokenizer import create_multilingual_tokenizer

from common import split_names
from sample import read_sample

SUFFIXES = (".tsv", ".conllu", ".iob2", ".conll", ".conll02", ".conll03", ".txt", ".bio", ".gz")
SPLITS = {"train": "train", "dev": "dev", "test": "test", "validation": "dev", "valid": "dev"}


class UnknownLabels(str, Enum):
    """What to do with a label that the table does not have."""

    error = "error"
    drop = "drop"
    keep = "keep"


app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command("tagged")
def convert_tagged(
    folder: Annotated[Path, typer.Argument(help="Folder {lang}/{split}.* of CoNLL-like files.")],
    out: Annotated[Path, typer.Argument(help="Folder for the .spacy files.")],
    source: Annotated[str, typer.Option(help="Name of the corpus in the file names.")] = "",
    languages: Annotated[str, typer.Option(help="Comma-separated; all by default.")] = "",
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
) -> None:
    """Convert tagged files of any supported format."""
    table = {} if keep_labels else LABEL_TABLE
    unknown = "keep" if keep_labels else unknown_labels.value
    table = {**table, **dict(pair.split("=", 1) for pair in label or [])}
    if not misc:
        table = {**{old: "" if new == "MISC" else new for old, new in table.items()}, "MISC": ""}
    vocab = spacy.blank("xx").vocab
    wanted = {file_language(name) for name in split_names(languages)}
    files = list(find_tagged_files(folder, wanted))
    missing = wanted - {lang for lang, _, _ in files}
    if missing or not files:
        msg.fail(f"No files for {', '.join(sorted(missing)) or 'any language'} in {folder}", exits=1)
    splits = Counter((lang, split) for lang, split, _ in files)
    if twice := [f"{lang}/{split}" for (lang, split), n in splits.items() if n > 1]:
        msg.fail(f"More than one file for {', '.join(twice)} in {folder}: leave one", exits=1)
    for lang, split, path in files:
        target = out / f"{lang}-{source or folder.name}-{split}.spacy"

        def read(path: Path = path, lang: str = lang) -> Iterator[Doc]:
            for number, sentence in enumerate(read_tagged(path, lang)):
                if limit and number == limit:
                    break
                spans = map_labels(sentence.spans, table, unknown=unknown, where=str(path))
                yield make_doc(vocab, sentence._replace(spans=spans), lang, labelled=not unlabelled)

        if dev_size and split == "dev" and (lang, "train") not in splits:
            docs = list(read())
            _write(docs[:-dev_size], target.with_name(target.name.replace("-dev.", "-train.")))
            _write(docs[-dev_size:], target)
        else:
            _write(read(), target)


@app.command("sample")
def convert_sample(
    folder: Annotated[Path, typer.Argument(help="Folder of {lang}.tsv files.")],
    out: Annotated[Path, typer.Argument(help="Folder for the .spacy files.")],
    languages: Annotated[str, typer.Option(help="Comma-separated; all by default.")] = "",
) -> None:
    """Convert the bundled sample; the split stands in the sentences' identifiers."""
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    wanted = set(split_names(languages))
    for path in sorted(folder.glob("*.tsv")):
        if wanted and path.stem not in wanted:
            continue
        by_split: dict[str, list[Doc]] = {}
        for identifier, text, entities in read_sample(path):
            split = identifier.split("-")[0]
            doc = nlp.make_doc(text)
            tokens = [token.text for token in doc]
            spaces = [bool(token.whitespace_) for token in doc]
            spans = []
            for entity in entities:
                span = doc.char_span(entity.start, entity.end)
                if span is None:
                    msg.fail(
                        f"{path}, {identifier}: {text[entity.start : entity.end]!r} cuts a token",
                        exits=1,
                    )
                spans.append(TokenSpan(span.start, span.end, entity.label))
            by_split.setdefault(split, []).append(
                make_doc(nlp.vocab, Sentence(tokens, spaces, spans), path.stem)
            )
        for split, docs in by_split.items():
            _write(docs, out / f"{path.stem}-sample-{split}.spacy")


@app.command("text")
def convert_text(
    path: Annotated[Path, typer.Argument(help="Plain text, one sentence a line; .gz and .xz too.")],
    out: Annotated[Path, typer.Argument(help="Folder for the .spacy file.")],
    language: Annotated[str, typer.Option(help="Language of the text.")],
    source: Annotated[str, typer.Option(help="Name in the file name.")] = "raw",
    split: Annotated[str, typer.Option(help="Split in the file name.")] = "train",
) -> None:
    """Convert raw text to unlabelled documents."""
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    register_attributes()
    language = file_language(language)

    def read() -> Iterator[Doc]:
        for _, line in numbered_lines(path):
            if line.strip():
                doc = nlp.make_doc(line.strip())
                doc._.language = language
                yield doc

    _write(read(), out / f"{language}-{source}-{split}.spacy")


def find_tagged_files(folder: Path, languages: set[str]) -> Iterator[tuple[str, str, Path]]:
    """Find {lang}/{split}.* files. languages: All if there are none. RETURNS: Language, split, path."""
    for path in sorted(folder.glob("*/*")):
        stem, language = re.split(r"[.]", path.name)[0], file_language(path.parent.name)
        if stem in SPLITS and path.suffix in SUFFIXES and (not languages or language in languages):
            yield language, SPLITS[stem], path


def _write(docs: Iterable[Doc], path: Path) -> None:
    docs = iter(docs)
    first = list(islice(docs, 1))
    if not first:
        msg.fail(f"{path.name} would be empty: nothing is written", exits=1)
    counts = write_docs(tqdm(chain(first, docs), desc=path.name, unit=" sentences", leave=False), path)
    numbers = ", ".join(f"{counts[key]:,} {key}" for key in sorted(counts))
    msg.good(f"{path.name}: {numbers}")


if __name__ == "__main__":
    app()

"""Convert folders of tagged files, and raw text, to `{lang}-{source}-{split}.spacy`."""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Literal, NamedTuple

from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_xner.attributes import register_attributes
from spacy_xner.corpus.conll import LABEL_TABLE, Sentence, map_labels, read_tagged
from spacy_xner.corpus.docs import make_doc, write_docs
from spacy_xner.corpus.names import file_language
from spacy_xner.errors import Errors, XnerError, check_counts
from spacy_xner.files import hold, numbered_lines
from spacy_xner.tokenizer import blank_pipeline

SUFFIXES = (
    ".tsv", ".conllu", ".iob2", ".conll", ".conll02", ".conll03", ".txt", ".bio", ".gz", ".xz",
)  # fmt: skip
SPLITS = {"train": "train", "dev": "dev", "test": "test", "validation": "dev", "valid": "dev"}
# Documents whose words are forgotten together once they are written.
ZONE = 10_000

Unknown = Literal["error", "drop", "keep"]
# Wraps a stream of documents with a progress bar; it gets the file's name as well.
Watch = Callable[[Iterable[Doc], str], Iterable[Doc]]


class Written(NamedTuple):
    """A corpus file that was written. counts: Sentences, tokens and entities by label."""

    path: Path
    counts: Counter[str]


class TaggedFile(NamedTuple):
    """A file of tagged sentences, and what its path says."""

    language: str
    split: str
    path: Path


class LabelRules(NamedTuple):
    """How labels are renamed.

    unknown: Treatment of a label that is not in the table: "error", "keep" or "drop".
    """

    table: dict[str, str]
    unknown: Unknown


class Selection(NamedTuple):
    """Which part of tagged files is converted.

    languages, splits: All by default.
    limit: The first so many sentences of each file; 0 takes all.
    labelled: Whether entities are written.
    dev_size: Where a language has no training file, so many of the last dev sentences stay dev, and the
        others become the training file; 0 leaves the dev file as it is.
    """

    languages: Sequence[str] = ()
    limit: int = 0
    labelled: bool = True
    dev_size: int = 0
    splits: Sequence[str] = ()


def make_label_rules(
    renames: Iterable[str] = (), *, keep: bool = False, unknown: Unknown = "error", misc: bool = True
) -> LabelRules:
    """Build the label table from a user's wishes.

    renames: `OLD=NEW`, or `OLD=` to drop a label.
    keep: Leave all other labels as they are, in place of the package's table.
    misc: Whether MISC is kept; otherwise it becomes O.
    RAISES: XNER118.
    """
    table = {} if keep else dict(LABEL_TABLE)
    for pair in renames:
        old, equals, new = pair.partition("=")
        if not old or not equals:
            raise XnerError(Errors.XNER118.format(pair=pair))
        table[old] = new
    if not misc:
        table = {**{old: "" if new == "MISC" else new for old, new in table.items()}, "MISC": ""}
    return LabelRules(table, "keep" if keep else unknown)


def convert_tagged(
    folder: Path,
    out: Path,
    source: str,
    rules: LabelRules,
    selection: Selection | None = None,
    watch: Watch = lambda docs, name: docs,
) -> Iterator[Written]:
    """Convert {lang}/{split}.* files of any supported format.

    The lock of `out` is held until the last file has been asked for.
    source: Name of the corpus in the file names; that of the folder if it is empty.
    YIELDS: Each file when it is written.
    RAISES: XNER170 for a split that is none, XNER119 and XNER120 for files that are missing or there twice,
        XNER121 for a file that would be empty, XNER122, XNER702 if another process converts to `out`, and
        what `read_tagged` raises.
    """
    selection = selection or Selection()
    check_counts(limit=selection.limit, dev_size=selection.dev_size)
    if unknown := set(selection.splits) - set(SPLITS.values()):
        names = ", ".join(sorted(unknown))
        raise XnerError(Errors.XNER170.format(splits=", ".join(sorted(set(SPLITS.values()))), found=names))
    files = find_tagged_files(folder, selection.languages)
    if selection.splits:
        files = [file for file in files if file.split in selection.splits]
    has_train = {file.language for file in files if file.split == "train"}
    # A language's vocabulary computes shape, affixes and more of every word; the file has none of these.
    vocab = Vocab()

    def write(sentences: Iterable[Sentence], file: TaggedFile, split: str) -> Written:
        target = out / f"{file.language}-{source or folder.resolve().name}-{split}.spacy"

        def make(sentence: Sentence) -> Doc:
            return make_doc(vocab, sentence, file.language, labelled=selection.labelled)

        docs = watch(_in_zones(vocab.memory_zone, sentences, make), target.name)
        return _write(docs, target, file.path)

    with hold(out):
        for file in files:
            sentences = _read(file, rules, selection.limit)
            if selection.dev_size and file.split == "dev" and file.language not in has_train:
                last: deque[Sentence] = deque(maxlen=selection.dev_size)
                yield write(_all_but_last(sentences, last), file, "train")
                yield write(last, file, "dev")
            else:
                yield write(sentences, file, file.split)


def convert_text(
    path: Path,
    out: Path,
    language: str,
    source: str = "raw",
    split: str = "train",
    watch: Watch = lambda docs, name: docs,
) -> Written:
    """Convert raw text, a sentence a line, to unlabelled documents.

    RAISES: XNER121 for text without a word, XNER702, and what `numbered_lines` raises.
    """
    register_attributes()
    nlp = blank_pipeline()
    language = file_language(language)
    target = out / f"{language}-{source}-{split}.spacy"

    def make(text: str) -> Doc:
        doc = nlp.make_doc(text)
        doc._.language = language
        return doc

    texts = (text for _, line in numbered_lines(path) if (text := line.strip()))
    with hold(out):
        return _write(watch(_in_zones(nlp.memory_zone, texts, make), target.name), target, path)


def find_tagged_files(folder: Path, languages: Sequence[str] = ()) -> list[TaggedFile]:
    """Find {lang}/{split}.* files of the given languages, by default of all. RAISES: XNER119, XNER120."""
    wanted = {file_language(name) for name in languages}
    files = []
    for path in sorted(folder.glob("*/*")):
        stem, language = re.split(r"[.]", path.name)[0], file_language(path.parent.name)
        if stem in SPLITS and path.suffix in SUFFIXES and (not wanted or language in wanted):
            files.append(TaggedFile(language, SPLITS[stem], path))
    missing = wanted - {file.language for file in files}
    if missing or not files:
        names = ", ".join(sorted(missing)) or "any language"
        message = Errors.XNER119.format(
            languages=names, folder=folder, splits=", ".join(SPLITS), suffixes=", ".join(SUFFIXES)
        )
        raise XnerError(message)
    splits = Counter(f"{file.language}/{file.split}" for file in files)
    if twice := [split for split, n in splits.items() if n > 1]:
        raise XnerError(Errors.XNER120.format(splits=", ".join(twice), folder=folder))
    return files


def _read(file: TaggedFile, rules: LabelRules, limit: int) -> Iterator[Sentence]:
    for sentence in islice(read_tagged(file.path, file.language), limit or None):
        where = f"{file.path}, sentence of line {sentence.line}"
        spans = map_labels(sentence.spans, rules.table, unknown=rules.unknown, where=where)
        yield sentence._replace(spans=spans)


def _all_but_last(sentences: Iterable[Sentence], last: deque[Sentence]) -> Iterator[Sentence]:
    """Give out sentences until `last` holds the last of them, as many as it has room for."""
    for sentence in sentences:
        if len(last) == last.maxlen:
            yield last[0]
        last.append(sentence)


def _in_zones(zone: Callable, items: Iterable, make: Callable[..., Doc]) -> Iterator[Doc]:
    """Make documents whose words leave the vocabulary again, which would grow with the corpus."""
    items = iter(items)
    for first in items:
        with zone():
            yield from map(make, chain([first], islice(items, ZONE - 1)))


def _write(docs: Iterable[Doc], target: Path, path: Path) -> Written:
    docs = iter(docs)
    first = list(islice(docs, 1))
    if not first:
        raise XnerError(Errors.XNER121.format(name=target.name, path=path))
    return Written(target, write_docs(chain(first, docs), target))

"""Parallel text: pairs of lines in, annotated documents of the target language out, as a stream."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc

from spacy_xner.attributes import has_surrogate, register_attributes
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import describe_file, numbered_lines


class TextPair(NamedTuple):
    """A sentence and its translation.

    number: Number of the line in its file, from 1.
    """

    number: int
    source: str
    target: str

    @property
    def is_whole(self) -> bool:
        """False if a side is missing."""
        return bool(self.source.strip() and self.target.strip())


class Part(NamedTuple):
    """Pairs that are worked on and saved together.

    name: Name of the part's files.
    shard: Name of the shard that the part is; empty for a part of a file.
    """

    name: str
    shard: str
    pairs: Iterable[TextPair]


@dataclass(frozen=True)
class ParallelText:
    """The files of a parallel text.

    source: File of `source TAB target`, file of source sentences, or folder of shards.
    target: File of target sentences, if the source file has none.
    limit: First n pairs of the file, or of each shard; 0 takes all.
    """

    source: Path
    target: Path | None = None
    limit: int = 0

    @cached_property
    def shards(self) -> list[Path]:
        """Files of the folder; none if the source is a file."""
        if not self.source.is_dir():
            return []
        return sorted(path for path in self.source.iterdir() if path.is_file())

    def check(self) -> None:
        """See that the files fit each other, before hours of work on shifted pairs.

        RAISES: XNER502, XNER509 for a folder without shards or with a target.
        """
        if self.source.is_dir() and not self.shards:
            raise XnerError(Errors.XNER509.format(source=self.source, reason="has no shard"))
        if self.source.is_dir() and self.target is not None:
            reason = f"is a folder, whose shards have both sides, and {self.target} is given too"
            raise XnerError(Errors.XNER509.format(source=self.source, reason=reason))
        if not self.source.exists():
            raise XnerError(Errors.XNER509.format(source=self.source, reason="is not there"))
        if self.target is not None:
            check_lengths(self.source, self.target)

    def first(self, n_pairs: int) -> list[TextPair]:
        """Read the first pairs."""
        pairs = read_shard(self.shards[0]) if self.shards else read_pairs(self.source, self.target)
        return list(islice(pairs, n_pairs))

    def shard(self, path: Path) -> Part:
        """Read a shard as one part."""
        return Part(path.name, path.name, islice(read_shard(path), self.limit or None))

    def parts(self, size: int) -> Iterator[Part]:
        """Cut the file into parts of so many pairs; a shard is a part."""
        if self.shards:
            yield from map(self.shard, self.shards)
            return
        pairs = islice(read_pairs(self.source, self.target), self.limit or None)
        number = 0
        while chunk := list(islice(pairs, size)):
            yield Part(f"{number:05}", "", chunk)
            number += 1

    def describe(self) -> dict[str, Any]:
        """Say which text this is, as plain JSON: a file that was changed is another one."""
        return {
            "source": [describe_file(path) for path in self.shards or [self.source]],
            "target": describe_file(self.target) if self.target is not None else None,
            "limit": self.limit,
        }


def read_pairs(source: Path, target: Path | None = None) -> Iterator[TextPair]:
    """Read two files with a sentence a line, or one file of `source TAB target`; gzip by the name.

    A pair with a missing side is given out too.

    RAISES: XNER502 if the files have different numbers of lines, XNER503 for a line without a tab.
    """
    if target is None:
        for number, line in numbered_lines(source):
            left, tab, right = line.partition("\t")
            if not tab and line.strip():
                raise XnerError(Errors.XNER503.format(path=source, line=number, text=line[:60]))
            yield TextPair(number, left, right.split("\t")[0])
        return
    for left_line, right_line in zip_longest(numbered_lines(source), numbered_lines(target)):
        if left_line is None or right_line is None:
            longer, shorter = (target, source) if left_line is None else (source, target)
            n_lines = (left_line or right_line)[0] - 1
            raise XnerError(Errors.XNER502.format(longer=longer, shorter=shorter, n_lines=n_lines))
        yield TextPair(left_line[0], left_line[1], right_line[1])


def check_lengths(source: Path, target: Path) -> None:
    """See that two files have as many lines. RAISES: XNER502."""
    sizes = [(sum(1 for _ in numbered_lines(path)), path) for path in (source, target)]
    (fewest, shorter), (most, longer) = sorted(sizes)
    if fewest < most:
        raise XnerError(Errors.XNER502.format(longer=longer, shorter=shorter, n_lines=fewest))


def read_shard(path: Path) -> Iterator[TextPair]:
    """Read a shard with the fields `source` and `target`: JSON lines (gzip by the name) or parquet.

    RAISES: XNER507 for lines that are no such object, XNER514 for parquet without pyarrow.
    """
    if path.suffix == ".parquet":
        try:
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise XnerError(Errors.XNER514.format(what="A parquet file", reason=error)) from error

        batches = ParquetFile(path).iter_batches(columns=["source", "target"])
        rows = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(rows, start=1):
            yield _make_pair(path, number, row)
        return
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise XnerError(Errors.XNER507.format(path=path, line=number, text=line[:60])) from error
        yield _make_pair(path, number, row)


def _make_pair(path: Path, number: int, row: Any) -> TextPair:
    is_pair = isinstance(row, dict) and {"source", "target"} & row.keys()
    sides = [row.get(side) or "" for side in ("source", "target")] if is_pair else [None]
    # Half of an emoji, which JSON can spell, is no text.
    if not all(isinstance(side, str) and not has_surrogate(side) for side in sides):
        raise XnerError(Errors.XNER507.format(path=path, line=number, text=str(row)[:60]))
    return TextPair(number, *sides)


def count_languages(texts: Iterable[str], identifier: Language) -> Counter[str]:
    """Count the languages of texts.

    identifier: Pipeline with a `language_identifier`.
    """
    return Counter(doc._.language for doc in identifier.pipe(texts) if doc._.language)


def project_pairs(
    pairs: Iterable[TextPair], teacher: Language, projector: Language, language: str, source_language: str
) -> Iterator[tuple[TextPair, Doc]]:
    """Annotate the source side with the teacher and carry its entities over.

    Pairs with a missing side are left out.

    teacher: Pipeline that finds entities.
    projector: Pipeline with an `entity_projector`.
    language: Language of the target side.
    source_language: Language of the source side.
    YIELDS: Pairs with their target documents; `doc._.projection` says what became of each entity.
    """
    register_attributes()

    def prepare() -> Iterator[tuple[Doc, TextPair]]:
        sources = (
            (make_text(teacher, pair.source, source_language), pair) for pair in pairs if pair.is_whole
        )
        for source, pair in teacher.pipe(sources, as_tuples=True):
            doc = make_text(projector, pair.target, language)
            doc._.source = source
            yield doc, pair

    for doc, pair in projector.pipe(prepare(), as_tuples=True):
        yield pair, doc


def make_text(nlp: Language, text: str, language: str) -> Doc:
    """Tokenize one side of a pair, whose language is known."""
    doc = nlp.make_doc(text.strip())
    doc._.language = language
    return doc

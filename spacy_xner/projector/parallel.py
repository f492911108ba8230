"""Parallel text: pairs of lines in, annotated documents of the target language out, as a stream."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc

from spacy_xner.attributes import register_attributes
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import numbered_lines

_SURROGATE = re.compile("[\ud800-\udfff]")


class TextPair(NamedTuple):
    """A sentence and its translation. number: Of the line, from 1."""

    number: int
    source: str
    target: str

    @property
    def is_whole(self) -> bool:
        """False if a side is missing."""
        return bool(self.source.strip() and self.target.strip())


def read_pairs(source: Path, target: Path | None = None) -> Iterator[TextPair]:
    """Read two files with a sentence a line, or one of `source TAB target`; gzip by the name.

    Pairs with a missing side are among them.
    RAISES: XNER502 if the files have different numbers of lines, XNER503 for a line without a tab.
    """
    if target is None:
        for number, line in numbered_lines(source):
            left, tab, right = line.partition("\t")
            if not tab and line.strip():
                raise XnerError(Errors.XNER503.format(path=source, line=number, text=line[:60]))
            yield TextPair(number, left, right.split("\t")[0])
        return
    for ours, theirs in zip_longest(numbered_lines(source), numbered_lines(target)):
        if ours is None or theirs is None:
            longer, shorter = (target, source) if ours is None else (source, target)
            n_lines = (ours or theirs)[0] - 1
            raise XnerError(Errors.XNER502.format(longer=longer, shorter=shorter, n_lines=n_lines))
        yield TextPair(ours[0], ours[1], theirs[1])


def check_lengths(source: Path, target: Path) -> None:
    """See that two files have as many lines. RAISES: XNER502."""
    sizes = [(sum(1 for _ in numbered_lines(path)), path) for path in (source, target)]
    (fewest, shorter), (most, longer) = sorted(sizes)
    if fewest < most:
        raise XnerError(Errors.XNER502.format(longer=longer, shorter=shorter, n_lines=fewest))


def read_shard(path: Path) -> Iterator[TextPair]:
    """Read a shard with the fields `source` and `target`: JSON lines (gzip by the name) or parquet.

    RAISES: XNER507 for lines that are no such object, ImportError for parquet without pyarrow.
    """
    if path.suffix == ".parquet":
        from pyarrow.parquet import ParquetFile

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
    if not all(isinstance(side, str) and not _SURROGATE.search(side) for side in sides):
        raise XnerError(Errors.XNER507.format(path=path, line=number, text=str(row)[:60]))
    return TextPair(number, *sides)


def count_languages(texts: Iterable[str], identifier: Language) -> Counter[str]:
    """Say what languages texts are in, with a pipeline that has a `language_identifier`."""
    return Counter(doc._.language for doc in identifier.pipe(texts) if doc._.language)


def project_pairs(
    pairs: Iterable[TextPair], teacher: Language, projector: Language, language: str, source_language: str
) -> Iterator[tuple[TextPair, Doc]]:
    """Annotate the source side with the teacher and carry its entities over.

    projector: A pipeline with an `entity_projector`.
    RETURNS: Pairs with their target documents; `doc._.projection` says what became of each entity.
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

"""Texts out of files of many formats, one after the other."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_xner.attributes import has_surrogate
from spacy_xner.corpus.conll import read_tagged
from spacy_xner.corpus.docs import read_docs
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import COMPRESSED, numbered_lines, raw_lines

STANDARD_INPUT = Path("-")
# Formats by the ends of file names; a compressed file is named after what is in it.
FORMATS = {
    ".txt": "text", ".jsonl": "jsonl", ".csv": "csv", ".tsv": "conll", ".conll": "conll", ".iob": "conll",
    ".iob2": "conll", ".spacy": "docbin", ".parquet": "parquet",
}  # fmt: skip
# A column may hold a whole book: the csv module refuses fields of more than 131,072 characters by itself.
MAX_FIELD = 2**31 - 1


class Text(NamedTuple):
    """A text to annotate.

    text: The text itself, or a document with tokens of its own.
    fields: The other fields of its row, which go into the output.
    """

    text: str | Doc
    fields: dict[str, Any]


class Texts(NamedTuple):
    """Where texts come from.

    path: A file, or `STANDARD_INPUT`.
    format: One of `FORMATS`' values; empty for that of the file's name.
    field: Field or column with the text, of JSON lines, CSV and parquet.
    """

    path: Path
    format: str = ""
    field: str = "text"

    @property
    def stem(self) -> str:
        """The file's name without the ends that tell its format."""
        name = self.path.name
        for end in (*COMPRESSED, *FORMATS):
            name = name.removesuffix(end) or name
        return name

    @property
    def kind(self) -> str:
        """The format. RAISES: XNER710 for a name that tells none."""
        if self.format:
            return self.format
        if self.path == STANDARD_INPUT:
            return "text"
        suffixes = [suffix for suffix in self.path.suffixes if suffix not in COMPRESSED]
        kind = FORMATS.get(suffixes[-1] if suffixes else "")
        if kind is None:
            raise XnerError(Errors.XNER710.format(path=self.path, known=", ".join(FORMATS)))
        return kind

    def read(self, vocab: Vocab) -> Iterator[Text]:
        """Read text after text. Blank lines of plain text are left out; everything else has its output.

        vocab: Vocabulary of the documents that have tokens already.
        RAISES: XNER103 to XNER105, XNER108 and those of tagged files for damaged files, XNER711 for a row
            without its text, XNER712 for a format that cannot come from standard input, XNER713 for parquet
            without pyarrow.
        """
        kind = self.kind
        if self.path == STANDARD_INPUT and kind not in ("text", "jsonl"):
            raise XnerError(Errors.XNER712.format(format=kind))
        readers: dict[str, Callable[[Vocab], Iterator[Text]]] = {
            "text": self._read_text, "jsonl": self._read_jsonl, "csv": self._read_csv,
            "conll": self._read_conll, "docbin": self._read_docbin, "parquet": self._read_parquet,
        }  # fmt: skip
        return readers[kind](vocab)

    def _lines(self) -> Iterator[tuple[int, str]]:
        if self.path == STANDARD_INPUT:
            # Bytes that are no UTF-8 are told with their line, as those of files are.
            for number, line in enumerate(sys.stdin.buffer, start=1):
                try:
                    yield number, line.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    reason = f"line {number}, {error.reason}"
                    raise XnerError(Errors.XNER104.format(path="standard input", reason=reason)) from error
        else:
            yield from numbered_lines(self.path)

    def _read_text(self, vocab: Vocab) -> Iterator[Text]:
        for _, line in self._lines():
            if line.strip():
                yield Text(line, {})

    def _read_jsonl(self, vocab: Vocab) -> Iterator[Text]:
        for number, line in self._lines():
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise self._bad_row(number, line) from error
            yield self._text_of(row, number)

    def _read_csv(self, vocab: Vocab) -> Iterator[Text]:
        csv.field_size_limit(MAX_FIELD)
        for number, row in enumerate(csv.DictReader(line for _, line in raw_lines(self.path)), start=2):
            yield self._text_of(row, number)

    def _read_conll(self, vocab: Vocab) -> Iterator[Text]:
        for sentence in read_tagged(self.path, "xx"):
            yield Text(Doc(vocab, words=sentence.tokens, spaces=sentence.spaces), {})

    def _read_docbin(self, vocab: Vocab) -> Iterator[Text]:
        for doc in read_docs(self.path).get_docs(vocab):
            yield Text(doc, {})

    def _read_parquet(self, vocab: Vocab) -> Iterator[Text]:
        _, parquet = import_pyarrow()
        batches = parquet.ParquetFile(self.path).iter_batches(batch_size=1000)
        rows = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(rows, start=1):
            yield self._text_of(row, number)

    def _text_of(self, row: Any, number: int) -> Text:
        text = row.get(self.field) if isinstance(row, dict) else None
        if not isinstance(text, str) or has_surrogate(json.dumps(row, ensure_ascii=False, default=str)):
            raise self._bad_row(number, row)
        return Text(text, {key: value for key, value in row.items() if key != self.field})

    def _bad_row(self, number: int, row: Any) -> XnerError:
        return XnerError(
            Errors.XNER711.format(path=self.path, number=number, field=self.field, row=str(row)[:60])
        )


def import_pyarrow() -> tuple[Any, Any]:
    """Import pyarrow and its parquet module. RAISES: XNER713 where they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise XnerError(Errors.XNER713.format(reason=error)) from error
    return pyarrow, pyarrow.parquet

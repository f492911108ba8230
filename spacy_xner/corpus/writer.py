"""Write spaCy's DocBin as a stream: memory does not grow with the corpus, and spaCy reads the file."""

import heapq
import json
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, BinaryIO

import numpy
import srsly
from spacy.attrs import ENT_IOB, ENT_TYPE, ORTH, SPACY
from spacy.tokens import Doc
from spacy.tokens._dict_proxies import SpanGroups
from spacy.vocab import Vocab

from spacy_xner.errors import Errors, XnerError

ATTRIBUTES = [ORTH, ENT_IOB, ENT_TYPE]
# MessagePack counts bytes and items with 32 bits.
LARGEST = 2**32 - 1
# This many different strings are held in memory, about 30 MB.
N_STRINGS = 200_000
_BYTES = ("tokens", "spaces", "lengths")
_LISTS = ("cats", "flags", "span_groups", "user_data")


class DocWriter:
    """Collects the parts of a DocBin in temporary files, which vanish with the process.

    The file has tokens, entities, spans, categories and user data. DIFFERS: spaCy's own DocBin also lists
    norms, tags and lemmas among its strings; these are not stored here.
    folder: Where the temporary files lie, on the disk of the result.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = ExitStack()
        # srsly's own functions look for plug-ins at every call, which takes most of the time of a document.
        self._pack = srsly.msgpack.Packer(use_bin_type=True).pack
        self._no_spans = self._pack(SpanGroups(Doc(Vocab())).to_bytes())
        self._n_docs = 0

    def __enter__(self) -> "DocWriter":
        self._parts = {name: self._open() for name in (*_BYTES, *_LISTS)}
        self._strings: dict[int, str] = {}
        self._runs: list[IO[bytes]] = []
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def add(self, doc: Doc) -> None:
        """Write a document to the parts; it is not needed afterwards."""
        tokens = doc.to_array(ATTRIBUTES).astype("uint64", copy=False)
        parts = {
            "tokens": tokens.tobytes(),
            "spaces": doc.to_array([SPACY]).astype(bool).tobytes(),
            "lengths": numpy.int32(len(doc)).tobytes(),
            "cats": self._pack(doc.cats),
            "flags": self._pack({"has_unknown_spaces": doc.has_unknown_spaces}),
            "span_groups": self._pack(doc.spans.to_bytes()) if doc.spans else self._no_spans,
            "user_data": self._pack(self._pack(doc.user_data)),
        }
        for name, content in parts.items():
            self._parts[name].write(content)
        self._n_docs += 1
        keys = {*tokens[:, 0].tolist(), *tokens[:, 2].tolist()}
        for span in (span for group in doc.spans.values() for span in group):
            keys.update((span.label, span.kb_id, span.id))
        # By their hashes: a token object for every word takes longer than all the rest.
        for key in keys.difference(self._strings, [0]):
            self._strings[key] = doc.vocab.strings[key]
        if len(self._strings) > N_STRINGS:
            self._flush_strings()

    def finish(self, file: BinaryIO) -> None:
        """Put the parts together. RAISES: XNER124 for a corpus that is too large for one DocBin."""
        self._flush_strings()
        pack = _Packer(file)
        names = ("version", "attrs", *_BYTES, "strings", *_LISTS)
        pack.write(bytes([0x80 | len(names)]))
        pack.value("version", "0.1")
        pack.value("attrs", ATTRIBUTES)
        for name in _BYTES:
            pack.binary(name, self._parts[name])
        strings = self._open()
        n_strings = 0
        for string, _ in groupby(heapq.merge(*map(_read_strings, self._runs))):
            strings.write(self._pack(string))
            n_strings += 1
        pack.items("strings", strings, n_strings)
        for name in _LISTS:
            pack.items(name, self._parts[name], self._n_docs)
        pack.end()

    def _open(self) -> IO[bytes]:
        return self._files.enter_context(TemporaryFile(dir=self._folder))

    def _flush_strings(self) -> None:
        run = self._open()
        run.writelines(json.dumps(string).encode() + b"\n" for string in sorted(self._strings.values()))
        self._runs.append(run)
        self._strings.clear()


class _Packer:
    """Writes MessagePack into zlib, as `DocBin.to_bytes` does."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._zlib = zlib.compressobj()

    def write(self, content: bytes) -> int:
        return self._file.write(self._zlib.compress(content))

    def value(self, name: str, value: object) -> None:
        self.write(srsly.msgpack_dumps(name) + srsly.msgpack_dumps(value))

    def binary(self, name: str, part: IO[bytes]) -> None:
        if part.tell() > LARGEST:
            raise XnerError(Errors.XNER124.format(limit=LARGEST))
        self.write(srsly.msgpack_dumps(name) + struct.pack(">BI", 0xC6, part.tell()))
        self._copy(part)

    def items(self, name: str, part: IO[bytes], n_items: int) -> None:
        self.write(srsly.msgpack_dumps(name) + struct.pack(">BI", 0xDD, n_items))
        self._copy(part)

    def end(self) -> None:
        self._file.write(self._zlib.flush())

    def _copy(self, part: IO[bytes]) -> None:
        part.seek(0)
        shutil.copyfileobj(part, self, 2**20)


def _read_strings(run: IO[bytes]) -> Iterator[str]:
    run.seek(0)
    lines: Iterable[bytes] = run
    return (json.loads(line) for line in lines)

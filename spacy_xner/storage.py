"""Disk format 2: the parts of a component beside a manifest of their checksums, as files and as bytes.

Format 1, which had no manifest, is still read: `cfg` (or another file of settings) beside the parts.
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray
from spacy.vectors import Mode, Vectors
from thinc.backends import get_array_ops

from spacy_xner.errors import Errors, XnerError

FORMAT = 2
MANIFEST = "xner.json"


@dataclass(frozen=True)
class Manifest:
    """The content of `xner.json`.

    cfg: The learnt state that is plain JSON, such as the labels; None for a component without any.
    settings: The settings under which it was saved.
    checksums: One for every other part, by name.
    vectors: Checksum of the vocabulary's vectors if the component reads them, else empty.
    shared: Names of the parts that the component has in common with others; see `trunk`.
    """

    cfg: Any
    settings: dict[str, Any] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    vectors: str = ""
    shared: list[str] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """Write JSON with a checksum of its own."""
        content = {"format": FORMAT, **vars(self)}
        if not self.shared:
            # Versions that know of no shared parts read what has none.
            content.pop("shared")
        return json.dumps({**content, "checksum": _checksum_json(content)}, indent=2).encode("utf-8")

    @classmethod
    def from_bytes(cls, stored: bytes, name: str) -> "Manifest":
        """Read what `to_bytes` wrote for the component of this name.

        RAISES: XNER330 for a manifest that was changed, XNER331 for another format.
        """
        content = json.loads(stored)
        version = content.pop("format")
        if version != FORMAT:
            raise XnerError(Errors.XNER331.format(name=name, found=version, known=FORMAT))
        if content.pop("checksum") != _checksum_json({"format": version, **content}):
            raise XnerError(Errors.XNER330.format(part=MANIFEST, name=name))
        return cls(**content)

    def check(self, parts: Mapping[str, bytes], name: str) -> None:
        """Compare the parts with their checksums. RAISES: XNER330."""
        for part, content in parts.items():
            if self.checksums.get(part) != checksum(content):
                raise XnerError(Errors.XNER330.format(part=part, name=name))


def checksum(content: bytes | NDArray[Any]) -> str:
    """Tell content from any other by its CRC and size.

    It guards against accidents, at the speed of memory. A stranger who can change the files can change
    this number too: a digest would be five times as slow and no better.
    """
    view = content.data if isinstance(content, numpy.ndarray) else memoryview(content)
    return f"{zlib.crc32(view):08x}-{view.nbytes}"


def checksum_vectors(vectors: Vectors) -> str:
    """Tell word vectors from any others by their numbers, their words and how words are looked up."""
    data = numpy.ascontiguousarray(get_array_ops(vectors.data).to_numpy(vectors.data))
    keys = numpy.fromiter(vectors.key2row.keys(), dtype="uint64", count=len(vectors.key2row))
    rows = numpy.fromiter(vectors.key2row.values(), dtype="int64", count=len(vectors.key2row))
    order = keys.argsort()
    how: list[Any] = [Mode(vectors.mode).value, str(data.dtype), list(data.shape)]
    if vectors.mode == Mode.floret:
        how += [vectors.minn, vectors.maxn, vectors.hash_count, vectors.hash_seed, vectors.bow, vectors.eow]
    digests = [checksum(data), checksum(keys[order]), checksum(rows[order]), _checksum_json(how)]
    return checksum("|".join(digests).encode())


def check_vectors(vectors: Vectors, name: str, expected: str = "") -> None:
    """Look at the vectors that a loaded component reads.

    A vocabulary that has none at all was left out on purpose, and may be filled in later.
    expected: Their checksum when the component was saved; empty if it is not known.
    RAISES: XNER342 for other vectors, XNER343 for words without a row and numbers that are not finite.
    """
    n_rows = vectors.data.shape[0]
    if not n_rows and not vectors.key2row:
        return
    last = max(vectors.key2row.values(), default=-1)
    if last >= n_rows:
        reason = f"a word's vector is in row {last}, and there are {n_rows} rows"
        raise XnerError(Errors.XNER343.format(name=name, reason=reason))
    if expected and checksum_vectors(vectors) != expected:
        raise XnerError(Errors.XNER342.format(name=name))
    if not _is_finite(get_array_ops(vectors.data).to_numpy(vectors.data)):
        raise XnerError(Errors.XNER343.format(name=name, reason="some numbers are not finite"))


def check_array(array: Any, where: str, name: str) -> None:
    """Look at weights that are an array. RAISES: XNER336 for numbers that are not finite, XNER337."""
    numbers = get_array_ops(array).to_numpy(array)
    if numbers.dtype != numpy.float32:
        raise XnerError(
            Errors.XNER337.format(name=name, where=where, expected="float32", found=numbers.dtype)
        )
    if not _is_finite(numbers):
        raise XnerError(Errors.XNER336.format(name=name, where=where))


def read_part(path: Path) -> bytes:
    """Read a file. RAISES: XNER340 for what is none, such as a pipe that would never end."""
    if path.exists() and not path.is_file():
        raise XnerError(Errors.XNER340.format(path=path))
    return path.read_bytes()


def read_parts(folder: Path, names: Iterable[str], old_cfg: str) -> dict[str, bytes]:
    """Read a component's folder of either format.

    names: Parts beside the manifest. old_cfg: File of settings in format 1.
    RETURNS: Contents by name; the manifest or the file of settings is among them.
    RAISES: XNER340; FileNotFoundError.
    """
    first = MANIFEST if not (folder / old_cfg).exists() or (folder / MANIFEST).exists() else old_cfg
    return {name: read_part(folder / name) for name in (first, *names)}


def write_parts(folder: Path, parts: Mapping[str, bytes], old_cfg: str) -> None:
    """Write a component's folder, and remove what an older format left there."""
    folder.mkdir(exist_ok=True)
    for name, content in parts.items():
        (folder / name).write_bytes(content)
    (folder / old_cfg).unlink(missing_ok=True)


def _checksum_json(content: Any) -> str:
    return checksum(json.dumps(content, sort_keys=True).encode("utf-8"))


def _is_finite(array: NDArray[Any]) -> bool:
    # A sum of finite numbers may be infinite, but it is the rare case that is looked at twice.
    with numpy.errstate(all="ignore"):
        return bool(numpy.isfinite(array.sum(dtype="float32")) or numpy.isfinite(array).all())

"""Downloaded archives and files: members of bounded size, checksums of the first download."""

import gzip
import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import digest, hold, read_json, write_json


def read_zip_member(archive: Path, name: str, limit: int) -> bytes:
    """Read a member of a zip file by its name without folders.

    limit: Bytes that it may have when it is unpacked; no more are read, whatever the archive claims.
    RAISES: XNER704 if there is none, XNER705 if it is larger, XNER707 if the archive is damaged.
    """
    with _coded_damage(archive), zipfile.ZipFile(archive) as members:
        for info in members.infolist():
            if PurePosixPath(info.filename).name == name and not info.is_dir():
                with members.open(info) as stream:
                    return _Bounded(stream, name, archive, limit).read()
    raise XnerError(Errors.XNER704.format(archive=archive, name=name))


def read_tar_members(content: bytes, names: Collection[str], where: Path, limit: int) -> dict[str, bytes]:
    """Read files of a tar.gz by their names without folders; links and other members are left alone.

    where: Name of the archive in messages.
    limit: Bytes that all members together may have, those between the wanted ones included.
    RAISES: XNER704, XNER705, XNER707.
    """
    members: dict[str, bytes] = {}
    with _coded_damage(where), gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacked:
        stream = _Bounded(unpacked, "the whole of its members", where, limit)
        with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                name = PurePosixPath(member.name).name
                if name in names and member.isfile():
                    file = archive.extractfile(member)
                    members[name] = file.read() if file is not None else b""
    if missing := sorted(set(names) - set(members)):
        raise XnerError(Errors.XNER704.format(archive=where, name=", ".join(missing)))
    return members


def check_asset(path: Path, ledger: Path) -> bool:
    """Record the checksum of a file at its first download, and compare it at every later one.

    ledger: JSON file of SHA-256 checksums by path, relative to its own folder.
    RETURNS: True if the file was recorded just now.
    RAISES: XNER706 if the file is another one, XNER702 if another process writes the ledger.
    """
    place, folder = path.resolve(), ledger.resolve().parent
    name = place.relative_to(folder).as_posix() if place.is_relative_to(folder) else place.as_posix()
    with path.open("rb") as file:
        computed = digest(file, hashlib.sha256())
    with hold(ledger):
        checksums = read_json(ledger) if ledger.exists() else {}
        expected = checksums.get(name)
        if expected is None:
            write_json(ledger, {**checksums, name: computed})
        elif expected != computed:
            message = Errors.XNER706.format(path=path, expected=expected, found=computed, ledger=ledger)
            raise XnerError(message)
    return expected is None


class _Bounded:
    """A stream that ends in an error when it has given more bytes than it may."""

    def __init__(self, stream: io.BufferedIOBase | object, name: str, archive: Path, limit: int) -> None:
        self._stream: io.BufferedIOBase = stream  # type: ignore[assignment]
        self._message = Errors.XNER705.format(name=name, archive=archive, limit=limit)
        self._left = limit

    def read(self, size: int = -1) -> bytes:
        room = self._left + 1
        content = self._stream.read(room if size < 0 else min(size, room))
        self._left -= len(content)
        if self._left < 0:
            raise XnerError(self._message)
        return content


@contextmanager
def _coded_damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except XnerError:
        raise
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
    ) as error:
        # zipfile raises the last three for damaged offsets, and for encryption and unknown compression.
        raise XnerError(Errors.XNER707.format(archive=archive, reason=error)) from error

"""Files and folders that are whole or not there: text, JSON, output folders, locks, fingerprints."""

import errno
import gzip
import hashlib
import json
import lzma
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any, BinaryIO

from filelock import FileLock, Timeout

from spacy_xner.errors import Errors, XnerError
from spacy_xner.types import SHARED_FOLDER

# Names that a training leaves in its folder, in the order in which they are moved there.
TRAINING = ("curves.jsonl", "model-average", "model-last", "model-best")
# Names that are written for every pipeline, beside a folder for each component; meta.json comes last,
# because nothing loads without it.
PIPELINE = (SHARED_FOLDER, "tokenizer", "vocab", "config.cfg", "meta.json")
# The first bytes of a text file, of which its line ends are told.
HEAD = 2**20
_FULL = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EIO})
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
# Ends of the names of compressed files, which are unpacked as they are read.
COMPRESSED = tuple(_OPENERS)


def raw_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read the lines of a text file with their ends, from 1; gzip and xz by the name.

    A file that has no line feed in its first megabyte, but carriage returns, has these as line ends.
    RAISES: XNER104 for other encodings than UTF-8 or files that are not packed as they are named, XNER108 for
        a file that ends in the middle.
    """
    opener = _OPENERS.get(path.suffix, open)
    number = 0
    try:
        newline = _line_end(path, opener)
        with opener(path, "rt", encoding="utf-8-sig", newline=newline) as lines:
            for number, line in enumerate(lines, start=1):
                if "\0" in line:
                    reason = f"line {number} has null characters, as UTF-16 has them"
                    raise XnerError(Errors.XNER104.format(path=path, reason=reason))
                yield number, line
    except UnicodeDecodeError as error:
        if "unexpected end of data" in error.reason:
            raise XnerError(Errors.XNER108.format(path=path, line=number + 1)) from error
        raise XnerError(Errors.XNER104.format(path=path, reason=error.reason)) from error
    except EOFError as error:
        raise XnerError(Errors.XNER108.format(path=path, line=number + 1)) from error
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise XnerError(Errors.XNER104.format(path=path, reason=error)) from error


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read the lines of a text file without their ends, from 1. RAISES: As `raw_lines` does."""
    for number, line in raw_lines(path):
        yield number, line.rstrip("\r\n")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside its place, and move it there when it is whole and on the disk.

    Half-written files of processes that died are removed; those of living ones are left alone.
    YIELDS: The open file.
    RAISES: XNER703 if the disk is full or the folder cannot be written; the old file stays as it is.
    """
    # Several processes may write the same file.
    half = path.with_name(f"{path.name}.{os.getpid()}.part")
    with coded_writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_dead_parts(path)
        file = half.open("wb")
    try:
        with coded_writing(path, _FULL), file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with coded_writing(path):
            half.replace(path)
    finally:
        half.unlink(missing_ok=True)


@contextmanager
def coded_writing(path: Path, numbers: frozenset[int] = _FULL | _CLOSED) -> Iterator[None]:
    """Give errors of a full or closed disk their code.

    numbers: The system's error numbers that get the code; others are raised as they are.
    RAISES: XNER703.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise
        raise XnerError(Errors.XNER703.format(path=path, reason=error)) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as a whole. RAISES: XNER703."""
    with whole_file(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write a text file as a whole. RAISES: XNER703."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file as a whole. RAISES: XNER703."""
    write_text(path, json.dumps(content, indent=2, default=float))


def read_json(path: Path) -> Any:
    """Read a JSON file, numbers to the last digit.

    srsly reads 0.3 as 0.30000000000000004, and settings would not be what they were.
    """
    return json.loads(path.read_text(encoding="utf-8"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON lines file, such as a curve."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def describe_file(path: Path) -> list[str | int]:
    """Path, bytes and time: a file that was repaired is another one."""
    return [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns]


@cache
def fingerprint(path: Path) -> str:
    """Tell a file from another one of its name by what is in it."""
    with path.open("rb") as file:
        return digest(file, hashlib.blake2b(digest_size=8))


def digest(file: IO[bytes], algorithm: Any) -> str:
    """Hash an open file block by block. RETURNS: Hexadecimal digits."""
    while block := file.read(2**20):
        algorithm.update(block)
    return str(algorithm.hexdigest())


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock of an output file or folder during the whole work on it.

    The lock of a process that died is free. Lock files stay: who removes one may remove another's.
    RAISES: XNER702 at once if another process, or this one, works on it; XNER703.
    """
    place = path.resolve()
    with coded_writing(path):
        base = _room_beside(place)
        base.mkdir(parents=True, exist_ok=True)
        lock = FileLock(base / f".{place.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise XnerError(Errors.XNER702.format(path=path)) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def fresh_folder(path: Path, names: Sequence[str] = ()) -> Iterator[Path]:
    """Fill a folder beside its place, and put it in the old one's place when nothing went wrong.

    Files and folders of the old one are replaced where they are known to be of this package: those of
    `names`, or without names those of a pipeline. All others stay where they are. A symbolic link stays one.

    names: The files and folders that will be written, in the order in which they are to be moved.
    YIELDS: The folder to fill.
    RAISES: XNER701 for a folder of other things than a pipeline, without `names`; XNER702 if another process
        fills it; XNER703 if it cannot be written.
    """
    place = path.resolve()
    with hold(path):
        base = _room_beside(place)
        # The new folder lies two folders down: a search for `*/meta.json` does not take it for a pipeline.
        part, old = base / f".{place.name}.part", base / f".{place.name}.old"
        half = part / "new" / place.name
        with coded_writing(path):
            _settle(place, part, old, names)
            if not names and not _is_replaceable(place):
                raise XnerError(Errors.XNER701.format(path=path, names="other files than a pipeline's"))
            half.mkdir(parents=True)
        try:
            with coded_writing(path, _FULL):
                yield half
            with coded_writing(path):
                sync_folder(half)
                _set_aside(place, old, names or _pipeline_names(place))
                _check_clash(place, half)
                half.replace(part / "whole")
        finally:
            with coded_writing(path):
                _settle(place, part, old, names)


def move_folder(path: Path, place: Path) -> None:
    """Move a folder to where another one may be, also to another disk; on the same one nothing is copied."""
    with fresh_folder(place) as folder:
        for part in path.iterdir():
            shutil.move(part, folder)
    path.rmdir()


def remove_folder(path: Path) -> None:
    """Remove a folder so that, if the process dies, no half of it stands under its name."""
    if path.is_dir():
        doomed = path.with_name(f".{path.name}.removed")
        shutil.rmtree(doomed, ignore_errors=True)
        path.replace(doomed)
        shutil.rmtree(doomed)


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder and below it."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def sync_folder(folder: Path) -> None:
    """Have the files of a folder on the disk before they get their names."""
    if os.name == "nt":  # has no fsync for files that are open for reading
        return
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _line_end(path: Path, opener: Callable[..., Any]) -> str | None:
    if not path.is_file():
        return "\n"
    with opener(path, "rb") as file:
        head = file.read(HEAD)
    # None means all kinds of line ends.
    return None if b"\r" in head and b"\n" not in head else "\n"


def _remove_dead_parts(path: Path) -> None:
    prefix = f"{path.name}."
    for part in path.parent.iterdir():
        pid = part.name.removeprefix(prefix).removesuffix(".part")
        if part.name == f"{prefix}{pid}.part" and pid.isdigit() and not _is_alive(int(pid)):
            part.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    # On Windows signal 0 would stop the process; its half-written files stay there.
    if os.name == "nt" or pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _room_beside(place: Path) -> Path:
    """Choose where work for a place is kept: beside it, or in it where another disk begins there."""
    is_alone = place.is_dir() and (place.is_mount() or not os.access(place.parent, os.W_OK))
    return place if is_alone else place.parent


def _is_replaceable(place: Path) -> bool:
    if not place.exists():
        return True
    names = [item.name for item in place.iterdir() if not item.name.startswith(f".{place.name}.")]
    return not names or bool(_pipeline_names(place))


def _pipeline_names(place: Path) -> list[str]:
    """Names of a pipeline's files and folders; none if the folder has no pipeline."""
    if not (place / "config.cfg").is_file():
        return []
    try:
        meta = read_json(place / "meta.json")
        components = [*meta["pipeline"], *meta.get("disabled", [])]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [*(str(name) for name in components if Path(str(name)).name == name), *PIPELINE]


def _set_aside(place: Path, old: Path, names: Sequence[str]) -> None:
    # The name that comes last into a folder is removed first: without it nobody loads the rest.
    for name in reversed(names):
        if (place / name).exists():
            old.mkdir(exist_ok=True)
            (place / name).replace(old / name)


def _check_clash(place: Path, folder: Path) -> None:
    names = [item.name for item in folder.iterdir() if (place / item.name).exists()]
    if names:
        raise XnerError(Errors.XNER701.format(path=place, names=", ".join(sorted(names))))


def _settle(place: Path, part: Path, old: Path, names: Sequence[str]) -> None:
    """End what this process, or one that died, has begun: the new folder whole, or else the old one.

    part: Has the folder `whole` as soon as the new one is complete and the old things are set aside.
    """
    whole = part / "whole"
    if whole.exists() and not place.exists():
        whole.replace(place)
    elif whole.exists():
        _move_into(place, whole, names)
    elif old.exists():
        _move_into(place, old, names)
    # The old things first: as long as `whole` is there, what is left of them is not put back.
    for folder in (old, part):
        shutil.rmtree(folder, ignore_errors=True)


def _move_into(place: Path, folder: Path, names: Sequence[str]) -> None:
    order = {name: i for i, name in enumerate(names or PIPELINE)}
    for item in sorted(folder.iterdir(), key=lambda item: order.get(item.name, -1)):
        item.replace(place / item.name)

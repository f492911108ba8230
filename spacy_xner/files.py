"""Files and folders that are whole or not there: text, JSON, output folders, fingerprints."""

import gzip
import hashlib
import json
import lzma
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from wasabi import msg

from spacy_xner.errors import Errors, XnerError

# One of these is in every folder that a script replaces: pipelines, and trainings of them.
REPLACED = ("config.cfg", "model-best", "model-last")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read the lines of a text file, from 1; gzip and xz by the name.

    RAISES: XNER104 for other encodings than UTF-8 or files that are not packed as they are named, XNER108 for
        a file that ends in the middle.
    """
    openers: dict[str, Callable] = {".gz": gzip.open, ".xz": lzma.open}
    opener = openers.get(path.suffix, open)
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        if "unexpected end of data" in error.reason:
            raise XnerError(Errors.XNER108.format(path=path, line=number + 1)) from error
        raise XnerError(Errors.XNER104.format(path=path, reason=error.reason)) from error
    except EOFError as error:
        raise XnerError(Errors.XNER108.format(path=path, line=number + 1)) from error
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise XnerError(Errors.XNER104.format(path=path, reason=error)) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may write the same file.
    half = path.with_name(f"{path.name}.{os.getpid()}.part")
    half.write_bytes(content)
    half.replace(path)


def write_text(path: Path, content: str) -> None:
    """Write a text file as a whole."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file as a whole."""
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
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """Fill a folder beside its place, and put it in the old one's place when nothing went wrong.

    Stops at a folder of other things than pipelines: they would be lost.
    YIELDS: The folder to fill.
    """
    if path.is_dir() and any(path.iterdir()) and not any((path / name).exists() for name in REPLACED):
        msg.fail(
            f"{path} has other files than a pipeline's, and would be replaced. Choose another folder.",
            exits=1,
        )
    half = path.with_name(path.name + ".part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    yield half
    shutil.rmtree(path, ignore_errors=True)
    half.replace(path)


def move_folder(path: Path, place: Path) -> None:
    """Move a folder to where another one may be, also to another disk; on the same one nothing is copied."""
    with fresh_folder(place) as folder:
        for part in path.iterdir():
            shutil.move(part, folder)
    path.rmdir()


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock of an output file or folder during the whole work on it.

    The lock of a process that died is free. Lock files stay: who removes one may remove another's.
    RAISES: XNER702 at once if another process, or this one, works on it.
    """
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.parent / f".{place.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise XnerError(Errors.XNER702.format(path=path)) from None
    try:
        yield
    finally:
        lock.release()


def remove_folder(path: Path) -> None:
    """Remove a folder so that, if the process dies, no half of it stands under its name."""
    if path.is_dir():
        doomed = path.with_name(f".{path.name}.removed")
        shutil.rmtree(doomed, ignore_errors=True)
        path.replace(doomed)
        shutil.rmtree(doomed)

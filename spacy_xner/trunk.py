"""Parts that components of a pipeline have alike, each stored once in the pipeline's folder.

A part is a file whose name is the digest of what is in it and its checksum. Components name the parts that
they need, and equal parts are one file without anybody comparing them. In memory each part is one, too, as
long as a network uses it.
"""

import hashlib
import json
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from spacy_xner.errors import Errors, XnerError
from spacy_xner.storage import MANIFEST, checksum, read_part
from spacy_xner.types import SHARED_FOLDER

# Encoders that the components of a pipeline may have alike, as `config.cfg` names them.
_ENCODER = re.compile(r'^@architectures = "spacy_xner\.\w+Encoder\.v\d+"$', re.MULTILINE)
# Names without a checksum are of pipelines that were saved before names had one.
_NAME = re.compile(r"[0-9a-f]{32}(-[0-9a-f]{8}-[0-9]+)?")


class Part:
    """A part in memory: what was made of the content of its file.

    stamp: Path, size and time of the file, so that one that was changed since is read again.
    """

    def __init__(self, value: Any, stamp: tuple[Any, ...]) -> None:
        self.value = value
        self.stamp = stamp


_living: "weakref.WeakValueDictionary[str, Part]" = weakref.WeakValueDictionary()
_living_lock = threading.Lock()


class SharedParts:
    """The parts in a pipeline's folder, seen by one component that is saved or loaded.

    folder: Where the files are.
    has_others: True if other components of the pipeline may have the same parts.
    used: Parts that the component saves, by their names.
    """

    def __init__(self, folder: Path, *, has_others: bool = True) -> None:
        self.folder = folder
        self.has_others = has_others
        self.used: dict[str, bytes] = {}

    def put(self, content: bytes) -> str:
        """Take a part to be saved. RETURNS: Its name."""
        name = _name(content)
        self.used[name] = content
        return name

    def get(self, name: Any, read: Callable[[bytes], Any]) -> Part:
        """Find a part in memory, or read it from its file.

        read: Makes what is wanted of the content.
        RAISES: XNER141 for a part that is missing, XNER142 for one that is not what was saved.
        """
        path = self.folder / str(name)
        if not _NAME.fullmatch(str(name)) or not path.exists():
            raise XnerError(Errors.XNER141.format(part=name, folder=self.folder))
        stamp = (str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns)
        with _living_lock:
            part = _living.get(str(name))
            if part is not None and part.stamp == stamp:
                return part
            content = read_part(path)
            check_part(content, path)
            if part is None:
                part = _living[str(name)] = Part(read(content), stamp)
            part.stamp = stamp
        return part

    def write(self) -> None:
        """Write the files that are not there yet, each as a whole."""
        if self.used:
            self.folder.mkdir(exist_ok=True)
        for name, content in self.used.items():
            path = self.folder / name
            if not path.is_file() or path.read_bytes() != content:
                half = path.with_name(f".{name}.part")
                half.write_bytes(content)
                half.replace(path)


def check_part(content: bytes, path: Path) -> None:
    """Compare the content of a part's file with its name. RAISES: XNER142.

    The checksum guards against accidents in a quarter of the time that the digest takes.
    """
    _, _, stored = path.name.partition("-")
    if (stored or path.name) != (checksum(content) if stored else _digest(content)):
        raise XnerError(Errors.XNER142.format(part=path))


def _name(content: bytes) -> str:
    return f"{_digest(content)}-{checksum(content)}"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def parts_beside(component: Path) -> SharedParts | None:
    """Find the place for parts that a component shares.

    component: Its folder, in that of a pipeline; spaCy writes a pipeline's config before its components.
    RETURNS: None for a component that is saved by itself.
    """
    config = component.parent / "config.cfg"
    if not config.is_file():
        return None
    n_encoders = len(_ENCODER.findall(config.read_text(encoding="utf-8")))
    return SharedParts(component.parent / SHARED_FOLDER, has_others=n_encoders > 1)


def remove_unused(pipeline: Path) -> None:
    """Remove the parts in a pipeline's folder that no component names any more."""
    folder = pipeline / SHARED_FOLDER
    if not folder.is_dir():
        return
    used = {name for manifest in pipeline.glob(f"*/{MANIFEST}") for name in _names_in(manifest)}
    for path in folder.iterdir():
        if _NAME.fullmatch(path.name) and path.name not in used:
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _names_in(manifest: Path) -> list[str]:
    return [str(name) for name in json.loads(manifest.read_bytes()).get("shared", [])]


_current: ContextVar[SharedParts | None] = ContextVar("spacy_xner_shared_parts", default=None)


@contextmanager
def sharing(parts: SharedParts | None) -> Iterator[None]:
    """Let networks that are saved or loaded in this block share parts."""
    token = _current.set(parts)
    try:
        yield
    finally:
        _current.reset(token)


def current_parts() -> SharedParts | None:
    """The shared parts of the component that is being saved or loaded; None if it is whole by itself."""
    return _current.get()


def current_names() -> list[str]:
    """Names of the parts that the component shares, of what was saved in this block so far."""
    parts = current_parts()
    return sorted(parts.used) if parts is not None else []

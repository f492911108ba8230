"""How the components are saved in format 2, loaded, and checked when they are loaded."""

import functools
import json
import math
import warnings
import weakref
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import srsly
from spacy.language import Language
from spacy.vocab import Vocab
from thinc.api import Model

from spacy_xner.errors import Errors, Warnings, XnerError, named_damage
from spacy_xner.storage import (
    MANIFEST,
    Manifest,
    check_vectors,
    checksum,
    checksum_vectors,
    read_parts,
    write_parts,
)
from spacy_xner.trunk import SharedParts, current_names, parts_beside, remove_unused, sharing
from spacy_xner.types import SHARED_FOLDER

Self = TypeVar("Self", bound="StoredPipe")


class PipelineRef:
    """Knows the pipeline that a component was made for, as long as there is one.

    It points to nothing in a copy and in another process: what a component looks at when it is loaded
    has been looked at by then.
    """

    def __init__(self, nlp: Language | None = None) -> None:
        self._nlp = weakref.ref(nlp) if nlp is not None else None

    def __call__(self) -> Language | None:
        return self._nlp() if self._nlp is not None else None

    def __reduce__(self) -> tuple[type["PipelineRef"], tuple[()]]:
        return PipelineRef, ()


class StoredPipe:
    """A component that is saved in format 2 of `storage`, and says what is wrong with it at load.

    Subclasses give and take their parts, and check them in `check_loaded`.

    SETTINGS: Attributes that come from the config and change what is found.
    PARTS: Files beside the manifest, and keys of bytes, by the same names.
    OLD_CFG: The file that format 1 had in place of `Manifest.cfg`.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ()
    PARTS: ClassVar[tuple[str, ...]] = ("model",)
    OLD_CFG: ClassVar[str] = "cfg"

    name: str
    vocab: Vocab

    @abstractmethod
    def save_cfg(self) -> Any:
        """The learnt state for the manifest, as plain JSON; None for nothing."""

    @abstractmethod
    def load_cfg(self, cfg: Any) -> None:
        """Take over what `save_cfg` gave."""

    @abstractmethod
    def save_part(self, part: str) -> bytes:
        """One of `PARTS`."""

    @abstractmethod
    def load_part(self, part: str, content: bytes) -> None:
        """Take over one of `PARTS`."""

    def check_loaded(self) -> None:
        """Raise a coded error if what was loaded does not fit together."""

    @property
    def reads_vectors(self) -> bool:
        """True if the component reads the vocabulary's vectors."""
        return False

    def settings(self) -> dict[str, Any]:
        """The settings that change what is found, as plain JSON."""
        return {name: getattr(self, name) for name in self.SETTINGS}

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save the component in a folder: `xner.json` and its parts."""
        path, exclude = Path(path), tuple(exclude)
        shared = parts_beside(path)
        with sharing(shared):
            parts = self._save(exclude)
        if shared is not None:
            # The new parts first, and the old ones go when nothing names them any more.
            shared.write()
        write_parts(path, parts, self.OLD_CFG)
        remove_unused(path.parent)
        if "vocab" not in exclude:
            self.vocab.to_disk(path / "vocab", exclude=exclude)

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Save the component as bytes."""
        exclude = tuple(exclude)
        message = self._save(exclude)
        if "vocab" not in exclude:
            message["vocab"] = self.vocab.to_bytes(exclude=exclude)
        return bytes(srsly.msgpack_dumps(message))

    def from_disk(self: Self, path: str | Path, *, exclude: Iterable[str] = ()) -> Self:
        """Load the component.

        RAISES: XNER302 for missing, damaged or foreign files, XNER330 to XNER343 for what is wrong with them.
        """
        path, exclude = Path(path), tuple(exclude)
        with named_damage(self.name):
            if "vocab" not in exclude:
                self.vocab.from_disk(path / "vocab", exclude=exclude)
            parts = read_parts(path, _without(self.PARTS, exclude), self.OLD_CFG)
            with sharing(SharedParts(path.parent / SHARED_FOLDER)):
                self._load(parts, exclude)
        return self

    def from_bytes(self: Self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Self:
        """Load the component. RAISES: As `from_disk`."""
        exclude = tuple(exclude)
        with named_damage(self.name):
            message = srsly.msgpack_loads(bytes_data)
            if "vocab" in message and "vocab" not in exclude:
                self.vocab.from_bytes(message["vocab"], exclude=exclude)
            # Format 1 had keys without endings.
            parts = {
                part: message[part if part in message else _stem(part)]
                for part in _without(self.PARTS, exclude)
            }
            first = MANIFEST if MANIFEST in message else "cfg"
            self._load({(first if first == MANIFEST else self.OLD_CFG): message[first], **parts}, exclude)
        return self

    def _save(self, exclude: tuple[str, ...]) -> dict[str, bytes]:
        parts = {part: self.save_part(part) for part in _without(self.PARTS, exclude)}
        manifest = Manifest(
            cfg=None if "cfg" in exclude else self.save_cfg(),
            settings=self.settings(),
            checksums={part: checksum(content) for part, content in parts.items()},
            vectors=checksum_vectors(self.vocab.vectors) if self.reads_vectors else "",
            shared=current_names(),
        )
        return {MANIFEST: manifest.to_bytes(), **parts}

    def _load(self, parts: dict[str, bytes], exclude: tuple[str, ...]) -> None:
        """Check the parts, take them over, and check what they make together."""
        settings = _as_json(self.settings())
        if MANIFEST in parts:
            manifest = Manifest.from_bytes(parts.pop(MANIFEST), self.name)
            manifest.check(parts, self.name)
        else:
            manifest = Manifest(json.loads(parts.pop(self.OLD_CFG)), settings)
        if "cfg" not in exclude and manifest.cfg is not None:
            self.load_cfg(manifest.cfg)
        for part, content in parts.items():
            self.load_part(part, content)
        if _without(("cfg", *self.PARTS), exclude) != ["cfg", *self.PARTS]:
            return
        self.check_loaded()
        if self.reads_vectors:
            check_vectors(self.vocab.vectors, self.name, manifest.vectors)
        _compare_settings(self.name, manifest.settings, settings)


def check_width(encoder: Model, output: Model) -> None:
    """Compare the widths of an encoder's vectors and of the layer behind it. RAISES: XNER338."""
    given, read = _width(encoder), _width(output, "nI")
    if None not in (given, read) and given != read:
        reason = f"the output layer reads vectors of width {read}, the encoder's have {given}"
        raise XnerError(Errors.XNER338.format(reason=reason))


def _width(model: Model, dim: str = "nO") -> int | None:
    """The width of vectors, as the network says it or, without a network, the layer."""
    network = model.shims[0]._model if model.shims else None
    return getattr(network, "width", None) or model.maybe_get_dim(dim)


def model_settings(model: Model) -> dict[str, Any]:
    """Settings that the package's layers of a model were built with, by layer and name; nothing learnt."""
    settings: dict[str, Any] = {}
    for node in model.walk():
        for name, value in node.attrs.items():
            if name == "settings":
                settings.update({f"{node.name}.{key}": value[key] for key in value})
            elif isinstance(value, functools.partial) and value.func.__module__.startswith("spacy_xner."):
                settings.update({f"{node.name}.{key}": value.keywords[key] for key in value.keywords})
    return settings


def _compare_settings(name: str, saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Warn of settings that were others when the component was saved: W330.

    They may have been changed on purpose, and are in force.
    """
    changes = [
        f"{key} was {saved[key]!r} and is {current[key]!r}"
        for key in sorted(saved.keys() & current.keys())
        if not _is_same(saved[key], current[key])
    ]
    if changes:
        warnings.warn(Warnings.W330.format(name=name, changes="; ".join(changes)), stacklevel=4)


def _is_same(saved: Any, current: Any) -> bool:
    """Tell whether a setting is as it was saved; older versions of thinc read 0.3 as 0.30000000000000004."""
    if isinstance(saved, float) and isinstance(current, float):
        return math.isclose(saved, current, rel_tol=1e-12)
    return bool(saved == current)


def _as_json(value: Any) -> Any:
    """The value as it comes back from JSON, so that tuples equal lists."""
    return json.loads(json.dumps(value))


def _without(names: Iterable[str], exclude: tuple[str, ...]) -> list[str]:
    """Leave names out as spaCy does: without their endings."""
    return [name for name in names if _stem(name) not in exclude]


def _stem(name: str) -> str:
    return name.split(".")[0]

"""What the components have alike: how they are saved and loaded, sorted labels, checked losses."""

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
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model, Optimizer

from spacy_xner.errors import Errors, Warnings, XnerError, named_damage
from spacy_xner.storage import (
    MANIFEST,
    Manifest,
    check_array,
    check_vectors,
    checksum,
    checksum_vectors,
    read_parts,
    write_parts,
)

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
    PARTS: What is saved beside the manifest: names of files, and keys of bytes.
    OLD_CFG: The file in which format 1 had what is `Manifest.cfg` now.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ()
    PARTS: ClassVar[tuple[str, ...]] = ("model",)
    OLD_CFG: ClassVar[str] = "cfg"

    name: str
    vocab: Vocab

    @abstractmethod
    def save_cfg(self) -> Any:
        """What stands in the manifest as plain JSON; None for nothing."""

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
        write_parts(path, self._save(exclude), self.OLD_CFG)
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
            self._load(read_parts(path, _without(self.PARTS, exclude), self.OLD_CFG), exclude)
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


class GuardedPipe(StoredPipe, TrainablePipe):
    """A component with a model.

    averages: The running averages of the optimizer that stepped it, if it has any: they are what training
        scores and keeps.
    """

    cfg: dict[str, Any]
    averages: dict[Any, Any] | None = None

    def save_cfg(self) -> dict[str, Any]:
        return self.cfg

    def load_cfg(self, cfg: dict[str, Any]) -> None:
        self.cfg.update(cfg)

    def save_part(self, part: str) -> bytes:
        return bytes(self.model.to_bytes())

    def load_part(self, part: str, content: bytes) -> None:
        stored = {id(node): node.attrs.get("settings") for node in self.model.walk()}
        self.model.from_bytes(content)
        for node in self.model.walk():
            # thinc takes over what is stored, but the network was built by the config.
            if stored[id(node)] is not None:
                node.attrs["settings"] = stored[id(node)]

    def check_loaded(self) -> None:
        """Look at the weights that are thinc's; those of torch looked at themselves.

        RAISES: XNER336, XNER337, XNER338.
        """
        for node in self.model.walk():
            for param in (p for p in node.param_names if node.has_param(p)):
                check_array(node.get_param(param), f"{node.name}.{param}", self.name)
            if node.has_param("W") and node.name.startswith("softmax"):
                expected, found = (node.get_dim("nO"), node.get_dim("nI")), node.get_param("W").shape
                if found != expected or node.get_param("b").shape != expected[:1]:
                    reason = f"{node.name}.W has the shape {list(found)}, not {list(expected)}"
                    raise XnerError(Errors.XNER338.format(reason=reason))

    @property
    def reads_vectors(self) -> bool:
        """True if a layer of the model reads the vocabulary's vectors: the BiLSTM's, or spaCy's."""
        return any(
            node.attrs.get("use_vectors") or node.name == "static_vectors" for node in self.model.walk()
        )

    def settings(self) -> dict[str, Any]:
        """The settings of the component and of its model that change what is found."""
        return {**super().settings(), **_model_settings(self.model)}

    def finish_update(self, sgd: Optimizer) -> None:
        """Step the model."""
        super().finish_update(sgd)
        self.averages = sgd.averages

    def check_loss(self, loss: float, docs: list[Doc]) -> float:
        """Give back the loss of a batch. RAISES: XNER303 if it is not a number."""
        if not math.isfinite(loss):
            raise XnerError(Errors.XNER303.format(name=self.name, loss=loss, text=docs[0].text[:60]))
        return loss


class LabelledPipe(GuardedPipe):
    """A trainable component whose output layer has one place a label.

    Subclasses set `cfg = {"labels": [], ...}`.
    """

    @property
    @abstractmethod
    def is_built(self) -> bool:
        """True once the output layer exists."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, sorted."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> tuple[str, ...]:
        """What `spacy init labels` stores for this component."""
        return self.labels

    def load_cfg(self, cfg: dict[str, Any]) -> None:
        """Take over the labels. RAISES: XNER335 for what is no list of different labels."""
        labels = cfg["labels"]
        are_labels = isinstance(labels, list) and all(isinstance(label, str) and label for label in labels)
        if not are_labels or len(set(labels)) < len(labels):
            raise XnerError(Errors.XNER335.format(name=self.name, labels=labels))
        super().load_cfg(cfg)

    def add_label(self, label: str) -> int:
        """Add a label before initialization. RETURNS: 1 if it is new, else 0.

        RAISES: XNER305 once the output layer is built, XNER307 for no text.
        """
        if not isinstance(label, str) or not label:
            raise XnerError(Errors.XNER307.format(label=label))
        if label in self.labels:
            return 0
        if self.is_built:
            labels = ", ".join(self.labels)
            raise XnerError(Errors.XNER305.format(label=label, name=self.name, labels=labels))
        # Sorted, so that the order of the examples does not show in the model.
        self.cfg["labels"] = sorted((*self.labels, label))
        self.vocab.strings.add(label)
        return 1


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


def _model_settings(model: Model) -> dict[str, Any]:
    """What our layers of a model were built with and do not learn, by layer and name."""
    settings: dict[str, Any] = {}
    for node in model.walk():
        for name, value in node.attrs.items():
            if name == "settings":
                settings.update({f"{node.name}.{key}": value[key] for key in value})
            elif isinstance(value, functools.partial) and value.func.__module__.startswith("spacy_xner."):
                settings.update({f"{node.name}.{key}": value.keywords[key] for key in value.keywords})
    return settings


def _compare_settings(name: str, saved: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Warn of settings that were others when the component was saved: W330.

    They may have been changed on purpose, and are in force.
    """
    changes = [
        f"{key} was {saved[key]!r} and is {found[key]!r}"
        for key in sorted(saved.keys() & found.keys())
        if saved[key] != found[key]
    ]
    if changes:
        warnings.warn(Warnings.W330.format(name=name, changes="; ".join(changes)), stacklevel=4)


def _as_json(value: Any) -> Any:
    """The value as it comes back from JSON, so that tuples equal lists."""
    return json.loads(json.dumps(value))


def _without(names: Iterable[str], exclude: tuple[str, ...]) -> list[str]:
    """Leave names out as spaCy does: without their endings."""
    return [name for name in names if _stem(name) not in exclude]


def _stem(name: str) -> str:
    return name.split(".")[0]

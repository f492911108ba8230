"""A torch network as one safetensors file: its settings, its weights, and how they are stored."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import srsly
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from spacy_xner.errors import Errors, XnerError
from spacy_xner.packing import Blocks, Storage, pack, unpack
from spacy_xner.trunk import Part, current_parts
from spacy_xner.weights import check_finite

# The name of the settings among the weights.
CFG = "__cfg__"
# The name of what says how weights are stored that are not float32 in this file.
STORED = "__stored__"


class StoredNetwork(NamedTuple):
    """The content of a file.

    cfg: Settings of which the network is built.
    tables: Weights that may stay in blocks, by name; the other ones are `tensors`.
    tensors: float32 weights by name. Networks may have those of `parts` in common: a copy is to be trained.
    parts: Parts that other components have too; who uses the weights holds them.
    """

    cfg: dict[str, Any]
    tensors: dict[str, Tensor]
    storage: Storage = "float32"
    parts: tuple[Part, ...] = ()
    tables: dict[str, Blocks] = {}  # noqa: RUF012

    def shared_names(self) -> set[str]:
        """Names of the weights in parts, which were looked at when their part was read."""
        values = [part.value for part in self.parts if isinstance(part.value, tuple)]
        return {name for value in values for weights in value for name in weights}


def write_network(
    cfg: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    storage: Storage = "float32",
    frozen: Sequence[Sequence[str]] = (),
) -> bytes:
    """Write a network; parts that components of a pipeline may have alike go beside it if there is a place.

    frozen: Names of the weights that are not trained, by module.
    RAISES: XNER140 for numbers that half precision cannot hold.
    """
    parts = current_parts()
    cfg, remaining = dict(cfg), {name: tensor.contiguous() for name, tensor in tensors.items()}
    stored: dict[str, Any] = {} if storage == "float32" else {"storage": storage}
    # Parts that are small are read one after the other: the peak of memory is lower than with one file.
    if parts is not None and frozen and (parts.has_others or storage != "float32"):
        stored["parts"] = [
            parts.put(_write({name: remaining.pop(name) for name in names}, storage, {})) for names in frozen
        ]
        if "tokenizer" in cfg:
            stored["tokenizer"] = parts.put(cfg.pop("tokenizer").encode("utf-8"))
    return _write({CFG: _from_json(cfg), **remaining}, storage, stored)


def read_network(content: bytes) -> StoredNetwork:
    """Read a network.

    RAISES: XNER141, XNER142; XNER336 for a part whose numbers are not finite; KeyError, ValueError and others
        for bytes that are none.
    """
    if content[8:9] != b"{":
        # Format 1: msgpack, which has no brace at the place where a safetensors header begins.
        message = srsly.msgpack_loads(content)
        return StoredNetwork(message["config"], load_tensors(message["state"]))
    tensors, tables, stored = _read(content)
    cfg = json.loads(tensors.pop(CFG).numpy().tobytes())
    names, tokenizer = stored.get("parts", []), stored.get("tokenizer")
    if not names and tokenizer is None:
        return StoredNetwork(cfg, tensors, stored.get("storage", "float32"), (), tables)
    parts = current_parts()
    if parts is None:
        raise XnerError(Errors.XNER141.format(part=(names or [tokenizer])[0], folder="none"))
    shared = [parts.get(name, _read_tensors) for name in names]
    for part in shared:
        tensors.update(part.value[0])
        tables.update(part.value[1])
    if tokenizer is not None:
        text = parts.get(tokenizer, lambda content: content.decode("utf-8"))
        cfg["tokenizer"] = text.value
        shared.append(text)
    return StoredNetwork(cfg, tensors, stored.get("storage", "float32"), tuple(shared), tables)


def _write(tensors: dict[str, Tensor], storage: Storage, stored: dict[str, Any]) -> bytes:
    if storage != "float32":
        tensors, kinds = pack(tensors)
        stored = {**stored, "kinds": kinds}
    if stored:
        tensors = {STORED: _from_json(stored), **tensors}
    return bytes(save_tensors(tensors))


def _read(content: bytes) -> tuple[dict[str, Tensor], dict[str, Blocks], dict[str, Any]]:
    tensors = load_tensors(content)
    if STORED not in tensors:
        return tensors, {}, {}
    stored = json.loads(tensors.pop(STORED).numpy().tobytes())
    return *unpack(tensors, stored.get("kinds", {})), stored


def _read_tensors(content: bytes) -> tuple[dict[str, Tensor], dict[str, Blocks]]:
    tensors, tables, _ = _read(content)
    # Here and not for every component: a part is read once, and used by all.
    check_finite({**tensors, **{name: table.scales for name, table in tables.items()}})
    return tensors, tables


def _from_json(value: Any) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(value), "utf-8"), dtype=torch.uint8)

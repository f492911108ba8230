"""What can be done to the folder of a pipeline."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import spacy
import srsly
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from spacy_xner.netfile import CFG, STORED
from spacy_xner.storage import MANIFEST, Manifest, checksum


class Case(NamedTuple):
    """A way to damage a pipeline.

    pipeline: Which of the pipelines. kind: A row of the table. where: File or part, for the record.
    damage: Changes the folder.
    """

    pipeline: str
    kind: str
    where: str
    damage: Callable[[Path], None]


def swap(content: bytes, before: str, after: str) -> bytes:
    """Replace text that must be there."""
    if before.encode() not in content:
        raise KeyError(before)
    return content.replace(before.encode(), after.encode())


def flip(where: str, place: int, bit: int) -> Callable[[Path], None]:
    """Flip one bit of a file."""
    return rewrite(where, lambda b: b[:place] + bytes([b[place] ^ 1 << bit]) + b[place + 1 :])


def rewrite(where: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change the content of a file."""
    return lambda folder: (folder / where).write_bytes(change((folder / where).read_bytes())) and None


def replace(where: str, make: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Put something else in the place of a file."""

    def damage(folder: Path) -> None:
        (folder / where).unlink()
        make(folder / where)

    return damage


def copy_over(source: Path, where: str) -> Callable[[Path], None]:
    """Put a file or folder of another pipeline in a place."""

    def damage(folder: Path) -> None:
        if source.is_file():
            shutil.copy(source, folder / where)
            return
        shutil.rmtree(folder / where)
        shutil.copytree(source, folder / where)

    return damage


def as_bytes(share: float, bit: int | None) -> Callable[[Path], None]:
    """Turn the pipeline into bytes; flip a bit of them, or cut them off."""

    def damage(folder: Path) -> None:
        stored = spacy.load(folder).to_bytes()
        place = int(share * len(stored))
        end = b"" if bit is None else bytes([stored[place] ^ 1 << bit]) + stored[place + 1 :]
        (folder / "pipeline.bytes").write_bytes(stored[:place] + end)

    return damage


def rewrite_json(where: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Change what a JSON file holds."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / where).read_text(encoding="utf-8"))
        change(content)
        (folder / where).write_text(json.dumps(content), encoding="utf-8")

    return damage


def rewrite_cfg(component: str, change: Callable[[dict[str, Any]], Any], form: str) -> Callable[[Path], None]:
    """Change the labels or the grouping of a component."""

    def damage(folder: Path) -> None:
        if form == "as it is":
            rewrite_json(f"{component}/{MANIFEST}", lambda m: change(m["cfg"]))(folder)
            return
        stored = (folder / component / MANIFEST).read_bytes()
        manifest = Manifest.from_bytes(stored, component)
        change(manifest.cfg)
        save(folder / component, manifest, form)

    return damage


def rewrite_means(change: Callable[[dict[str, Any]], Any], form: str) -> Callable[[Path], None]:
    """Change the mean vectors of the router."""

    def damage(folder: Path) -> None:
        path = folder / "cluster_router" / "means.safetensors"
        means = dict(load_arrays(path.read_bytes()))
        change(means)
        path.write_bytes(save_arrays({key: numpy.ascontiguousarray(mean) for key, mean in means.items()}))
        if form != "as it is":
            stored = (folder / "cluster_router" / MANIFEST).read_bytes()
            save(folder / "cluster_router", Manifest.from_bytes(stored, "router"), form)

    return damage


def rewrite_vectors(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change the numbers of the vocabulary's vectors."""

    def damage(folder: Path) -> None:
        path = folder / "vocab" / "vectors"
        numpy.save(path.with_suffix(".npy"), change(numpy.load(path)), allow_pickle=False)
        path.with_suffix(".npy").replace(path)

    return damage


def rewrite_network(
    component: str, number: int, lie: Callable[[dict[str, Any], dict[str, Any]], Any], form: str
) -> Callable[[Path], None]:
    """Change the settings or the weights of one of a component's networks."""

    def damage(folder: Path) -> None:
        path = folder / component / "model"
        message = srsly.msgpack_loads(path.read_bytes())
        node, place = [(n, i) for n, shims in enumerate(message["shims"]) for i in range(len(shims))][number]
        tensors = dict(load_arrays(message["shims"][node][place]))
        cfg = json.loads(tensors.pop(CFG).tobytes())
        lie(cfg, tensors)
        if form == "format 1":
            shim = srsly.msgpack_dumps({"config": cfg, "state": save_arrays(tensors)})
        else:
            written = numpy.frombuffer(json.dumps(cfg).encode("utf-8"), dtype="uint8")
            shim = save_arrays({CFG: written, **tensors})
        message["shims"][node][place] = shim
        path.write_bytes(srsly.msgpack_dumps(message))
        manifest = Manifest.from_bytes((folder / component / MANIFEST).read_bytes(), component)
        save(folder / component, manifest, form)

    return damage


def save(folder: Path, manifest: Manifest, form: str) -> None:
    """Give the parts of a component their checksums, or save it in format 1."""
    if form == "format 1":
        old = "grouping.json" if (folder / "means.safetensors").exists() else "cfg"
        (folder / old).write_text(json.dumps(manifest.cfg), encoding="utf-8")
        (folder / MANIFEST).unlink()
        return
    for part in manifest.checksums:
        manifest.checksums[part] = checksum((folder / part).read_bytes())
    (folder / MANIFEST).write_bytes(manifest.to_bytes())


def components(pipeline: Path) -> list[str]:
    """Names of the components of ours."""
    return sorted(path.parent.name for path in pipeline.glob(f"*/{MANIFEST}"))


def networks(folder: Path) -> list[dict[str, Any]]:
    """The settings of the torch networks of a component."""
    if not (folder / "model").exists():
        return []
    message = srsly.msgpack_loads((folder / "model").read_bytes())
    states = [state for shims in message["shims"] for state in shims]
    return [json.loads(load_arrays(state)[CFG].tobytes()) for state in states]


def largest(tensors: dict[str, Any]) -> str:
    """The name of the largest weights."""
    return max(set(tensors) - {CFG, STORED}, key=lambda name: tensors[name].size)


def recast(tensors: dict[str, Any], dtype: str) -> None:
    """Store the weights as other numbers."""
    for name, tensor in tensors.items():
        if tensor.dtype == numpy.float32:
            tensors[name] = tensor.astype(dtype)


def spoil(tensors: dict[str, Any], number: float) -> None:
    """Put a number among the weights."""
    name = largest(tensors)
    tensors[name] = tensors[name].copy()
    tensors[name].flat[0] = number


def lengthen(tensors: dict[str, Any]) -> None:
    """Give the largest weights a row more."""
    name = largest(tensors)
    tensors[name] = numpy.concatenate((tensors[name], tensors[name][:1]))


def enlarge(cfg: dict[str, Any]) -> None:
    """Make all sizes among the settings absurd."""
    for key, value in cfg.items():
        if isinstance(value, int) and not isinstance(value, bool):
            cfg[key] = 3 * 10**9
        elif isinstance(value, dict):
            enlarge(value)


def add_pieces(tokenizer: str) -> str:
    """Give a tokenizer wordpieces that no encoder knows."""
    content = json.loads(tokenizer)
    content["model"]["vocab"] += [[f"Nokia{i}", -0.1] for i in range(9)]
    return json.dumps(content)

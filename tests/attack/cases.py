"""All kinds of damage that are tried."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy

from spacy_xner.storage import MANIFEST

from tests.attack.damage import (
    Case,
    add_pieces,
    as_bytes,
    components,
    copy_over,
    enlarge,
    flip,
    largest,
    lengthen,
    networks,
    recast,
    replace,
    rewrite,
    rewrite_cfg,
    rewrite_json,
    rewrite_means,
    rewrite_network,
    rewrite_vectors,
    spoil,
    swap,
)  # fmt: skip

LIES: dict[str, Any] = {
    "a million layers": {"num_hidden_layers": 10**6},
    "a layer less": {"num_hidden_layers": 1},
    "layers of a text": {"num_hidden_layers": "two"},
    "a wide layer": {"hidden_size": 2 * 10**9},
    "a huge vocabulary": {"vocab_size": 10**12},
    "no heads": {"num_attention_heads": 0},
    "three heads": {"num_attention_heads": 3},
    "long positions": {"max_position_embeddings": 10**11},
    "no positions": {"max_position_embeddings": 0},
    "an unknown activation": {"hidden_act": "os.system"},
    "an unknown kind": {"model_type": "../../etc/passwd"},
    "a negative size": {"intermediate_size": -4},
}


def make_cases(pipelines: dict[str, Path], seed: int, n_flips: int) -> Iterator[Case]:
    """All kinds of damage to all pipelines."""
    rng = random.Random(seed)
    for name in ("tagger", "bilstm", "routed", "projector", "aligner"):
        yield from damage_files(name, pipelines[name], rng, n_flips)
        yield from damage_bytes(name, rng, n_flips)
        yield from damage_networks(name, pipelines[name])
        yield from damage_manifests(name, pipelines[name])
    yield from exchange_parts(pipelines)
    yield from damage_labels()
    yield from damage_routes()
    yield from damage_vectors(pipelines["other bilstm"])
    yield from damage_config()


def damage_files(name: str, pipeline: Path, rng: random.Random, n_flips: int) -> Iterator[Case]:
    """Flip, cut, empty, remove, blank and lengthen every file; put a folder or a pipe in its place."""
    for path in sorted(p for p in pipeline.rglob("*") if p.is_file()):
        where = str(path.relative_to(pipeline))
        for _ in range(n_flips):
            place, bit = rng.randrange(path.stat().st_size), rng.randrange(8)
            yield Case(name, "flipped bit", f"{where}, byte {place}, bit {bit}", flip(where, place, bit))
        share = rng.random()
        yield Case(name, "cut off", where, rewrite(where, lambda b, share=share: b[: int(share * len(b))]))
        yield Case(name, "empty", where, rewrite(where, lambda b: b""))
        yield Case(name, "blank half", where, rewrite(where, lambda b: b[: len(b) // 2].ljust(len(b), b"\0")))
        yield Case(name, "longer", where, rewrite(where, lambda b: b + b" more"))
        yield Case(name, "missing", where, lambda folder, where=where: (folder / where).unlink())
        yield Case(name, "a folder", where, replace(where, lambda path: path.mkdir()))
        if not where.startswith(("config.cfg", "meta.json", "vocab")):
            yield Case(name, "a pipe", where, replace(where, lambda path: os.mkfifo(path)))
            yield Case(name, "a device", where, replace(where, lambda path: path.symlink_to("/dev/zero")))


def damage_bytes(name: str, rng: random.Random, n_flips: int) -> Iterator[Case]:
    """Flip bits of the pipeline as bytes, and cut them off."""
    for _ in range(n_flips):
        yield Case(name, "bytes, flipped bit", "bytes", as_bytes(rng.random(), rng.randrange(8)))
    yield Case(name, "bytes, cut off", "bytes", as_bytes(rng.random(), None))


def damage_networks(name: str, pipeline: Path) -> Iterator[Case]:
    """Lie in the settings and weights of every network, with checksums made anew or in format 1."""
    lies: dict[str, Callable[[dict[str, Any], dict[str, Any]], None]] = {
        "wide numbers": lambda cfg, tensors: recast(tensors, "float64"),
        "half numbers": lambda cfg, tensors: recast(tensors, "float16"),
        "not a number": lambda cfg, tensors: spoil(tensors, float("nan")),
        "infinity": lambda cfg, tensors: spoil(tensors, float("inf")),
        "a row more": lambda cfg, tensors: lengthen(tensors),
        "weights missing": lambda cfg, tensors: tensors.pop(largest(tensors)) is None,
        "weights too many": lambda cfg, tensors: tensors.update(extra=numpy.zeros(3, "float32")),
        "no settings": lambda cfg, tensors: cfg.clear(),
        "settings of all sizes": lambda cfg, tensors: enlarge(cfg),
    }
    for lie, changes in LIES.items():
        lies[lie] = lambda cfg, tensors, changes=changes: cfg["config"].update(changes)
    for kind, ids in (("special id", {"cls": 10**6}), ("negative id", {"pad": -7}), ("no special ids", None)):
        lies[kind] = lambda cfg, tensors, ids=ids: (
            cfg["special_ids"].update(ids) if ids else cfg["special_ids"].clear()
        )
    for kind, text in (("empty tokenizer", "{}"), ("strange tokenizer", "[" * 10**5), ("no tokenizer", "")):
        lies[kind] = lambda cfg, tensors, text=text: cfg.update(tokenizer=text)
    lies["a larger tokenizer"] = lambda cfg, tensors: cfg.update(tokenizer=add_pieces(cfg["tokenizer"]))
    for component in components(pipeline):
        for number, cfg in enumerate(networks(pipeline / component)):
            for kind, lie in lies.items():
                # The tokenizer of components that have it alike is a file of its own, and damaged as such.
                if kind == "a larger tokenizer" and "tokenizer" not in cfg:
                    continue
                if "config" in cfg or kind not in list(lies)[9:]:
                    for form in ("checksums anew", "format 1"):
                        damage = rewrite_network(component, number, lie, form)
                        yield Case(name, f"network: {kind}", f"{component}, {form}", damage)


def damage_manifests(name: str, pipeline: Path) -> Iterator[Case]:
    """Change what stands in a manifest."""
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "a later format": lambda m: m.update(format=3),
        "a strange format": lambda m: m.update(format="two"),
        "no checksum": lambda m: m.pop("checksum"),
        "no checksums": lambda m: m.update(checksums={}),
        "other settings": lambda m: m["settings"].update(spans_key="other"),
        "a list": lambda m: m.clear(),
    }
    for component in components(pipeline):
        for kind, change in changes.items():
            yield Case(name, f"manifest: {kind}", component, rewrite_json(f"{component}/{MANIFEST}", change))


def exchange_parts(pipelines: dict[str, Path]) -> Iterator[Case]:
    """Put the weights, manifests and folders of others in the place of a component's."""
    pairs = [
        ("tagger", "ner", pipelines["other"] / "ner"),
        ("bilstm", "ner", pipelines["other bilstm"] / "ner"),
        ("tagger", "ner", pipelines["bilstm"] / "ner"),
        ("routed", "ner_asian", pipelines["routed"] / "ner_european"),
        ("routed", "ner_european", pipelines["routed"] / "ner_asian"),
        ("routed", "language_identifier", pipelines["tagger"] / "ner"),
        ("aligner", "entity_projector", pipelines["projector"] / "entity_projector"),
    ]
    for name, component, source in pairs:
        for part in ("model", MANIFEST):
            where = f"{component}/{part} of {source.parent.name}/{source.name}"
            yield Case(name, "another's part", where, copy_over(source / part, f"{component}/{part}"))
        # The whole folder of another model of the same network is a good model, and a user may want it.
        if (name, component) not in (("tagger", "ner"), ("bilstm", "ner")) or source.parent.name == "bilstm":
            yield Case(name, "another's folder", component, copy_over(source, component))


def damage_labels() -> Iterator[Case]:
    """Change the labels, with the checksums made anew or in format 1."""
    labels: dict[str, Any] = {
        "permuted": ["PER", "ORG", "LOC"],
        "foreign": ["CITY", "FIRM", "HUMAN"],
        "one more": ["LOC", "ORG", "PER", "ZOO"],
        "one fewer": ["LOC", "ORG"],
        "none": [],
        "text": "ABC",
        "numbers": [1, 2, 3],
        "a table": {},
        "twice": ["LOC", "LOC", "PER"],
    }
    for name in ("tagger", "bilstm"):
        for form in ("checksums anew", "format 1", "as it is"):
            for kind, value in labels.items():
                damage = rewrite_cfg("ner", lambda cfg, value=value: cfg.update(labels=value), form)
                yield Case(name, f"labels: {kind}", f"ner, {form}", damage)
            for scheme in ("IOB1", "BIOES" if name == "tagger" else "IOB2", "XX", None, 7):
                damage = rewrite_cfg("ner", lambda cfg, scheme=scheme: cfg.update(scheme=scheme), form)
                yield Case(name, "labels: scheme", f"ner, {form}", damage)
    languages = {**labels, "one fewer": ["en", "ru"], "one more": ["de", "en", "ru", "zh"]}
    for kind in ("one more", "one fewer", "none", "text", "numbers", "a table", "twice"):
        for form in ("checksums anew", "format 1", "as it is"):
            value = languages[kind] if kind != "text" else "ez"
            if kind == "numbers" and form == "as it is":
                value = ["zh", "ru", "en"]
            damage = rewrite_cfg(
                "language_identifier", lambda cfg, value=value: cfg.update(labels=value), form
            )
            yield Case("routed", f"languages: {kind}", f"language_identifier, {form}", damage)


def damage_routes() -> Iterator[Case]:
    """Change the grouping and the mean vectors."""
    clusters: dict[str, Any] = {
        "renamed cluster": {"asian": ["zh"], "europman": ["en", "ru"]},
        "lost cluster": {"european": ["en", "ru"]},
        "lost language": {"asian": ["zh"], "european": ["en"]},
        "languages of others": {"asian": ["ja"], "european": ["de"]},
        "none": {},
        "a list": [["zh"], ["en", "ru"]],
        "empty cluster": {"asian": [], "european": ["en", "ru", "zh"]},
        "twice": {"asian": ["zh", "en"], "european": ["en", "ru"]},
    }
    for kind, value in clusters.items():
        for form in ("checksums anew", "format 1", "as it is"):
            damage = rewrite_cfg("cluster_router", lambda cfg, value=value: cfg.update(clusters=value), form)
            yield Case("routed", f"grouping: {kind}", f"cluster_router, {form}", damage)
    swapped = {"asian": ["en", "ru"], "european": ["zh"]}
    damage = rewrite_cfg("cluster_router", lambda cfg: cfg.update(clusters=swapped), "as it is")
    yield Case("routed", "grouping: languages swapped", "cluster_router, as it is", damage)
    means: dict[str, Callable[[dict[str, Any]], Any]] = {
        "not a number": lambda m: m.update(en=m["en"] * float("nan")),
        "other width": lambda m: [m.update({key: m[key][:5]}) for key in list(m)],
        "two widths": lambda m: m.update(en=m["en"][:5]),
        "other languages": lambda m: [m.update({f"x{key}": m.pop(key)}) for key in list(m)],
        "wide numbers": lambda m: [m.update({key: m[key].astype("float64")}) for key in list(m)],
        "a number": lambda m: m.update(en=numpy.float32(3.0).reshape(())),
    }
    for kind, change in means.items():
        for form in ("checksums anew", "format 1", "as it is"):
            yield Case("routed", f"means: {kind}", f"cluster_router, {form}", rewrite_means(change, form))


def damage_vectors(other: Path) -> Iterator[Case]:
    """Change, exchange and lose the vocabulary's vectors."""

    def shorten(array: Any) -> Any:
        return array[:2]

    changes: dict[str, Callable[[Any], Any]] = {
        "fewer rows": shorten,
        "not a number": lambda array: array * float("nan"),
        "zeros": lambda array: array * 0,
        "wide numbers": lambda array: array.astype("float64"),
        "another width": lambda array: array[:, :3],
        "another order": lambda array: array[::-1],
    }
    for kind, change in changes.items():
        yield Case("bilstm", f"vectors: {kind}", "vocab/vectors", rewrite_vectors(change))
    yield Case(
        "bilstm", "vectors: no words", "vocab/key2row", lambda folder: (folder / "vocab/key2row").unlink()
    )
    yield Case("bilstm", "vectors: no numbers", "vocab/vectors", lambda f: (f / "vocab/vectors").unlink())
    yield Case("bilstm", "vectors: none", "vocab", lambda folder: shutil.rmtree(folder / "vocab"))
    for part in ("vocab/vectors", "vocab"):
        yield Case("bilstm", "vectors: another's", part, copy_over(other / part, part))


def damage_config() -> Iterator[Case]:
    """Change settings that stand in the config."""
    edits = [
        ("routed", 'clusters = ["asian"]', 'clusters = ["nowhere"]'),
        ("routed", 'clusters = ["asian"]', "clusters = []"),
        ("routed", 'clusters = ["asian"]', 'clusters = ["european"]'),
        ("routed", 'clusters = ["asian"]', 'clusters = [""]'),
        ("routed", 'level = "doc"', 'level = "page"'),
        ("routed", "threshold = 0.5", "threshold = 0.9"),
        ("routed", "fallback = null", 'fallback = "nowhere"'),
        ("routed", 'spans_key = "xner"', 'spans_key = "other"'),
        ("tagger", 'pooling = "first"', 'pooling = "mean"'),
        ("tagger", "window = 128", "window = 18"),
        ("tagger", "confidence = true", "confidence = false"),
        ("tagger", 'scheme = "IOB2"', 'scheme = "BIOES"'),
        ("bilstm", 'clusters = ["*"]', 'clusters = ["asian"]'),
        ("bilstm", "lower = false", "lower = true"),
        ("bilstm", "use_vectors = true", "use_vectors = false"),
        ("bilstm", "word_hidden = 8", "word_hidden = 9"),
        ("projector", 'method = "span"', 'method = "mutual"'),
        ("projector", "min_probability = 0.0", "min_probability = 1.0"),
        ("aligner", "threshold = 0.5", "threshold = 1.0"),
    ]
    for name, before, after in edits:
        damage = rewrite("config.cfg", lambda b, before=before, after=after: swap(b, before, after))
        yield Case(name, "another setting", f"config.cfg, {after}", damage)

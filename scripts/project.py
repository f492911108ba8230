"""Project the entities that a pipeline finds in one language to another, through parallel text."""

import os
import shutil
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from spacy import displacy
from spacy.cli._util import setup_gpu
from spacy.tokens import Doc, DocBin
from tqdm import tqdm
from wasabi import msg

from spacy_xner.corpus.docs import make_doc, read_docs, sentence_of, write_docs
from spacy_xner.corpus.names import file_language
from spacy_xner.errors import Warnings
from spacy_xner.files import describe_file, read_json, write_bytes, write_json, write_text
from spacy_xner.projector.filters import Fate
from spacy_xner.projector.parallel import (
    TextPair,
    check_lengths,
    count_languages,
    project_pairs,
    read_pairs,
    read_shard,
)
from spacy_xner.tokenizer import create_multilingual_tokenizer

from common import render, split_names

# So many pairs of the beginning are shown to the identifier.
N_IDENTIFIED = 200


class Engine(str, Enum):
    """Where parts are projected."""

    local = "local"
    ray = "ray"


def main(
    teacher: Annotated[str, typer.Argument(help="Pipeline that annotates the source side.")],
    source: Annotated[
        Path,
        typer.Argument(
            help="Source sentences, or `source TAB target`; a line a pair. Or a folder of .jsonl or .parquet "
            "shards with the fields source and target."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder for {lang}-silver-train.spacy.")],
    language: Annotated[str, typer.Option(help="Language of the target side.")],
    target: Annotated[
        Path | None, typer.Option(help="Target sentences, if they are in a file of their own.")
    ] = None,
    source_language: Annotated[str, typer.Option(help="Language of the source side.")] = "en",
    name: Annotated[str, typer.Option(help="Name in the file name, for instance of the domain.")] = "silver",
    aligner: Annotated[
        str, typer.Option(help="Trained pipeline with an entity_projector; without it the encoder compares.")
    ] = "",
    encoder: Annotated[str, typer.Option(help="Checkpoint that compares.")] = "multilingual-e5-small",
    layer: Annotated[int, typer.Option(help="Layer of it that is compared.")] = 6,
    suppress: Annotated[
        str | None, typer.Option(help="Labels that become O, comma-separated; as the aligner has it.")
    ] = None,
    min_probability: Annotated[
        float | None, typer.Option(help="Least score of a place; as the aligner has it.")
    ] = None,
    back_projection: Annotated[
        bool | None, typer.Option(help="Believe only places that lead back; as the aligner has it.")
    ] = None,
    empty_share: Annotated[
        float, typer.Option(min=0, max=1, help="At most this share of the kept sentences has no entity.")
    ] = 1.0,
    identifier: Annotated[
        str, typer.Option(help="Pipeline with a language_identifier that checks the sides.")
    ] = "",
    limit: Annotated[int, typer.Option(help="First n pairs (of each shard); 0 takes all.")] = 0,
    part_size: Annotated[int, typer.Option(help="Pairs between two savings; a shard is saved whole.")] = 5000,
    n_examples: Annotated[int, typer.Option(help="Pairs of every kind on the audit page.")] = 20,
    engine: Annotated[
        Engine, typer.Option(help="ray: shards are shared among the workers of a Ray cluster.")
    ] = Engine.local,
    workers: Annotated[int, typer.Option(min=1, help="Ray workers, each with its own models.")] = 2,
    mixed_precision: Annotated[bool, typer.Option(help="Half precision.")] = True,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")] = -1,
) -> None:
    """Write a corpus of the target language, and a page on which accepted and rejected pairs can be compared.

    Pairs are read as a stream and saved part by part; a stopped run goes on behind its last part.
    """
    shards = sorted(path for path in source.iterdir() if path.is_file()) if source.is_dir() else []
    if engine is Engine.ray and not shards:
        raise typer.BadParameter(f"--engine ray works on a folder of shards, and {source} is none")
    language = file_language(language)
    if source.is_dir() and not shards:
        raise typer.BadParameter(f"{source} is a folder without shards")
    if shards and target is not None:
        raise typer.BadParameter(f"--target {target} is for a file, and {source} is a folder of shards")
    if target is not None:
        # Hours of work on shifted pairs, otherwise.
        check_lengths(source, target)
    settings = {
        "teacher": _describe_pipeline(teacher), "aligner": _describe_pipeline(aligner),
        "source": [describe_file(path) for path in shards or [source]],
        "target": describe_file(target) if target else None, "language": language,
        "source_language": source_language, "encoder": _absolute(encoder), "layer": layer,
        "suppress": suppress, "min_probability": min_probability,
        "back_projection": back_projection, "empty_share": empty_share, "limit": limit,
        "part_size": part_size, "n_examples": n_examples, "mixed_precision": mixed_precision,
    }  # fmt: skip
    parts = (out / f"{language}-{name}.parts").resolve()
    plan = parts / "plan.json"
    if plan.exists() and read_json(plan) != settings:
        msg.fail(f"{parts} was begun with other settings. Remove it, or give another --name.", exits=1)
    write_json(plan, settings)
    if identifier:
        pairs = read_shard(shards[0]) if shards else read_pairs(source, target)
        check_sides(list(islice(pairs, N_IDENTIFIED)), spacy.load(identifier), source_language, language)
    project = Projection(settings, parts, gpu)
    if engine is Engine.ray:
        project_by_ray(project, shards, workers)
    elif shards:
        for shard in shards:
            project.shard(shard)
    else:
        for number, pairs in enumerate(_cut(read_pairs(source, target), part_size, limit)):
            project.part(f"{number:05}", pairs)
    summary = merge_parts(parts, out / f"{language}-{name}-train.spacy", n_examples)
    write_json(out / f"{language}-{name}.json", summary)
    write_audit(out / f"{language}-{name}.html", f"{source_language} to {language}", summary)
    shutil.rmtree(parts)
    counts = summary["counts"]
    rows = [(key, f"{n:,}") for key, n in sorted(counts.items(), key=lambda item: -item[1])]
    msg.table(rows, header=("", "number"), divider=True)
    kept = counts.get("sentences kept", 0)
    if not kept:
        page = out / f"{language}-{name}.html"
        msg.fail(f"No sentence was kept: {page} shows why. Lower --min-probability?", exits=1)
    msg.good(f"{kept:,} sentences in {out / f'{language}-{name}-train.spacy'}")


class Projection:
    """Projects part by part and keeps what is done; its pipelines are loaded with the first part.

    settings: Options of the command.
    """

    def __init__(self, settings: dict[str, Any], parts: Path, gpu: int) -> None:
        self.settings = settings
        self.parts = parts
        self.gpu = gpu
        self._pipelines: list[spacy.Language] = []

    def shard(self, path: Path) -> None:
        """Project a shard as one part."""
        self.part(path.name, islice(read_shard(path), self.settings["limit"] or None))

    def part(self, name: str, pairs: Iterable[TextPair]) -> None:
        """Project a part unless that was done before."""
        path = self.parts / f"{name}.json"
        if path.exists():
            msg.info(f"Part {name}: done before")
            return
        if not self._pipelines:
            setup_gpu(self.gpu, silent=True)
            self._pipelines = [
                spacy.load(self.settings["teacher"][0]),
                make_projector(self.settings),
            ]
        save_part(
            path, tqdm(pairs, desc=f"part {name}", unit=" pairs", leave=False), self._pipelines, self.settings
        )


def project_by_ray(project: Projection, shards: list[Path], workers: int) -> None:
    """Share shards among the workers of a Ray cluster, which see the same folders."""
    import ray

    # Workers import this file and its neighbours.
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    if not ray.is_initialized():
        ray.init(runtime_env={"env_vars": {"PYTHONPATH": paths}}, log_to_driver=False)

    class Worker:
        """Holds one set of pipelines."""

        def __init__(self) -> None:
            self.project = project

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            self.project.shard(Path(row["shard"]))
            return row

    gpus = {"num_gpus": 1} if project.gpu >= 0 else {}
    rows = [{"shard": str(path.resolve())} for path in shards]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    dataset.map(Worker, compute=ray.data.ActorPoolStrategy(size=workers), **gpus).materialize()


def make_projector(settings: dict[str, Any]) -> spacy.Language:
    """Load or build a pipeline that projects."""
    if settings["aligner"]:
        nlp = spacy.load(settings["aligner"][0])
    else:
        nlp = spacy.blank("xx")
        nlp.tokenizer = create_multilingual_tokenizer()(nlp)
        tok2vec = {
            "@architectures": "spacy_xner.TransformerEncoder.v1", "name": settings["encoder"],
            "n_layers": settings["layer"], "n_frozen_layers": settings["layer"], "pooling": "mean",
            "mixed_precision": settings["mixed_precision"],
        }  # fmt: skip
        nlp.add_pipe("entity_projector", config={"model": {"tok2vec": tok2vec}})
        nlp.initialize()
    pipe: Any = nlp.get_pipe("entity_projector")
    if settings["suppress"] is not None:
        pipe.suppressed = split_names(settings["suppress"])
    for name in ("min_probability", "back_projection"):
        if settings[name] is not None:
            setattr(pipe, name, settings[name])
    # Nobody is to learn that an entity which was lost is none.
    pipe.keep_incomplete = False
    return nlp


def check_sides(
    pairs: list[TextPair], identifier: spacy.Language, source_language: str, language: str
) -> None:
    """Warn if less than half of the lines of a side are in its language; the identifier has to know it."""
    known = identifier.get_pipe("language_identifier").labels
    for side, expected in (("source", source_language), ("target", language)):
        texts = [text for pair in pairs if (text := getattr(pair, side)).strip()]
        found = count_languages(texts, identifier)
        if expected in known and texts and found[expected] < len(texts) / 2:
            shown = ", ".join(f"{n} {name}" for name, n in found.most_common(3))
            warnings.warn(
                Warnings.W501.format(side=side, expected=expected, total=len(texts), found=shown),
                stacklevel=2,
            )


def save_part(
    path: Path, pairs: Iterable[TextPair], pipelines: list[spacy.Language], settings: dict[str, Any]
) -> None:
    """Project a part, write its complete documents, and at last what became of all."""
    counts: Counter[str] = Counter()
    examples: dict[str, list[dict[str, Any]]] = {}
    kept: list[Doc] = []
    missing: list[int] = []

    def whole() -> Iterator[TextPair]:
        for pair in pairs:
            counts["pairs"] += 1
            if pair.is_whole:
                yield pair
            else:
                missing.append(pair.number)

    teacher, projector = pipelines
    languages = settings["language"], settings["source_language"]
    for pair, doc in project_pairs(whole(), teacher, projector, *languages):
        fates = [row["fate"] for row in doc._.projection]
        counts.update(f"entities: {Fate[fate].value}" for fate in fates)
        is_kept = doc.has_annotation("ENT_IOB")
        counts["sentences kept" if is_kept else "sentences rejected"] += 1
        kind = "kept" if is_kept else next(f for f in fates if f not in ("projected", "suppressed"))
        shown = examples.setdefault(kind, [])
        if len(shown) < settings["n_examples"] and fates:
            shown.append(_describe(pair, doc))
        if is_kept:
            kept.append(plain_copy(doc))
    n_full = sum(bool(doc.ents) for doc in kept)
    docs = list(limit_empty(kept, n_full, settings["empty_share"]))
    counts["sentences without entities left out"] = len(kept) - len(docs)
    counts["sentences kept"] -= len(kept) - len(docs)
    counts["sentences kept without entities"] = len(docs) - n_full
    counts.update(f"label {ent.label_}" for doc in docs for ent in doc.ents)
    counts["pairs with a missing side"] = len(missing)
    if docs:
        write_docs(docs, path.with_suffix(".spacy"))
    write_json(path, {"counts": counts, "examples": examples, "missing": missing})


def limit_empty(docs: Iterable[Doc], n_full: int, share: float) -> Iterator[Doc]:
    """Leave out sentences without entities until they are at most a share of all.

    n_full: Sentences with entities.
    """
    room = float("inf") if share >= 1 else share / (1 - share) * n_full
    for doc in docs:
        room -= not doc.ents
        if doc.ents or room >= 0:
            yield doc


def merge_parts(parts: Path, corpus: Path, n_examples: int) -> dict[str, Any]:
    """Put the parts together. RETURNS: Counts, examples, and the lines with a missing side."""
    counts: Counter[str] = Counter()
    examples: dict[str, list[dict[str, Any]]] = {}
    missing: list[Any] = []
    merged = DocBin(attrs=["ENT_IOB", "ENT_TYPE"], store_user_data=True)
    for path in sorted(parts.glob("*.json")):
        if path.name == "plan.json":
            continue
        content = read_json(path)
        counts.update(content["counts"])
        # Lines of a shard are counted from its own beginning.
        where = "" if path.stem.isdigit() else f"{path.stem}:"
        missing += [f"{where}{number}" for number in content["missing"]] if where else content["missing"]
        for kind, rows in content["examples"].items():
            own = examples.setdefault(kind, [])
            own += rows[: n_examples - len(own)]
        if path.with_suffix(".spacy").exists():
            merged.merge(read_docs(path.with_suffix(".spacy")))
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else "")
        msg.warn(f"{len(missing):,} pairs with a missing side were left out, lines {shown}")
    if len(merged):
        write_bytes(corpus, merged.to_bytes())
    return {"counts": dict(counts), "examples": examples, "missing": missing}


def plain_copy(doc: Doc) -> Doc:
    """Text, entities and language, without the source and what became of it."""
    return make_doc(doc.vocab, sentence_of(doc), doc._.language)


def write_audit(path: Path, title: str, summary: dict[str, Any]) -> None:
    """Draw kept and rejected pairs side by side, entities numbered alike on both sides."""
    groups = {
        kind if kind == "kept" else Fate[kind].value: [
            {**row, "left": _draw(row["source"]), "right": _draw(row["target"])} for row in rows
        ]
        for kind, rows in sorted(summary["examples"].items(), key=lambda item: item[0] != "kept")
    }
    page = render("audit.html.jinja", title=title, counts=summary["counts"], groups=groups)
    write_text(path, page)


def _describe(pair: TextPair, doc: Doc) -> dict[str, Any]:
    """One pair for the audit page, entities of both sides as displaCy's manual mode takes them."""
    source = doc._.source
    sides: dict[str, dict[str, Any]] = {
        "source": {"text": source.text, "ents": []},
        "target": {"text": doc.text, "ents": []},
    }
    for i, (ent, row) in enumerate(zip(source.ents, doc._.projection, strict=True), start=1):
        label = f"{i} {ent.label_}"
        sides["source"]["ents"].append({"start": ent.start_char, "end": ent.end_char, "label": label})
        for start, end, score in row["places"]:
            span = doc[start:end]
            sides["target"]["ents"].append(
                {"start": span.start_char, "end": span.end_char, "label": f"{label} {score:.2f}"}
            )
    return {"line": pair.number, **sides, "fates": [Fate[row["fate"]].value for row in doc._.projection]}


def _draw(side: dict[str, Any]) -> str:
    ents: list[dict[str, Any]] = []
    for ent in sorted(side["ents"], key=lambda ent: (ent["start"], ent["end"])):
        # displaCy cannot draw overlapping ones; that they overlap is what the page says of them.
        if not ents or ents[-1]["end"] <= ent["start"]:
            ents.append(ent)
    return str(displacy.render({"text": side["text"], "ents": ents}, style="ent", manual=True))


def _describe_pipeline(name: str) -> list[str | int]:
    """What tells a pipeline from the same one trained anew: its path or name, and its files' time."""
    meta = Path(name) / "meta.json"
    return [_absolute(name), *(describe_file(meta)[1:] if meta.exists() else [])] if name else []


def _absolute(name: str) -> str:
    """A folder's whole path, which workers elsewhere understand too; another name stays."""
    return str(Path(name).resolve()) if name and Path(name).exists() else name


def _cut(pairs: Iterator[TextPair], size: int, limit: int) -> Iterator[list[TextPair]]:
    wanted = islice(pairs, limit or None)
    while part := list(islice(wanted, size)):
        yield part


if __name__ == "__main__":
    typer.run(main)

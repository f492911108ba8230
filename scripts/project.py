"""Project the entities that a pipeline finds in one language to another, through parallel text."""

import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import jinja2
import spacy
import srsly
import typer
from spacy import displacy
from spacy.cli._util import setup_gpu
from spacy.tokens import Doc, DocBin
from tqdm import tqdm
from wasabi import msg

from spacy_xner.corpus import read_docs, write_docs
from spacy_xner.projector.filters import Fate
from spacy_xner.projector.parallel import TextPair, project_pairs, read_pairs
from spacy_xner.tokenizer import create_multilingual_tokenizer

from common import split_names, write_bytes, write_json, write_text


def main(
    teacher: Annotated[str, typer.Argument(help="Pipeline that annotates the source side.")],
    source: Annotated[Path, typer.Argument(help="Source sentences, or `source TAB target`; a line a pair.")],
    out: Annotated[Path, typer.Argument(help="Folder for {lang}-silver-train.spacy.")],
    language: Annotated[str, typer.Option(help="Language of the target side.")],
    target: Annotated[
        Path | None, typer.Option(help="Target sentences, if they are in a file of their own.")
    ] = None,
    source_language: Annotated[str, typer.Option(help="Language of the source side.")] = "en",
    name: Annotated[str, typer.Option(help="Name in the file name, for instance of the domain.")] = "silver",
    encoder: Annotated[str, typer.Option(help="Checkpoint of the aligner.")] = "multilingual-e5-small",
    layer: Annotated[int, typer.Option(help="Layer of it that is compared.")] = 6,
    suppress: Annotated[str, typer.Option(help="Labels that become O, comma-separated.")] = "",
    min_probability: Annotated[float, typer.Option(help="Least score of a place.")] = 0.0,
    back_projection: Annotated[bool, typer.Option(help="Believe only places that lead back.")] = False,
    limit: Annotated[int, typer.Option(help="First n pairs; 0 takes all.")] = 0,
    part_size: Annotated[int, typer.Option(help="Pairs between two savings.")] = 5000,
    n_examples: Annotated[int, typer.Option(help="Pairs of every kind on the audit page.")] = 20,
    mixed_precision: Annotated[bool, typer.Option(help="Half precision.")] = True,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")] = -1,
) -> None:
    """Write a corpus of the target language, and a page on which accepted and rejected pairs can be compared.

    Pairs are read as a stream and saved part by part; a stopped run goes on behind its last part.
    """
    setup_gpu(gpu)
    settings = {
        "teacher": teacher, "source": _describe_file(source),
        "target": _describe_file(target) if target else None, "source_language": source_language,
        "encoder": encoder, "layer": layer, "suppress": suppress, "min_probability": min_probability,
        "back_projection": back_projection, "limit": limit, "part_size": part_size,
    }  # fmt: skip
    parts = out / f"{language}-{name}.parts"
    plan = parts / "plan.json"
    if plan.exists() and srsly.read_json(plan) != settings:
        msg.fail(f"{parts} was begun with other settings. Remove it, or give another --name.", exits=1)
    write_json(plan, settings)
    pipelines: list[spacy.Language] = []
    for number, pairs in enumerate(_cut(read_pairs(source, target), part_size, limit)):
        part = parts / f"{number:05}.json"
        if part.exists():
            msg.info(f"Part {number}: done before")
            continue
        if not pipelines:
            pipelines = [
                spacy.load(teacher),
                make_projector(
                    encoder, layer, split_names(suppress), min_probability,
                    back_projection, mixed_precision,
                ),
            ]  # fmt: skip
        bar = tqdm(pairs, desc=f"part {number}", unit=" pairs", leave=False)
        save_part(part, project_pairs(bar, *pipelines, language, source_language), pairs, n_examples)
    summary = merge_parts(parts, out / f"{language}-{name}-train.spacy", n_examples)
    write_json(out / f"{language}-{name}.json", summary)
    write_audit(out / f"{language}-{name}.html", f"{source_language} to {language}", summary)
    shutil.rmtree(parts)
    counts = summary["counts"]
    rows = [(key, f"{n:,}") for key, n in sorted(counts.items(), key=lambda item: -item[1])]
    msg.table(rows, header=("", "number"), divider=True)
    msg.good(f"{counts.get('sentences kept', 0):,} sentences in {out / f'{language}-{name}-train.spacy'}")


def make_projector(
    encoder: str,
    layer: int,
    suppressed: list[str],
    min_probability: float,
    back_projection: bool,
    mixed_precision: bool,
) -> spacy.Language:
    """Build a pipeline that projects."""
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    tok2vec = {
        "@architectures": "spacy_xner.TransformerEncoder.v1", "name": encoder, "n_layers": layer,
        "n_frozen_layers": layer, "pooling": "mean", "mixed_precision": mixed_precision,
    }  # fmt: skip
    config = {
        "model": {"tok2vec": tok2vec}, "suppressed": suppressed, "min_probability": min_probability,
        "back_projection": back_projection,
    }  # fmt: skip
    nlp.add_pipe("entity_projector", config=config)
    nlp.initialize()
    return nlp


def save_part(
    path: Path, projected: Iterator[tuple[TextPair, Doc]], pairs: list[TextPair], n_examples: int
) -> None:
    """Project a part, write its complete documents, and at last what became of all."""
    counts: Counter[str] = Counter()
    examples: dict[str, list[dict[str, Any]]] = {}
    kept = []
    missing = [pair.number for pair in pairs if not pair.is_whole]
    counts["pairs"] = len(pairs)
    counts["pairs with a missing side"] = len(missing)
    for pair, doc in projected:
        fates = [row["fate"] for row in doc._.projection]
        counts.update(f"entities: {Fate[fate].value}" for fate in fates)
        is_kept = doc.has_annotation("ENT_IOB")
        counts["sentences kept" if is_kept else "sentences rejected"] += 1
        counts.update(f"label {ent.label_}" for ent in doc.ents)
        kind = "kept" if is_kept else next(f for f in fates if f not in ("projected", "suppressed"))
        shown = examples.setdefault(kind, [])
        if len(shown) < n_examples and fates:
            shown.append(_describe(pair, doc))
        if is_kept:
            counts["sentences kept without entities"] += not doc.ents
            # The source and what became of it stay here: a corpus holds text and entities.
            plain = Doc(doc.vocab, words=[t.text for t in doc], spaces=[bool(t.whitespace_) for t in doc])
            plain.set_ents([spacy.tokens.Span(plain, e.start, e.end, label=e.label) for e in doc.ents])
            plain._.language = doc._.language
            kept.append(plain)
    if kept:
        write_docs(kept, path.with_suffix(".spacy"))
    write_json(path, {"counts": counts, "examples": examples, "missing": missing})


def merge_parts(parts: Path, corpus: Path, n_examples: int) -> dict[str, Any]:
    """Put the parts together. RETURNS: Counts, examples, and the lines with a missing side."""
    counts: Counter[str] = Counter()
    examples: dict[str, list[dict[str, Any]]] = {}
    missing: list[int] = []
    merged = DocBin(attrs=["ENT_IOB", "ENT_TYPE"], store_user_data=True)
    for path in sorted(parts.glob("[0-9]*.json")):
        content = srsly.read_json(path)
        counts.update(content["counts"])
        missing += content["missing"]
        for kind, rows in content["examples"].items():
            own = examples.setdefault(kind, [])
            own += rows[: n_examples - len(own)]
        if path.with_suffix(".spacy").exists():
            merged.merge(read_docs(path.with_suffix(".spacy")))
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else "")
        msg.warn(f"{len(missing):,} pairs with a missing side were left out, lines {shown}")
    if not len(merged):
        msg.fail("No sentence was kept: see the audit of a shorter run, or lower --min-probability", exits=1)
    write_bytes(corpus, merged.to_bytes())
    return {"counts": dict(counts), "examples": examples, "missing": missing}


def write_audit(path: Path, title: str, summary: dict[str, Any]) -> None:
    """Draw kept and rejected pairs side by side, entities numbered alike on both sides."""
    groups = {
        kind if kind == "kept" else Fate[kind].value: [
            {**row, "left": _draw(row["source"]), "right": _draw(row["target"])} for row in rows
        ]
        for kind, rows in sorted(summary["examples"].items(), key=lambda item: item[0] != "kept")
    }
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    page = environment.get_template("audit.html.jinja").render(
        title=title, counts=summary["counts"], groups=groups
    )
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


def _describe_file(path: Path) -> list[str | int]:
    """Path, bytes and time: a file that was repaired is another one."""
    return [str(path), path.stat().st_size, path.stat().st_mtime_ns]


def _cut(pairs: Iterator[TextPair], size: int, limit: int) -> Iterator[list[TextPair]]:
    wanted = islice(pairs, limit or None)
    while part := list(islice(wanted, size)):
        yield part


if __name__ == "__main__":
    typer.run(main)

"""Export a pipeline in whole numbers: what every language loses, speed and size, in one run.

Speed is in CPU time with one thread, so that a busy machine changes it little. The pipeline is measured in
float32, in bfloat16 where the processor has it, exported in float32, and exported in whole numbers.
"""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from record import Record, Table
from spacy.language import Language
from wasabi import msg

from spacy_xner.deploy.onnx import (
    GraphSettings,
    choose_settings,
    export_encoder,
    find_encoders,
    restore_encoder,
)
from spacy_xner.evaluation import read_examples
from spacy_xner.files import read_json
from spacy_xner.loading import load_pipeline
from spacy_xner.precision import choose_precision, has_cpu_bfloat16
from spacy_xner.scoring import annotate
from spacy_xner.stability import entity_set

SETTINGS = "CPU time with one thread; every pipeline in all ways in one process, one after the other."


def main(
    pipeline: Annotated[Path, typer.Argument(help="Trained pipeline.")],
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy.")],
    calibration: Annotated[Path, typer.Argument(help="Folder of the corpus whose dev texts set the ranges.")],
    languages: Annotated[str, typer.Option(help="Comma-separated; all by default.")] = "",
    split: Annotated[str, typer.Option(help="Split to score on.")] = "test",
    limit: Annotated[int, typer.Option(help="First n sentences a language, 0 for all.")] = 0,
    name: Annotated[str, typer.Option(help="Name of the row in the result.")] = "",
    out: Annotated[Path | None, typer.Option(help="JSON file; rows of other names stay.")] = None,
) -> None:
    """Measure all ways to run the pipeline on the same texts."""
    torch.set_num_threads(1)
    record = Record(" ".join(["python", *sys.argv]), SETTINGS)
    msg.info(str(record.machine))
    nlp = load_pipeline(pipeline)
    chosen = [lang for lang in languages.split(",") if lang]
    texts = [eg.reference.text for eg in read_examples(nlp, calibration, "dev", chosen, 16)]
    encoders = find_encoders(nlp)
    ways: dict[str, GraphSettings | None] = {"float32": None}
    if has_cpu_bfloat16():
        ways["bfloat16"] = None
    ways |= {"onnx float32": GraphSettings(int8=False), "onnx int8": choose_settings(int8=True)}
    ways["onnx int8, 4 float layers"] = choose_settings(int8=True, n_float_layers=4)
    if not choose_settings(int8=True).reduced_range:
        ways["onnx int8, reduced range"] = GraphSettings(int8=True, reduced_range=True)
    results: dict[str, Any] = {}
    base: list[Any] = []
    for way, settings in ways.items():
        for encoder in encoders:
            restore_encoder(encoder)
            encoder.shim.choice = choose_precision("bfloat16" if way == "bfloat16" else "float32", "cpu")
            if settings is not None:
                export_encoder(encoder, settings, texts)
        examples = read_examples(nlp, corpus, split, chosen, limit)
        results[way], entities = measure(nlp, examples)
        base = base or entities
        results[way]["n_differ"] = sum(len(a ^ b) for a, b in zip(base, entities, strict=True))
        results[way]["encoder_mb"] = [sum_bytes(encoder.shim.network) / 1e6 for encoder in encoders]
        msg.info(f"{way}: {results[way]}")
    if out is not None:
        write_rows(out, record, name or pipeline.name, {"n_texts": len(base), "ways": results})


def measure(nlp: Language, examples: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    """RETURNS: F1 by language, entities, words a second of CPU; the entities of each text."""
    nlp(examples[0].reference.text)
    start = time.process_time()
    scores = annotate(nlp, examples)
    seconds = time.process_time() - start
    entities = [entity_set(example.predicted) for example in examples]
    row = {
        "f": 100 * scores["ents_f"],
        "languages": {lang: 100 * score["f"] for lang, score in scores["ents_per_language"].items()},
        "n_entities": sum(map(len, entities)),
        "words_per_cpu_second": sum(len(eg.predicted) for eg in examples) / seconds,
    }
    return row, entities


def sum_bytes(network: torch.nn.Module) -> int:
    """Bytes of all weights, as they are stored."""
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def write_rows(out: Path, record: Record, name: str, row: dict[str, Any]) -> None:
    """Add a row to a result file."""
    rows = read_json(out)["pipelines"] if out.exists() else {}
    rows = {**rows, name: row}
    record.write(out, [summarize(rows)], pipelines=rows)


def summarize(rows: dict[str, Any]) -> Table:
    """A table of all ways to run all pipelines."""
    table = []
    for name, row in rows.items():
        base = row["ways"]["float32"]
        for way, figures in row["ways"].items():
            speed = figures["words_per_cpu_second"]
            lost = ", ".join(
                f"{lang} {change:+.1f}"
                for lang, score in figures["languages"].items()
                if abs(change := score - base["languages"][lang]) >= 0.05
            )
            table.append(
                [
                    f"{name}, {way}", f"{speed:,.0f} ({speed / base['words_per_cpu_second']:.2f}x)",
                    f"{figures['f']:.1f}", lost or "–", f"{figures['n_differ']} of {figures['n_entities']}",
                    f"{sum(figures['encoder_mb']):,.0f}",
                ]
            )  # fmt: skip
    header = ["", "words/CPU second", "F1", "change by language", "other entities", "encoder MB"]
    return Table("Ways to run an encoder", header, table)


if __name__ == "__main__":
    typer.run(main)

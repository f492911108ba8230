"""`spacy xner export`: a pipeline whose transformers onnxruntime runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.options import Languages, Source, split_names

if TYPE_CHECKING:
    from spacy_xner.deploy.parity import ExportReport


@verb("export")
def export_cli(
    pipeline: Annotated[str, typer.Argument(help="Trained pipeline: a folder or an installed package.")],
    out: Annotated[Path, typer.Argument(help="Folder for the exported pipeline.")],
    int8: Annotated[bool, typer.Option(help="Whole numbers of a byte; else float32.")] = True,
    float_layers: Annotated[int, typer.Option(help="Last layers that stay in float32, for precision.")] = 0,
    corpus: Annotated[Path, typer.Option(help="Folder of {lang}-{source}-{split}.spacy.")] = Path("corpus"),
    split: Annotated[str, typer.Option(help="Split that both pipelines are scored on.")] = "test",
    calibrate_on: Annotated[str, typer.Option(help="Split that ranges are measured on.")] = "dev",
    n_texts: Annotated[int, typer.Option(help="Texts a language to measure ranges on.")] = 16,
    languages: Languages = "",
    source: Source = "",
    limit: Annotated[int, typer.Option(help="First n sentences a file to score, 0 for all.")] = 0,
    max_loss: Annotated[float, typer.Option(help="Points of F1 that a language may lose.")] = 0.3,
    report: Annotated[Path | None, typer.Option(help="JSON file for the table.")] = None,
) -> None:
    """Write a pipeline that is faster and a quarter of the size, and what each language loses by it.

    Nothing is written if a language loses more than it may; a tagger of a routed pipeline stays as it is.
    The exported pipeline needs the package onnxruntime and cannot be trained.

    EXAMPLE: python -m spacy xner export training/mine/model-best training/mine-int8 --corpus corpus/mine
    """
    from spacy_xner.deploy.onnx import choose_settings
    from spacy_xner.deploy.parity import export_pipeline
    from spacy_xner.evaluation import read_examples
    from spacy_xner.files import fresh_folder, write_json
    from spacy_xner.loading import load_pipeline

    nlp = load_pipeline(pipeline)
    chosen = split_names(languages), split_names(source)
    texts = read_examples(nlp, corpus, calibrate_on, chosen[0], n_texts, chosen[1])
    outcome = export_pipeline(
        nlp,
        lambda: read_examples(nlp, corpus, split, chosen[0], limit, chosen[1]),
        [example.reference.text for example in texts],
        settings=choose_settings(int8=int8, n_float_layers=float_layers),
        max_loss=max_loss,
        path=pipeline,
    )
    with fresh_folder(out) as folder:
        nlp.to_disk(folder)
    if report is not None:
        languages_found = [row._asdict() for row in outcome.languages]
        write_json(report, {**outcome._asdict(), "languages": languages_found})
    show(outcome, out)


def show(report: "ExportReport", out: Path) -> None:
    """Print the table of the languages."""
    rows = [
        (row.language, f"{row.before:.1f}", f"{row.after:.1f}", f"{row.n_differ} of {row.n_entities}",
         ", ".join(row.kept) or "-")
        for row in report.languages
    ]  # fmt: skip
    msg.table(rows, header=("language", "F1", "exported", "entities differ", "not exported"), divider=True)
    before, after = report.words_per_second
    msg.info(f"Words a second: {before:,.0f} before, {after:,.0f} exported")
    msg.good(f"Exported {', '.join(report.components)} to {out}")

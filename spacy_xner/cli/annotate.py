"""`spacy xner annotate`: entities of files of any size."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.options import Gpu


class Engine(str, Enum):
    """Where files are annotated."""

    local = "local"
    ray = "ray"


class Output(str, Enum):
    """Formats of the files that are made of a folder's."""

    jsonl = "jsonl"
    spacy = "spacy"
    conll = "conll"
    parquet = "parquet"


@verb("annotate")
def annotate_cli(
    model: Annotated[str, typer.Argument(help="Pipeline folder or installed package.")],
    source: Annotated[
        Path,
        typer.Argument(help="File (.txt, .jsonl, .csv, .parquet, .conll, .spacy), folder of such, or - ."),
    ],
    out: Annotated[
        Path,
        typer.Argument(help="File (.jsonl, .spacy, .conll, .parquet), folder, or - ."),
    ],
    field: Annotated[str, typer.Option(help="Field or column with the text.")] = "text",
    input_format: Annotated[
        str, typer.Option("--format", help="text, jsonl, csv, conll, docbin or parquet; told by the name.")
    ] = "",
    to: Annotated[Output, typer.Option(help="Format of the files made of a folder's.")] = Output.jsonl,
    threshold: Annotated[float, typer.Option(help="Leave out entities below this probability.")] = 0.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Documents a batch.")] = 256,
    n_process: Annotated[int, typer.Option(min=1, help="Processes that annotate.")] = 1,
    part_size: Annotated[int, typer.Option(min=1, help="Documents between two savings.")] = 2000,
    engine: Annotated[Engine, typer.Option(help="ray: workers of a cluster share a folder.")] = Engine.local,
    workers: Annotated[int, typer.Option(min=1, help="Ray workers, each with its own pipeline.")] = 2,
    gpu: Gpu = -1,
) -> None:
    """Find the entities of texts, and write them with language, cluster and probabilities.

    A stopped run goes on behind its last part. Files with gzip or xz in their names are unpacked on the way.
    EXAMPLE: python -m spacy xner annotate xx_xner texts.jsonl.gz entities.jsonl
    """
    from spacy.cli._util import setup_gpu

    from spacy_xner.deploy.annotate import Settings, annotate_file, annotate_folder, annotate_stream
    from spacy_xner.deploy.texts import Texts

    setup_gpu(gpu, silent=True)
    settings = Settings(model, threshold, batch_size, n_process, part_size)
    texts = Texts(source, input_format, field)
    if source.is_dir():
        ray_workers = workers if engine is Engine.ray else 0
        n_files = annotate_folder(texts, out, f".{to.value}", settings, ray_workers=ray_workers, gpu=gpu)
        msg.good(f"{n_files:,} files annotated in {out}")
    elif str(out) == "-":
        annotate_stream(texts, settings)
    else:
        n_docs = annotate_file(texts, out, settings)
        msg.good(f"{n_docs:,} documents annotated in {out}")

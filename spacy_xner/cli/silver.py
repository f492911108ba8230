"""`spacy xner silver`: a training corpus in another language, through parallel text."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import print_warnings, verb
from spacy_xner.cli.options import Gpu, Numbers, Precision, split_names


class Engine(str, Enum):
    """Where parts are projected."""

    local = "local"
    ray = "ray"


Side = Annotated[str, typer.Option(help="Language of the source side.")]
MaybeText = Annotated[str | None, typer.Option(help="Labels that become O; as the aligner has it.")]
MaybeScore = Annotated[float | None, typer.Option(help="Least score of a place; as the aligner has it.")]
MaybeFlag = Annotated[
    bool | None, typer.Option(help="Believe only places that lead back; as the aligner has it.")
]


@verb("silver")
def silver_cli(
    teacher: Annotated[str, typer.Argument(help="Pipeline that finds entities on the source side.")],
    source: Annotated[
        Path, typer.Argument(help="Source sentences, `source TAB target`, or a folder of shards.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder for {lang}-silver-train.spacy.")],
    language: Annotated[str, typer.Option(help="Language of the target side.")],
    target: Annotated[Path | None, typer.Option(help="Target sentences, if in another file.")] = None,
    source_language: Side = "en",
    name: Annotated[str, typer.Option(help="Name in the file names, such as the domain.")] = "silver",
    aligner: Annotated[str, typer.Option(help="Trained pipeline with an entity_projector.")] = "",
    encoder: Annotated[str, typer.Option(help="Checkpoint that compares.")] = "multilingual-e5-small",
    layer: Annotated[int, typer.Option(min=0, help="Layer of the encoder that is compared.")] = 6,
    suppress: MaybeText = None,
    min_probability: MaybeScore = None,
    back_projection: MaybeFlag = None,
    empty_share: Annotated[
        float, typer.Option(min=0, max=1, help="At most this share of the sentences has no entity.")
    ] = 1.0,
    identifier: Annotated[str, typer.Option(help="Pipeline that checks the sides' languages.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="First n pairs, of each shard; 0 takes all.")] = 0,
    part_size: Annotated[int, typer.Option(min=1, help="Pairs between two savings.")] = 5000,
    n_examples: Annotated[int, typer.Option(min=0, help="Pairs of a kind on the audit page.")] = 20,
    engine: Annotated[Engine, typer.Option(help="ray: workers of a cluster share shards.")] = Engine.local,
    workers: Annotated[int, typer.Option(min=1, help="Ray workers, each with its own models.")] = 2,
    precision: Precision = Numbers.auto,
    gpu: Gpu = -1,
) -> None:
    """Write a corpus of the target language, and a page to compare kept and rejected pairs on.

    A stopped run goes on behind its last part. Shards are .jsonl or .parquet files with the fields source and
    target. The sentences name the corpora that the teacher learnt from, for `package --free`.
    EXAMPLE: python -m spacy xner silver training/xner pairs.tsv corpus --language es
    """
    from spacy_xner.corpus.names import file_language
    from spacy_xner.loading import load_pipeline
    from spacy_xner.projector.parallel import ParallelText
    from spacy_xner.projector.settings import AlignerSettings, SilverSettings
    from spacy_xner.projector.silver import N_IDENTIFIED, Outputs, check_sides, make_silver

    language, labels = file_language(language), None if suppress is None else tuple(split_names(suppress))
    text = ParallelText(source, target, limit)
    aligned = AlignerSettings(
        aligner, encoder, layer, precision.value, labels, min_probability, back_projection
    )
    settings = SilverSettings(
        teacher, text, language, source_language, aligned, empty_share, part_size, n_examples
    )
    outputs, ray_workers = Outputs(out, language, name), workers if engine is Engine.ray else 0
    text.check()
    with print_warnings():
        if identifier:
            nlp = load_pipeline(identifier, "language_identifier")
            check_sides(text.first(N_IDENTIFIED), nlp, source_language, language)
        summary = make_silver(settings, outputs, gpu=gpu, ray_workers=ray_workers, tell=msg.info)
    msg.table([(key, f"{n:,}") for key, n in summary.counts.rows()], header=("", "number"), divider=True)
    if missing := summary.missing:
        lines = ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else "")
        msg.warn(f"{len(missing):,} pairs with a missing side were left out, lines {lines}")
    outputs.check(summary)
    msg.good(f"{summary.counts.kept:,} sentences in {outputs.corpus}")

"""`spacy xner calibrate`: probabilities that mean what they say, and thresholds that keep a promise."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.options import Corpus, Gpu, Languages, Limit, Model, Source, split_names

if TYPE_CHECKING:
    from spacy_xner.deploy.calibrate import Row


@verb("calibrate")
def calibrate_cli(
    model: Model,
    corpus: Corpus,
    out: Annotated[Path, typer.Argument(help="Folder for the calibrated pipeline.")],
    split: Annotated[str, typer.Option(help="Split of the files; never the training split.")] = "dev",
    languages: Languages = "",
    source: Source = "",
    limit: Limit = 0,
    precision: Annotated[float, typer.Option(help="Find thresholds for this precision; 0 for none.")] = 0.0,
    error_rate: Annotated[
        float, typer.Option(help="Probability that a threshold does not reach the precision.")
    ] = 0.1,
    gpu: Gpu = -1,
) -> None:
    """Scale the probabilities of entities by language, and write the pipeline.

    Half of the sentences is fitted on, the other half measures the error before and after. With `--precision`
    each language gets a threshold: on such text entities above it are right at least that often,
    but for a probability of `--error-rate`. For languages without labels nothing is promised.

    EXAMPLE: python -m spacy xner calibrate training/mine/model-best corpus/mine calibrated --precision 0.95
    """
    import spacy
    from spacy.cli._util import setup_gpu

    from spacy_xner.deploy.calibrate import Target, calibrate_pipeline
    from spacy_xner.evaluation import read_examples
    from spacy_xner.files import fresh_folder

    setup_gpu(gpu)
    nlp = spacy.load(model)
    examples = read_examples(nlp, corpus, split, split_names(languages), limit, split_names(source))
    rows = calibrate_pipeline(nlp, examples, Target(precision, error_rate) if precision else None)
    with fresh_folder(out) as folder:
        nlp.to_disk(folder)
    _show(rows, with_thresholds=precision > 0)
    msg.good(f"Calibrated pipeline written to {out}")


def _show(rows: "list[Row]", *, with_thresholds: bool) -> None:
    header = ["tagger", "language", "entities", "error before", "after"]
    table = [
        [row.pipe, row.language, row.n_entities, f"{row.before:.3f}", f"{row.after:.3f}"] for row in rows
    ]
    if with_thresholds:
        header += ["threshold", "given out"]
        for line, row in zip(table, rows, strict=True):
            line += (
                ["none found", ""] if row.threshold is None else [f"{row.threshold:.3f}", f"{row.share:.0%}"]
            )
    msg.table(table, header=header, divider=True)

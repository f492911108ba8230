"""`spacy xner extend`: a trained pipeline learns a few sentences with labels of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import print_warnings, verb
from spacy_xner.cli.options import Corpus, Gpu, Languages, Limit, Model, Seed, split_names

if TYPE_CHECKING:
    from spacy_xner.deploy.extend import Row


@verb("extend")
def extend_cli(
    pipeline: Model,
    corpus: Corpus,
    out: Annotated[Path, typer.Argument(help="Folder for the new pipeline; figures go to OUT.json.")],
    texts: Annotated[
        list[Path] | None,
        typer.Option(help="Text to rehearse on: corpus folder, .spacy file or text file; repeatable."),
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Corpus on whose test sentences the old labels are scored too.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split that is scored; without it, every fifth sentence.")
    ] = "dev",
    languages: Languages = "",
    limit: Limit = 0,
    text_limit: Annotated[int, typer.Option(min=0, help="Texts to rehearse; 0: all.")] = 2000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the labelled sentences.")] = 20,
    learn_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-4,
    head_rate: Annotated[float, typer.Option(help="The head learns at so many times the rate.")] = 10.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Sentences a step.")] = 16,
    rehearsal: Annotated[float, typer.Option(min=0, help="Weight of what it knew; 0 for none.")] = 1.0,
    seed: Seed = 0,
    gpu: Gpu = -1,
) -> None:
    """Let a tagger learn labelled sentences with new labels, and keep the labels that it had.

    Labels of the tagger that no sentence has are taken for not annotated: its own entities stand in for
    them. The folder is written when all is done, so that an interrupted run leaves the old one as it was.

    EXAMPLE: python -m spacy xner extend training/mine/model-best corpus/mine training/extended
    """
    from spacy.cli._util import setup_gpu

    from spacy_xner.deploy.extend import Course, extend_folder
    from spacy_xner.deploy.lessons import Sources, read_material
    from spacy_xner.errors import check_counts

    check_counts(limit=limit)
    setup_gpu(gpu, silent=True)
    sources = Sources(
        corpus, tuple(texts or ()), check, split, tuple(split_names(languages)), limit, text_limit
    )
    course = Course(epochs, learn_rate, head_rate, batch_size, rehearsal, seed)

    def show(step: int, n_steps: int, loss: float, rehearsed: float) -> None:
        if step * 10 // n_steps > (step - 1) * 10 // n_steps:
            msg.info(f"Step {step} of {n_steps}: {loss:.4f} nats, rehearsal {rehearsed:.4f}")

    with print_warnings():
        result = extend_folder(pipeline, out, lambda nlp: read_material(nlp, sources), course, show)
    if result.assumed:
        msg.info(
            f"No sentence has {', '.join(result.assumed)}: the pipeline's own entities stood in for them"
        )
    if result.uncalibrated:
        msg.warn("The probabilities are not calibrated any more: run `spacy xner calibrate` again")
    _show(result.rows)
    msg.good(f"{out}: learnt {', '.join(result.added) or 'no new label'} from {result.n_sentences} sentences")


def _show(rows: "list[Row]") -> None:
    table = [
        (row.name, row.group, row.n_entities, f"{100 * row.before:.1f}", f"{100 * row.after:.1f}")
        for row in rows
    ]
    header = ("sentences", "labels", "entities", "F1 before", "after")
    msg.table(table, header=header, divider=True, aligns=("l", "l", "r", "r", "r"))

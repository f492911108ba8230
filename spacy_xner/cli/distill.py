"""`spacy xner distill`: a tagger of fewer layers that learns from the whole one."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import print_warnings, verb
from spacy_xner.cli.options import Languages, Seed, split_names


@verb("distill")
def distill_cli(
    pipeline: Annotated[Path, typer.Argument(help="Trained pipeline with one tagger on a transformer.")],
    out: Annotated[Path, typer.Argument(help="Folder for the smaller pipeline.")],
    texts: Annotated[list[Path], typer.Option(help="Corpus folder, .spacy file or text file; repeatable.")],
    layers: Annotated[int, typer.Option(help="Layers that the smaller tagger keeps, the lowest ones.")] = 6,
    languages: Languages = "",
    splits: Annotated[str, typer.Option(help="Splits of a corpus folder that are read.")] = "train",
    limit: Annotated[int, typer.Option(help="The first so many texts; 0 takes all.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the texts.")] = 3,
    steps: Annotated[int, typer.Option(min=0, help="Optimizer steps in place of passes; 0: passes.")] = 0,
    learn_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-4,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts a step.")] = 32,
    seed: Seed = 0,
) -> None:
    """Let the lowest layers of a tagger learn its probabilities from text; labels in it are not read.

    The folder is written when all is done, so that an interrupted run leaves the old one as it was.

    EXAMPLE: python -m spacy xner distill training/xner training/six --texts corpus/sample --layers 6
    """
    from spacy_xner.deploy.distill import Schooling, distill_folder
    from spacy_xner.deploy.trim import read_texts
    from spacy_xner.errors import check_counts

    check_counts(limit=limit)
    lines = read_texts(texts, split_names(languages), split_names(splits))
    schooling = Schooling(layers, epochs, steps, learn_rate, batch_size, limit, seed)

    def show(step: int, n_steps: int, loss: float) -> None:
        if step * 10 // n_steps > (step - 1) * 10 // n_steps:
            msg.info(f"Step {step} of {n_steps}: {loss:.4f} nats a token")

    with print_warnings():
        result = distill_folder(pipeline, out, lines, schooling, show)
    msg.good(
        f"{out}: {result.n_after} of {result.n_before} layers, {result.n_bytes / 1e6:.0f} MB; "
        f"{100 * result.agreement:.1f} F1 by the whole tagger's entities"
    )

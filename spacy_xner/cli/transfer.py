"""`spacy xner transfer`: labels in some languages, text in others, one pipeline."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import print_warnings, verb
from spacy_xner.cli.options import Gpu, Numbers, Precision, Seed, split_names


@verb("transfer")
def transfer_cli(
    corpus: Annotated[Path, typer.Argument(help="Folder with {lang}-{source}-{split}.spacy files.")],
    out: Annotated[Path, typer.Argument(help="Folder for the pipeline, its stages and the report.")],
    targets: Annotated[str, typer.Option(help="Comma-separated languages without labels.")],
    language: Annotated[str, typer.Option(help="Comma-separated languages with labels.")] = "en",
    choose: Annotated[
        int, typer.Option("--choose-sources", help="Learn from so many of the languages; 0: from all.")
    ] = 0,
    identifier: Annotated[
        Path | None, typer.Option(help="Pipeline with the identifier that sources are chosen by.")
    ] = None,
    source: Annotated[str, typer.Option(help="Comma-separated corpora of the folder; all by default.")] = "",
    text: Annotated[Path | None, typer.Option(help="Folder with plain text, {lang}.txt, of targets.")] = None,
    dictionaries: Annotated[
        Path | None,
        typer.Option(help="Folder of {source}-{target}.txt or .dict: words are switched in training."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Labelled sentences a file; 0: all.")] = 0,
    text_limit: Annotated[int, typer.Option(min=0, help="Sentences of text a target; 0: all.")] = 5000,
    dev_limit: Annotated[int, typer.Option(min=0, help="Dev sentences a file; 0: all.")] = 300,
    encoder: Annotated[str, typer.Option(help="Pretrained encoder.")] = "multilingual-e5-small",
    frozen: Annotated[int, typer.Option(min=-1, help="Lowest layers that are not trained.")] = 3,
    learn_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-4,
    head_rate: Annotated[float, typer.Option(help="The head learns at so many times the rate.")] = 10.0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the labels of every training.")] = 5,
    rounds: Annotated[int, typer.Option(min=0, help="Rounds of self-training.")] = 1,
    share: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of the text, the teacher's surest, that is learnt.")
    ] = 0.7,
    batch_size: Annotated[int, typer.Option(min=1, help="Sentences a step.")] = 32,
    config: Annotated[str, typer.Option(help="Training config: a file or an installed one.")] = "transfer",
    soup_seeds: Annotated[
        int, typer.Option(min=1, help="Trainings of every round, under one head; their weights are averaged.")
    ] = 1,
    seed: Seed = 0,
    precision: Precision = Numbers.auto,
    gpu: Gpu = -1,
) -> None:
    """Learn from the labels of some languages to tag others; no label of a target is read.

    A start that was interrupted goes on at the stage that it was at.

    EXAMPLE: python -m spacy xner transfer corpus/wikiann training/zero --language en --targets de,ru
    """
    from spacy_xner.routes.transfer import HEADER, RISK_HEADER, transfer_languages
    from spacy_xner.routes.transfer_data import Transfer, choose_sources

    transfer = Transfer(
        corpus, out, tuple(split_names(language)), tuple(split_names(targets)), tuple(split_names(source)),
        text, encoder, limit, text_limit, dev_limit, frozen, head_rate, learn_rate, epochs, rounds, share,
        batch_size, seed, config, precision.value, gpu, soup_seeds, dictionaries,
    )  # fmt: skip
    with print_warnings():
        if choose:
            transfer.check()
            chosen = choose_sources(transfer, choose, identifier)
            shares = ", ".join(f"{name} ({100 * part:.0f} %)" for name, part in chosen.items())
            msg.info(f"Sources, by their share of the targets' nearest sentences: {shares}")
            transfer = replace(transfer, languages=tuple(sorted(chosen)))
        report = transfer_languages(
            transfer, msg.divider, lambda rows: msg.table(rows, header=RISK_HEADER, divider=True)
        )
    msg.table(report.lines, header=HEADER, divider=True)
    msg.good(f"{out / 'pipeline'}; {report.path}")

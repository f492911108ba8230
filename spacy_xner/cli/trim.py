"""`spacy xner trim`: a smaller pipeline, for the languages that it is to read."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import print_warnings, verb
from spacy_xner.cli.options import Languages, split_names


class Stored(str, Enum):
    """How weights are stored."""

    float16 = "float16"
    float32 = "float32"


def read_keep(text: str) -> str:
    """Read what stays; the switch `vars.trim` of a project may be true or false."""
    keep = {"true": "scripts", "false": "all"}.get(text, text)
    if keep not in ("scripts", "words", "all"):
        raise typer.BadParameter(f"expected scripts, words or all, got {text!r}")
    return keep


@verb("trim")
def trim_cli(
    pipeline: Annotated[Path, typer.Argument(help="Trained pipeline, or with --each a folder of them.")],
    out: Annotated[Path, typer.Argument(help="Folder for the smaller pipeline, or for all of them.")],
    texts: Annotated[list[Path], typer.Option(help="Corpus folder, .spacy file or text file; repeatable.")],
    languages: Languages = "",
    splits: Annotated[str, typer.Option(help="Splits of a corpus folder that are read.")] = "train,dev",
    keep: Annotated[
        str,
        typer.Option(
            parser=read_keep,
            metavar="scripts|words|all",
            help="All wordpieces in the texts' scripts, those in the texts' words alone, or all of them.",
        ),
    ] = "scripts",
    storage: Annotated[Stored, typer.Option(help="How weights are stored; they run as float32.")] = (
        Stored.float16
    ),
    each: Annotated[bool, typer.Option(help="Trim every pipeline of the folder.")] = False,
    grouping: Annotated[Path | None, typer.Option(help="With --each: the languages by pipeline.")] = None,
) -> None:
    """Leave out wordpieces that the texts do not need, and store weights in half precision or 4-bit blocks.

    The texts themselves are read as before: the wordpieces of their words stay. Single characters stay too.

    EXAMPLE: python -m spacy xner trim training/xner training/small/xner --texts corpus/sample
    """
    from spacy_xner.deploy.package import find_pipelines
    from spacy_xner.deploy.trim import read_texts, trim_folder
    from spacy_xner.router.grouping import read_grouping

    clusters = read_grouping(grouping).clusters if grouping else {}
    folders = find_pipelines(pipeline) if each else {"": pipeline}
    for name, path in folders.items():
        chosen = split_names(languages) or clusters.get(name, [])
        lines = read_texts(texts, chosen, split_names(splits))
        with print_warnings():
            sizes = trim_folder(path, out / name, lines, languages=chosen, keep=keep, storage=storage.value)
        msg.good(
            f"{out / name}: {sizes.n_after} of {sizes.n_before} wordpieces, {sizes.n_bytes / 1e6:.0f} MB"
        )

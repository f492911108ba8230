"""Options that several verbs have alike."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Numbers(str, Enum):
    """Values of `precision`; see `TorchShim`."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


Languages = Annotated[str, typer.Option(help="Comma-separated languages; all by default.")]
Model = Annotated[str, typer.Argument(help="Pipeline folder or installed package.")]
Corpus = Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy.")]
Source = Annotated[str, typer.Option(help="Corpus, as in the file names; empty for all.")]
Limit = Annotated[int, typer.Option(help="First n sentences a file, 0 for all.")]
Gpu = Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")]
Precision = Annotated[
    Numbers,
    typer.Option(help="Numbers that networks compute with; auto: what the machine is fast with."),
]
Seed = Annotated[int, typer.Option(help="Random seed.")]


def split_names(option: str) -> list[str]:
    """Split a comma-separated option; an empty one gives an empty list."""
    return [name for name in option.split(",") if name]


def split_numbers(option: str) -> list[int]:
    """Split an option of comma-separated whole numbers."""
    try:
        return [int(name) for name in split_names(option)]
    except ValueError:
        raise typer.BadParameter(f"expected whole numbers with commas between them, got {option!r}") from None

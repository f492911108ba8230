"""Options that several verbs have alike."""

from typing import Annotated

import typer

Languages = Annotated[str, typer.Option(help="Comma-separated languages; all by default.")]
Gpu = Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")]
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

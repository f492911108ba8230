"""The command `spacy xner`, and how a verb is added to it."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from wasabi import msg

from spacy_xner.verbs import CommandT, add_verb

xner = typer.Typer(name="xner", no_args_is_help=True, add_completion=False)


@xner.callback()
def main() -> None:
    """Multilingual and cross-lingual named-entity recognition."""


def group(name: str, help: str) -> typer.Typer:
    """Add a verb that has verbs of its own, such as `vectors train`."""
    verbs = typer.Typer(name=name, help=help, no_args_is_help=True, add_completion=False)
    xner.add_typer(verbs)
    return verbs


def verb(name: str, app: typer.Typer = xner, **settings: Any) -> Callable[[CommandT], CommandT]:
    """Add a function as a verb; see `add_verb`. app: The group that the verb belongs to."""
    return add_verb(app, name, **settings)


@contextmanager
def print_warnings() -> Iterator[None]:
    """Print the package's warnings as messages of the command."""
    default = warnings.showwarning

    def show(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        if str(message).startswith("[XNER-W"):
            msg.warn(str(message))
        else:
            default(message, *args, **kwargs)

    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=r"\[XNER-W")
        warnings.showwarning = show
        yield

"""How a function becomes a verb of a command. Importing this file costs nothing."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from wasabi import msg

from spacy_xner.errors import XnerError

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def add_verb(app: typer.Typer, name: str | None = None, **settings: Any) -> Callable[[CommandT], CommandT]:
    """Add a function to a command. A coded error ends the command with its text and status 1.

    name: Name of the verb; that of the function by default.
    settings: Further arguments of `typer.Typer.command`.
    """

    def add(command: CommandT) -> CommandT:
        @functools.wraps(command)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                command(*args, **kwargs)
            except XnerError as error:
                msg.fail(str(error), exits=1)

        app.command(name, **settings)(run)
        return command

    return add

"""Commands of the scripts, run in this process."""

import typer
from typer.testing import CliRunner


def invoke(app: typer.Typer, *arguments: object, code: int = 0) -> str:
    """Run a command and return what it printed, as one line: messages are wrapped to a terminal's width.

    code: The exit status it must have.
    """
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, done.output + repr(done.exception)
    return " ".join(done.output.split())

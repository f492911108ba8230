"""The verbs of `spacy xner` with their options, read from the signatures that typer reads."""

from collections.abc import Callable, Iterator
from enum import Enum
from inspect import Parameter, signature
from typing import Any, NamedTuple, get_args, get_origin

import typer
from typer.models import ArgumentInfo


class Option(NamedTuple):
    """An option or an argument of a verb.

    names: As they are written: `--limit`; the name of an argument has no dashes.
    multiple: It may be given several times.
    flag: It takes no value.
    default: As Markdown; "needed" where there is none.
    """

    names: tuple[str, ...]
    multiple: bool
    flag: bool
    default: str
    meaning: str

    @property
    def is_argument(self) -> bool:
        """True if it is told by its place."""
        return not self.names[0].startswith("-")

    @property
    def shown(self) -> str:
        """The names as Markdown."""
        return self.names[0].upper() if self.is_argument else ", ".join(f"`{name}`" for name in self.names)


class Verb(NamedTuple):
    """A verb. takes_settings: Further options override a config."""

    name: str
    function: Callable[..., Any]
    options: list[Option]
    takes_settings: bool


def read_verbs() -> list[Verb]:
    """All verbs of `spacy xner` by name; those of groups have the group's name before theirs."""
    # The package of the verbs adds each of them to the group.
    import spacy_xner.cli  # noqa: F401
    from spacy_xner.cli.app import xner

    return sorted(_verbs_of(xner, ""), key=lambda verb: verb.name)


def _verbs_of(app: typer.Typer, prefix: str) -> Iterator[Verb]:
    for command in app.registered_commands:
        if command.callback is not None:
            name = command.name or command.callback.__name__
            options = [
                _option(parameter)
                for parameter in signature(command.callback).parameters.values()
                if get_origin(parameter.annotation) is not None
            ]
            settings = bool((command.context_settings or {}).get("ignore_unknown_options"))
            yield Verb(f"{prefix}{name}", command.callback, options, settings)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _verbs_of(
                group.typer_instance, f"{prefix}{group.name or group.typer_instance.info.name} "
            )


def _option(parameter: Parameter) -> Option:
    kind, info = get_args(parameter.annotation)[:2]
    parts = [kind, *get_args(kind)]
    dashed = parameter.name.replace("_", "-")
    # Behind `Annotated` the first name of an option stands where its default would.
    names = tuple(name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str))
    if isinstance(info, ArgumentInfo):
        names = (parameter.name,)
    elif not names:
        names = (f"--{dashed}", f"--no-{dashed}") if bool in parts else (f"--{dashed}",)
    choices = [part for part in parts if isinstance(part, type) and issubclass(part, Enum)]
    multiple = get_origin(kind) is list or any(get_origin(part) is list for part in parts)
    meaning = [info.help or ""]
    if choices:
        meaning.append(f"One of {', '.join(f'`{choice.value}`' for choice in choices[0])}.")
    if multiple and "repeatable" not in meaning[0]:
        meaning.append("It may be given several times.")
    return Option(
        names, multiple, bool in parts, _default(parameter.default), " ".join(filter(None, meaning))
    )


def _default(value: Any) -> str:
    if value is Parameter.empty:
        return "needed"
    value = getattr(value, "value", value)
    if value in (None, "", []):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"

"""Docstrings and annotations as prose: paragraphs, fields, values with their limits."""

import ast
import inspect
import re
import types
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

FIELD = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): (.*)")
SECTION = re.compile(r"(RAISES|RETURNS|SOURCE|EXAMPLE): ?(.*)")
# Sentences and halves of sentences that send a reader to the code, whose settings a page shows.
POINTERS = re.compile(
    r"\s*(?:The (?:other )?settings(?:: see| are those of)|See `[^`]*` for the settings)(?:`[^`]*`|[^.`])*\."
)
CODE = re.compile(r"[;:,] see `[^`]+`(?: and `[^`]+`)*(?: for the settings)?(?=[.;)]|$)")
SENT_ON = re.compile(r"(?:See|As in) `([^`]*)`[.;]? ?(.*)", re.DOTALL)
NAMES = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    dict: "table",
}
LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


class Docstring(NamedTuple):
    """The parts of a docstring.

    prose: Paragraphs as lines of Markdown.
    fields: Meaning by name of a setting.
    source: The paper that it is from, or nothing.
    """

    prose: list[str]
    fields: dict[str, str]
    source: str


def docstrings_of(package: Path) -> dict[str, str]:
    """The docstrings of all classes and functions of a package by name; the first of several counts."""
    texts: dict[str, str] = {}
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                texts.setdefault(node.name, text)
    return texts


def split_docstring(text: str) -> Docstring:
    """Cut a docstring into prose, fields and source."""
    prose: list[str] = []
    fields: dict[str, str] = {}
    sections: dict[str, str] = {}
    names: list[str] = []
    section = ""
    for line in inspect.cleandoc(text).splitlines():
        if line.startswith("    ") and (names or section):
            for name in names:
                fields[name] += f" {line.strip()}"
            if section:
                sections[section] += f" {line.strip()}"
            continue
        names, section = [], ""
        if match := FIELD.fullmatch(line):
            names = match[1].split(", ")
            fields.update(dict.fromkeys(names, match[2]))
        elif match := SECTION.fullmatch(line):
            section = match[1]
            sections[section] = match[2]
        else:
            prose.append(line)
    paragraphs = re.split(r"\n\s*\n", "\n".join(prose).strip())
    joined = [CODE.sub("", POINTERS.sub("", " ".join(part.split()))).strip() for part in paragraphs]
    lines = [line for paragraph in joined if paragraph for line in (paragraph, "")]
    return Docstring(lines, fields, sections.get("SOURCE", ""))


def describe_setting(name: str, text: str, docstrings: dict[str, str], depth: int = 3) -> str:
    """Find the meaning of a setting in a docstring, or in those that it refers to."""
    meaning = split_docstring(text).fields.get(name, "")
    reference = SENT_ON.match(meaning)
    if meaning and not (reference and depth):
        return CODE.sub("", meaning)
    places = [reference[1]] if reference else re.findall(r"`([\w.]+)`", text)
    for place in places if depth else []:
        other = docstrings.get(place.rpartition(".")[2], "")
        if other and other != text and (text_there := describe_setting(name, other, docstrings, depth - 1)):
            rest = reference[2] if reference else ""
            return f"{text_there} {rest[:1].upper()}{rest[1:]}".strip()
    return CODE.sub("", meaning)


def describe_type(kind: Any) -> str:
    """Say in words which values an annotation allows."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        limits = [item for field in arguments[1:] for item in getattr(field, "metadata", [])]
        words = [
            f"{word} {getattr(limit, key)}"
            for limit in limits
            for key, word in LIMITS.items()
            if hasattr(limit, key)
        ]
        return " ".join([describe_type(arguments[0]), ", ".join(words)]).strip()
    if origin is Literal:
        return " or ".join(f'`"{value}"`' if isinstance(value, str) else f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        described = ["`null`" if part is type(None) else describe_type(part) for part in arguments]
        return " or ".join(dict.fromkeys(described))
    if origin is list:
        return f"list of {describe_type(arguments[0])}s" if arguments else "list"
    return NAMES.get(origin or kind, "block")

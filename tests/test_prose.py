"""Prose of the code: a sentence has a subject, and a variable's name says what the thing is."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from spacy_xner.errors import Errors, Warnings

ROOTS = [Path("spacy_xner"), Path("scripts"), Path("benchmarks")]
FILES = sorted(path for root in ROOTS for path in root.rglob("*.py"))
# How a fragment without a subject begins, at the start of a text, line, sentence or field.
FRAGMENT = re.compile(r"(?:^|[.:?!]\s+|\n)\s*((?:What|Of|Those|That)\b[^.?!\n]*)(?!\?)(?=[.!\n]|$)")
RIDDLES = {"own", "found", "kept", "theirs", "plain", "sure"}


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Comments with their lines; comments of consecutive lines are one text."""
    line, text = 0, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comment = token.string.lstrip("# ")
            if text and token.start[0] == line + text.count("\r") + 1 and token.line.lstrip().startswith("#"):
                text += "\r" + comment
                continue
            if text:
                yield line, text.replace("\r", " ")
            line, text = token.start[0], comment
    if text:
        yield line, text.replace("\r", " ")


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and help texts with their lines."""
    yield from comments(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""
        elif isinstance(node, ast.keyword) and node.arg == "help":
            strings = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
            yield node.value.lineno, " ".join(map(str, strings))


def fragments(source: str) -> list[tuple[int, str]]:
    return [(line, match[1]) for line, text in texts(source) for match in FRAGMENT.finditer(text)]


def names(source: str) -> list[tuple[int, str]]:
    """Variables and parameters that are riddles. Fields of classes are keys of files, and stay."""
    tree = ast.parse(source)
    fields = {
        id(line.target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.AnnAssign)
    }
    stored = [
        (node.lineno, node.id)
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields
    ]
    parameters = [(node.lineno, node.arg) for node in ast.walk(tree) if isinstance(node, ast.arg)]
    return [(line, name) for line, name in stored + parameters if name in RIDDLES]


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ('"""What is saved."""', "What is saved"),
        ('def f():\n    """Read it.\n\n    seed: Of the order.\n    """', "Of the order"),
        ('def f():\n    """Read it. Those of old are left."""', "Those of old are left"),
        ("# That of both.", "That of both"),
        ("# It is read once.\n# Of two, the first.", "Of two, the first"),
        ('Option(help="What to do with it")', "What to do with it"),
        ('Option(\n    help="Seed. "\n    f"Of {x}.")', "Of  "),
    ],
)
def test_a_fragment_is_noticed(source: str, bad: str) -> None:
    assert [text for _, text in fragments(source)] == [bad]


@pytest.mark.parametrize(
    "source",
    [
        '"""What does it cost?"""',
        "# All that is saved, and\n# what is not.",
        '"""Offset of a word; that of the next."""',
    ],
)
def test_whole_sentences_are_not(source: str) -> None:
    assert fragments(source) == []


def test_riddles_are_noticed() -> None:
    source = (
        "def f(own, sure=1):\n    kept, x = 1, 2\n    return [found for found in y]\nclass C:\n    kept: int"
    )
    assert sorted(names(source)) == [(1, "own"), (1, "sure"), (2, "kept"), (3, "found")]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_code_is_written_in_sentences_and_with_telling_names(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert fragments(source) == []
    assert names(source) == []


def test_configs_are_commented_in_sentences() -> None:
    configs = [*Path("configs").glob("*.cfg"), *Path("papers").rglob("*.cfg")]
    lines = [line.strip("# ") for path in configs for line in path.read_text(encoding="utf-8").splitlines()
             if line.lstrip().startswith("#")]  # fmt: skip
    assert lines
    assert [line for line in lines if re.match(r"(What|Of|Those|That)\b", line)] == []


@pytest.mark.parametrize("messages", [Errors, Warnings])
def test_messages_are_written_in_sentences(messages: type) -> None:
    bodies = {
        code: text.partition("] ")[2] for code, text in vars(messages).items() if not code.startswith("_")
    }
    assert {code: m[1] for code, text in bodies.items() if (m := FRAGMENT.search(text))} == {}

"""What every script needs: lists of names as options, files that are whole or not there."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from wasabi import msg

from spacy_xner.corpus import write_bytes

# One of these is in every folder that a script replaces: pipelines, and trainings of them.
REPLACED = ("config.cfg", "model-best", "model-last")


def split_names(option: str) -> list[str]:
    """Names of a comma-separated option; none of an empty one."""
    return [name for name in option.split(",") if name]


def describe_file(path: Path) -> list[str | int]:
    """Path, bytes and time: a file that was repaired is another one."""
    return [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns]


@cache
def fingerprint(path: Path) -> str:
    """Tell a file from another one of its name by what is in it."""
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def write_text(path: Path, content: str) -> None:
    """Write a text file as a whole."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file as a whole."""
    write_text(path, json.dumps(content, indent=2, default=float))


def read_json(path: Path) -> Any:
    """Read a JSON file, numbers to the last digit.

    srsly reads 0.3 as 0.30000000000000004, and settings would not be what they were.
    """
    return json.loads(path.read_text(encoding="utf-8"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON lines file, such as a curve."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


@contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """Fill a folder beside its place, and put it in the old one's place when nothing went wrong.

    Stops at a folder of other things than pipelines: they would be lost.
    YIELDS: The folder to fill.
    """
    if path.is_dir() and any(path.iterdir()) and not any((path / name).exists() for name in REPLACED):
        msg.fail(
            f"{path} has other files than a pipeline's, and would be replaced. Choose another folder.",
            exits=1,
        )
    half = path.with_name(path.name + ".part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    yield half
    shutil.rmtree(path, ignore_errors=True)
    half.replace(path)


def move_folder(path: Path, place: Path) -> None:
    """Move a folder to where another one may be, also to another disk; on the same one nothing is copied."""
    with fresh_folder(place) as folder:
        for part in path.iterdir():
            shutil.move(part, folder)
    path.rmdir()


def render(template: str, **values: Any) -> str:
    """Fill a template that lies beside the scripts; text in it is escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return str(jinja2.Environment(loader=loader, autoescape=True).get_template(template).render(**values))

"""The commands to type after a workflow: try the pipeline, install a wheel, read the report."""

import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

TEXT = "Angela Merkel besuchte Siemens in Paris."


def next_commands(training: Path, packages: Path, report: Path) -> list[str]:
    """Find what the workflow has made, and write commands for it, as a shell takes them.

    training: Folder of trained pipelines: the routed one is `xner`, all others have a `model-best`.
    packages: Folder of wheels.
    report: The page of scores.
    RETURNS: Lines, comments among them.
    """
    python = shlex.quote(python_path())
    lines = [f"# Read the scores in {report}"]
    pipeline = find_pipeline(training)
    if pipeline is not None:
        # Double quotes inside, single ones for the shell.
        code = (
            f"import spacy; doc = spacy.load({json.dumps(str(pipeline))})({json.dumps(TEXT)}); "
            "print([(ent.text, ent.label_) for ent in doc.ents])"
        )
        lines += ["# Find entities:", f"{python} -c {shlex.quote(code)}"]
    wheel = newest(packages.glob("*.whl"))
    if wheel is not None:
        name = wheel.name.split("-")[0]
        install = f"{python} -m pip install --no-deps {shlex.quote(str(wheel))}"
        lines += [f"# Install a wheel, for spacy.load({json.dumps(name)}):", install]
    return lines


def find_pipeline(training: Path) -> Path | None:
    """Find the routed pipeline, or else the one that was trained last."""
    routed = training / "xner"
    if (routed / "meta.json").is_file():
        return routed
    meta = newest(training.glob("*/model-best/meta.json"))
    return None if meta is None else meta.parent


def newest(paths: Iterable[Path]) -> Path | None:
    """The file that was written last; None without any."""
    return max(paths, key=lambda path: (path.stat().st_mtime, path), default=None)


def python_path() -> str:
    """This environment's Python, by a short path where it lies in the working directory."""
    python, here = Path(sys.executable), Path.cwd()
    return str(python.relative_to(here)) if python.is_relative_to(here) else str(python)

"""The last lines of a workflow: commands that work as they are printed."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import spacy

from scripts.command import app
from scripts.following import next_commands
from tests.cli import invoke


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with a space and a quote in its name, in which a workflow has left its products."""
    folder = tmp_path / "my sister's work"
    nlp = spacy.blank("xx")
    patterns = [{"label": "PER", "pattern": "Angela Merkel"}, {"label": "LOC", "pattern": "Paris"}]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    (folder / "training" / "joint").mkdir(parents=True)
    nlp.to_disk(folder / "training" / "joint" / "model-best")
    (folder / "packages").mkdir()
    for number, name in enumerate(["xx_xner_cluster1-0.1.0", "xx_xner_joint-0.1.0"]):
        wheel = folder / "packages" / f"{name}-py3-none-any.whl"
        wheel.write_bytes(b"")
        os.utime(wheel, (number, number))
    return folder


def commands(folder: Path) -> list[str]:
    """The lines for a folder that are no comments."""
    lines = next_commands(folder / "training", folder / "packages", folder / "report.html")
    assert str(folder / "report.html") in lines[0]
    return [line for line in lines if not line.startswith("#")]


def test_the_printed_command_finds_entities(made: Path) -> None:
    first = commands(made)[0]
    done = subprocess.run(first, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[('Angela Merkel', 'PER'), ('Paris', 'LOC')]"


def test_the_newest_wheel_is_to_be_installed(made: Path) -> None:
    *python, module, pip, install, no_deps, wheel = shlex.split(commands(made)[-1])
    assert (module, pip, install, no_deps) == ("-m", "pip", "install", "--no-deps")
    assert Path(wheel) == made / "packages" / "xx_xner_joint-0.1.0-py3-none-any.whl"
    assert Path(python[0]).exists()


def test_the_routed_pipeline_comes_before_others(made: Path) -> None:
    spacy.blank("xx").to_disk(made / "training" / "xner")
    code = shlex.split(commands(made)[0])[-1]
    assert f"{made / 'training' / 'xner'}" in code


def test_nothing_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert commands(tmp_path) == []


def test_the_report_ends_with_them(made: Path) -> None:
    (made / "metrics").mkdir()
    folders = [f"--{name}={made / name}" for name in ("metrics", "training", "packages")]
    printed = invoke(app, "report", made / "report.html", made / "results", *folders)
    assert printed.endswith("xx_xner_joint-0.1.0-py3-none-any.whl'") or printed.endswith(".whl")
    assert "Next:" in printed
    assert "Next:" not in invoke(app, "report", made / "report.html", made / "results", *folders[:2])

"""The verbs of `spacy xner` by themselves: help, configs, coded errors."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from thinc.api import Config
from typer.main import get_command

import spacy_xner
from spacy_xner.cli.app import xner
from spacy_xner.errors import XnerError
from spacy_xner.training import config_names, config_path

from scripts.command import app as scripts_app
from tests.cli import invoke


def test_config_lists_and_prints_the_installed_configs() -> None:
    assert invoke(xner, "config").split() == config_names()
    for name in config_names():
        text = config_path(name).read_text(encoding="utf-8")
        assert Config().from_str(text, interpolate=False)["nlp"]
        assert invoke(xner, "config", name) == " ".join(text.split())


def test_config_prints_the_one_for_a_gpu() -> None:
    printed = invoke(xner, "config", "transformer", "--gpu")
    assert printed == invoke(xner, "config", "transformer_gpu") != invoke(xner, "config", "transformer")
    assert "XNER115" in invoke(xner, "config", "bilstm", "--gpu", code=1)


def test_a_coded_error_ends_a_verb_with_its_text_alone() -> None:
    output = invoke(xner, "config", "nothing", code=1)
    assert "XNER115" in output
    assert "Traceback" not in output
    with pytest.raises(XnerError, match="XNER115"):
        config_path("nothing")


def test_a_log_that_is_no_terminal_gets_no_progress(tmp_path: Path) -> None:
    text = tmp_path / "es.txt"
    text.write_text("Ana vive en Lima.\n" * 50, encoding="utf-8")
    command = [
        sys.executable, "-m", "spacy", "xner", "convert", "text", str(text), str(tmp_path), "--language", "es"
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"50 sentences" in done.stdout
    assert b"sentences/s" not in done.stderr
    assert b"\r" not in done.stderr


def commands(command: click.Command, path: str = "xner") -> Iterator[tuple[str, click.Command]]:
    """Iterate over a command and those below it, with their names."""
    yield path, command
    for name, part in getattr(command, "commands", {}).items():
        yield from commands(part, f"{path} {name}")


def test_every_verb_and_option_is_described() -> None:
    named = dict(commands(get_command(xner)))
    assert {"xner compare", "xner translate words", "xner vectors train"} <= set(named)
    named.update(commands(get_command(scripts_app), "scripts"))
    assert "scripts experiment" in named
    for name, command in named.items():
        assert len(command.help or "") > 20, name
        for parameter in command.params:
            assert len(getattr(parameter, "help", None) or "") > 3, (name, parameter.name)


def test_files_of_verbs_are_short() -> None:
    folder = Path(spacy_xner.__file__).parent / "cli"
    lengths = {str(path): len(path.read_text("utf-8").splitlines()) for path in folder.rglob("*.py")}
    assert lengths
    assert {path: n for path, n in lengths.items() if n > 90} == {}


def test_help_imports_no_torch_of_its_own() -> None:
    """spaCy's thinc imports torch; the package's verbs add neither transformers nor scikit-learn."""
    code = (
        "import sys, spacy_xner.cli; heavy = {'transformers', 'sklearn', 'matplotlib', 'tokenizers'}; "
        "print(sorted(heavy.intersection(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["spacy_xner.verbs", "scripts.command"])
def test_help_of_the_scripts_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'spacy', 'torch', 'pandas'}}.intersection(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Checks under the versions of transformers that the package runs with, each in an environment of its own.

`nox` runs the style, the types and the whole suite in this environment, which has the pinned versions;
`nox -s versions` runs the tests that touch transformers under the others, `nox -s oldest` under the lower
bounds of setup.cfg.
"""

import configparser
import re
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True

TRANSFORMERS = {"4.53": "transformers==4.53.2", "4": "transformers>=4.53,<5", "5": "transformers>=5,<6"}
# Packages whose versions follow that of transformers.
FOLLOWERS = {
    "transformers",
    "tokenizers",
    "huggingface_hub",
    "hf-xet",
    "spacy-transformers",
    "spacy-alignments",
}
# What differs between the versions, and what all components promise.
TESTS = [
    "golden",
    "contract",
    "encoder",
    "export",
    "objectives",
    "projector",
    "router",
    "tagger",
    "wordpieces",
]
TORCH = "torch==2.13.0"
# The package is built on these: `oldest` takes their lower bounds, and the newest of the rest that fit.
STACK = ["safetensors", "spacy", "thinc", "tokenizers", "torch", "transformers", "typer", "weasel"]


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Style."""
    session.run(sys.executable, "-m", "ruff", "check", ".")
    session.run(sys.executable, "-m", "ruff", "format", "--check", ".")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Annotations."""
    session.run(sys.executable, "-m", "mypy")


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """The whole suite, in this environment."""
    session.run(sys.executable, "-m", "pytest", "-n", "2", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The site, without warnings."""
    # Its hook and its pages need nothing of the package.
    session.install("mkdocs-material>=9.5")
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session
@nox.parametrize("transformers", list(TRANSFORMERS), ids=list(TRANSFORMERS))
def versions(session: nox.Session, transformers: str) -> None:
    """Golden values, contracts, encoders and export under one version of transformers."""
    constraints = Path(session.create_tmp()) / "constraints.txt"
    constraints.write_text(loosen(Path("constraints.txt").read_text(encoding="utf-8")), encoding="utf-8")
    session.install("--constraint", str(constraints), TORCH)
    # spacy-transformers allows no newer version, and its test is skipped without it.
    extras = "offline,onnx,dev,shared" if transformers == "4.53" else "offline,onnx,dev"
    packages = ["--editable", f".[{extras}]", TRANSFORMERS[transformers]]
    session.install("--constraint", str(constraints), *packages)
    files = [f"tests/test_{name}.py" for name in TESTS]
    session.run("python", "-m", "pytest", "-n", "2", *files, *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """The same tests under the lower bounds of setup.cfg, which have wheels for Python 3.10 to 3.12."""
    constraints = Path(session.create_tmp()) / "constraints.txt"
    constraints.write_text("\n".join(lower_bounds(Path("setup.cfg"), STACK)), encoding="utf-8")
    session.install("--constraint", str(constraints), "--editable", ".[offline,dev]")
    files = [f"tests/test_{name}.py" for name in TESTS]
    session.run("python", "-m", "pytest", "-n", "2", *files, *session.posargs)


def lower_bounds(path: Path, names: list[str]) -> list[str]:
    """Pin packages to the lowest version that setup.cfg allows. RETURNS: Lines such as `torch==2.4.0`."""
    setup = configparser.ConfigParser()
    setup.read(path, encoding="utf-8")
    bounds = dict(re.findall(r"^([\w.-]+)>=([\w.]+)", setup["options"]["install_requires"], re.MULTILINE))
    return [f"{name}=={bounds[name]}" for name in names]


def loosen(constraints: str) -> str:
    """Drop the pins that belong to one version of transformers."""
    lines = constraints.splitlines(keepends=True)
    return "".join(line for line in lines if re.split(r"[=;]", line)[0] not in FOLLOWERS)

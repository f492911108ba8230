"""From the built package alone: installed in an environment of its own, used in an empty folder."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import spacy_xner

from tests import tiny

ROOT = Path(__file__).parent.parent
USE = """
import json, spacy, sys
nlp = spacy.load("xx_xner_mine")
docs = list(nlp.pipe(json.loads(sys.argv[1])))
print(json.dumps([[[e.text, e.label_] for e in doc.ents] for doc in docs]))
"""


class Environment:
    """An environment with one package, and the dependencies of the one that runs the tests."""

    def __init__(self, folder: Path, package: Path, empty: Path) -> None:
        venv.create(folder, with_pip=True)
        self.python = folder / "bin" / "python"
        self.empty = empty
        site = next(folder.glob("lib/python*/site-packages"))
        paths = [path for path in sys.path if path.endswith("site-packages")]
        # Older Pythons bring a setuptools that is too old for the package's requirements.
        self.run("-m", "pip", "uninstall", "--quiet", "--yes", "setuptools")
        if package.suffix == ".whl":
            # Before the dependencies are seen, among which a checkout may be.
            self.run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", package)
            (site / "dependencies.pth").write_text("\n".join(paths))
        else:
            (site / "dependencies.pth").write_text("\n".join(paths))
            options = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
            self.run("-m", "pip", "install", "--quiet", *options, package)
        assert str(site) in self.run("-c", "import spacy_xner; print(spacy_xner.__file__)")

    def run(self, *command: object, cwd: Path | None = None) -> str:
        """Run Python in the empty folder. RETURNS: What it printed."""
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            [self.python, *map(str, command)],
            capture_output=True, text=True, check=False, cwd=cwd or self.empty, env=variables,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def xner(self, *arguments: object) -> str:
        """Run a verb."""
        return self.run("-m", "spacy", "xner", *arguments)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the source archive and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder


@pytest.mark.journey
@pytest.mark.slow
def test_a_user_comes_from_tagged_files_to_an_installed_pipeline(built, checkpoint, tmp_path):
    [wheel] = built.glob("*.whl")
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = Environment(tmp_path / "venv", wheel, empty)
    tiny.write_tagged(empty / "data")
    environment.xner("convert", "tagged", "data", "corpus", "--source=mine")
    assert "transformer" in environment.xner("config").split()
    (empty / "mine.cfg").write_text(environment.xner("config", "transformer"))
    options = [
        "--paths.corpus=corpus", f"--paths.encoder={checkpoint}", "--vars.n_frozen_layers=-1",
        "--vars.max_epochs=0", "--training.max_steps=40", "--vars.eval_frequency=20",
        "--components.ner.model.tok2vec.overlap=8", "--training.optimizer.learn_rate=0.02",
    ]  # fmt: skip
    environment.xner("train", "mine.cfg", "training", *options)
    environment.xner("train", "transformer", "by-name", *options, "--training.max_steps=1")
    environment.xner("evaluate", "training/model-best", "corpus", "metrics.json")
    f = json.loads((empty / "metrics.json").read_text())["scores"]["ents_f"]
    environment.xner("package", "training/model-best", "packages", "--name=mine", "--metrics=metrics.json")
    [made] = (empty / "packages").glob("*.whl")
    # Its requirements are there: the package from its wheel, and no index is asked.
    environment.run("-m", "pip", "install", "--quiet", "--no-index", made)
    found = json.loads(environment.run("-c", USE, json.dumps(tiny.TEXTS)).splitlines()[-1])
    assert len(found) == len(tiny.TEXTS)
    assert any(found) == (f > 0)
    assert {path.name for path in empty.iterdir() if path.suffix != ".lock"} == {
        "data", "corpus", "mine.cfg", "training", "by-name", "metrics.json", "packages",
    }  # fmt: skip


def test_a_wheel_has_all_files_of_the_package(built):
    [wheel] = built.glob("*.whl")
    assert wheel.stat().st_size < 1e6
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = Path(spacy_xner.__file__).parent
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    expected = {f"spacy_xner/{path.relative_to(package).as_posix()}" for path in files}
    configs = {f"spacy_xner/configs/{path.name}" for path in (ROOT / "configs").glob("*.cfg")}
    assert names == expected | configs


@pytest.mark.journey
@pytest.mark.slow
def test_the_source_archive_passes_tests_that_it_carries(built, tmp_path):
    [archive] = built.glob("*.tar.gz")
    with tarfile.open(archive) as members:
        members.extractall(tmp_path / "source", filter="data")
    [source] = (tmp_path / "source").iterdir()
    # The tests are to import what is installed.
    shutil.rmtree(source / "spacy_xner")
    environment = Environment(tmp_path / "venv", archive, source)
    environment.run("-m", "pytest", "--collect-only", "-m", "")
    tests = ["test_cli.py", "test_layers.py", "test_convert.py", "test_files.py", "test_sample.py"]
    environment.run("-m", "pytest", *(f"tests/{name}" for name in tests))

"""The verb `package` and what is behind it: wheels that are whole, by several pipelines at once."""

import json
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import spacy

from spacy_xner.cli.app import xner
from spacy_xner.deploy import package as package_module
from spacy_xner.deploy.evidence import Evidence
from spacy_xner.deploy.package import build_wheel, build_wheels, find_pipelines
from spacy_xner.errors import XnerError
from spacy_xner.files import hold

from tests import cli, tiny


@pytest.fixture
def pipelines(tmp_path):
    """Two small pipelines in a folder, beside other things."""
    (tmp_path / "in").mkdir()
    for name in ("asian", "european"):
        spacy.blank("xx").to_disk(tmp_path / "in" / name)
    (tmp_path / "in" / ".part").mkdir()
    (tmp_path / "in" / ".part" / "meta.json").write_text("{}")
    (tmp_path / "in" / "notes").mkdir()
    return tmp_path / "in"


def test_pipelines_are_found_one_folder_down(pipelines):
    assert find_pipelines(pipelines) == {name: pipelines / name for name in ("asian", "european")}
    with pytest.raises(XnerError, match="XNER126"):
        find_pipelines(pipelines / "notes")


def test_each_pipeline_becomes_a_wheel(pipelines, tmp_path):
    output = cli.invoke(xner, "package", pipelines, tmp_path / "out", "--each", "--version=1.0.0")
    names = {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".lock"}
    assert names == {f"xx_xner_{name}-1.0.0-py3-none-any.whl" for name in ("asian", "european")}
    assert output.count("pip install") == 2


def test_the_wheel_is_named_by_the_folder_that_was_given(pipelines, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = cli.invoke(xner, "package", "in/asian", "out", "--name=asian", "--version=1.0.0")
    assert "pip install out/xx_xner_asian-1.0.0-py3-none-any.whl" in output
    assert str(tmp_path) not in output


def test_building_says_nothing_unless_it_fails(pipelines, tmp_path, capfd):
    wheel = build_wheel(pipelines / "asian", tmp_path / "out", "xner_quiet", "1.0.0")
    assert wheel.is_file()
    # The descriptors of the process, which those that it starts write to as well.
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize(
    ("name", "version"),
    [("xner_a b", "1"), ("xner__x", "1"), ("1", "1"), ("xner_ü-x", "1"), ("xner_x", "one"), ("xner_x", "")],
)
def test_names_that_no_package_can_have_are_coded_errors(pipelines, tmp_path, name, version):
    with pytest.raises(XnerError, match="XNER127"):
        build_wheel(pipelines / "asian", tmp_path / "out", name, version)
    assert not (tmp_path / "out").exists()


def test_a_wheel_that_cannot_be_built_leaves_nothing(pipelines, tmp_path, monkeypatch):
    real = package_module._write_source

    def damage(*arguments):
        source = real(*arguments)
        (source / "setup.py").write_text("raise SystemExit('no compiler')")
        return source

    monkeypatch.setattr(package_module, "_write_source", damage)
    with pytest.raises(XnerError, match="XNER127"):
        build_wheel(pipelines / "asian", tmp_path / "out", "xner_asian", "1.0.0")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".xner_asian.lock"]


def test_metadata_that_spacy_refuses_are_a_coded_error(pipelines, tmp_path):
    meta = pipelines / "asian" / "meta.json"
    meta.write_text(meta.read_text().replace('"url":""', '"url":7'))
    with pytest.raises(XnerError, match="XNER127"):
        build_wheel(pipelines / "asian", tmp_path / "out", "xner_asian", "1.0.0")


def test_a_stopped_build_leaves_the_old_wheel(pipelines, tmp_path, monkeypatch):
    wheel = build_wheel(pipelines / "asian", tmp_path / "out", "xner_asian", "1.0.0")
    before = wheel.read_bytes()

    def stop(source, name):
        raise KeyboardInterrupt

    monkeypatch.setattr(package_module, "_build", stop)
    with pytest.raises(KeyboardInterrupt):
        build_wheel(pipelines / "asian", tmp_path / "out", "xner_asian", "1.0.0")
    assert wheel.read_bytes() == before
    assert not (tmp_path / "out" / ".xner_asian.part").exists()


def test_a_folder_without_a_pipeline_is_a_coded_error(tmp_path):
    with pytest.raises(XnerError, match="XNER126"):
        list(build_wheels({"x": tmp_path}, tmp_path / "out", "1.0.0"))
    assert "XNER126" in cli.invoke(xner, "package", tmp_path, tmp_path / "out", code=1)


def test_a_wheel_that_another_process_builds_is_a_coded_error(pipelines, tmp_path):
    with hold(tmp_path / "out" / "xner_asian"), pytest.raises(XnerError, match="XNER702"):
        build_wheel(pipelines / "asian", tmp_path / "out", "xner_asian", "1.0.0")


def test_a_wheel_requires_this_version_of_the_package(pipelines, tmp_path):
    wheel = build_wheel(pipelines / "asian", tmp_path / "out", "xner", "1.0.0")
    assert wheel.name == "xx_xner-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("METADATA")]
        assert re.search(r"Requires-Dist: spacy_xner(==0.2.\*|>=0.2.0)", archive.read(name).decode())


@pytest.mark.slow
def test_an_installed_wheel_gives_the_same_entities_and_scores(toy_model, tmp_path):
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"scores": {"ents_f": 0.5}}')
    evidence = Evidence(metrics)
    wheel = build_wheel(toy_model / "model-best", tmp_path, "xner_toy", "1.2.3", evidence)
    assert wheel.name == "xx_xner_toy-1.2.3-py3-none-any.whl"
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    site = next(environment.glob("lib/python*/site-packages"))
    # The dependencies are those of this environment; only the pipeline itself is installed anew.
    paths = [path for path in sys.path if path.endswith("site-packages")]
    (site / "parent.pth").write_text("\n".join([*paths, str(Path.cwd())]))
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True)
    code = (
        "import spacy, json, sys; from importlib.metadata import requires;"
        "nlp = spacy.load('xx_xner_toy'); docs = list(nlp.pipe(json.loads(sys.argv[1])));"
        "print(json.dumps([requires('xx_xner_toy'), nlp.meta['version'], nlp.meta['performance'],"
        "[[[e.start_char, e.end_char, e.label_] for e in d.ents] for d in docs],"
        "[d.spans['xner'].attrs['scores'] for d in docs]]))"
    )
    texts = [text for text, _, _ in tiny.SENTENCES]
    printed = subprocess.run(
        [python, "-c", code, json.dumps(texts)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    requires, version, performance, entities, scores = json.loads(printed.stdout.splitlines()[-1])
    assert version == "1.2.3"
    assert performance == {"ents_f": 0.5}
    assert any(re.match(r"spacy[_-]xner", name) for name in requires)
    expected = list(spacy.load(toy_model / "model-best").pipe(texts))
    assert entities == [[[e.start_char, e.end_char, e.label_] for e in d.ents] for d in expected]
    for values, doc in zip(scores, expected, strict=True):
        assert values == pytest.approx(doc.spans["xner"].attrs["scores"], abs=1e-5)

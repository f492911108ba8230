"""The scripts, the project file, spaCy's commands, and an installed wheel."""

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import spacy
import srsly
import yaml
from spacy.cli.debug_config import debug_config
from spacy.cli.init_config import fill_config
from typer.testing import CliRunner

from spacy_xner.corpus import find_files, read_docs

import package as package_script
import report as report_script
from tests import tiny
from train import train_pipeline

CONFIGS = sorted(Path("configs").glob("*.cfg"))


def run(*command, **kwargs):
    """Run a command of this environment and return what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False, **kwargs
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def toy_corpus(tmp_path_factory):
    """The sentences of tests/tiny.py as converted files, made by the script."""
    folder = tmp_path_factory.mktemp("data")
    nlp = tiny.make_nlp(folder)
    for language in ("en", "ru", "zh"):
        lines = []
        for text, entities, own in tiny.SENTENCES:
            if own == language:
                doc = nlp.make_doc(text)
                doc.ents = [doc.char_span(a, b, label) for a, b, label in entities]
                tags = [f"{t.ent_iob_}-{t.ent_type_}" if t.ent_type_ else "O" for t in doc]
                lines += [f"{token.text}\t{tag}" for token, tag in zip(doc, tags, strict=True)] + [""]
        for split in ("train", "dev", "test"):
            path = folder / "in" / language / f"{split}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run("scripts/convert.py", "tagged", folder / "in", folder / "out", "--source", "toy")
    return folder / "out"


@pytest.fixture(scope="module")
def toy_model(toy_corpus, checkpoint, tmp_path_factory):
    """A pipeline trained from the shipped config."""
    out = tmp_path_factory.mktemp("training") / "toy"
    overrides = {
        "paths.corpus": str(toy_corpus),
        "paths.encoder": str(checkpoint),
        "vars.n_frozen_layers": -1,
        "vars.learn_rate": 0.02,
        "training.max_steps": 40,
        "vars.max_epochs": 0,
        "vars.eval_frequency": 20,
        "components.ner.model.tok2vec.overlap": 8,
        "training.logger.console": {"@loggers": "spacy.ConsoleLogger.v3", "progress_bar": None},
        "training.optimizer.learn_rate": 0.02,
    }
    train_pipeline(Path("configs/transformer.cfg"), out, overrides)
    return out


def test_conversion_keeps_texts_languages_and_entities(toy_corpus):
    vocab = spacy.blank("xx").vocab
    found = {}
    for language, [path] in find_files(toy_corpus, "train", []).items():
        for doc in read_docs(path).get_docs(vocab):
            ents = [(e.start_char, e.end_char, e.label_) for e in doc.ents]
            found[doc.text.replace(" ", "")] = (ents and [e[2] for e in ents], doc._.language)
            assert doc._.language == language
    expected = {
        text.replace(" ", ""): ([e[2] for e in entities], language)
        for text, entities, language in tiny.SENTENCES
    }
    assert found == expected


def test_training_from_the_config_learns_and_keeps_curves(toy_model):
    lines = [json.loads(line) for line in (toy_model / "curves.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 20, 40]
    assert lines[-1]["score"] > 0.9
    assert set(lines[-1]["scores"]["ents_per_language"]) == {"en", "ru", "zh"}


def test_evaluation_and_report_are_whole(toy_model, toy_corpus, tmp_path):
    metrics = tmp_path / "metrics" / "toy.json"
    run("scripts/evaluate.py", toy_model / "model-best", toy_corpus, metrics, env=_env())
    content = json.loads(metrics.read_text())
    assert content["scores"]["ents_f"] > 0.9
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report_script.BEGIN}\nold\n{report_script.END}\nafter\n")
    report_script.main(tmp_path / "report.html", metrics.parent, toy_model.parent, runs=None, readme=readme)
    page = (tmp_path / "report.html").read_text()
    assert "Maria Santos" in page
    assert "<svg" in page
    # One file that fetches nothing.
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert re.fullmatch(r"before\n.*\| zh \| all \|.*after\n", readme.read_text(), flags=re.S)
    assert "old" not in readme.read_text()


def _env():
    return {**os.environ, "PYTHONPATH": "scripts"}


@pytest.mark.slow
def test_an_installed_wheel_gives_the_same_entities_and_scores(toy_model, tmp_path):
    wheel = package_script.build_wheel(toy_model / "model-best", tmp_path, "xner_toy", "1.2.3")
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
        "print(json.dumps([requires('xx_xner_toy'), nlp.meta['version'],"
        "[[[e.start_char, e.end_char, e.label_] for e in d.ents] for d in docs],"
        "[d.spans['xner'].attrs['scores'] for d in docs]]))"
    )
    texts = [text for text, _, _ in tiny.SENTENCES]
    printed = subprocess.run(
        [python, "-c", code, json.dumps(texts)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    requires, version, entities, scores = json.loads(printed.stdout.splitlines()[-1])
    assert version == "1.2.3"
    assert any(re.match(r"spacy[_-]xner", name) for name in requires)
    own = list(spacy.load(toy_model / "model-best").pipe(texts))
    assert entities == [[[e.start_char, e.end_char, e.label_] for e in d.ents] for d in own]
    for found, doc in zip(scores, own, strict=True):
        assert found == pytest.approx(doc.spans["xner"].attrs["scores"], abs=1e-5)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_survive_fill_config_and_debug_config(path, tmp_path):
    filled = tmp_path / "filled.cfg"
    fill_config(filled, path, silent=True)
    again = tmp_path / "again.cfg"
    fill_config(again, filled, silent=True)
    assert filled.read_text() == again.read_text()
    debug_config(filled)


def test_spacys_own_commands_work(toy_model, toy_corpus, checkpoint, tmp_path):
    model = toy_model / "model-best"
    gold = toy_corpus / "en-toy-test.spacy"
    run("-m", "spacy", "evaluate", model, gold, "--output", tmp_path / "scores.json")
    assert srsly.read_json(tmp_path / "scores.json")["ents_f"] > 0.9
    options = [
        "--paths.corpus", toy_corpus, "--paths.encoder", checkpoint,
        "--components.ner.model.tok2vec.overlap", "8",
    ]  # fmt: skip
    run("-m", "spacy", "init", "labels", "configs/transformer.cfg", tmp_path / "labels", *options)
    assert srsly.read_json(tmp_path / "labels" / "ner.json") == ["LOC", "ORG", "PER"]
    config = tmp_path / "assembled.cfg"
    config.write_text(
        f'[nlp]\nlang = "xx"\npipeline = ["ner"]\n\n[components]\n\n[components.ner]\nsource = "{model}"\n'
    )
    run("-m", "spacy", "assemble", config, tmp_path / "assembled")
    text = tiny.SENTENCES[1][0]
    assembled, own = spacy.load(tmp_path / "assembled")(text), spacy.load(model)(text)
    assert [e.text for e in assembled.ents] == [e.text for e in own.ents]
    run(
        "-m", "spacy", "train", "configs/transformer.cfg", "--output", tmp_path / "trained", *options,
        "--training.max_steps", "1", "--paths.curves", tmp_path / "curves.jsonl",
    )  # fmt: skip
    assert (tmp_path / "trained" / "model-last").is_dir()


def test_every_command_of_the_project_is_described_and_exists():
    project = yaml.safe_load(Path("project.yml").read_text())
    names = {command["name"] for command in project["commands"]}
    for steps in project["workflows"].values():
        assert set(steps) <= names
    for command in project["commands"]:
        assert command["help"]
        for line in command["script"]:
            script = re.match(r"python (scripts/\S+)", line)
            assert script is None or Path(script[1]).exists()
    for asset in project["assets"]:
        assert asset["description"]
        assert asset.get("url") or asset.get("git")


def test_joint_runs_are_resumed_and_reported(toy_corpus, checkpoint, tmp_path):
    command = [
        toy_corpus, tmp_path, "--languages=en,ru", "--targets=zh", "--frozen=-1,2",
        f"--encoder={checkpoint}", "--epochs=1", "--no-mixed-precision",
    ]  # fmt: skip
    run("scripts/joint.py", *command, env=_env())
    names = {"joint-frozen-1-seed0", "joint-frozen2-seed0", "mono-en-frozen0-seed0", "mono-ru-frozen0-seed0"}
    assert {path.stem for path in tmp_path.glob("*.json")} == names
    result = json.loads((tmp_path / "joint-frozen2-seed0.json").read_text())
    assert (result["languages"], result["n_frozen_layers"], result["sentences"]) == (["en", "ru"], 2, 4)
    assert set(result["test"]["ents_per_language"]) == {"en", "ru", "zh"}
    printed = run("scripts/joint.py", *command, env=_env())
    assert printed.count("done before") == 4
    described = report_script.describe_runs(tmp_path)
    assert [row["scores"]["zh"]["seen"] for row in described["rows"]] == [False] * 4
    assert "<svg" in described["figure"]


@pytest.mark.parametrize("name", ["convert", "train", "evaluate", "package", "joint", "report"])
def test_help_teaches(name):
    module = __import__(name)
    app = getattr(module, "app", None)
    if app is None:
        import typer

        app = typer.Typer()
        app.command()(module.main)
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert len(result.output) > 200


def test_a_stopped_training_leaves_the_old_model(toy_model, checkpoint, toy_corpus, tmp_path):
    out = tmp_path / "toy"
    out.mkdir()
    (out / "model-best").write_text("old")
    overrides = {"paths.corpus": str(tmp_path / "nowhere"), "paths.encoder": str(checkpoint)}
    with pytest.raises(ValueError, match="XNER106"):
        train_pipeline(Path("configs/transformer.cfg"), out, overrides)
    assert (out / "model-best").read_text() == "old"

"""The scripts, the project file, spaCy's commands, and an installed wheel."""

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy
import pytest
import spacy
import srsly
import yaml
from filelock import FileLock
from spacy.cli.debug_config import debug_config
from spacy.cli.init_config import fill_config
from typer.testing import CliRunner

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.report.page import BEGIN, END
from spacy_xner.router.grouping import Grouping
from spacy_xner.training import train_pipeline

import groupings as groupings_script
import package as package_script
import report as report_script
import transfer as transfer_script
from clusters import plan_runs, plan_zero_shot
from tests import tiny
from train import app as train_app

CONFIGS = sorted(Path("configs").glob("*.cfg"))


def run(*command, code=0, **kwargs):
    """Run a command of this environment and return what it printed. code: The exit status it must have."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False, **kwargs
    )
    assert done.returncode == code, done.stdout + done.stderr
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


def test_misc_is_dropped_from_kept_labels_too(tmp_path):
    own = tmp_path / "in" / "en"
    own.mkdir(parents=True)
    (own / "train.tsv").write_text("a\tB-MISC\nb\tB-GPE\n")
    options = ["--source", "x", "--keep-labels", "--no-misc"]
    run("scripts/convert.py", "tagged", tmp_path / "in", tmp_path, *options)
    [doc] = read_docs(tmp_path / "en-x-train.spacy").get_docs(spacy.blank("xx").vocab)
    assert [ent.label_ for ent in doc.ents] == ["GPE"]


def test_a_folder_without_train_files_is_cut_in_two(toy_corpus, tmp_path):
    own = tmp_path / "in" / "en"
    own.mkdir(parents=True)
    lines = "".join(f"w{i}\tO\n\n" for i in range(10))
    (own / "dev.tsv").write_text(lines)
    run("scripts/convert.py", "tagged", tmp_path / "in", tmp_path, "--source", "x", "--dev-size", 3)
    vocab = spacy.blank("xx").vocab
    found = {
        split: [doc.text for doc in read_docs(tmp_path / f"en-x-{split}.spacy").get_docs(vocab)]
        for split in ("train", "dev")
    }
    assert found == {"train": [f"w{i}" for i in range(7)], "dev": ["w7", "w8", "w9"]}
    (own / "train.tsv").write_text("a\tO\n")
    run("scripts/convert.py", "tagged", tmp_path / "in", tmp_path, "--source", "x", "--dev-size", 3)
    assert len(read_docs(tmp_path / "en-x-dev.spacy")) == 10


def test_all_18_labels_of_a_corpus_can_be_kept(checkpoint, tmp_path):
    labels = [
        "CARDINAL",
        "DATE",
        "EVENT",
        "FAC",
        "GPE",
        "LANGUAGE",
        "LAW",
        "LOC",
        "MONEY",
        "NORP",
        "ORDINAL",
        "ORG",
        "PERCENT",
        "PERSON",
        "PRODUCT",
        "QUANTITY",
        "TIME",
        "WORK_OF_ART",
    ]
    own = tmp_path / "in" / "en"
    own.mkdir(parents=True)
    (own / "train.tsv").write_text("".join(f"w{label}\tB-{label}\nand\tO\n\n" for label in labels))
    run("scripts/convert.py", "tagged", tmp_path / "in", tmp_path, "--source", "x", "--keep-labels")
    nlp = spacy.blank("xx")
    docs = list(read_docs(tmp_path / "en-x-train.spacy").get_docs(nlp.vocab))
    assert [doc.ents[0].label_ for doc in docs] == labels
    nlp = tiny.make_nlp(checkpoint)
    reader = create_multilingual_corpus(tmp_path)
    optimizer = nlp.initialize(lambda: reader(nlp))
    assert nlp.get_pipe("ner").labels == tuple(labels)
    assert nlp.get_pipe("ner").model.get_ref("head").get_dim("nO") == 37
    losses = nlp.update(list(reader(nlp)), sgd=optimizer)
    assert 0 < losses["ner"] < 10


def test_training_from_the_config_learns_and_keeps_curves(toy_model):
    lines = [json.loads(line) for line in (toy_model / "curves.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 20, 40]
    assert lines[-1]["score"] > 0.9
    assert set(lines[-1]["scores"]["ents_per_language"]) == {"en", "ru", "zh"}


def test_training_goes_on_from_a_trained_pipeline(toy_model, toy_corpus, checkpoint, tmp_path):
    overrides = {
        "paths.corpus": str(toy_corpus),
        "paths.encoder": str(checkpoint),
        "paths.weights": str(toy_model / "model-best"),
        "vars.languages": ["zh"],
        "training.max_steps": 1,
        "vars.max_epochs": 0,
        "vars.eval_frequency": 1,
        "components.ner.model.tok2vec.overlap": 8,
        "components.ner.model.head.loss": {"@misc": "spacy_xner.reweighted.v1", "gamma": 4.0},
    }
    train_pipeline(Path("configs/transformer.cfg"), tmp_path / "out", overrides)
    lines = [json.loads(line) for line in (tmp_path / "out" / "curves.jsonl").read_text().splitlines()]
    assert lines[0]["score"] > 0.9
    assert spacy.load(tmp_path / "out" / "model-best").get_pipe("ner").labels == ("LOC", "ORG", "PER")


def test_a_model_is_selected_by_confidence_in_unlabelled_text(toy_corpus, checkpoint, tmp_path):
    overrides = {
        "paths.corpus": str(toy_corpus),
        "paths.encoder": str(checkpoint),
        "vars.languages": ["en", "ru"],
        "vars.unlabelled": ["ru"],
        "training.max_steps": 20,
        "vars.max_epochs": 0,
        "vars.eval_frequency": 10,
        "components.ner.model.tok2vec.overlap": 8,
        "training.optimizer.learn_rate": 0.02,
        "training.score_weights": {"ents_confidence": 1.0, "ents_f": 0.0},
    }
    train_pipeline(Path("configs/transformer.cfg"), tmp_path / "out", overrides)
    lines = [json.loads(line) for line in (tmp_path / "out" / "curves.jsonl").read_text().splitlines()]
    assert all(line["score"] == line["scores"]["ents_confidence"] for line in lines)
    assert set(lines[-1]["scores"]["ents_per_language"]) == {"en"}
    best = spacy.load(tmp_path / "out" / "model-best")
    highest = max(line["score"] for line in lines)
    assert best.meta["performance"]["ents_confidence"] == pytest.approx(highest)


def test_evaluation_and_report_are_whole(toy_model, toy_corpus, tmp_path):
    metrics = tmp_path / "metrics" / "toy.json"
    run("scripts/evaluate.py", toy_model / "model-best", toy_corpus, metrics, env=_env())
    content = json.loads(metrics.read_text())
    assert content["scores"]["ents_f"] > 0.9
    assert [row["predicted"] for row in content["examples"] if row["right"]] == [
        row["gold"] for row in content["examples"] if row["right"]
    ]
    assert content["examples"][0]["predicted"]
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
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
    assert {path.stem for path in tmp_path.glob("*.json")} == {"joint-plan", *names}
    result = json.loads((tmp_path / "joint-frozen2-seed0.json").read_text())
    assert (result["languages"], result["n_frozen_layers"], result["sentences"]) == (["en", "ru"], 2, 4)
    assert set(result["test"]["ents_per_language"]) == {"en", "ru", "zh"}
    printed = run("scripts/joint.py", *command, env=_env())
    assert printed.count("done before") == 4
    printed = run("scripts/joint.py", *command, "--limit=1", env=_env(), code=1)
    assert "was run with other settings (then, now): {'limit': (4000, 1)}" in " ".join(printed.split())
    assert "{'languages':" in run("scripts/joint.py", *command, "--languages=ru,en", env=_env(), code=1)
    described = report_script.describe_joint(tmp_path)
    assert [row["scores"]["zh"]["seen"] for row in described["rows"]] == [False] * 4
    assert "<svg" in described["figure"]


def test_zero_shot_runs_are_resumed_and_reported(toy_corpus, checkpoint, tmp_path):
    folder = tmp_path / "runs" / "toy"
    command = [
        "scripts/zero_shot.py", toy_corpus, folder, "--targets=ru,zh", "--objectives=ML,PC+LI",
        "--frozen=-1,2", "--seeds=1", f"--encoder={checkpoint}", "--epochs=2", "--no-mixed-precision",
        "--batch-size=1", "--weight=0.5",
    ]  # fmt: skip
    printed = run(*command, env=_env())
    assert re.search(r"en to ru +\d\.\d\d", printed)
    names = {path.stem for path in folder.glob("*-seed0.json")}
    assert names == {f"en-to-ru+zh.{o}-frozen{n}-seed0" for o in ("ML", "PC+LI-weight0.5") for n in (-1, 2)}
    result = srsly.read_json(folder / "en-to-ru+zh.PC+LI-weight0.5-frozen-1-seed0.json")
    assert len(result["epochs"]) == 2
    assert set(result["epochs"][1]["languages"]) == {"en", "ru", "zh"}
    losses = result["epochs"][1]["losses"]
    assert set(losses) == {"ner", "ner_predictive_cloze", "ner_language_id"}
    assert losses["ner_language_id"] > 0
    assert result["epochs"][1]["languages"]["ru"]["agreement"] is not None
    assert run(*command, env=_env()).count("done before") == 4
    out = run(
        "scripts/zero_shot.py", toy_corpus, tmp_path / "runs" / "round", "--languages=en,ru", "--seeds=1",
        "--protocol=leave-one-out", "--objectives=ML", "--frozen=-1", f"--encoder={checkpoint}",
        "--epochs=1", "--no-mixed-precision",
        env=_env(),
    )  # fmt: skip
    assert "en-to-ru.ML" in out
    assert "ru-to-en.ML" in out
    report_script.main(tmp_path / "report.html", tmp_path, tmp_path, runs=tmp_path / "runs")
    page = (tmp_path / "report.html").read_text()
    assert "Zero-shot transfer: toy" in page
    assert "Gain over plain fine-tuning" in transfer_script.markdown(folder)


def test_aligners_are_trained_on_triples(checkpoint, tmp_path):
    lines = [f"{name}\t{text}\t{name}" for text, ents, _ in tiny.SENTENCES for name in names_of(text, ents)]
    (tmp_path / "table.tsv").write_text("\n".join([*lines, "Nokia\tIt rained.\t"]) + "\n", encoding="utf-8")
    out = run(
        "-m", "spacy", "xner", "triples", "table", tmp_path / "table.tsv", tmp_path / "triples",
        "--language=ru", "--dev-share=0.5", "--seed=1",
    )  # fmt: skip
    assert re.search(r"\d triples, 1 of them negative", out)
    overrides = {
        "paths.corpus": str(tmp_path / "triples"), "paths.encoder": str(checkpoint),
        "components.entity_projector.model.pair2vec.overlap": 8, "vars.total_steps": 2,
        "vars.eval_frequency": 1,
    }  # fmt: skip
    train_pipeline(Path("configs/aligner.cfg"), tmp_path / "aligner", overrides)
    nlp = spacy.load(tmp_path / "aligner" / "model-best")
    assert nlp.get_pipe("entity_projector").is_trainable


@pytest.mark.parametrize("kind", ["links", "dictionary", "similarity"])
def test_triples_come_from_parallel_text(kind, checkpoint, tmp_path):
    text = "\n".join(f"She saw Nokia {i} in Lisbon\tShe saw Nokia {i} in Lisbon" for i in range(40))
    if kind == "links":
        text = "\n".join(f"{line}\t2-2 5-5" for line in text.splitlines())
    (tmp_path / "pairs.tsv").write_text(text + "\n")
    (tmp_path / "dictionary").write_text("saw sah\n")
    options = {
        "links": [],
        "dictionary": ["--dictionary", tmp_path / "dictionary"],
        "similarity": ["--encoder", checkpoint, "--layer=2", "--least=0.0"],
    }
    run(
        "-m",
        "spacy",
        "xner",
        "triples",
        kind,
        tmp_path / "pairs.tsv",
        tmp_path,
        "--language=en",
        *options[kind],
    )
    nlp = spacy.blank("xx")
    docs = list(read_docs(tmp_path / f"en-{kind}-train.spacy").get_docs(nlp.vocab))
    positive = [doc for doc in docs if doc.ents]
    assert {"Nokia", "Lisbon"} <= {doc._.source.ents[0].text for doc in positive}
    assert all(doc.ents[0].text == doc._.source.ents[0].text for doc in positive)


def names_of(text, entities):
    return [text[start:end] for start, end, _ in entities]


def test_students_learn_from_what_is_projected(toy_corpus, checkpoint, tmp_path):
    small = [f"--encoder={checkpoint}", "--no-mixed-precision"]
    run(
        "scripts/students.py", "teach", toy_corpus, tmp_path / "teachers", "--seeds=1", "--epochs=40",
        "--batch-size=1", "--learn-rate=0.01", "--frozen=-1", *small,
    )  # fmt: skip
    texts = [text for text, _, language in tiny.SENTENCES if language == "en"]
    (tmp_path / "text").write_text("\n".join(f"{text}\t{text}" for text in texts) + "\n")
    for domain in ("news", "talk"):
        run(
            "-m", "spacy", "xner", "silver", tmp_path / "teachers" / "0" / "model-best", tmp_path / "text",
            tmp_path / "silver", "--language=ru", f"--name={domain}", "--layer=2", *small,
        )  # fmt: skip
    folder = tmp_path / "runs" / "students"
    command = [
        "scripts/students.py", "learn", toy_corpus, tmp_path / "silver", tmp_path / "teachers", folder,
        "--languages=ru", "--domains=news,talk,news+talk", "--seeds=1", "--frozen=2", *small,
    ]  # fmt: skip
    run(*command, env=_env())
    results = {path.stem: srsly.read_json(path) for path in folder.glob("ru.*.json")}
    assert len(results) == 1 + 3 * 5
    both = results["ru.sequential-RW-news+talk-all-frozen2-gamma4-seed0"]
    assert both["sentences"] == 2 * len(texts)
    assert results["ru.mixed-CE-news-all-frozen2-seed0"]["sentences"] == len(texts) + 3
    assert set(both["scores"]["test"]) == {"toy"}
    assert run(*command, env=_env()).count("done before") == 16
    report_script.main(tmp_path / "report.html", tmp_path, tmp_path, runs=tmp_path / "runs")
    page = (tmp_path / "report.html").read_text()
    assert "Students of projected entities: students" in page
    assert "Recipes: test F1" in page
    assert "<td>ru-talk</td>" in page


@pytest.mark.parametrize(
    "name",
    [
        "print_tables",
        "students",
        "convert",
        "train",
        "evaluate",
        "package",
        "joint",
        "report",
        "clusters",
        "zero_shot",
    ],
)
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


@pytest.mark.parametrize(("options", "steps"), [((), [0]), (("--epochs", 3), [0, 2, 4, 6])])
def test_epochs_follow_the_size_of_the_corpus(options, steps, checkpoint, toy_corpus, tmp_path):
    sizes = (len(read_docs(path)) for [path] in find_files(toy_corpus, "train", []).values())
    batch_size = -(-sum(sizes) // 2)
    found = CliRunner().invoke(
        train_app,
        [
            "configs/transformer.cfg", str(tmp_path / "out"), "--paths.corpus", str(toy_corpus),
            "--paths.encoder", str(checkpoint), "--vars.batch_size", str(batch_size),
            "--vars.max_epochs", "1", "--components.ner.model.tok2vec.overlap", "8", *map(str, options),
        ],
    )  # fmt: skip
    assert found.exit_code == 0
    curve = (tmp_path / "out" / "curves.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in curve] == steps
    # The message is wrapped, where depends on the path in it.
    assert ("has learnt nothing" in " ".join(found.output.split())) == (len(steps) == 1)


def test_a_stopped_training_leaves_the_old_model(toy_model, checkpoint, toy_corpus, tmp_path):
    out = tmp_path / "toy"
    out.mkdir()
    (out / "model-best").write_text("old")
    overrides = {"paths.corpus": str(tmp_path / "nowhere"), "paths.encoder": str(checkpoint)}
    with pytest.raises(ValueError, match="XNER106"):
        train_pipeline(Path("configs/transformer.cfg"), out, overrides)
    assert (out / "model-best").read_text() == "old"


@pytest.fixture(scope="module")
def clustered(toy_corpus, checkpoint, tmp_path_factory):
    """Identifier, clusters, runs and the routed pipeline, made by the scripts."""
    folder = tmp_path_factory.mktemp("clusters")
    overrides = {
        "paths.corpus": str(toy_corpus),
        "paths.encoder": str(checkpoint),
        "vars.n_frozen_layers": 1,
        "vars.total_steps": 40,
        "vars.eval_frequency": 40,
        "components.language_identifier.model.sent2vec.overlap": 8,
        "training.logger.console": {"@loggers": "spacy.ConsoleLogger.v3", "progress_bar": None},
        "training.optimizer.learn_rate": 0.02,
    }
    train_pipeline(Path("configs/identifier.cfg"), folder / "identifier", overrides)
    found = folder / "groupings" / "found.json"
    run(
        "-m", "spacy", "xner", "cluster", toy_corpus, folder / "identifier" / "model-best", found, "--k=2",
        f"--encoder={checkpoint}", "--figure", found.with_name("figure1.json"),
    )  # fmt: skip
    everything = folder / "everything.json"
    everything.write_text('{"name": "everything", "clusters": {"all": ["en", "ru", "zh"]}}')
    runs = [
        "scripts/clusters.py", toy_corpus, folder / "runs" / "toy", "--groupings", f"{found},{everything}",
        "--source=toy", "--seeds=2,1", "--epochs=30", "--batch-size=2", "--window=150", "--frozen=1",
        "--learn-rate=0.02", "--zero-shot=ru", "--other=toy", f"--encoder={checkpoint}",
        "--no-mixed-precision", "--keep", folder / "taggers",
    ]  # fmt: skip
    run(*runs)
    run(
        "-m", "spacy", "xner", "assemble", found, folder / "taggers", folder / "identifier" / "model-best",
        toy_corpus, folder / "xner",
    )  # fmt: skip
    return folder, runs


def test_the_clusters_workflow_makes_a_routed_pipeline(clustered, toy_corpus, tmp_path):
    folder, _ = clustered
    nlp = spacy.load(folder / "xner")
    clusters = list(srsly.read_json(folder / "groupings" / "found.json")["clusters"])
    assert nlp.pipe_names == [
        "language_identifier",
        "cluster_router",
        *(f"ner_{cluster}" for cluster in clusters),
    ]
    metrics = tmp_path / "xner.json"
    run("scripts/evaluate.py", folder / "xner", toy_corpus, metrics)
    scores = srsly.read_json(metrics)["scores"]
    assert scores["language_acc"] == scores["routing_acc"] == 1.0
    assert srsly.read_json(metrics)["confusion"]["languages"] == ["en", "ru", "zh"]
    assert scores["ents_f"] > 0.8
    alone = spacy.load(folder / "taggers" / clusters[0])
    assert alone.pipe_names == ["ner"]
    assert any(doc.ents for doc in alone.pipe(text for text, _, _ in tiny.SENTENCES))


def test_cluster_runs_are_resumed_and_other_settings_refused(clustered):
    folder, command = clustered
    names = {path.stem for path in (folder / "runs" / "toy").glob("*-seed*.json")}
    assert {"found.cluster1-seed0", "found.cluster2-seed1", "everything.all-seed0"} <= names
    assert sum(name.startswith("on-toy.") for name in names) == 4
    result = srsly.read_json(folder / "runs" / "toy" / "everything.all-seed0.json")
    totals = numpy.concatenate([numpy.array(rows) for rows in result["counts"].values()]).sum(0)
    assert totals[0] > 0
    assert 2 * totals[0] / (totals[1] + totals[2]) == pytest.approx(result["test"]["ents_f"])
    with FileLock(folder / "runs" / "toy" / ".locks" / "found.cluster1-seed1.lock"):
        printed = run(*command)
    assert printed.count("another process") == 1
    assert printed.count("done before") == len(names) - 1
    printed = run(*command, "--limit=7", code=1)
    assert "other settings" in printed
    assert "limit" in printed


def test_runs_by_grouping_are_reported(clustered, tmp_path):
    folder, _ = clustered
    report_script.main(tmp_path / "report.html", tmp_path, folder, runs=folder / "runs")
    page = (tmp_path / "report.html").read_text()
    assert "Sentences before and after fine-tuning" in page
    assert "95 % of a paired bootstrap" in page
    tables = groupings_script.markdown(folder / "runs" / "toy")
    assert "| zh |" in tables
    assert re.search(r"\| F1 \| [\d.]+", tables)


def test_equal_clusters_are_run_once():
    monolingual = Grouping("monolingual", {"ja": ["ja"], "ko": ["ko"]})
    family = Grouping("family", {"japonic": ["ja"], "all": ["en", "ko"]})
    runs = list(plan_runs([family, monolingual], [2, 1], []))
    assert [run.name for run in runs] == [
        "family.japonic-seed0",
        "family.japonic-seed1",
        "family.all-seed0",
        "family.all-seed1",
        "monolingual.ko-seed0",
    ]


def test_runs_on_another_corpus_stand_for_no_grouping():
    grouping = Grouping("monolingual", {"en": ["en"]})
    runs = [
        {"grouping": name, "languages": ["en"], "test_languages": ["en"]}
        for name in ("monolingual", "on-ewt")
    ]
    assert groupings_script.runs_of_language(grouping, "en", runs) == runs[:1]


def test_zero_shot_runs_leave_languages_out():
    grouping = Grouping("found", {"a": ["de", "sw", "yo"], "b": ["zh"], "c": ["sw2"]})
    [run] = plan_zero_shot(grouping, ["sw", "yo", "sw2"], 1, [])
    assert (run.languages, run.test_languages) == (["de"], ["sw", "yo"])


def test_the_bootstrap_knows_equal_and_better_systems():
    rng = numpy.random.default_rng(0)
    gold = rng.integers(1, 4, size=300)
    good = numpy.stack([gold, gold, gold], 1).astype(float)
    bad = numpy.stack([gold - (rng.random(300) < 0.3), gold, gold], 1).astype(float)
    better = groupings_script.bootstrap([good], [bad])
    exact = 1 - 2 * bad[:, 0].sum() / (bad[:, 1] + bad[:, 2]).sum()
    assert better.difference == pytest.approx(100 * exact)
    assert better.low < better.difference < better.high
    assert better.p == 0
    same = groupings_script.bootstrap([bad], [bad])
    assert (same.difference, same.low, same.high) == (0, 0, 0)

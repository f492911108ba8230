"""The scripts, the project file, and spaCy's commands."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
import srsly
import yaml
from spacy.cli.debug_config import debug_config
from spacy.cli.init_config import fill_config
from spacy.util import load_config
from typer.main import get_command

from spacy_xner.cli.app import xner
from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.files import move_folder
from spacy_xner.report.page import BEGIN, END, collect_report, renew_readme, write_report
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.training import config_path, fixed_steps, train_pipeline

from scripts.command import app as scripts_app
from tests import tiny

CONFIGS = sorted(Path("configs").glob("*.cfg"))
PROJECTS = [Path("project.yml"), Path("release/project.yml"), *sorted(Path("papers").glob("*/project.yml"))]


def run(*command, code=0, **kwargs):
    """Run a command of this environment and return what it printed. code: The exit status it must have."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False, **kwargs
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def convert(folder, *options):
    """Convert `folder`/in to corpus files of the source `x`, beside it."""
    command = ("-m", "spacy", "xner", "convert", "tagged", folder / "in", folder, "--source", "x")
    return run(*command, *options)


@pytest.fixture
def english(tmp_path):
    """The folder of English files that `convert` reads."""
    folder = tmp_path / "in" / "en"
    folder.mkdir(parents=True)
    return folder


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


def test_misc_is_dropped_from_kept_labels_too(tmp_path, english):
    (english / "train.tsv").write_text("a\tB-MISC\nb\tB-GPE\n")
    convert(tmp_path, "--keep-labels", "--no-misc")
    [doc] = read_docs(tmp_path / "en-x-train.spacy").get_docs(spacy.blank("xx").vocab)
    assert [ent.label_ for ent in doc.ents] == ["GPE"]


def test_a_folder_without_train_files_is_cut_in_two(tmp_path, english):
    lines = "".join(f"w{i}\tO\n\n" for i in range(10))
    (english / "dev.tsv").write_text(lines)
    convert(tmp_path, "--dev-size", 3)
    vocab = spacy.blank("xx").vocab
    found = {
        split: [doc.text for doc in read_docs(tmp_path / f"en-x-{split}.spacy").get_docs(vocab)]
        for split in ("train", "dev")
    }
    assert found == {"train": [f"w{i}" for i in range(7)], "dev": ["w7", "w8", "w9"]}
    (english / "train.tsv").write_text("a\tO\n")
    convert(tmp_path, "--dev-size", 3)
    assert len(read_docs(tmp_path / "en-x-dev.spacy")) == 10


def test_all_18_labels_of_a_corpus_can_be_kept(checkpoint, tmp_path, english):
    labels = [
        "CARDINAL", "DATE", "EVENT", "FAC", "GPE", "LANGUAGE", "LAW", "LOC", "MONEY", "NORP", "ORDINAL",
        "ORG", "PERCENT", "PERSON", "PRODUCT", "QUANTITY", "TIME", "WORK_OF_ART",
    ]  # fmt: skip
    (english / "train.tsv").write_text("".join(f"w{label}\tB-{label}\nand\tO\n\n" for label in labels))
    convert(tmp_path, "--keep-labels")
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
    run("-m", "spacy", "xner", "evaluate", toy_model / "model-best", toy_corpus, metrics)
    content = json.loads(metrics.read_text())
    assert content["scores"]["ents_f"] > 0.9
    assert set(content) == {"scores", "confusion", "examples", "calibration"}
    assert content["examples"][0]["predicted"]
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    report = collect_report(metrics.parent, toy_model.parent)
    write_report(tmp_path / "report.html", report)
    renew_readme(readme, report.models)
    page = (tmp_path / "report.html").read_text()
    assert "Maria Santos" in page
    assert "<svg" in page
    # One file that fetches nothing.
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert re.fullmatch(r"before\n.*\| zh \| all \|.*after\n", readme.read_text(), flags=re.S)
    assert "old" not in readme.read_text()


def _env():
    return {**os.environ, "PYTHONPATH": "scripts"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_survive_fill_config_and_debug_config(path, tmp_path):
    filled = tmp_path / "filled.cfg"
    fill_config(filled, path, silent=True)
    again = tmp_path / "again.cfg"
    fill_config(again, filled, silent=True)
    assert filled.read_text() == again.read_text()
    debug_config(filled)


def test_the_config_for_a_gpu_is_one_of_xlmr_in_half_precision():
    config = load_config(config_path("transformer_gpu"), interpolate=True)
    assert config["training"]["gpu_allocator"] == "pytorch"
    tok2vec = config["components"]["ner"]["model"]["tok2vec"]
    assert (tok2vec["name"], tok2vec["precision"]) == ("xlm-roberta-base", "auto")


def test_the_config_for_a_gpu_trains_a_step_of_several_batches(toy_corpus, checkpoint, tmp_path, monkeypatch):
    batches, weights = [], []
    update, finish = EntityTagger.update, EntityTagger.finish_update

    def watch_update(self, examples, **kwargs):
        batches.append(examples)
        return update(self, examples, **kwargs)

    def watch_step(self, sgd):
        weights.append(self.model.to_bytes())
        finish(self, sgd)
        weights.append(self.model.to_bytes())

    monkeypatch.setattr(EntityTagger, "update", watch_update)
    monkeypatch.setattr(EntityTagger, "finish_update", watch_step)
    overrides = {
        "paths.corpus": str(toy_corpus),
        "paths.encoder": str(checkpoint),
        "training.max_steps": 1,
        "vars.eval_frequency": 1,
        "vars.learn_rate": 0.02,
        "training.optimizer.learn_rate.warmup_steps": 0,
        "components.ner.model.tok2vec.overlap": 8,
        "training.logger.console": {"@loggers": "spacy.ConsoleLogger.v3", "progress_bar": None},
    }
    train_pipeline(config_path("transformer_gpu"), tmp_path / "out", overrides)
    # spaCy scores the step after the last one. Gradients of three batches or more make one step.
    before, after, still, then = weights
    assert before != after == still != then
    assert len(batches) >= 2 * 3


def test_the_gpu_benchmark_says_that_there_is_no_gpu(toy_corpus):
    printed = run("benchmarks/gpu.py", toy_corpus, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert "No GPU" in printed


def runs_of_the_projects():
    """Every line of every project's commands, with the options of the command that it runs."""
    for path in PROJECTS:
        for command in yaml.safe_load(path.read_text())["commands"]:
            for line in command["script"]:
                words = line.split()
                match words[:4]:
                    case ["python", "-m", "spacy", "xner"]:
                        yield path, line, options_of(get_command(xner), words[4:])
                    case ["python", script, *_] if script.endswith("scripts"):
                        yield path, line, options_of(get_command(scripts_app), words[2:])


def options_of(command, words):
    """The options of a command, found by the words of its path."""
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    return command.name, {option for parameter in command.params for option in parameter.opts}


def test_all_workflows_take_a_gpu():
    assert len(PROJECTS) == 7
    for path in PROJECTS:
        assert yaml.safe_load(path.read_text())["vars"]["gpu"] == -1, path
    runs = list(runs_of_the_projects())
    on_gpu = [(path, line) for path, line, (_, options) in runs if "--gpu" in options]
    experiments = [(path, line) for path, line, (name, _) in runs if name == "experiment"]
    assert len(on_gpu) > 10
    assert len(experiments) > 10
    assert [run for run in on_gpu if "--gpu ${vars.gpu}" not in run[1]] == []
    assert [run for run in experiments if "--machine.gpu ${vars.gpu}" not in run[1]] == []


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


def test_the_roots_project_fits_on_a_few_screens():
    assert len(Path("project.yml").read_text(encoding="utf-8").splitlines()) <= 200


def test_every_command_of_the_project_is_described_and_exists():
    project = yaml.safe_load(Path("project.yml").read_text())
    names = {command["name"] for command in project["commands"]}
    verbs = get_command(xner).commands
    for steps in project["workflows"].values():
        assert set(steps) <= names
    for command in project["commands"]:
        assert command["help"]
        for line in command["script"]:
            script = re.match(r"python (scripts/\S+)", line)
            assert script is None or Path(script[1]).exists()
            verb = re.match(r"python -m spacy xner (\S+)", line)
            assert verb is None or verb[1] in verbs
    for asset in project["assets"]:
        assert asset["description"]
        assert asset.get("url") or asset.get("git")


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
    """Identifier, clusters, taggers and the routed pipeline."""
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
    settings = {"vars.batch_size": 2, "vars.learn_rate": 0.02, "vars.n_frozen_layers": 1}
    for cluster, languages in srsly.read_json(found)["clusters"].items():
        overrides = {
            "paths.corpus": str(toy_corpus),
            "paths.encoder": str(checkpoint),
            "vars.languages": languages,
            "vars.clusters": [cluster],
            "components.ner.model.tok2vec.window": 150,
            **settings,
            **fixed_steps(60, eval_frequency=60),
        }
        train_pipeline(Path("configs/transformer.cfg"), folder / "training" / cluster, overrides)
        move_folder(folder / "training" / cluster / "model-last", folder / "taggers" / cluster)
    run(
        "-m", "spacy", "xner", "assemble", found, folder / "taggers", folder / "identifier" / "model-best",
        toy_corpus, folder / "xner",
    )  # fmt: skip
    return folder


def test_the_clusters_workflow_makes_a_routed_pipeline(clustered, toy_corpus, tmp_path):
    folder = clustered
    nlp = spacy.load(folder / "xner")
    clusters = list(srsly.read_json(folder / "groupings" / "found.json")["clusters"])
    assert nlp.pipe_names == [
        "language_identifier",
        "cluster_router",
        *(f"ner_{cluster}" for cluster in clusters),
    ]
    metrics = tmp_path / "xner.json"
    run("-m", "spacy", "xner", "evaluate", folder / "xner", toy_corpus, metrics)
    scores = srsly.read_json(metrics)["scores"]
    assert scores["language_acc"] == scores["routing_acc"] == 1.0
    assert srsly.read_json(metrics)["confusion"]["languages"] == ["en", "ru", "zh"]
    assert scores["ents_f"] > 0.8
    alone = spacy.load(folder / "taggers" / clusters[0])
    assert alone.pipe_names == ["ner"]
    assert any(doc.ents for doc in alone.pipe(text for text, _, _ in tiny.SENTENCES))

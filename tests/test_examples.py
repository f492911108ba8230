"""The examples of the documentation: clients that take entities with their probabilities."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import spacy

from spacy_xner.deploy.annotate import Settings, annotate_file
from spacy_xner.deploy.texts import Texts

from tests import tiny

EXAMPLES = Path("docs/examples")
TESTED = {"presidio_engine.py", "prodigy_tasks.py"}


def load_example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pipeline(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    trained.to_disk(folder)
    return folder


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix == ".py"} == TESTED


def test_tasks_of_prodigy_are_those_of_annotate(pipeline, trained, tmp_path):
    source, entities, out = (tmp_path / name for name in ("in.jsonl", "entities.jsonl", "tasks.jsonl"))
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in tiny.TEXTS), encoding="utf-8")
    annotate_file(Texts(source), entities, Settings(str(pipeline)), show=False)
    command = [sys.executable, EXAMPLES / "prodigy_tasks.py", entities, out]
    subprocess.run(command, check=True)
    tasks = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    gold = {text: ents for text, ents, _ in tiny.SENTENCES}
    assert {task["text"] for task in tasks} == set(gold)
    for task in tasks:
        # Prodigy shows them on its own tokens: characters have to be those of tokens.
        doc = trained.make_doc(task["text"])
        spans = [(span["start"], span["end"], span["label"]) for span in task["spans"]]
        assert all(doc.char_span(*span) is not None for span in spans)
        assert spans == gold[task["text"]]
    scores = [task["meta"]["score"] for task in tasks]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1] == 1.0


def test_results_of_presidio_have_the_probabilities_of_one_pipeline(pipeline, trained, monkeypatch):
    pytest.importorskip("presidio_analyzer", reason="pip install presidio-analyzer")
    example = load_example("presidio_engine")
    loads = []
    real = spacy.load
    monkeypatch.setattr(
        spacy, "load", lambda *args, **settings: loads.append(args) or real(*args, **settings)
    )
    analyzer = example.make_analyzer(str(pipeline), ["en", "ru", "zh"])
    assert len(loads) == 1
    names = {"PER": "PERSON", "LOC": "LOCATION", "ORG": "ORGANIZATION"}
    for text, _, language in tiny.SENTENCES:
        doc = trained(text)
        expected = [
            (ent.start_char, ent.end_char, names[ent.label_], round(ent._.score, 4)) for ent in doc.ents
        ]
        results = [
            (row.start, row.end, row.entity_type, round(row.score, 4))
            for row in analyzer.analyze(text, language=language)
            if row.entity_type in names.values()
        ]
        assert sorted(results) == expected
    # The pipeline gives no probability of 0.85 to everything.
    assert len({round(ent._.score, 3) for text in tiny.TEXTS for ent in trained(text).ents}) > 1

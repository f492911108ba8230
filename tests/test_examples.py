"""The examples of the documentation: clients that take entities with their probabilities."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin, Span

from spacy_xner.deploy.annotate import Settings, annotate_file
from spacy_xner.deploy.texts import Texts

from tests import tiny
from tests.modules import load_module

EXAMPLES = Path("docs/examples")
TESTED = {
    "presidio_engine.py", "prodigy_tasks.py", "skweak_sources.py", "streamlit_app.py", "textacy_corpus.py",
}  # fmt: skip


def load_example(name):
    return load_module(EXAMPLES / f"{name}.py")


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


def all_entities(nlp):
    return [(ent.text, ent.label_, ent._.score) for text in tiny.TEXTS for ent in nlp(text).ents]


def test_a_corpus_of_textacy_knows_how_sure_its_names_are(trained, checkpoint):
    pytest.importorskip("textacy", reason="pip install textacy")
    example = load_example("textacy_corpus")
    nlp = tiny.make_identifier(checkpoint)
    tiny.train_identifier(nlp)
    nlp.add_pipe("ner", source=trained)
    rows = [{"text": text, "id": i} for i, text in enumerate(tiny.TEXTS * 2)]
    # Toyota's sentence is told to be in another language than the identifier would find.
    rows[1]["language"] = rows[6]["language"] = "de"
    corpus = example.make_corpus(nlp, rows)
    assert [doc._.meta["id"] for doc in corpus] == list(range(10))
    names = example.count_names(corpus, {"PER", "ORG"})
    scores = {(text, label): score for text, label, score in all_entities(trained) if label != "LOC"}
    assert {(name.text, name.label) for name in names} == set(scores)
    for name in names:
        assert name.n_entities == 2
        assert name.expected == pytest.approx(2 * scores[name.text, name.label], abs=1e-4)
    assert [name.languages for name in names if name.text == "Toyota"] == [["de"]]
    assert [name.expected for name in names] == sorted((name.expected for name in names), reverse=True)
    middle = sorted(scores.values())[len(scores) // 2]
    surer = example.count_names(corpus, {"PER", "ORG"}, middle)
    assert 0 < len(surer) < len(names)


def test_sources_of_skweak_are_told_apart_by_probability(pipeline, trained, tmp_path):
    pytest.importorskip("skweak", reason="pip install skweak")
    example = load_example("skweak_sources")
    scores = [score for *_, score in all_entities(trained)]
    middle = sorted(scores)[len(scores) // 2]
    blank = tiny.blank()
    docs = list(example.XnerAnnotator(trained, middle).pipe(blank.pipe(tiny.TEXTS)))
    assert not any(doc.ents for doc in docs)
    sources = [
        [span.text for doc in docs for span in doc.spans[name]] for name in ("xner_sure", "xner_unsure")
    ]
    expected = [
        [text for text, _, score in all_entities(trained) if (score >= middle) == sure] for sure in (1, 0)
    ]
    assert sources == expected
    assert all(sources)

    def rule(doc):
        doc.spans["rule"] = [Span(doc, t.i, t.i + 1, "PER") for t in doc if t.text == "Toyota"]
        return doc

    # A rule of one's own is outvoted, until it has more votes.
    for votes, label in ((0.1, "ORG"), (9.0, "PER")):
        doc = rule(example.XnerAnnotator(trained, 0.0)(blank(tiny.TEXTS[1])))
        voted = example.make_voter(["PER", "LOC", "ORG"], {"rule": votes})(doc).spans["names"]
        assert [(span.text, span.label_) for span in voted] == [("Toyota", label), ("Nokia", "ORG")]
    source, out = tmp_path / "in.txt", tmp_path / "out.spacy"
    source.write_text("\n".join(tiny.TEXTS), encoding="utf-8")
    subprocess.run([sys.executable, EXAMPLES / "skweak_sources.py", pipeline, source, out], check=True)
    written = list(DocBin().from_disk(out).get_docs(blank.vocab))
    entities = [(ent.text, ent.label_) for doc in written for ent in doc.ents]
    assert entities == [(text, label) for text, label, _ in all_entities(trained)]


def test_the_page_of_streamlit_shows_entities_above_the_slider(pipeline, trained, monkeypatch):
    pytest.importorskip("spacy_streamlit", reason="pip install spacy-streamlit")
    from streamlit.testing.v1 import AppTest

    monkeypatch.setattr(sys, "argv", ["streamlit_app.py", str(pipeline)])
    page = AppTest.from_file(str((EXAMPLES / "streamlit_app.py").resolve()), default_timeout=300).run()
    assert not page.exception
    expected = {ent.text: ent._.score for ent in trained(page.text_area[0].value).ents}

    def shown():
        rows = page.dataframe[0].value
        return {} if rows.empty else dict(zip(rows["text"], rows["probability"], strict=True))

    assert set(shown()) == set(expected) == {"Maria Santos", "Lisbon"}
    assert shown() == pytest.approx(expected, abs=1e-4)
    html = " ".join(item.value for item in page.markdown)
    assert "Maria Santos" in html
    assert "mark" in html
    page.slider[0].set_value(1.0).run()
    assert not page.exception
    assert shown() == {}
    page.slider[0].set_value(0.0)
    page.text_area[0].set_value("It rained all day.").run()
    assert not page.exception
    assert shown() == {}

"""The comparison of all routes: what it says of numbers, and how it comes to them."""

import json
import shutil
from dataclasses import asdict
from inspect import signature
from pathlib import Path

import numpy
import pytest
import spacy
import srsly

from spacy_xner.cli.app import xner
from spacy_xner.cli.compare import compare_cli
from spacy_xner.corpus.docs import read_docs
from spacy_xner.errors import XnerError
from spacy_xner.routes import base, lexical
from spacy_xner.routes.advice import (
    HEADER,
    UPPER_BOUND,
    Row,
    advise,
    compare_with_best,
    make_row,
    markdown,
    tabulate,
)
from spacy_xner.routes.base import Training, train
from spacy_xner.routes.budget import limit_time, until_convergence
from spacy_xner.routes.compare import ROUTES, choose_routes, train_route
from spacy_xner.routes.taggers import Teacher, find_teacher, write_texts
from spacy_xner.routes.task import Data, Settings, Task
from spacy_xner.runs import choose
from spacy_xner.significance import Comparison
from spacy_xner.vectors.coverage import choose_words
from spacy_xner.vectors.distil import distil_vectors
from spacy_xner.vectors.table import read_table, write_table

from tests import cli
from tests.test_lexical import DICTIONARY, SENTENCES, make_corpus

JOINT = Row("joint", "labels in en", 70.0, 69.0, 71.0, 71.0, 72.0, 68.0, 100.0, 450.0, 2.5)
STUDENT = Row("project", "parallel text", 75.0, 73.0, 74.0, 74.0, 76.0, 74.0, 100.0, 450.0, 4.0)
SMALL = Row("translate", "a dictionary", 60.0, 60.0, 61.0, 61.0, 60.0, 60.0, 2000.0, 33.0, 3.0)
GOLD = Row(UPPER_BOUND, "labels in es", 90.0, 90.0, 90.0, 90.0, 90.0, 90.0, 100.0, 450.0, 2.0)
NO_DATA = Data()
CLEAR, UNCLEAR = Comparison(5.0, 1.0, 9.0, 0.01), Comparison(5.0, -1.0, 11.0, 0.1)


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [([0.1, 0.5, 0.7, 0.6], 2), ([0.1, 0.7, 0.7, 0.6], 2), ([0.7, 0.5, 0.7, 0.6], 2), ([0.9, 0.8, 0.2], 0)],
)
def test_the_last_of_the_best_evaluations_is_chosen(scores, chosen):
    assert choose(scores) == chosen


def result_of(*epochs, chosen=1):
    epochs = [{"source_dev": f, "target_dev": dev, "test": {"f": f}} for dev, f in epochs]
    epochs[-1]["source_dev"] = 0.9
    return {"route": "joint", "about": "labels", "chosen": chosen, "seconds": 90.0, "epochs": epochs}


def test_a_row_has_the_scores_of_both_choices():
    measured = {"words_per_second": 10.0, "megabytes": 5.0, "counts": [[2, 3, 5], [1, 2, 5]]}
    row = make_row(result_of((0.2, 0.3), (0.6, 0.5), (0.5, 0.4)), measured)
    assert (row.f1, row.precision, row.recall) == pytest.approx((40.0, 60.0, 30.0))
    assert (row.f1_target_dev, row.f1_source_dev, row.target_dev) == pytest.approx((50.0, 40.0, 60.0))
    assert (row.minutes, row.megabytes) == (1.5, 5.0)
    row = make_row(result_of((None, 0.3), (None, 0.5), chosen=0), measured)
    assert (row.f1_target_dev, row.about) == (None, "labels; best before its training")
    nothing = {**measured, "counts": [[0, 0, 0]]}
    assert make_row(result_of((None, 0.0)), nothing).f1 == 0


def test_the_table_shows_the_best_first_then_the_upper_line_then_what_is_missing():
    lines = tabulate([JOINT, GOLD, SMALL, STUDENT], {"languages": "needs labels besides en's"})
    assert [line[0] for line in lines] == ["project", "joint", "translate", UPPER_BOUND, "languages"]
    assert lines[0][1:] == [
        "75.0",
        "73.0",
        "74.0",
        "76.0",
        "74.0",
        "100 (5 %)",
        "450",
        "4.0",
        "parallel text",
    ]
    assert lines[-1] == ["languages", *["–"] * 8, "needs labels besides en's"]
    assert {len(line) for line in lines} == {len(HEADER)}
    assert tabulate([JOINT._replace(f1_target_dev=None)], {})[0][3] == "–"


def test_routes_are_compared_with_the_best_on_the_same_sentences():
    rng = numpy.random.default_rng(0)
    right = rng.integers(0, 3, size=(60, 1))
    all_right = numpy.hstack((right, right, right))
    counts = {"project": all_right, "joint": all_right * [0, 1, 1], "translate": all_right, UPPER_BOUND: None}
    found = compare_with_best([JOINT, STUDENT, SMALL, GOLD], counts)
    assert set(found) == {"joint", "translate"}
    assert found["joint"].low == found["joint"].difference == 100
    assert found["translate"].low <= 0 <= found["translate"].high
    assert compare_with_best([GOLD], counts) == {}


def test_advice_names_the_best_route_and_what_cannot_be_told_from_it():
    [best] = advise([JOINT, STUDENT], {"joint": CLEAR}, 200, "es")
    assert best == "Without labels in es, take `project`: F1 75.0."
    lines = advise([JOINT, STUDENT], {"joint": UNCLEAR}, 200, "es")
    assert lines[1:] == ["200 test sentences cannot tell it from `joint` (70.0)."]


@pytest.mark.parametrize(
    ("f1", "speed", "end"),
    [
        (72.5, 500.0, "5 times as fast with 33 MB, and 2.5 F1 worse: take it where speed counts."),
        (60.0, 2000.0, "20 times as fast with 33 MB, and 15.0 F1 worse: only where nothing else fits."),
        (72.5, 400.0, None),
    ],
)
def test_advice_weighs_speed_against_loss(f1, speed, end):
    small = SMALL._replace(f1=f1, words_per_second=speed)
    lines = advise([small, STUDENT], {"translate": CLEAR}, 200, "es")[1:]
    assert lines == ([f"`translate` is {end}"] if end else [])


def test_advice_says_what_labels_of_the_target_would_bring():
    rows = [JOINT._replace(f1_target_dev=77.0, target_dev=80.0), STUDENT, GOLD]
    lines = advise(rows, {"joint": CLEAR}, 200, "es")
    assert lines[1:] == [
        "A labelled dev set would have chosen `joint`, 2.0 F1 better.", "With labels in es it is 90.0.",
    ]  # fmt: skip
    # The dev set chooses by its own scores, not by those of the test set.
    lines = advise([JOINT._replace(f1_target_dev=77.0), STUDENT], {"joint": CLEAR}, 200, "es")
    assert len(lines) == 1
    rows = [row._replace(f1_target_dev=None, target_dev=None) for row in rows[:2]]
    assert len(advise(rows, {"joint": CLEAR}, 200, "es")) == 1
    assert advise([GOLD], {}, 200, "es") == [
        "No route without labels in es has a pipeline: the last column says why.",
        "With labels in es it is 90.0.",
    ]


def invoke(*arguments, code=0):
    return cli.invoke(xner, "compare", *arguments, code=code)


def test_help_says_what_equal_time_counts():
    assert "It does not count evaluations" in invoke("--help").replace("│ ", "")


@pytest.fixture
def corpus(tmp_path):
    """Three languages; Spanish is labelled too, for the upper line."""
    folder = make_corpus(tmp_path / "corpus")
    shutil.copy(folder / "en-toy-train.spacy", folder / "fr-toy-train.spacy")
    shutil.copy(folder / "es-toy-dev.spacy", folder / "es-toy-train.spacy")
    (tmp_path / "en-es.txt").write_text(DICTIONARY, encoding="utf-8")
    for language in ("en", "es"):
        text = "".join(f"{text}\n" for text, _ in SENTENCES * 3)
        (tmp_path / f"text.{language}").write_text(text, encoding="utf-8")
        (tmp_path / "plain").mkdir(exist_ok=True)
        (tmp_path / "plain" / f"{language}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def mapped(monkeypatch, checkpoint):
    """Vectors that are mapped already: sentences of toys teach none."""

    def train(task, language, out):
        words = choose_words(task.texts(language))
        write_table(distil_vectors(words, str(checkpoint), layer=1), out)

    def read(task, paths, folder):
        return [read_table(path) for path in paths]

    monkeypatch.setattr(lexical, "train_vectors_of", train)
    monkeypatch.setattr(lexical, "map_vectors_of", read)


def options(corpus, checkpoint):
    return [
        corpus, corpus.parent / "out", "--target=es", "--encoder", checkpoint, "--precision=float32",
        "--test-limit=10", "--batch-size=4", "--learn-rate=0.02",
    ]  # fmt: skip


# Milliseconds leave a step or two, at the rate of nothing with which a warm-up begins.
@pytest.mark.filterwarnings("ignore:.*XNER-W352")
def test_all_routes_are_trained_in_equal_time_measured_and_kept(corpus, checkpoint, mapped):
    folder, out = corpus.parent, corpus.parent / "out"
    command = [
        *options(corpus, checkpoint), "--minutes=0.005", "--upper-bound",
        "--dictionary", folder / "en-es.txt",
        "--parallel", folder / "text.en", "--parallel", folder / "text.es", "--text", folder / "plain",
    ]  # fmt: skip
    printed = invoke(*command)
    content = srsly.read_json(out / "compare.json")
    assert content["reasons"] == {}
    assert {row["route"] for row in content["routes"]} == set(ROUTES)
    assert content["advice"][0] in printed
    by_route = {row["route"]: row for row in content["routes"]}
    assert by_route["joint"]["megabytes"] == pytest.approx(by_route["project"]["megabytes"], rel=0.1)
    page = (out / "compare.md").read_text(encoding="utf-8")
    assert page.startswith("|  | F1 | F1, source dev | F1, target dev |")
    assert "0.005 minutes of training steps a route" in page
    results = {name: srsly.read_json(out / f"{name}.json") for name in ROUTES}
    assert {name: len(result["epochs"]) for name, result in results.items()} == dict.fromkeys(results, 8)
    assert results["languages"]["sentences"] == 24
    assert results["translate"]["sentences"] == 24
    # Selected scores are those of the pipeline on disk, which alone is left of a training.
    for name, result in results.items():
        assert {path.name for path in (out / name).iterdir()} >= {"pipeline", "curves.jsonl"}
        assert not (out / name / "training").exists()
        n_right, n_predicted, n_gold = measured_counts(out / name / "pipeline")
        f1 = 2 * n_right / (n_predicted + n_gold)
        assert 100 * f1 == pytest.approx(by_route[name]["f1"]), name
        if result["chosen"]:
            assert f1 == pytest.approx(result["epochs"][result["chosen"] - 1]["test"]["f"]), name
    assert by_route["translate"]["f1"] > 0
    # Nothing is written beside the user's files.
    assert not [path for path in corpus.iterdir() if ".es" in path.name]
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/curves.jsonl")}
    assert invoke(*command).count("done before") == len(ROUTES)
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*/curves.jsonl")}
    assert "XNER640" in invoke(*command, "--seed=1", code=1)


def measured_counts(pipeline):
    """Right, predicted and gold entities of the test set, counted here."""
    nlp = spacy.load(pipeline)
    totals = [0, 0, 0]
    sentences = (SENTENCES * 3)[:10]
    # In one batch, as evaluations are: what was hardly trained is undecided to the last digit.
    docs = nlp.pipe([spacy.tokens.Doc(nlp.vocab, text.split()) for text, _ in sentences])
    for doc, (_, spans) in zip(docs, sentences, strict=True):
        found = {(ent.start, ent.end, ent.label_) for ent in doc.ents}
        totals = [
            a + b for a, b in zip(totals, (len(found & set(spans)), len(found), len(spans)), strict=True)
        ]
    return totals


def test_to_convergence_a_student_goes_on_from_the_joint_tagger(corpus, checkpoint):
    (corpus / "fr-toy-train.spacy").unlink()
    out, folder = corpus.parent / "out", corpus.parent
    pairs = folder / "pairs.tsv"
    pairs.write_text("".join(f"{text}\t{text}\n" for text, _ in SENTENCES), encoding="utf-8")
    routes_wanted = "--routes=joint,languages,project,translate,zero-resource"
    invoke(*options(corpus, checkpoint), routes_wanted, "--parallel", pairs)
    joint, student = (srsly.read_json(out / f"{name}.json") for name in ("joint", "project"))
    assert (joint["sentences"], student["sentences"]) == (12, 4)
    # Three steps an epoch, at most 20 epochs; patience is five of them.
    steps = [epoch["step"] for epoch in joint["epochs"]]
    assert steps == [3 * (i + 1) for i in range(len(steps))]
    assert 5 <= len(steps) <= 20
    assert str(out / "joint" / "pipeline") in (out / "project" / "pipeline" / "config.cfg").read_text()
    reasons = srsly.read_json(out / "compare.json")["reasons"]
    assert reasons == {
        "languages": "needs labels besides en's", "translate": "needs a dictionary (--dictionary)",
        "zero-resource": "needs plain text (--text)",
    }  # fmt: skip


def test_lines_of_plain_text_are_unlabelled_sentences(corpus, checkpoint, tmp_path):
    task = make_task(corpus, checkpoint, Data(text=corpus.parent / "plain"), limit=5)
    (corpus / "es-toy-train.spacy").unlink()
    assert task.has_text()
    assert write_texts(task, tmp_path) == 5
    docs = list(read_docs(tmp_path / "corpus" / "es-text-train.spacy").get_docs(spacy.blank("xx").vocab))
    assert [doc.text for doc in docs] == [text for text, _ in (SENTENCES * 2)[:5]]
    assert not any(doc.has_annotation("ENT_IOB") for doc in docs)
    assert {doc._.language for doc in docs} == {"es"}


def test_too_little_text_is_a_reason_in_the_table(corpus, checkpoint):
    printed = invoke(
        *options(corpus, checkpoint), "--minutes=0.002", "--routes=zero-resource",
        "--text", corpus.parent / "plain",
    )  # fmt: skip
    reasons = srsly.read_json(corpus.parent / "out" / "compare.json")["reasons"]
    assert reasons["zero-resource"].startswith("[XNER616]")
    assert "No route" in printed


# Milliseconds leave a step or two, at the rate of nothing with which a warm-up begins.
@pytest.mark.filterwarnings("ignore:.*XNER-W352")
def test_a_route_that_fails_says_why_and_the_others_go_on(corpus, checkpoint, monkeypatch):
    folder = corpus.parent
    (folder / "short.es").write_text("una\n", encoding="utf-8")
    command = [
        *options(corpus, checkpoint), "--minutes=0.002", "--routes=project,translate,joint",
        "--parallel", folder / "text.en", "--dictionary", folder / "bad.txt",
    ]  # fmt: skip
    (folder / "bad.txt").write_text("one line without translation\t\n", encoding="utf-8")
    printed = invoke(*command, "--parallel", folder / "short.es")
    content = json.loads((folder / "out" / "compare.json").read_text(encoding="utf-8"))
    assert [row["route"] for row in content["routes"]] == ["joint"]
    assert content["reasons"]["project"].startswith("[XNER502]")
    assert content["reasons"]["translate"].startswith("[XNER60")
    assert "XNER502" in printed
    assert not (folder / "out" / "project.json").exists()
    # A mistake in the program is none of the data's.
    (folder / "out" / "joint.json").unlink()
    monkeypatch.setattr(ROUTES["joint"], "run", lambda task, folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_route("joint", make_task(corpus, checkpoint))


def make_task(corpus, checkpoint, data=NO_DATA, **changes):
    settings = Settings(
        "en", "es", encoder=str(checkpoint), test_limit=10, learn_rate=0.02, batch_size=4, **changes
    )
    return Task(corpus, corpus.parent / "out", settings, data, precision="float32")


@pytest.mark.parametrize(
    ("overrides", "kept", "chosen"),
    [({}, "model-best", 1), ({"paths.weights": "teacher"}, "model-last", 2)],
)
def test_the_best_pipeline_is_kept_but_a_students_last(
    corpus, checkpoint, monkeypatch, tmp_path, overrides, kept, chosen
):
    def train_pipeline(config, out, overrides, gpu):
        for name in ("model-best", "model-last"):
            (out / name).mkdir(parents=True)
            (out / name / "which").write_text(name)
        test = {"ents_f": 0.5, "ents_p": 0.5, "ents_r": 0.5}
        lines = [
            {"step": step, "seconds": 1.0, "score": score, "watch": {"test": test} if step else {}}
            for step, score in enumerate([0.1, 0.9, 0.5])
        ]
        srsly.write_jsonl(tmp_path / "curves.jsonl", lines)

    monkeypatch.setattr(base, "train_pipeline", train_pipeline)
    training = Training(tmp_path, Path("x.cfg"), overrides, n_sentences=12)
    trained = train(make_task(corpus, checkpoint), training)
    assert (trained.chosen, len(trained.epochs)) == (chosen, 2)
    assert (tmp_path / "pipeline" / "which").read_text() == kept
    assert not (tmp_path / "training").exists()


def test_a_grouping_chooses_the_languages(corpus, checkpoint):
    assert make_task(corpus, checkpoint).labelled == ["en", "fr"]
    path = corpus.parent / "grouping.json"
    srsly.write_json(path, {"name": "mine", "clusters": {"a": ["es", "fr"], "b": ["en"]}})
    task = make_task(corpus, checkpoint, Data(grouping=path))
    assert task.labelled == ["fr"]
    assert ROUTES["languages"].missing(task) == ""
    srsly.write_json(path, {"name": "mine", "clusters": {"a": ["es", "en"], "b": ["fr"]}})
    task = make_task(corpus, checkpoint, Data(grouping=path))
    assert ROUTES["languages"].missing(task) == "labels besides en's"


def test_a_teacher_of_other_settings_is_trained_anew(corpus, checkpoint):
    folder = corpus.parent
    joint, students = "--routes=joint", "--routes=project,self-training"
    pairs = ["--parallel", folder / "text.en", "--parallel", folder / "text.es"]
    invoke(*options(corpus, checkpoint), joint, "--limit=4")
    teacher = find_teacher(make_task(corpus, checkpoint, limit=4), folder / "other")
    assert (teacher.folder, teacher.share, teacher.seconds > 0) == (folder / "out" / "joint", 1.0, True)
    teacher = find_teacher(make_task(corpus, checkpoint, limit=5), folder / "other")
    assert teacher == Teacher(folder / "other" / "teacher", 1.0, 0.0)
    invoke(*options(corpus, checkpoint), students, *pairs)
    found = json.loads((folder / "out" / "compare.json").read_text(encoding="utf-8"))
    assert {row["route"] for row in found["routes"]} == {"project", "self-training"}


def test_other_files_make_other_runs(corpus, checkpoint):
    task = make_task(corpus, checkpoint, Data(text=corpus.parent / "plain"))
    before = ROUTES["self-training"].inputs(task)
    (corpus.parent / "plain" / "es.txt").write_text("Otro texto.\n", encoding="utf-8")
    (corpus.parent / "plain" / "es.txt~").write_text("", encoding="utf-8")
    assert [path.name for path in task.texts("es")] == ["es.txt"]
    assert ROUTES["self-training"].inputs(task) != before


def test_time_is_divided_by_the_speed_of_a_step_and_into_evaluations():
    limited = limit_time({"vars.limit": 3}, seconds=60.0, seconds_per_step=0.5)
    assert limited["vars.limit"] == 3
    assert (limited["training.max_steps"], limited["vars.eval_frequency"]) == (120, 15)
    # At least one step an evaluation, however slow it is.
    assert limit_time({}, 1.0, 60.0)["training.max_steps"] == 8


def test_convergence_is_a_quarter_of_the_epochs_without_a_better_score():
    overrides = until_convergence({"vars.limit": 3}, steps=10, max_epochs=20)
    assert overrides["vars.limit"] == 3
    assert (overrides["training.patience"], overrides["training.max_steps"]) == (50, 200)
    assert overrides["vars.eval_frequency"] == 10


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--target=en"], "XNER643"),
        (["--parallel=nowhere.en"], "does not exist"),
        (["--dictionary=nowhere.txt"], "does not exist"),
        (["--text=nowhere"], "does not exist"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(corpus, checkpoint, arguments, reason):
    code = 1 if "=en" in arguments[0] and "target" in arguments[0] else 2
    assert reason in invoke(*options(corpus, checkpoint), *arguments, code=code)
    assert not (corpus.parent / "out").exists()


def test_a_grouping_without_the_target_is_refused(corpus, checkpoint):
    path = corpus.parent / "grouping.json"
    srsly.write_json(path, {"name": "mine", "clusters": {"a": ["en", "fr"]}})
    assert "XNER644" in invoke(*options(corpus, checkpoint), "--grouping", path, code=1)


def test_unknown_routes_are_refused(corpus, checkpoint):
    assert "XNER645" in invoke(*options(corpus, checkpoint), "--routes=jiont", code=1)
    with pytest.raises(XnerError, match=r"XNER645.*\['jiont'\]: expected some of joint, languages"):
        choose_routes(["joint", "jiont"])


def test_the_upper_bound_is_trained_on_request_only():
    routes = list(ROUTES)
    assert routes[-1] == UPPER_BOUND
    assert choose_routes([]) == routes[:-1]
    assert choose_routes([], upper_bound=True) == routes
    assert choose_routes(["joint", UPPER_BOUND], upper_bound=True) == ["joint", UPPER_BOUND]


def test_a_route_without_its_data_is_a_coded_error(corpus, checkpoint, tmp_path):
    with pytest.raises(XnerError, match=r"XNER646.*'translate' needs a dictionary"):
        ROUTES["translate"].run(make_task(corpus, checkpoint), tmp_path)


def test_the_verb_offers_what_the_library_does_by_default():
    offered = {name: option.default for name, option in signature(compare_cli).parameters.items()}
    defaults = {**asdict(Settings("en", "es")), **asdict(Data())}
    del defaults["target"], defaults["sources"], defaults["parallel"]
    assert offered | defaults == offered


def test_markdown_keeps_bars_inside_of_cells():
    page = markdown([["joint", *["–"] * 8, "a | b"]], ["Take it."], "en to es.")
    assert "| a \\| b |" in page
    assert page.endswith("Take it.\n\nen to es.\n")

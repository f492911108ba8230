"""The verb `evaluate` and what is behind it: scores, examples right and wrong, languages, routes."""

import json
from types import SimpleNamespace

import numpy
import pytest
import spacy

from spacy_xner.attributes import register_attributes
from spacy_xner.calibration import risk_coverage
from spacy_xner.cli.app import xner
from spacy_xner.errors import XnerError
from spacy_xner.evaluation import (
    N_POINTS,
    confuse_languages,
    describe_calibration,
    evaluate_pipeline,
    read_examples,
    score_routing,
    show_examples,
)
from spacy_xner.scoring import Outcome

from tests import cli, tiny


def make_examples(rows):
    """Examples of gold and predicted entities, languages and clusters."""
    register_attributes()
    nlp = tiny.blank()
    examples = []
    for text, gold, predicted, languages, cluster in rows:
        docs = [nlp.make_doc(text), nlp.make_doc(text)]
        for doc, ents, language in zip(docs, (gold, predicted), languages, strict=True):
            doc.set_ents([doc.char_span(*ent) for ent in ents])
            doc._.language = language
        docs[1]._.cluster = cluster
        examples.append(SimpleNamespace(reference=docs[0], predicted=docs[1]))
    return examples


ANA = ("Ana met Jo.", [(0, 3, "PER"), (8, 10, "PER")])
ROWS = [
    (*ANA, ANA[1], ("en", "en"), "european"),
    (*ANA, [(0, 3, "LOC")], ("en", "de"), "european"),
    (*ANA, [], ("de", None), "asian"),
    ("It rained.", [], [], ("de", "de"), "european"),
    (*ANA, ANA[1], (None, "en"), "asian"),
]


def test_examples_right_and_wrong_are_shown_of_every_language():
    shown = show_examples(make_examples(ROWS[:4] * 3), 2)
    assert [(row["language"], row["right"]) for row in shown] == [
        ("de", False), ("de", False), ("en", False), ("en", False), ("en", True), ("en", True),
    ]  # fmt: skip
    right = shown[-1]
    assert right["text"] == "Ana met Jo."
    assert right["predicted"] == [
        {"start": 0, "end": 3, "label": "PER"},
        {"start": 8, "end": 10, "label": "PER"},
    ]
    assert shown[2]["predicted"] == [{"start": 0, "end": 3, "label": "LOC"}]


def test_languages_are_counted_by_gold_and_prediction():
    confusion = confuse_languages(make_examples(ROWS))
    assert confusion == {"languages": ["de", "en", "und"], "counts": [[1, 0, 1], [1, 1, 0], [0, 0, 0]]}


def test_routes_are_scored_where_the_language_has_a_cluster():
    cluster_of = {"en": "european", "de": "european"}
    assert score_routing(make_examples(ROWS), cluster_of) == 3 / 4
    assert score_routing(make_examples(ROWS), {"xh": "african"}) == 0


def test_a_pipeline_is_evaluated(toy_model, toy_corpus, tmp_path):
    nlp = spacy.load(toy_model / "model-best")
    examples = read_examples(nlp, toy_corpus, "test", ["en", "zh"], 0, ["toy"])
    evaluation = evaluate_pipeline(nlp, examples, 1)
    assert set(evaluation.scores["ents_per_language"]) == {"en", "zh"}
    assert evaluation.scores["words_per_second"] > 0
    assert "routing_acc" not in evaluation.scores
    assert evaluation.confusion is None
    assert len(evaluation.examples) >= 2
    out = tmp_path / "metrics" / "toy.json"
    output = cli.invoke(
        xner, "evaluate", toy_model / "model-best", toy_corpus, out, "--languages=en,zh", "--n-examples=1"
    )
    content = json.loads(out.read_text())
    assert content["scores"]["ents_f"] == pytest.approx(evaluation.scores["ents_f"])
    assert content["examples"] == evaluation.examples
    assert f"F1 {100 * evaluation.scores['ents_f']:.1f}" in output
    # The curves hold the numbers of the scores.
    curves = content["calibration"]
    assert curves["n_entities"] == sum(row["n"] for row in curves["bins"]) > 0
    error = sum(row["n"] * abs(row["score"] - row["precision"]) for row in curves["bins"])
    assert error / curves["n_entities"] == pytest.approx(content["scores"]["ents_ece"])
    assert 1 - curves["risk"][-1] == pytest.approx(content["scores"]["ents_p"])
    assert curves["coverage"][-1] == 1


def test_curves_of_many_entities_have_few_points_and_the_last_one():
    rng = numpy.random.default_rng(0)
    scores = rng.random(5000)
    outcomes = [
        Outcome(score, bool(right), "en")
        for score, right in zip(scores, rng.random(5000) < scores, strict=True)
    ]
    curves = describe_calibration(outcomes)
    assert 150 < len(curves["coverage"]) == len(curves["risk"]) <= N_POINTS + 1
    assert curves["coverage"] == sorted(set(curves["coverage"]))
    assert curves["risk"][-1] == pytest.approx(1 - sum(row.is_right for row in outcomes) / 5000)
    full = risk_coverage(scores, [row.is_right for row in outcomes])
    assert curves["area"] == pytest.approx(full.area)
    assert describe_calibration([]) is None


def test_negative_numbers_are_coded_errors(toy_model, toy_corpus, tmp_path):
    model = toy_model / "model-best"
    output = cli.invoke(xner, "evaluate", model, toy_corpus, tmp_path / "a.json", "--limit=-1", code=1)
    assert "XNER122" in output
    with pytest.raises(XnerError, match="XNER122"):
        evaluate_pipeline(spacy.blank("xx"), [], -1)

"""Calibrated probabilities in documents: scores of entities, thresholds, the verb."""

import pytest
import spacy
from spacy.tokens import DocBin, Span
from spacy.training import Example

from spacy_xner.attributes import language_of
from spacy_xner.calibration import Scaling
from spacy_xner.cli.app import xner
from spacy_xner.deploy.calibrate import Target, calibrate_pipeline
from spacy_xner.errors import XnerError
from spacy_xner.scoring import judge, score_entities
from spacy_xner.stability import entity_set
from spacy_xner.tagger.confidence import adjust, check_calibration
from spacy_xner.tagger.decoding import Prediction
from spacy_xner.tags import TokenSpan

from tests import tiny
from tests.cli import invoke

SPANS = [TokenSpan(0, 1, "PER"), TokenSpan(2, 3, "LOC")]


@pytest.fixture(scope="module")
def taught(checkpoint):
    nlp = tiny.make_nlp(checkpoint)
    tiny.train(nlp)
    return nlp


@pytest.fixture
def nlp(taught, tmp_path):
    """A pipeline to change."""
    taught.to_disk(tmp_path / "taught")
    return spacy.load(tmp_path / "taught")


def by_place(doc):
    return {(ent.start_char, ent.end_char): ent._.score for ent in doc.ents}


def test_every_entity_has_its_score(nlp):
    doc = nlp(tiny.TEXTS[0])
    assert len(doc.ents) == 2
    assert [ent._.score for ent in doc.ents] == doc.spans["xner"].attrs["scores"]
    assert doc[2:3]._.score is None


def test_scores_survive_storing_and_merging(nlp):
    doc = nlp(tiny.TEXTS[0])
    scores = by_place(doc)
    stored = DocBin(store_user_data=True, docs=[doc]).to_bytes()
    (again,) = DocBin().from_bytes(stored).get_docs(nlp.vocab)
    assert by_place(again) == scores
    written = doc.to_json(underscore=["score"])["underscore_span"]["score"]
    assert {(row["start"], row["end"]): row["value"] for row in written} == scores
    merged = spacy.blank("xx").add_pipe("merge_entities")(doc)
    assert len(merged) < len(nlp.make_doc(tiny.TEXTS[0]))
    assert by_place(merged) == scores


def test_scores_of_entities_that_are_gone_are_gone(nlp):
    doc = nlp(tiny.TEXTS[0])
    first = doc.ents[0]
    nlp.get_pipe("ner").threshold = 1.0
    again = nlp.get_pipe("ner")(doc)
    assert not again.ents
    assert first._.score is None


def test_adjusting_scales_and_cuts_by_language():
    prediction = Prediction(SPANS, [0.9, 0.6])
    calibration = {"scalings": {"": [1.0, 1.0], "de": [2.0, 0.0]}, "thresholds": {"": 0.4, "de": 0.7}}
    german = adjust(prediction, "de", calibration, 0.0)
    assert (german.spans, german.probabilities) == (SPANS[:1], [pytest.approx(0.75)])
    pooled = [float(p) for p in Scaling(1.0, 1.0).apply([0.9, 0.6])]
    for language in ("sw", None):
        assert adjust(prediction, language, calibration, 0.0) == Prediction(SPANS[:1], [pooled[0]])
        assert not adjust(prediction, language, calibration, 0.99).spans
    assert adjust(Prediction(SPANS, None), "de", calibration, 0.0).spans == SPANS


def test_a_sentence_is_scaled_by_its_own_language(nlp):
    doc = nlp.make_doc("Maria Santos. Ана уехала.")
    doc._.language = "en"
    doc.spans["languages"] = [Span(doc, 0, 3, label="en"), Span(doc, 3, len(doc), label="ru")]
    assert [language_of(doc, segment) for segment in (None, doc[:3], doc[3:])] == ["en", "en", "ru"]


def test_calibrations_are_stored_with_the_tagger(nlp, tmp_path):
    tagger = nlp.get_pipe("ner")
    tagger.cfg["calibration"] = {"scalings": {"": [3.0, 0.5]}, "thresholds": {"": 0.1}}
    before = nlp(tiny.TEXTS[0])
    nlp.to_disk(tmp_path / "out")
    again = spacy.load(tmp_path / "out")
    assert again.get_pipe("ner").cfg["calibration"] == tagger.cfg["calibration"]
    assert by_place(again(tiny.TEXTS[0])) == pytest.approx(by_place(before))


@pytest.mark.parametrize(
    "calibration",
    [
        None,
        {"scalings": {}},
        {"scalings": {"de": [0.0, 0.0]}, "thresholds": {}},
        {"scalings": {"de": [1.0, float("nan")]}, "thresholds": {}},
        {"scalings": {}, "thresholds": {"de": 2}},
        {"scalings": {"de": "ab"}, "thresholds": {}},
    ],
)
def test_calibrations_that_are_none_are_refused(calibration):
    with pytest.raises(XnerError, match="XNER188"):
        check_calibration("ner", calibration)


def test_thresholds_of_a_config_are_checked(checkpoint):
    with pytest.raises(XnerError, match="XNER186"):
        tiny.make_nlp(checkpoint, {"threshold": 1.5})
    with pytest.raises(XnerError, match="XNER189"):
        tiny.make_nlp(checkpoint, {"threshold": 0.5, "confidence": False})


def test_scores_tell_how_far_probabilities_are_off(nlp):
    examples = [Example(nlp(eg.reference.text), eg.reference) for eg in tiny.make_examples(nlp)]
    spans = [eg.predicted.spans["xner"] for eg in examples]
    assert sum(map(len, spans)) == 8
    for group in spans:
        group.attrs["scores"] = [0.75] * len(group)
    # All of them are right.
    scores = score_entities(examples)
    assert (scores["ents_f"], scores["ents_ece"], scores["ents_brier"]) == (1.0, 0.25, 0.0625)
    for group in spans:
        del group.attrs["scores"]
    assert score_entities(examples)["ents_ece"] is None


def test_preset_entities_are_not_judged(nlp):
    (example, *_) = tiny.make_examples(nlp)
    example.predicted = nlp(example.reference.text)
    predicted = entity_set(example.predicted)
    assert len(judge(example, predicted, predicted, "xner")) == 2
    example.predicted.spans["xner"].attrs["preset"] = [True, False]
    assert len(judge(example, predicted, predicted, "xner")) == 1


def noisy(nlp, n):
    """Examples of which every third has other labels than the tagger finds."""
    examples = []
    for i in range(n):
        for example in tiny.make_examples(nlp, known_language=False)[:4]:
            if i % 3 == 0:
                example.reference.set_ents([])
            examples.append(example)
    return examples


def test_calibrating_lowers_the_error_and_leaves_thresholds(nlp):
    examples = noisy(nlp, 80)
    rows = {row.language: row for row in calibrate_pipeline(nlp, examples, Target(0.5))}
    assert set(rows) == {"all", "en", "ru", "zh"}
    assert rows["all"].after < 0.1 < rows["all"].before
    tagger = nlp.get_pipe("ner")
    assert tagger.cfg["calibration"]["thresholds"]["en"] == rows["en"].threshold
    assert 0.5 < nlp(tiny.TEXTS[0]).ents[0]._.score < 0.9
    assert calibrate_pipeline(nlp, examples, Target(0.95))[0].threshold is None


def test_the_promise_is_about_what_a_tagger_alone_gives_out(nlp):
    """Nothing here finds languages: new text has the pooled scaling, and the pooled threshold is for it."""
    examples = noisy(nlp, 80)
    for i, example in enumerate(examples):
        # English is mostly wrong, the others are mostly right: their scalings are far apart.
        if example.reference._.language == "en" and i % 3:
            example.reference.set_ents([])
    rows = {row.language: row for row in calibrate_pipeline(nlp, examples, Target(0.3))}
    calibration = nlp.get_pipe("ner").cfg["calibration"]
    assert calibration["scalings"]["en"] != calibration["scalings"][""]
    calibration["thresholds"] = {}
    given = [ent._.score for doc in nlp.pipe(tiny.TEXTS) for ent in doc.ents]
    assert rows["all"].threshold is not None
    assert min(abs(rows["all"].threshold - score) for score in given) < 1e-4


def test_pipelines_that_cannot_be_calibrated(nlp):
    with pytest.raises(XnerError, match="XNER190"):
        calibrate_pipeline(spacy.blank("xx"), noisy(nlp, 2))
    nlp.get_pipe("ner").confidence = False
    with pytest.raises(XnerError, match="XNER191"):
        calibrate_pipeline(nlp, noisy(nlp, 2))


def test_the_verb_writes_a_calibrated_pipeline(nlp, tmp_path):
    for language in ("en", "zh"):
        docs = [eg.reference for eg in noisy(nlp, 12) if eg.reference._.language == language]
        DocBin(docs=docs, store_user_data=True).to_disk(tmp_path / f"{language}-mine-dev.spacy")
    nlp.to_disk(tmp_path / "model")
    places = (tmp_path / "model", tmp_path, tmp_path / "out")
    output = invoke(xner, "calibrate", *places, "--precision", "0.5", "--languages", "en,zh")
    assert "error before" in output
    assert "none found" in output or "%" in output
    calibration = spacy.load(tmp_path / "out").get_pipe("ner").cfg["calibration"]
    assert {"en", "zh"} < set(calibration["scalings"]), output


def test_find_threshold_of_spacy_knows_the_setting(nlp, tmp_path):
    from spacy.cli.find_threshold import find_threshold

    nlp.to_disk(tmp_path / "model")
    DocBin(docs=[eg.reference for eg in noisy(nlp, 4)]).to_disk(tmp_path / "dev.spacy")
    best, _, scores = find_threshold(
        str(tmp_path / "model"), tmp_path / "dev.spacy", "ner", "threshold", "ents_r", n_trials=3, silent=True
    )
    assert scores[0.0] == 1.0
    assert scores[1.0] == 0.0
    assert best < 1.0

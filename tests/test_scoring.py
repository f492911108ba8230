"""Scores against seqeval, and their parts."""

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc
from spacy.training import Example

from spacy_xner.attributes import register_attributes
from spacy_xner.scoring import score_entities, score_languages
from spacy_xner.tags import spans_to_tags, tags_to_spans

from tests import tiny

register_attributes()
VOCAB = spacy.blank("xx").vocab
TAGS = st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]), min_size=5, max_size=5)


def make_doc(tags, language=None):
    clean = spans_to_tags(tags_to_spans(tags), len(tags))
    doc = Doc(VOCAB, words=["w"] * len(tags), ents=clean)
    doc._.language = language
    return doc


def make_example(predicted, gold, language=None):
    return Example(make_doc(predicted), make_doc(gold, language))


@given(pairs=st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=6))
def test_scores_are_those_of_seqeval(pairs):
    scores = score_entities([make_example(p, g) for p, g in pairs])
    predicted, gold = [p for p, _ in pairs], [g for _, g in pairs]
    for key, metric in (("p", precision_score), ("r", recall_score), ("f", f1_score)):
        expected = metric(gold, predicted, zero_division=0)
        assert scores[f"ents_{key}"] == pytest.approx(expected, abs=1e-9)


def test_scores_are_kept_by_language_label_and_length():
    scores = score_entities(
        [
            make_example(["B-PER", "I-PER", "O"], ["B-PER", "I-PER", "O"], "en"),
            make_example(["B-LOC", "O", "O"], ["B-PER", "O", "O"], "de"),
            make_example(["O", "O", "O"], ["B-LOC", "I-LOC", "I-LOC"], "de"),
        ]
    )
    assert scores["ents_per_language"]["en"]["f"] == 1.0
    assert scores["ents_per_language"]["de"] == {"p": 0.0, "r": 0.0, "f": 0.0, "support": 2}
    assert scores["ents_f_macro"] == 0.5
    assert scores["ents_per_type"]["PER"] == pytest.approx({"p": 1, "r": 0.5, "f": 2 / 3, "support": 2})
    assert {k: s["support"] for k, s in scores["ents_per_length"].items()} == {
        "1": 1,
        "2": 1,
        "3+": 1,
    }
    assert scores["ents_per_language_type"]["de:LOC"]["support"] == 1


def test_unlabelled_references_are_left_out():
    unlabelled = Example(make_doc(["B-PER"]), Doc(VOCAB, words=["w"]))
    right = make_example(["B-PER"], ["B-PER"], "en")
    assert score_entities([unlabelled, right])["ents_f"] == 1.0
    assert score_entities([unlabelled])["ents_f"] is None


def test_what_is_found_where_annotation_is_missing_is_neither_right_nor_wrong():
    gold = make_doc(["B-PER", "O", "O", "O"])
    gold.set_ents([], missing=[gold[2:3]], default="unmodified")
    example = Example(make_doc(["B-PER", "O", "B-LOC", "B-LOC"]), gold)
    scores = score_entities([example])
    assert (scores["ents_p"], scores["ents_r"]) == (0.5, 1.0)
    assert scores["ents_per_type"]["LOC"]["p"] == 0.0
    assert scores["ents_p"] == get_ner_prf([example])["ents_p"]


def test_tokenization_does_not_matter():
    gold = Doc(VOCAB, words=["New", "York", "won"], ents=["B-LOC", "I-LOC", "O"])
    predicted = Doc(VOCAB, words=["New York", "won"], ents=["B-LOC", "O"])
    assert score_entities([Example(predicted, gold)])["ents_f"] == 1.0


def unlabelled_example(language, probabilities):
    doc = make_doc(["B-PER"] * len(probabilities))
    doc.spans["own"] = list(doc.ents)
    doc.spans["own"].attrs["scores"] = probabilities
    reference = Doc(VOCAB, words=["w"] * len(probabilities))
    reference._.language = language
    return Example(doc, reference)


def test_a_tagger_scores_by_its_own_spans(checkpoint):
    nlp = tiny.make_nlp(checkpoint, {"spans_key": "own"})
    tiny.train(nlp, n_steps=30)
    reference = nlp.make_doc(tiny.SENTENCES[0][0])
    assert nlp.evaluate([Example(reference.copy(), reference)])["ents_confidence"] > 0


def test_confidence_in_unlabelled_text_is_the_mean_of_its_languages():
    examples = [
        unlabelled_example("ru", [0.5, 0.7]),
        unlabelled_example("ru", [0.9]),
        unlabelled_example("zh", [0.1]),
    ]
    scores = score_entities(examples, spans_key="own")
    assert scores["ents_confidence"] == pytest.approx((0.7 + 0.1) / 2)
    assert scores["ents_f"] is None
    gold = make_example(["B-PER"], ["B-PER"], "en")
    assert score_entities([*examples, gold], spans_key="own")["ents_confidence"] == pytest.approx(0.4)
    assert score_entities([gold])["ents_confidence"] is None


def test_a_guess_of_a_language_counts_as_the_likeliest_one():
    register_attributes()
    nlp = spacy.blank("xx")
    examples = []
    for language, scores in (("de", {"de": 0.4, "en": 0.3}), ("en", {"de": 0.4, "en": 0.3}), ("de", None)):
        example = Example(nlp.make_doc("a"), nlp.make_doc("a"))
        example.reference._.language, example.predicted._.language_scores = language, scores
        examples.append(example)
    assert score_languages(examples)["language_acc"] == pytest.approx(1 / 3)

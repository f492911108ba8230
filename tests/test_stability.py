"""Criteria that need no gold annotation."""

import pytest
import spacy
from spacy.tokens import Span

from spacy_xner.stability import agreement, confidence, density, describe_predictions


def make_doc(*spans, scores=None):
    doc = spacy.blank("xx").make_doc("a b c d")
    doc.ents = [Span(doc, start, end, label=label) for start, end, label in spans]
    if scores is not None:
        doc.spans["xner"] = list(doc.ents)
        doc.spans["xner"].attrs["scores"] = scores
    return doc


def test_confidence_is_the_mean_over_entities():
    docs = [make_doc((0, 1, "PER"), (2, 3, "LOC"), scores=[0.5, 0.9]), make_doc((0, 1, "PER"), scores=[1.0])]
    assert confidence(docs, "xner") == pytest.approx(0.8)
    assert confidence(docs, "elsewhere") == 0
    assert confidence([make_doc(scores=[])], "xner") == 0


def test_agreement_is_the_f1_of_one_against_the_other():
    old = [make_doc((0, 1, "PER"), (2, 3, "LOC")), make_doc()]
    new = [make_doc((0, 1, "PER"), (2, 3, "ORG")), make_doc((0, 2, "PER"))]
    assert agreement(old, new) == agreement(new, old) == pytest.approx(2 / 5)
    assert agreement(old, old) == 1


def test_criteria_are_told_apart_by_language():
    docs = [make_doc((0, 1, "PER")), make_doc(), make_doc((0, 1, "PER"), (1, 2, "PER"))]
    found = describe_predictions(docs, None, ["de", "de", "fr"], "xner")
    assert found["de"] == {"confidence": 0.0, "density": 0.5, "agreement": None}
    assert density(docs) == 1
    before = [make_doc(), make_doc(), docs[2]]
    again = describe_predictions(docs, before, ["de", "de", "fr"], "xner")
    assert (again["de"]["agreement"], again["fr"]["agreement"]) == (0, 1)

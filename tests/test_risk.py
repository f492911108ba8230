"""What makes transfer to a language risky."""

import pytest
import spacy

from spacy_xner.transformer.network import TransformerNetwork
from spacy_xner.transformer.risk import count_scripts, describe_risk

from tests import tiny


def describe(checkpoint, target, source):
    nlp = tiny.make_nlp(checkpoint)
    nlp.initialize(lambda: tiny.make_examples(nlp))
    network = nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0].network
    assert isinstance(network, TransformerNetwork)
    return describe_risk([nlp.make_doc(target)], [nlp.make_doc(source)], network.split, 3)


def test_scripts_are_counted_by_letters():
    texts = ["Ab, 12 \u041c\u043e\u0441", "\u6771\u4eac"]
    assert count_scripts(texts) == {"LATIN": 2, "CYRILLIC": 3, "CJK": 2}
    assert count_scripts([]) == {}


def test_the_same_text_has_no_risk(checkpoint):
    risk = describe(checkpoint, "Nokia rained", "Nokia rained")
    assert (risk.unknown, risk.unseen, risk.script_overlap) == (0, 0, 1)
    # The characters of the vocabulary, "in" and the space marks.
    assert risk.fertility == pytest.approx((6 + 6 + 1) / 2, abs=0.5)


def test_other_scripts_and_pieces_are_risks(checkpoint):
    risk = describe(checkpoint, "\u041c\u043e\u0441\u043a\u0432\u0443 Nokia", "Nokia")
    assert 0.4 < risk.unseen < 0.7
    assert risk.script_overlap == pytest.approx(5 / 11)
    unknown = describe(checkpoint, "\u0416\u0416\u0416", "Nokia")
    assert unknown.unknown > 0
    assert describe_nothing(checkpoint) == (0, 0, 0, 0)


def describe_nothing(checkpoint):
    nlp = spacy.blank("xx")
    return describe_risk([], [nlp.make_doc("a")], lambda texts: [], None)


def test_a_rare_foreign_word_does_not_make_a_script_known(checkpoint):
    source = "Nokia rained " * 60 + "\u041c"
    assert describe(checkpoint, "\u041c\u043e\u0441\u043a\u0432\u0443", source).script_overlap == 0

"""The multilingual tokenizer."""

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from spacy_xner.tokenizer import create_multilingual_tokenizer


def make_nlp():
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    return nlp


NLP = make_nlp()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("联合国在Sudan开会。", ["联", "合", "国", "在", "Sudan", "开", "会", "。"]),
        ("1999年に", ["1999", "年", "に"]),
        ("データ・セット", ["デ", "ー", "タ", "・", "セ", "ッ", "ト"]),
        ("서울에서 만났다.", ["서울에서", "만났다", "."]),
        ("L'Aia, dell’Unione", ["L'", "Aia", ",", "dell’", "Unione"]),
        ("She didn't.", ["She", "didn't", "."]),
    ],
)
def test_texts_are_cut_where_entities_may_begin(text, tokens):
    assert [token.text for token in NLP(text)] == tokens


@given(text=st.text(max_size=40))
def test_no_character_is_lost(text):
    assert NLP(text).text == text


def test_the_rules_are_saved(tmp_path):
    NLP.to_disk(tmp_path)
    text = "l'università di 東京"
    assert [t.text for t in spacy.load(tmp_path)(text)] == [t.text for t in NLP(text)]
    assert len(spacy.load(tmp_path)(text)) == 5

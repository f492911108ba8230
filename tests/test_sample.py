"""The bundled sample: marks, links, splits, scripts, balance."""

import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import spacy

from spacy_xner.corpus.docs import read_docs
from spacy_xner.errors import XnerError
from spacy_xner.tokenizer import create_multilingual_tokenizer

from scripts import sample
from scripts.sample import read_sample

FOLDER = Path("assets/sample")
SPLITS = ("train", "dev", "test")
LANGUAGES = ["ar", "da", "de", "en", "es", "fr", "he", "hi", "it", "ja", "ko", "ru", "sw", "yo", "zh"]
# First words of the Unicode names of letters that make up most of a text.
SCRIPTS = {
    "ar": {"ARABIC"},
    "he": {"HEBREW"},
    "hi": {"DEVANAGARI"},
    "ja": {"HIRAGANA", "KATAKANA", "CJK", "KATAKANA-HIRAGANA"},
    "ko": {"HANGUL"},
    "ru": {"CYRILLIC"},
    "zh": {"CJK"},
}


def sentences(language):
    return list(read_sample(FOLDER / f"{language}.tsv"))


def test_the_sample_is_converted_by_splits(tmp_path):
    sample.main(FOLDER, tmp_path, "sw,zh")
    names = {path.name for path in tmp_path.glob("*.spacy")}
    assert names == {f"{lang}-sample-{split}.spacy" for lang in ("sw", "zh") for split in SPLITS}
    docs = list(read_docs(tmp_path / "sw-sample-dev.spacy").get_docs(spacy.blank("xx").vocab))
    expected = [row for row in sentences("sw") if row[0].startswith("dev-")]
    assert [doc.text for doc in docs] == [text for _, text, _ in expected]
    found = [[(e.start_char, e.end_char, e.label_) for e in doc.ents] for doc in docs]
    assert found == [[tuple(entity)[:3] for entity in entities] for _, _, entities in expected]
    assert {doc._.language for doc in docs} == {"sw"}


def test_an_entity_that_cuts_a_token_is_a_coded_error(tmp_path):
    (tmp_path / "en.tsv").write_text("train-001\tShe saw [Mar](PER:1)ia.\n")
    with pytest.raises(XnerError, match=r"XNER125.*train-001.*'Mar'"):
        sample.main(tmp_path, tmp_path / "out")


def test_all_languages_are_there():
    assert sorted(path.stem for path in FOLDER.glob("*.tsv")) == LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_and_entities_are_those_of_english(language):
    own, english = sentences(language), sentences("en")
    assert [identifier for identifier, _, _ in own] == [identifier for identifier, _, _ in english]
    for (identifier, _, entities), (_, _, originals) in zip(own, english, strict=True):
        links = sorted((entity.label, entity.link) for entity in entities)
        assert links == sorted((entity.label, entity.link) for entity in originals), identifier


@pytest.mark.parametrize("language", LANGUAGES)
def test_entities_start_and_end_at_tokens(language):
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    for identifier, text, entities in sentences(language):
        doc = nlp.make_doc(text)
        assert doc.text == text == unicodedata.normalize("NFC", text)
        for entity in entities:
            assert doc.char_span(entity.start, entity.end) is not None, (identifier, text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_in_their_script_and_differ(language):
    texts = [text for _, text, _ in sentences(language)]
    letters = [c for c in "".join(texts) if c.isalpha()]
    scripts = SCRIPTS.get(language, {"LATIN"})
    own = sum(unicodedata.name(c, "?").split()[0] in scripts for c in letters)
    assert own / len(letters) > 0.85
    assert len(set(texts)) == len(texts)
    if language != "en":
        english = {text for _, text, _ in sentences("en")}
        assert not english & set(texts)


def test_splits_are_fixed_and_labels_balanced():
    english = sentences("en")
    splits = Counter(identifier.split("-")[0] for identifier, _, _ in english)
    assert splits == {"train": 80, "dev": 20, "test": 20}
    assert all(re.fullmatch(r"(train|dev|test)-\d{3}", identifier) for identifier, _, _ in english)
    for split in splits:
        labels = Counter(
            entity.label
            for identifier, _, entities in english
            for entity in entities
            if identifier.startswith(split)
        )
        assert set(labels) == {"PER", "ORG", "LOC"}
        assert min(labels.values()) / sum(labels.values()) > 0.2
    assert sum(not entities for _, _, entities in english) >= 5

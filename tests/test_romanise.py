"""Words in Latin letters."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_xner.vectors import romanise as module
from spacy_xner.vectors.romanise import romanise


@pytest.mark.parametrize(
    ("word", "latin"),
    [
        ("grünen", "gruenen"),
        ("Straße", "Strasse"),
        ("Москва", "Moskva"),
        ("ঢাকা", "ddhaakaa"),
        ("القاهرة", "alqahra"),
        ("北京", "beijing"),
        ("٣٧", "37"),
    ],
)
def test_words_of_other_scripts_become_latin(word, latin):
    assert romanise(word) == latin


@pytest.mark.parametrize("word", ["❤", "\u0301", "\u200b", "\u3000"])
def test_what_has_no_latin_form_stays(word):
    assert romanise(word) == word


@settings(deadline=None)
@given(st.text(min_size=1, max_size=6))
def test_no_word_becomes_empty(word):
    assert romanise(word)


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_stays_as_it_is(word):
    assert romanise(word) == word


def test_ascii_and_importing_do_not_load_uroman():
    code = (
        "import sys; from spacy_xner.vectors.romanise import romanise;"
        "romanise('Europe'); romanise(''); sys.exit('uroman' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_uroman_is_loaded_once_and_words_are_remembered(monkeypatch):
    calls = []

    class Uroman:
        def romanize_string(self, word):
            calls.append(word)
            return "x"

    monkeypatch.setattr("uroman.Uroman", Uroman)
    module._load_uroman.cache_clear()
    module._romanise.cache_clear()
    try:
        assert [romanise(word) for word in ("é", "é", "à", "é")] == ["x"] * 4
        assert calls == ["é", "à"]
        assert module._load_uroman.cache_info().misses == 1
    finally:
        module._load_uroman.cache_clear()
        module._romanise.cache_clear()
    assert module._romanise.cache_info().maxsize

"""The tables of a released pipeline: what is gold, what is a mean, and in which language."""

import pytest

from tests.modules import load_module


@pytest.fixture
def release(monkeypatch):
    monkeypatch.syspath_prepend("benchmarks")
    return load_module("benchmarks/release.py")


def score(f):
    return {"p": f, "r": f, "f": f, "support": 1234}


def test_gold_corpora_come_first_and_means_are_over_their_own_kind(release):
    scores = {
        "ents_per_corpus": {"wikiann": score(0.8), "aqmar": score(0.5), "uner_pud": score(0.7)},
        "ents_per_corpus_language": {
            "wikiann:ar": score(0.9), "wikiann:en": score(0.6), "aqmar:ar": score(0.5),
            "uner_pud:de": score(0.65), "uner_pud:en": score(0.75),
        },
        "ents_ece": 0.0214,
    }  # fmt: skip
    corpora, whole = release.tables_of(scores, 58_000_000)
    assert [row[:5] for row in corpora.rows] == [
        ["aqmar", "gold", "1", "1,234", "50.0"],
        ["uner_pud", "gold", "2", "1,234", "70.0"],
        ["wikiann", "silver", "2", "1,234", "80.0"],
    ]
    assert corpora.rows[1][-1] == "de 65.0, en 75.0"
    assert [row[1] for row in whole.rows] == ["60.0", "75.0", "0.021", "58"]

"""The benchmark beside others: what counts as right, and rows that are kept."""

import json
from pathlib import Path

import pytest

from tests import tiny
from tests.modules import load_module


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend("benchmarks")
    return load_module("benchmarks/peers.py")


GOLD = [{(0, 12, "PER"), (29, 35, "LOC")}, {(0, 6, "ORG"), (14, 19, "ORG")}, set()]


def test_an_entity_is_right_with_its_characters_and_its_label(peers):
    assert peers.f_score(GOLD, GOLD, "all") == 1.0
    # One of a wrong label, one of wrong characters, one that is too much.
    predicted = [{(0, 12, "ORG"), (29, 35, "LOC")}, {(0, 6, "ORG"), (14, 20, "ORG")}, {(0, 2, "PER")}]
    assert peers.f_score(predicted, GOLD, "all") == pytest.approx(4 / 9)
    assert peers.f_score(predicted, GOLD, "ORG") == pytest.approx(2 / 5)
    assert peers.f_score(predicted, GOLD, "PER") == 0.0
    assert peers.f_score([set()] * 3, [set()] * 3, "LOC") == 0.0


def test_a_row_has_the_figures_of_its_system(peers, monkeypatch, tmp_path):
    wikiann = tiny.write_tagged(tmp_path / "wikiann")
    (tmp_path / "weights").write_bytes(b"x" * 2_000_000)
    asked = []

    def build(folder, language, training):
        texts, gold, _ = peers.read_test(folder, language, 2)
        answers = dict(zip(texts, gold, strict=True))

        def find(batch):
            asked.extend(batch)
            return [{entity for entity in answers[text] if entity[2] == "ORG"} for text in batch]

        return peers.System(find, [tmp_path / "weights"], "made here, MIT")

    monkeypatch.setitem(peers.BUILDERS, "made", build)
    row = peers.measure("made", wikiann, "en", 2, peers.Training(tmp_path, None, 1.0))
    assert (row["n_sentences"], row["n_entities"], row["megabytes"]) == (2, 4, 2.0)
    assert (row["f"]["ORG"], row["f"]["PER"]) == (1.0, 0.0)
    assert row["f"]["all"] == pytest.approx(2 / 3)
    # A first pass warms up what is measured.
    assert asked == 2 * asked[:2]
    table = peers.tabulate({"other:en": {**row, "f": dict.fromkeys(row["f"], 0.5)}, "made:en": row})
    assert [line[1] for line in table.rows] == ["made", "other"]


def test_the_result_file_has_rows_of_systems_and_of_their_commands():
    content = json.loads(Path("benchmarks/results/peers.json").read_text(encoding="utf-8"))
    assert content["rows"]
    for name, row in content["rows"].items():
        assert name.split(":")[1] == row["language"]
        assert name in row["command"]
        assert 0 < row["f"]["all"] < 1

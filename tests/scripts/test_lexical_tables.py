"""Tables of BiLSTM-CRF runs: epochs, equal seeds, lengths, words without a vector."""

from pathlib import Path
from typing import Any

from spacy_xner.files import write_json

from scripts.figures import figures_of
from scripts.results import write_result
from scripts.views import tables_of
from tests.scripts.corpora import make_result


def make_run(
    variant: str, seed: int, tests: list[float], devs: list[float], source: list[float]
) -> dict[str, Any]:
    spanish = [
        {"dev": d, "test": t, "lengths": {"1": t, "2": t / 2}} for t, d in zip(tests, devs, strict=True)
    ]
    curve = [
        {"step": 1, "source_dev": s, "languages": {"es": es}} for s, es in zip(source, spanish, strict=True)
    ]
    axes = {"target": "es", "variant": variant, "seed": seed}
    return make_result(
        "lexical", axes, curve=curve, targets=["es"], languages=["en"], steps=504, parameters=1234
    )


RUNS = [
    make_run("full", 0, [0.4, 0.6], [0.5, 0.1], [0.1, 0.2]),
    make_run("full", 1, [0.5, 0.8], [0.5, 0.1], [0.1, 0.2]),
    make_run("char-only", 0, [0.3, 0.5], [0.1, 0.2], [0.1, 0.2]),
]


def test_tables_choose_epochs_and_compare_equal_seeds(tmp_path: Path) -> None:
    for i, run in enumerate(RUNS):
        write_result(tmp_path / f"{i}.json", run)
    described = {"name": "toy", "kind": "lexical", "axes": {}, "settings": {}}
    write_result(tmp_path / "experiment.json", described)
    shares = {"es-test": {"types": 0.25, "tokens": 0.125}}
    write_json(tmp_path / "unknown" / "es.json", shares)
    tables = {table.title: [list(row) for row in table.rows] for table in tables_of(tmp_path)}
    assert tables["Test F1, epoch chosen on source dev"] == [
        ["full", "**70.0 (14.1)**", "504"],
        ["char-only", "50.0", "504"],
    ]
    assert tables["Test F1, epoch chosen on target dev"][0][1] == "45.0 (7.1)"
    difference = "Difference from full with the same seed, epoch chosen on source dev"
    assert tables[difference] == [["char-only", "-10.0", "504"]]
    assert tables["F1 by words in the entity, full"] == [["es", "70.0 (14.1)", "35.0 (7.1)"]]
    assert tables["es: test F1 by what chooses the epoch"][0] == [
        "full", "70.0 (14.1)", "80.0", "45.0 (7.1)", "50.0", "70.0 (14.1)", "80.0", "1,234", "504",
    ]  # fmt: skip
    assert tables["Words without a vector"] == [["es es-test", "25.0 %", "12.5 %"]]
    write_json(tmp_path / "figures" / "lengths.json", {"es": {"5": [1, 2], "10": [0, 0]}})
    assert list(figures_of(tmp_path)) == ["Test F1 after every evaluation", "lengths"]


def test_runs_without_test_scores_have_no_test_curves(tmp_path: Path) -> None:
    run = make_run("full", 0, [0.4, 0.6], [0.5, 0.1], [0.1, 0.2])
    for line in run["curve"]:
        del line["languages"]["es"]["test"]
    write_result(tmp_path / "0.json", run)
    write_result(tmp_path / "experiment.json", {"name": "toy", "kind": "lexical", "axes": {}, "settings": {}})
    assert figures_of(tmp_path) == {}

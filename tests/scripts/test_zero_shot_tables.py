"""Tables of zero-shot runs: what each criterion selects, and gains over plain fine-tuning."""

from pathlib import Path
from typing import Any

import pytest

from scripts.figures import figures_of
from scripts.results import CRITERIA, long_table, write_result
from scripts.tables import gains, pivot, steps_of
from scripts.views import tables_of
from scripts.views.zero_shot import (
    RECIPE,
    choose_recipe,
    plain_recipe,
    rank_correlations,
    recipe_order,
    table_of_criteria,
)
from tests.scripts.corpora import make_result

Recipe = tuple[str, float, int]
PLAIN: Recipe = ("ML", 0.0, -1)
BETTER: Recipe = ("CL", 0.1, 3)


def epoch(source_dev: float, dev: float, test: float, **unlabelled: Any) -> dict[str, Any]:
    german = {"dev": dev, "test": test, "confidence": 0.5, "agreement": None, "density": 1.0, **unlabelled}
    english = {"dev": source_dev, "test": 0.9, "confidence": 0.9, "agreement": None, "density": 1.0}
    return {"step": 1, "source_dev": source_dev, "languages": {"en": english, "de": german}}


def make_run(recipe: Recipe, seed: int, *epochs: Any, targets: tuple[str, ...] = ("de",)) -> dict[str, Any]:
    axes = {**dict(zip(RECIPE, recipe, strict=True)), "seed": seed}
    languages = {"languages": ["en"], "targets": list(targets)}
    return make_result("zero_shot", axes, steps=100 * (seed + 1), curve=list(epochs), **languages)


# Every criterion chooses another epoch.
RUN = make_run(
    PLAIN, 0,
    epoch(0.1, 0.1, 0.21, density=0.2),
    epoch(0.9, 0.2, 0.22, density=0.5),
    epoch(0.2, 0.9, 0.23, density=3.0),
    epoch(0.3, 0.3, 0.24, confidence=0.9, density=0.1),
    epoch(0.3, 0.3, 0.25, agreement=0.9, density=0.1),
    epoch(0.3, 0.3, 0.26, density=1.1),
    epoch(0.3, 0.3, 0.99, density=0.1),
    epoch(0.3, 0.3, 0.28, density=0.1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("source dev", 22), ("target dev", 23), ("confidence", 24), ("agreement", 25), ("density", 26),
        ("target test", 99), ("last epoch", 28),
    ],
)  # fmt: skip
def test_a_criterion_selects_its_epoch(criterion: str, expected: float) -> None:
    frame = long_table([RUN])
    assert frame[frame.selection == criterion].f.tolist() == pytest.approx([expected])
    assert table_of_criteria(frame).loc[[PLAIN], criterion].iloc[0].mean == pytest.approx(expected)


def source_dev(runs: list[dict[str, Any]]) -> Any:
    frame = long_table(runs)
    return frame[frame.selection == "source dev"]


def cell(table: Any, recipe: Recipe, column: str) -> Any:
    return dict(zip(table.index, table[column], strict=True))[recipe]


def test_gains_are_paired_by_seed() -> None:
    frame = source_dev(
        [
            make_run(PLAIN, 0, epoch(1, 0, 0.5)), make_run(PLAIN, 1, epoch(1, 0, 0.7)),
            make_run(BETTER, 0, epoch(1, 0, 0.6)), make_run(BETTER, 1, epoch(1, 0, 0.8)),
            make_run(BETTER, 2, epoch(1, 0, 0.1)),
        ]
    )  # fmt: skip
    table = gains(frame, RECIPE, PLAIN, order=recipe_order)
    assert list(table.index) == [BETTER]
    gain = cell(table, BETTER, "de")
    assert (gain.mean, gain.deviation, gain.n) == (pytest.approx(10), pytest.approx(0), 2)
    assert cell(pivot(frame, RECIPE), BETTER, "de").n == 3
    assert steps_of(frame, RECIPE) == {PLAIN: "100–200", BETTER: "100–300"}


def test_plain_is_the_tagger_alone_with_the_fewest_frozen_layers() -> None:
    runs = [make_run(recipe, 0, epoch(1, 0, 0.5)) for recipe in (BETTER, ("ML", 0.0, 6), PLAIN)]
    assert plain_recipe(source_dev(runs)) == PLAIN
    assert plain_recipe(source_dev(runs[:2])) == ("ML", 0.0, 6)
    assert plain_recipe(source_dev(runs[:1])) is None


def test_each_criterion_prefers_a_recipe() -> None:
    runs = [
        make_run(PLAIN, 0, epoch(0.9, 0.1, 0.1, agreement=0.2)),
        make_run(BETTER, 0, epoch(0.8, 0.5, 0.6, agreement=0.9)),
    ]
    chosen = choose_recipe(long_table(runs))
    assert (chosen["source dev"], chosen["target dev"], chosen["agreement"]) == (PLAIN, BETTER, BETTER)
    assert set(chosen) == set(CRITERIA) - {"last epoch"}


def test_criteria_are_ranked_by_how_they_rank_recipes() -> None:
    recipes = [("ML", 0.0, n) for n in range(4)]
    runs = [
        make_run(recipe, 0, epoch(0.1, 0, 0.9), epoch(-i, i, i / 10, confidence=[0.1, 0.2, 0.4, 0.3][i]))
        for i, recipe in enumerate(recipes)
    ]
    other = make_run(recipes[0], 1, epoch(9, 9, 0.0))
    rhos = rank_correlations(long_table([*runs, other]))
    assert rhos["source dev"] == pytest.approx(-1)
    assert rhos["confidence"] == pytest.approx(0.8)
    assert set(rhos) == {"source dev", "confidence", "target dev"}
    assert rhos["target dev"] == pytest.approx(1)
    assert rank_correlations(long_table(runs[:2])) == {}
    alike = [make_run(recipe, 0, epoch(i, i, 0.0)) for i, recipe in enumerate(recipes)]
    assert rank_correlations(long_table(alike)) == {}


def test_unfinished_round_robins_have_no_mean_and_no_gain() -> None:
    other = ("CL+PC", 0.1, 3)
    frame = source_dev(
        [
            make_run(PLAIN, 0, epoch(1, 0, 0.4)), make_run(PLAIN, 0, epoch(0.5, 0, 0.3), targets=("en",)),
            make_run(other, 0, epoch(1, 0, 0.5)),
        ]
    )  # fmt: skip
    table = gains(frame, RECIPE, PLAIN)
    assert [getattr(cell(table, other, name), "mean", None) for name in ("de", "en", "mean")] == [
        pytest.approx(10), None, None,
    ]  # fmt: skip
    assert cell(pivot(frame, RECIPE), other, "mean") is None


def test_round_robin_runs_of_a_recipe_come_together() -> None:
    runs = [
        make_run(PLAIN, 0, epoch(1, 0, 0.4)),
        make_run(PLAIN, 0, epoch(0.5, 0, 0.3), targets=("en",)),
    ]
    table = pivot(source_dev(runs), RECIPE)
    assert [cell(table, PLAIN, name).mean for name in ("de", "en", "mean")] == pytest.approx([40, 90, 65])
    assert list(table.index) == [PLAIN]


def test_a_folder_of_results_becomes_tables_and_figures(tmp_path: Path) -> None:
    risk = {"fertility": 1.5, "unknown": 0.0, "unseen": 0.25, "script_overlap": 1.0}
    runs = [
        make_run(PLAIN, 0, epoch(0.1, 0.1, 0.5), epoch(0.2, 0.1, 0.625)),
        make_run(BETTER, 0, epoch(0.1, 0.1, 0.75), epoch(0.2, 0.1, 0.7)),
    ]
    for i, run in enumerate(runs):
        write_result(tmp_path / f"{i}.json", {**run, "risks": {"de": risk}})
    described = {"name": "toy", "kind": "zero_shot", "axes": {}, "settings": {}}
    write_result(tmp_path / "experiment.json", described)
    page = "\n".join(line for table in tables_of(tmp_path) for line in table.markdown())
    assert "| en to de | 1.50 | 0.0 % | 25.0 % | 100.0 % |" in page
    assert "| ML, -1 frozen | 62.5 | 100 |" in page
    assert "| CL x 0.1, 3 frozen | **70.0** | 100 |" in page
    assert "| CL x 0.1, 3 frozen | +7.5 | 100 |" in page
    [figure] = figures_of(tmp_path).values()
    assert figure.startswith("<svg")

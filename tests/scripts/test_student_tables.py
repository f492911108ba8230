"""Tables of students: what is compared with what."""

from pathlib import Path
from typing import Any

import pytest

from scripts.figures import draw_domains
from scripts.results import long_table, write_result
from scripts.tables import Cells, pivot
from scripts.variants import BEST, RECIPES, ZERO_SHOT
from scripts.views import tables_of
from scripts.views.students import alike_but, amounts, in_domains, plain_students, rates
from tests.scripts.corpora import make_result


def make_run(
    recipe: str, seed: int, f: float, *, language: str = "es", domains: str = "news", amount: int = 0,
    frozen: int = 3, gamma: float = 4.0, n: int = 100, **sets: float,
) -> dict[str, Any]:  # fmt: skip
    is_student = recipe != ZERO_SHOT
    axes = {
        "language": language, "recipe": recipe, "domains": domains if is_student else "",
        "amount": amount if is_student else 0, "frozen": frozen if is_student else 0,
        "gamma": gamma if is_student and RECIPES[recipe].reweighted else 0.0, "seed": seed,
    }  # fmt: skip
    scores = [row(language, source, "all", value) for source, value in sets.items()]
    labels = {"all": f, "PER": f, "LOC": f / 2}
    scores += [row(language, "wiki", label, value) for label, value in labels.items()]
    return make_result("students", axes, scores=scores, sentences=n if is_student else 0, steps=n // 2)


def row(language: str, source: str, label: str, f: float) -> dict[str, Any]:
    return {"split": "test", "language": language, "source": source, "label": label, "p": f, "r": f, "f": f}


RUNS = [
    make_run(ZERO_SHOT, 0, 0.50), make_run(ZERO_SHOT, 1, 0.60),
    make_run(BEST, 0, 0.70), make_run(BEST, 1, 0.80),
    make_run("mixed CE", 0, 0.65),
    make_run(BEST, 0, 0.75, frozen=6),
    make_run(BEST, 0, 0.72, gamma=1.0), make_run("sequential CE", 0, 0.71),
    make_run(BEST, 0, 0.66, amount=50, n=50),
]  # fmt: skip


def scores(runs: list[dict[str, Any]]) -> Any:
    frame = long_table(runs)
    return frame[frame.label == "all"]


def column(cells: Cells, name: str = "es wiki") -> dict[Any, str]:
    return {label[0]: str(cell) for label, cell in zip(cells.index, cells[name], strict=True)}


def test_recipes_are_compared_at_the_setting_that_most_runs_have() -> None:
    assert column(pivot(plain_students(scores(RUNS)), ["recipe"])) == {
        BEST: "75.0 (7.1)", ZERO_SHOT: "55.0 (7.1)", "sequential CE": "71.0", "mixed CE": "65.0",
    }  # fmt: skip


def test_one_setting_is_varied_at_a_time() -> None:
    frame = scores(RUNS)
    frozen = column(pivot(alike_but(frame, "frozen"), ["frozen"]))
    assert frozen == {3: "75.0 (7.1)", 6: "75.0"}
    gammas = alike_but(frame, "gamma", (BEST, "sequential CE"))
    assert column(pivot(gammas, ["gamma"])) == {0: "71.0", 1: "72.0", 4: "75.0 (7.1)"}


def test_precision_and_recall_stand_beside_f1_by_recipe_and_gamma() -> None:
    runs = [
        make_run(ZERO_SHOT, 0, 0.5),
        make_run("mixed RW", 0, 0.6),
        make_run("mixed RW", 0, 0.4, gamma=1.0),
    ]
    runs += [make_run("mixed RW", 1, 0.8), make_run("mixed RW", 0, 0.9, frozen=6)]
    for run in runs:
        for score in run["scores"]:
            score["p"], score["r"] = score["f"] + 0.05, score["f"] - 0.05
    table = rates(scores(runs), "es wiki")
    assert table is not None
    assert table.header == ["", "P", "R", "F1", "steps"]
    shown = [[cell.replace("*", "") for cell in row] for row in table.rows]
    assert shown == [
        [ZERO_SHOT, "55.0", "45.0", "50.0", "50"],
        ["mixed RW, gamma 1", "45.0", "35.0", "40.0", "50"],
        ["mixed RW, gamma 4", "75.0 (14.1)", "65.0 (14.1)", "70.0 (14.1)", "50"],
    ]
    assert rates(scores(runs), "zh wiki") is None


def test_means_wait_for_all_test_sets_of_a_seed() -> None:
    runs = [make_run(ZERO_SHOT, 0, 0.5, pud=0.7), make_run(ZERO_SHOT, 1, 0.9, pud=0.5)]
    runs += [make_run(ZERO_SHOT, 0, 0.2, language="zh")]
    table = pivot(scores(runs), ["recipe"])
    assert list(table) == ["es pud", "es wiki", "zh wiki", "mean"]
    assert column(table, "es pud")[ZERO_SHOT] == "60.0 (14.1)"
    # Seed 1 has no Chinese yet.
    average = table["mean"].iloc[0]
    assert average.mean == pytest.approx(100 * (0.7 + 0.5 + 0.2) / 3)
    assert average.n == 1


def test_domains_are_compared_alone_and_together() -> None:
    runs = [
        make_run(ZERO_SHOT, 0, 0.5), make_run(ZERO_SHOT, 0, 0.4, language="de"),
        make_run(BEST, 0, 0.6), make_run(BEST, 0, 0.7, domains="talk"),
        make_run(BEST, 0, 0.8, domains="news+talk"), make_run(BEST, 0, 0.9, language="de"),
    ]  # fmt: skip
    domains = in_domains(scores(runs))
    assert set(domains.language) == {"es"}
    assert column(pivot(domains, ["domains"])) == {
        ZERO_SHOT: "50.0", "news": "60.0", "talk": "70.0", "news+talk": "80.0",
    }  # fmt: skip
    # German has one domain alone: it is compared by recipe, with the widest mixture of each language.
    assert column(pivot(plain_students(scores(runs)), ["recipe"]))[BEST] == "80.0"
    figure = draw_domains(in_domains(long_table(runs)))
    assert figure is not None
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights == pytest.approx([25, 50, 50, 30, 60, 60, 35, 70, 70, 40, 80, 80])
    assert draw_domains(in_domains(long_table(RUNS))) is None


def test_curves_have_a_point_an_amount() -> None:
    # Runs that differ in frozen layers or gamma have no place on the curve.
    curve = pivot(amounts(scores(RUNS), "es"), ["sentences"])
    assert column(curve) == {0: "55.0 (7.1)", 50: "66.0", 100: "75.0 (7.1)"}
    assert amounts(scores(RUNS), "de").empty


def test_runs_become_markdown(tmp_path: Path) -> None:
    for i, run in enumerate(RUNS):
        write_result(tmp_path / f"{i}.json", run)
    described = {"name": "toy", "kind": "students", "axes": {}, "settings": {}}
    write_result(tmp_path / "experiment.json", described)
    tables = {table.title: table for table in tables_of(tmp_path)}
    page = "\n".join(line for table in tables.values() for line in table.markdown())
    assert "| sequential RW | **75.0 (7.1)** | 50 |" in page
    recipes = [row[0] for row in tables["Recipes: test F1"].rows]
    assert recipes == [BEST, ZERO_SHOT, "sequential CE", "mixed CE"]
    assert list(tables["Silver sentences, es: test F1"].rows[1]) == ["50", "66.0", "25"]
    assert "Domains: test F1" not in tables

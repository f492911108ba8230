"""Tables of students: what is compared with what."""

import json
from collections import Counter

import pytest
import typer
from typer.testing import CliRunner

from spacy_xner.projector.summary import SilverCounts

import print_tables
import silver
from runs import CORPORA
from students import RECIPES, ZERO_SHOT, Run, plan_runs


def make_run(recipe, seed, f, *, language="es", domains="news", amount=0, frozen=3, gamma=4.0, n=100, **sets):
    student = recipe != ZERO_SHOT
    own_gamma = gamma if student and RECIPES[recipe].reweighted else 0.0
    run = Run(
        language, recipe, domains if student else "", amount if student else 0, frozen if student else 0,
        own_gamma, seed,
    )  # fmt: skip
    scores = {
        source: {"ents_f": value, "ents_per_type": {"PER": {"f": value}}} for source, value in sets.items()
    }
    scores["wiki"] = {"ents_f": f, "ents_per_type": {"PER": {"f": f}, "LOC": {"f": f / 2}}}
    return {**run._asdict(), "scores": {"test": scores}, "settings": {}, "sentences": n if student else 0}


app = typer.Typer()
app.command()(print_tables.main)
BEST = "sequential RW"
RUNS = [
    make_run(ZERO_SHOT, 0, 0.50), make_run(ZERO_SHOT, 1, 0.60),
    make_run(BEST, 0, 0.70), make_run(BEST, 1, 0.80),
    make_run("mixed CE", 0, 0.65),
    make_run(BEST, 0, 0.75, frozen=6),
    make_run(BEST, 0, 0.72, gamma=1.0), make_run("sequential CE", 0, 0.71),
    make_run(BEST, 0, 0.66, amount=50, n=50),
]  # fmt: skip


def test_recipes_are_compared_at_the_setting_that_most_runs_have():
    table = silver.table_of_recipes(RUNS)
    assert list(table) == [BEST, ZERO_SHOT, "sequential CE", "mixed CE"]
    assert str(table[BEST]["es wiki"]) == "75.0 (7.1)"
    assert str(table["mixed CE"]["mean"]) == "65.0"
    assert list(silver.table_of_languages(RUNS)) == [ZERO_SHOT, BEST]


def test_one_setting_is_varied_at_a_time():
    frozen = silver.table_of_frozen(RUNS)
    assert {name: str(row["mean"]) for name, row in frozen.items()} == {"3": "75.0 (7.1)", "6": "75.0"}
    gammas = silver.table_of_gammas(RUNS)
    assert {name: str(row["mean"]) for name, row in gammas.items()} == {
        "0": "71.0", "1": "72.0", "4": "75.0 (7.1)",
    }  # fmt: skip


def test_means_wait_for_all_test_sets_of_a_seed():
    runs = [make_run(ZERO_SHOT, 0, 0.5, pud=0.7), make_run(ZERO_SHOT, 1, 0.9)]
    runs[1]["scores"]["test"]["pud"] = {"ents_f": 0.5, "ents_per_type": {}}
    runs += [make_run(ZERO_SHOT, 0, 0.2, language="zh")]
    row = silver.tabulate(runs, lambda run: run["recipe"])[ZERO_SHOT]
    assert list(row) == ["es pud", "es wiki", "zh wiki", "mean"]
    assert str(row["es pud"]) == "60.0 (14.1)"
    # Seed 1 has no Chinese yet.
    assert row["mean"].mean == pytest.approx(100 * (0.7 + 0.5 + 0.2) / 3)
    assert row["mean"].n == 1


def test_domains_are_compared_alone_and_together():
    runs = [
        make_run(ZERO_SHOT, 0, 0.5), make_run(ZERO_SHOT, 0, 0.4, language="de"),
        make_run(BEST, 0, 0.6), make_run(BEST, 0, 0.7, domains="talk"),
        make_run(BEST, 0, 0.8, domains="news+talk"), make_run(BEST, 0, 0.9, language="de"),
    ]  # fmt: skip
    table = silver.table_of_domains(runs)
    assert {name: str(row["mean"]) for name, row in table.items()} == {
        ZERO_SHOT: "50.0", "news": "60.0", "talk": "70.0", "news+talk": "80.0",
    }  # fmt: skip
    # German has one domain alone: it is compared by recipe, with the widest mixture of each language.
    assert str(silver.table_of_recipes(runs)[BEST]["es wiki"]) == "80.0"
    figure = silver.draw_domains(runs)
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights == pytest.approx([25, 50, 50, 30, 60, 60, 35, 70, 70, 40, 80, 80])
    assert silver.draw_domains(RUNS) is None


def test_curves_have_a_point_an_amount():
    # Runs that differ in frozen layers or gamma have no place on the curve.
    curve = silver.amounts(RUNS, "es")
    assert {size: str(cell) for size, cell in curve["wiki"].items()} == {
        0: "55.0 (7.1)", 50: "66.0", 100: "75.0 (7.1)",
    }  # fmt: skip
    assert silver.amounts(RUNS, "de") == {}


def test_runs_and_counts_become_markdown(tmp_path):
    for i, run in enumerate(RUNS):
        (tmp_path / f"{i}.json").write_text(json.dumps(run))
    counts = {"es-news": SilverCounts(1200, kept=900, labels=Counter(PER=300, LOC=50)).to_json()}
    (tmp_path / CORPORA).write_text(json.dumps(counts))
    assert len(silver.read_results(tmp_path)) == len(RUNS)
    page = CliRunner().invoke(app, [str(tmp_path)]).output
    assert "| sequential RW | **75.0 (7.1)** | **75.0 (7.1)** |" in page
    assert "| es-news | 1,200 | 900 | 0 | 50 | 300 | 350 |" in page


def test_a_folder_without_runs_is_told(tmp_path):
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 1
    assert "no experiment has been run there" in " ".join(result.output.split())


def test_plans_have_no_run_twice():
    options = (["es"], [ZERO_SHOT, BEST, "sequential CE"], ["news"], [0, 50], [0, 3], [1.0, 4.0], 2)
    names = [run.name for run in plan_runs(*options)]
    assert len(names) == len(set(names)) == 2 * (1 + 8 + 4)
    assert "es.zero-shot-seed1" in names
    assert "es.sequential-RW-news-50-frozen3-gamma4-seed0" in names
    assert "es.sequential-CE-news-all-frozen0-seed1" in names


def test_unknown_recipes_are_refused():
    with pytest.raises(SystemExit):
        list(plan_runs(["es"], ["sequentail"], ["news"], [0], [3], [4.0], 1))

"""Tables of zero-shot runs: what each criterion selects, and gains over plain fine-tuning."""

import pytest

import transfer
from transfer import Recipe

PLAIN, BETTER = Recipe("ML", 0.0, -1), Recipe("CL", 0.1, 3)


def epoch(source_dev, dev, test, **unlabelled):
    german = {"dev": dev, "test": test, "confidence": 0.5, "agreement": None, "density": 1.0, **unlabelled}
    english = {"dev": source_dev, "test": 0.9, "confidence": 0.9, "agreement": None, "density": 1.0}
    return {"source_dev": source_dev, "losses": {}, "languages": {"en": english, "de": german}}


def make_run(recipe, seed, *epochs, targets=("de",)):
    languages = {"languages": ["en"], "targets": list(targets)}
    return {**recipe._asdict(), "seed": seed, **languages, "epochs": list(epochs)}


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
        ("source dev", 0.22), ("target dev", 0.23), ("confidence", 0.24), ("agreement", 0.25),
        ("density", 0.26), ("target test", 0.99), ("last epoch", 0.28),
    ],
)  # fmt: skip
def test_a_criterion_selects_its_epoch(criterion, expected):
    assert transfer.score(RUN, "de", criterion) == expected
    assert transfer.table_of_criteria([RUN])[PLAIN][criterion].mean == pytest.approx(100 * expected)


def test_gains_are_paired_by_seed():
    runs = [
        make_run(PLAIN, 0, epoch(1, 0, 0.5)), make_run(PLAIN, 1, epoch(1, 0, 0.7)),
        make_run(BETTER, 0, epoch(1, 0, 0.6)), make_run(BETTER, 1, epoch(1, 0, 0.8)),
        make_run(BETTER, 2, epoch(1, 0, 0.1)),
    ]  # fmt: skip
    gain = transfer.gains(runs, "source dev")[BETTER]["de"]
    assert (gain.mean, gain.deviation, gain.n) == (pytest.approx(10), pytest.approx(0), 2)
    assert transfer.table(runs, "source dev")[BETTER]["de"].n == 3


def test_plain_is_the_tagger_alone_with_the_fewest_frozen_layers():
    runs = [make_run(recipe, 0, epoch(1, 0, 0.5)) for recipe in (BETTER, Recipe("ML", 0.0, 6), PLAIN)]
    assert transfer.plain_recipe(runs) == PLAIN
    assert transfer.plain_recipe(runs[:2]) == Recipe("ML", 0.0, 6)
    assert transfer.plain_recipe(runs[:1]) is None
    assert transfer.gains(runs[:1], "source dev")[BETTER]["de"] is None


def test_each_criterion_prefers_a_recipe():
    runs = [
        make_run(PLAIN, 0, epoch(0.9, 0.1, 0.1, agreement=0.2)),
        make_run(BETTER, 0, epoch(0.8, 0.5, 0.6, agreement=0.9)),
    ]
    chosen = transfer.choose_recipe(runs)
    assert (chosen["source dev"], chosen["target dev"], chosen["agreement"]) == (PLAIN, BETTER, BETTER)


def test_criteria_are_ranked_by_how_they_rank_recipes():
    recipes = [Recipe("ML", 0.0, n) for n in range(4)]
    runs = [
        make_run(recipe, 0, epoch(0.1, 0, 0.9), epoch(-i, i, i / 10, confidence=[0.1, 0.2, 0.4, 0.3][i]))
        for i, recipe in enumerate(recipes)
    ]
    other = make_run(recipes[0], 1, epoch(9, 9, 0.0))
    found = transfer.rank_correlations([*runs, other])
    assert found["target dev"] == pytest.approx(1)
    assert found["source dev"] == pytest.approx(-1)
    assert found["confidence"] == pytest.approx(0.8)
    assert set(found) == {"source dev", "confidence", "target dev"}
    assert transfer.rank_correlations(runs[:2]) == {}
    alike = [make_run(recipe, 0, epoch(i, i, 0.0)) for i, recipe in enumerate(recipes)]
    assert transfer.rank_correlations(alike) == {}


def test_unfinished_round_robins_have_no_mean_and_no_gain():
    other = Recipe("CL+PC", 0.1, 3)
    runs = [
        make_run(PLAIN, 0, epoch(1, 0, 0.4)), make_run(PLAIN, 0, epoch(0.5, 0, 0.3), targets=["en"]),
        make_run(other, 0, epoch(1, 0, 0.5)),
    ]  # fmt: skip
    gain = transfer.gains(runs, "source dev")[other]
    assert (gain["de"].mean, gain["en"], gain["mean"]) == (pytest.approx(10), None, None)
    assert transfer.table(runs, "source dev")[other]["mean"] is None


def test_round_robin_runs_of_a_recipe_come_together():
    runs = [make_run(PLAIN, 0, epoch(1, 0, 0.4)), make_run(PLAIN, 0, epoch(0.5, 0, 0.3), targets=["en"])]
    row = transfer.table(runs, "source dev")[PLAIN]
    assert [row[name].mean for name in ("de", "en", "mean")] == pytest.approx([40, 90, 65])
    assert list(transfer.table(runs, "source dev")) == [PLAIN]

"""Tables of zero-shot runs. SOURCE: Moon et al. 2019, Tables 3 to 7."""

from pathlib import Path
from typing import Any

import pandas
from scipy.stats import spearmanr

from scripts.results import CRITERIA, Result, long_table
from scripts.tables import AVERAGE, Cells, Frame, Table, gains, pivot, show, steps_of

OBJECTIVES = ["ML", "LI", "CL", "PC", "CL+LI", "PC+LI", "ST"]
RECIPE = ["objectives", "weight", "frozen"]


def recipe_order(row: tuple[Any, ...]) -> tuple[int, str, float, int]:
    """Sort recipes as the paper does: objectives, then the loudest, then the fewest frozen layers."""
    objectives, weight, n_frozen = row
    known = OBJECTIVES.index(objectives) if objectives in OBJECTIVES else len(OBJECTIVES)
    return known, objectives, -weight, n_frozen


def recipe_name(row: tuple[Any, ...]) -> str:
    """Name objectives (ML is none), their weight, and frozen layers."""
    objectives, weight, n_frozen = row
    return f"{objectives}{f' x {weight:g}' if weight else ''}, {n_frozen} frozen"


def plain_recipe(frame: Frame) -> tuple[Any, ...] | None:
    """The tagger alone with the fewest frozen layers; None if all runs have objectives."""
    alone = {tuple(row) for row in frame[frame.weight == 0][RECIPE].itertuples(index=False)}
    return min(alone, key=recipe_order, default=None)


def table_of_criteria(frame: Frame) -> Cells:
    """Mean F1 of the targets by recipe and by what chose the evaluation."""
    columns = {
        name: table[AVERAGE]
        if AVERAGE in (table := pivot(selected, RECIPE, order=recipe_order))
        else table.iloc[:, 0]
        for name in CRITERIA
        if len(selected := frame[frame.selection == name])
    }
    return pandas.DataFrame(columns)


def choose_recipe(frame: Frame) -> dict[str, tuple[Any, ...]]:
    """The recipe that each criterion prefers: its value where it chose, averaged over runs and targets."""
    chosen = {}
    for name in CRITERIA:
        values = frame[frame.selection == name].groupby(RECIPE)["value"].mean()
        if name != "last epoch" and len(values):
            chosen[name] = max(values.index, key=lambda row: values[row])
    return chosen


def rank_correlations(frame: Frame) -> dict[str, float]:
    """How alike a criterion and the test rank recipes: Spearman's rho over the last evaluations of one seed.

    RETURNS: By criterion; nothing for fewer than three recipes.
    """
    first = frame[frame.seed == frame.seed.min()]
    means = {name: selected.groupby(RECIPE)["last"].mean() for name, selected in first.groupby("selection")}
    test = means["target test"]
    if len(test) < 3 or test.nunique() == 1:
        return {}
    return {
        name: float(spearmanr(means[name], test)[0])
        for name in CRITERIA
        # One value for all recipes ranks nothing, as the last epoch does.
        if name != "target test" and name in means and means[name].nunique() > 1
    }


def tables(folder: Path, results: list[Result]) -> list[Table]:
    """Risks, F1 by recipe and by what chose the epoch, and gains over plain fine-tuning."""
    frame = long_table(results)
    tables = [_table_of_risks(results)]
    for criterion in ("source dev", "target dev"):
        selected = frame[frame.selection == criterion]
        cells = pivot(selected, RECIPE, order=recipe_order)
        steps = steps_of(selected, RECIPE)
        tables.append(show(f"Test F1, epoch chosen on {criterion}", cells, steps, label=recipe_name))
    selected = frame[frame.selection == "source dev"]
    baseline = plain_recipe(selected)
    if baseline is not None and len(selected.groupby(RECIPE)) > 1:
        title = (
            f"Gain over plain fine-tuning ({recipe_name(baseline)}), same seed, epoch chosen on source dev"
        )
        cells = gains(selected, RECIPE, baseline, order=recipe_order)
        tables.append(show(title, cells, steps_of(selected, RECIPE), signed=True, label=recipe_name))
    title = "Mean test F1 of the targets by what chooses the epoch"
    tables.append(show(title, table_of_criteria(frame), steps_of(frame, RECIPE), best="", label=recipe_name))
    chosen, rhos = choose_recipe(frame), rank_correlations(frame)
    rows = [
        [name, recipe_name(row), f"{rhos[name]:.2f}" if name in rhos else "–"] for name, row in chosen.items()
    ]
    header = ["", "preferred recipe", "rank correlation with the targets' test F1, first seed"]
    return [*tables, Table("The recipe that each criterion prefers", header, rows)]


def _table_of_risks(results: list[Result]) -> Table:
    risks = {
        f"{'+'.join(result['languages'])} to {target}": risk
        for result in results
        for target, risk in result.get("risks", {}).items()
    }
    shares = ("unknown", "unseen", "script_overlap")
    rows = [
        [name, f"{risk['fertility']:.2f}", *(f"{100 * risk[share]:.1f} %" for share in shares)]
        for name, risk in sorted(risks.items())
    ]
    header = ["transfer", "wordpieces a token", "unknown", "not in the source", "letters in its scripts"]
    return Table("Risk of each transfer, by training text alone", header, rows)

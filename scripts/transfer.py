"""Tables and figures of zero-shot runs. Pure functions on what `zero_shot.py` wrote.

SOURCE: Moon et al. 2019, Tables 3, 6 and 7, Figures 2 and 3.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from scipy.stats import spearmanr

from runs import read_results
from tables import Cell, choose, embolden, make_panels, summarize, to_markdown

OBJECTIVES = ["ML", "LI", "CL", "PC", "CL+LI", "PC+LI"]
AVERAGE = "mean"


class Recipe(NamedTuple):
    """What a run does besides learning the labels: objectives (ML is none), their weight, frozen layers."""

    objectives: str
    weight: float
    n_frozen_layers: int

    def __str__(self) -> str:
        weight = f" x {self.weight:g}" if self.weight else ""
        return f"{self.objectives}{weight}, {self.n_frozen_layers} frozen"


def _same_density(epoch: dict[str, Any], run: dict[str, Any], language: str) -> float:
    """How close a language's predicted entities a sentence are to the source's, as a log ratio."""
    source = mean(epoch["languages"][lang]["density"] for lang in run["languages"])
    own = epoch["languages"][language]["density"]
    return -abs(math.log((own + 1e-3) / (source + 1e-3)))


Criterion = Callable[[dict[str, Any], dict[str, Any], str], float]
# The best epoch is the one of which this is greatest; the last of equals. Only "target dev" needs labels
# of the target, "target test" is what nobody can have.
CRITERIA: dict[str, Criterion] = {
    "source dev": lambda epoch, run, language: epoch["source_dev"],
    "last epoch": lambda epoch, run, language: 0.0,
    "confidence": lambda epoch, run, language: epoch["languages"][language]["confidence"],
    "agreement": lambda epoch, run, language: epoch["languages"][language]["agreement"] or 0.0,
    "density": _same_density,
    "target dev": lambda epoch, run, language: epoch["languages"][language]["dev"],
    "target test": lambda epoch, run, language: epoch["languages"][language]["test"],
}


def recipe_of(run: dict[str, Any]) -> Recipe:
    """The recipe of a run."""
    return Recipe(run["objectives"], run["weight"], run["n_frozen_layers"])


def select(run: dict[str, Any], language: str, criterion: str) -> dict[str, Any]:
    """The epoch that a criterion chooses for a language."""
    measure = CRITERIA[criterion]
    values = [measure(epoch, run, language) for epoch in run["epochs"]]
    return run["epochs"][choose(values)]


def score(run: dict[str, Any], language: str, criterion: str) -> float:
    """Test F1 of a language at the epoch that a criterion chooses."""
    return float(select(run, language, criterion)["languages"][language]["test"])


def scores_by_seed(
    runs: Iterable[dict[str, Any]], criterion: str
) -> dict[Recipe, dict[int, dict[str, float]]]:
    """Test F1 of the target languages, by recipe, seed and language, and their mean.

    Several runs of one recipe and seed (leave-one-out) come together; the mean waits for all of them.
    """
    runs = list(runs)
    columns = target_languages(runs)
    found: dict[Recipe, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        for language in run["targets"]:
            found[recipe_of(run)][run["seed"]][language] = score(run, language, criterion)
    for seeds in found.values():
        for languages in seeds.values():
            if set(languages) == set(columns):
                languages[AVERAGE] = mean(languages.values())
    return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def table(runs: list[dict[str, Any]], criterion: str) -> dict[Recipe, dict[str, Cell | None]]:
    """F1 by recipe and language over seeds (the paper's Tables 3, 6 and 7)."""
    columns = target_languages(runs)
    return {
        recipe: {
            language: summarize([own[language] for own in seeds.values() if language in own])
            for language in [*columns, AVERAGE]
        }
        for recipe, seeds in scores_by_seed(runs, criterion).items()
    }


def plain_recipe(runs: list[dict[str, Any]]) -> Recipe | None:
    """The tagger alone with the fewest frozen layers; None if all runs have objectives."""
    alone = {recipe_of(run) for run in runs if not run["weight"]}
    return min(alone, key=_order, default=None)


def gains(runs: list[dict[str, Any]], criterion: str) -> dict[Recipe, dict[str, Cell | None]]:
    """Differences from plain fine-tuning with the same seeds, by recipe and language.

    Plain is the tagger alone with the fewest frozen layers of these runs.
    """
    scores = scores_by_seed(runs, criterion)
    plain = scores.pop(plain_recipe(runs), {})
    columns = [*target_languages(runs), AVERAGE]
    return {
        recipe: {
            language: summarize(
                [
                    seeds[seed][language] - plain[seed][language]
                    for seed in seeds
                    if language in seeds[seed] and language in plain.get(seed, {})
                ]
            )
            for language in columns
        }
        for recipe, seeds in scores.items()
    }


def table_of_criteria(runs: list[dict[str, Any]]) -> dict[Recipe, dict[str, Cell | None]]:
    """Mean F1 of the targets by recipe and by what chose the epoch."""
    by_criterion = {name: table(runs, name) for name in CRITERIA}
    return {
        recipe: {name: by_criterion[name][recipe][AVERAGE] for name in CRITERIA}
        for recipe in by_criterion["source dev"]
    }


def choose_recipe(runs: list[dict[str, Any]]) -> dict[str, Recipe]:
    """The recipe that each criterion prefers, its value at its own choice of epochs averaged over runs."""
    chosen = {}
    for name, measure in CRITERIA.items():
        if name == "last epoch":
            continue
        values: dict[Recipe, list[float]] = defaultdict(list)
        for run in runs:
            for language in run["targets"]:
                values[recipe_of(run)].append(measure(select(run, language, name), run, language))
        chosen[name] = max(values, key=lambda recipe: mean(values[recipe]))
    return chosen


def rank_correlations(runs: list[dict[str, Any]]) -> dict[str, float]:
    """How alike a criterion and the test rank recipes: Spearman's rho over the last epochs of one seed.

    RETURNS: By criterion; nothing for fewer than three recipes.
    """
    seed = min(run["seed"] for run in runs)
    values: dict[str, dict[Recipe, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run["seed"] == seed:
            for (name, measure), language in product(CRITERIA.items(), run["targets"]):
                values[name][recipe_of(run)].append(measure(run["epochs"][-1], run, language))
    means = {name: [mean(own) for own in by_recipe.values()] for name, by_recipe in values.items()}
    if len(means["target test"]) < 3 or len(set(means["target test"])) == 1:
        return {}
    return {
        name: float(spearmanr(means[name], means["target test"])[0])
        for name in CRITERIA
        # One value for all recipes ranks nothing, as the last epoch does.
        if name != "target test" and len(set(means[name])) > 1
    }


def target_languages(runs: Iterable[dict[str, Any]]) -> list[str]:
    """All languages that are a target of some run."""
    return sorted({language for run in runs for language in run["targets"]})


def draw_curves(runs: list[dict[str, Any]]) -> Any:
    """Draw test F1 of every epoch, a panel a language, a line a recipe (the paper's Figures 2 and 3)."""
    from matplotlib import pyplot

    languages = target_languages(runs)
    figure, panels = make_panels(languages, columns=4, width=13, height=3)
    curves: dict[str, dict[Recipe, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for language in run["targets"]:
            values = [100 * epoch["languages"][language]["test"] for epoch in run["epochs"]]
            curves[language][recipe_of(run)].append(values)
    for axis, language in zip(panels, languages, strict=True):
        axis.set_prop_cycle(color=pyplot.colormaps["tab20"].colors)
        for recipe, values in sorted(curves[language].items(), key=lambda item: _order(item[0])):
            means = list(map(mean, zip(*values, strict=True)))
            axis.plot(range(1, len(means) + 1), means, marker="o", markersize=3, label=str(recipe))
        axis.set(xlabel="epoch", ylabel="test F1")
        axis.xaxis.get_major_locator().set_params(integer=True)
    panels[-1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def markdown(folder: Path) -> str:
    """All tables of a folder of runs as Markdown."""
    runs = read_results(folder)
    columns = [*target_languages(runs), AVERAGE]
    settings = ", ".join(f"{key} {value}" for key, value in runs[0]["settings"].items())
    lines = [f"Settings: {settings}.", ""]
    risks = json.loads((folder / "risk.json").read_text(encoding="utf-8"))
    shares = ("unknown", "unseen", "script_overlap")
    lines += to_markdown(
        ["transfer", "wordpieces a token", "unknown", "not in the source", "letters in its scripts"],
        [
            [name, f"{risk['fertility']:.2f}", *(f"{100 * risk[share]:.1f} %" for share in shares)]
            for name, risk in risks.items()
        ],
    )
    for criterion in ("source dev", "target dev"):
        cells = table(runs, criterion)
        by_column = {column: embolden(cells[recipe][column] for recipe in cells) for column in columns}
        rows = [[recipe, *(by_column[column][i] for column in columns)] for i, recipe in enumerate(cells)]
        lines += ["", f"Epoch chosen on {criterion}:", "", *to_markdown(["", *columns], rows)]
    differences = gains(runs, "source dev")
    rows = [[recipe, *(_signed(row[column]) for column in columns)] for recipe, row in differences.items()]
    lines += ["", f"Gain over plain fine-tuning ({plain_recipe(runs)}), epoch chosen on source dev:", ""]
    lines += to_markdown(["", *columns], rows)
    rows = [
        [recipe, *(cell or "–" for cell in row.values())] for recipe, row in table_of_criteria(runs).items()
    ]
    lines += [
        "",
        "Mean F1 of the targets by what chooses the epoch:",
        "",
        *to_markdown(["", *CRITERIA], rows),
    ]
    chosen = choose_recipe(runs)
    lines += ["", "Recipe that each prefers: " + "; ".join(f"{k}: {v}" for k, v in chosen.items()) + "."]
    if rhos := rank_correlations(runs):
        shown = ", ".join(f"{name} {rho:.2f}" for name, rho in rhos.items())
        lines += ["", f"Rank correlation with the targets' test F1 over the recipes, first seed: {shown}."]
    return "\n".join(lines) + "\n"


def _signed(cell: Cell | None) -> str:
    return "–" if cell is None else f"{cell.mean:+.1f}" + (f" ({cell.deviation:.1f})" if cell.n > 1 else "")


def _order(recipe: Recipe) -> tuple[int, str, float, int]:
    known = OBJECTIVES.index(recipe.objectives) if recipe.objectives in OBJECTIVES else len(OBJECTIVES)
    return known, recipe.objectives, -recipe.weight, recipe.n_frozen_layers

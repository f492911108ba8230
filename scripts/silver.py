"""Tables and figures of students and their silver corpora. Pure functions on what `students.py` wrote.

SOURCE: Li et al. 2021, Tables 1 to 3, Figures 3 and 4, section 5.1.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from runs import CORPORA, read_results
from students import RECIPES, ZERO_SHOT
from tables import Cell, make_panels, summarize, titled, to_markdown

BEST = "sequential RW"
# What makes a run besides its recipe.
SETTINGS = ("language", "domains", "amount", "n_frozen_layers", "gamma", "seed")
Runs = list[dict[str, Any]]
Table = dict[str, dict[str, Cell | None]]


def read_counts(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what became of the pairs of every silver corpus, by `{lang}-{domain}`."""
    path = folder / CORPORA
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def plain_runs(runs: Runs) -> Runs:
    """The runs that the recipes are compared by: zero-shot, and the setting that most runs have."""
    students = [run for run in runs if run["recipe"] != ZERO_SHOT]
    if not students:
        return runs
    kept = runs
    for key in ("amount", "n_frozen_layers"):
        values = [run[key] for run in students]
        most = max(sorted(set(values)), key=values.count)
        kept = [run for run in kept if run["recipe"] == ZERO_SHOT or run[key] == most]
    gammas = [run["gamma"] for run in students if RECIPES[run["recipe"]].reweighted]
    most = max(sorted(set(gammas)), key=gammas.count) if gammas else 0.0
    # The greatest mixture of domains that a language has.
    domains = {run["language"]: "" for run in kept}
    for run in kept:
        domains[run["language"]] = max(domains[run["language"]], run["domains"], key=len)
    return [
        run
        for run in kept
        if run["recipe"] == ZERO_SHOT
        or (run["gamma"] in (0.0, most) and run["domains"] == domains[run["language"]])
    ]


def test_sets(runs: Runs) -> list[tuple[str, str]]:
    """Languages and sources of all test sets."""
    return sorted({(run["language"], source) for run in runs for source in run["scores"]["test"]})


def tabulate(runs: Runs, key: Callable[[dict[str, Any]], str], order: Iterable[str] | None = None) -> Table:
    """F1 over seeds: a row a value of the key, a column a test set, and their mean."""
    names = list(order) if order is not None else sorted({key(run) for run in runs})
    columns = test_sets(runs)
    table: Table = {}
    for name in names:
        own = [run for run in runs if key(run) == name]
        if not own:
            continue
        by_set = {
            f"{language} {source}": {
                run["seed"]: run["scores"]["test"][source]["ents_f"]
                for run in own
                if run["language"] == language
            }
            for language, source in columns
        }
        seeds = set.intersection(*(set(scores) for scores in by_set.values()))
        means = [mean(scores[seed] for scores in by_set.values()) for seed in sorted(seeds)]
        table[name] = {
            **{column: summarize(list(scores.values())) for column, scores in by_set.items()},
            "mean": summarize(means),
        }
    return table


def table_of_languages(runs: Runs) -> Table:
    """Zero-shot against fine-tuned on silver, by test set (Table 1)."""
    return tabulate(plain_runs(runs), lambda run: run["recipe"], [ZERO_SHOT, BEST])


def table_of_recipes(runs: Runs) -> Table:
    """The six settings (Table 3)."""
    return tabulate(plain_runs(runs), lambda run: run["recipe"], [BEST, ZERO_SHOT, *list(RECIPES)[1:]])


def table_of_frozen(runs: Runs) -> Table:
    """Frozen layers of the sequential recipe, other settings alike."""
    return tabulate(_alike_but(runs, "n_frozen_layers"), lambda run: str(run["n_frozen_layers"]))


def table_of_gammas(runs: Runs) -> Table:
    """Exponents of the re-weighted loss, other settings alike; 0 is the cross entropy."""
    chosen = _alike_but(runs, "gamma", (BEST, "sequential CE"))
    return tabulate(chosen, lambda run: f"{run['gamma']:g}")


def table_of_domains(runs: Runs) -> Table:
    """Zero-shot, each domain and all together (Figure 3), for languages with several domains."""
    several = {run["language"] for run in runs if "+" in run["domains"]}
    chosen = [run for run in _beside_zero_shot(runs, "domains") if run["language"] in several]
    names = sorted({run["domains"] or ZERO_SHOT for run in chosen}, key=lambda n: (n != ZERO_SHOT, len(n), n))
    return tabulate(chosen, lambda run: run["domains"] or ZERO_SHOT, names)


def amounts(runs: Runs, language: str) -> dict[str, dict[int, Cell | None]]:
    """F1 by test set and number of silver sentences of the sequential recipe; 0 is zero-shot."""
    own = [run for run in _beside_zero_shot(runs, "amount") if run["language"] == language]
    sizes = sorted({run["sentences"] for run in own})
    if len(sizes) < 3:
        return {}
    sources = sorted({source for run in own for source in run["scores"]["test"]})
    return {
        source: {
            size: summarize(
                [run["scores"]["test"][source]["ents_f"] for run in own if run["sentences"] == size]
            )
            for size in sizes
        }
        for source in sources
    }


def label_counts(counts: dict[str, dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Sentences, and entities by type, of every silver corpus (Table 2)."""
    labels = sorted({label for row in counts.values() for label in row["labels"]})
    return {
        name: {
            "pairs": row["pairs"],
            "sentences kept": row["kept"],
            "without entities": row["kept_without_entities"],
            **{label: row["labels"].get(label, 0) for label in labels},
            "entities": sum(row["labels"].values()),
        }
        for name, row in counts.items()
    }


def draw_domains(runs: Runs) -> Any | None:
    """Draw F1 by entity type, a panel a test set, a group of bars a domain (Figure 4)."""
    table = table_of_domains(runs)
    if len(table) < 3:
        return None
    several = {run["language"] for run in runs if "+" in run["domains"]}
    names = [f"{language} {source}" for language, source in test_sets(runs) if language in several]
    figure, panels = make_panels(names, columns=3, width=12, height=3)
    for axis, name in zip(panels, names, strict=True):
        language, source = name.split(" ", 1)
        own = [run for run in _beside_zero_shot(runs, "domains") if run["language"] == language]
        labels = sorted({label for run in own for label in run["scores"]["test"][source]["ents_per_type"]})
        for i, domains in enumerate(table):
            chosen = [
                run["scores"]["test"][source] for run in own if (run["domains"] or ZERO_SHOT) == domains
            ]
            heights = [
                100 * mean(scores["ents_per_type"].get(label, {"f": 0.0})["f"] for scores in chosen)
                for label in labels
            ] + [100 * mean(scores["ents_f"] for scores in chosen)]
            places = [j + 0.8 * i / len(table) for j in range(len(heights))]
            axis.bar(places, heights, width=0.8 / len(table), label=domains)
        axis.set_xticks([j + 0.4 for j in range(len(labels) + 1)], [*labels, "all"])
        axis.set(ylabel="test F1", ylim=(0, 100))
    panels[0].legend(fontsize=6)
    return figure


def markdown(folder: Path) -> str:
    """All tables of a folder of runs as Markdown."""
    runs, counts = read_results(folder), read_counts(folder)
    lines: list[str] = []
    for title, table in all_tables(runs).items():
        lines += titled(title, table)
    for language in sorted({run["language"] for run in runs}):
        curve = amounts(runs, language)
        if curve:
            sizes = next(iter(curve.values()))
            rows = [[source, *cells.values()] for source, cells in curve.items()]
            lines += [f"**Silver sentences, {language}**", "", *to_markdown(["", *sizes], rows), ""]
    corpora = label_counts(counts)
    if corpora:
        keys = list(next(iter(corpora.values())))
        rows = [[name, *(f"{row[key]:,}" for key in keys)] for name, row in corpora.items()]
        lines += ["**Silver corpora**", "", *to_markdown(["", *keys], rows), ""]
    return "\n".join(lines)


def all_tables(runs: Runs) -> dict[str, Table]:
    """The tables that have something to compare, by their titles."""
    tables = {
        "Zero-shot and fine-tuned": table_of_languages(runs),
        "Recipes": table_of_recipes(runs),
        "Frozen layers": table_of_frozen(runs),
        "Gamma": table_of_gammas(runs),
        "Domains": table_of_domains(runs),
    }
    return {title: table for title, table in tables.items() if len(table) > 1}


def _alike_but(runs: Runs, key: str, recipes: tuple[str, ...] = (BEST,)) -> Runs:
    """Runs of some recipes that equal plain ones of the sequential recipe in all settings but one."""

    def others(run: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(run[own] for own in SETTINGS if own != key)

    plain = {others(run) for run in plain_runs(runs) if run["recipe"] == BEST}
    return [run for run in runs if run["recipe"] in recipes and others(run) in plain]


def _beside_zero_shot(runs: Runs, key: str) -> Runs:
    """Runs of the sequential recipe that differ in one setting, and those that they started from."""
    return [run for run in plain_runs(runs) if run["recipe"] == ZERO_SHOT] + _alike_but(runs, key)

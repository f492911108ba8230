"""Tables and figures of runs by grouping. Pure functions on what `clusters.py` wrote.

SOURCE: Shaffer 2021, Tables 1 to 5, Figures 1 and 2.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy

from spacy_xner.router.grouping import Grouping
from spacy_xner.significance import Comparison, Counts, bootstrap

from runs import PLAN, read_results
from tables import Cell, embolden, make_panels, summarize, to_markdown

# The grouping of runs that are tested on another corpus starts so.
OTHER = "on-"


def read_plan(folder: Path) -> tuple[list[Grouping], dict[str, Any]]:
    """Read the plan of a folder of runs. RETURNS: Groupings, settings."""
    plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    return [Grouping.from_json(content, str(folder)) for content in plan["groupings"]], plan["settings"]


def read_runs(folder: Path) -> tuple[list[Grouping], list[dict[str, Any]], dict[str, Any]]:
    """Read the plan and every finished run. RETURNS: Groupings, runs, settings."""
    groupings, settings = read_plan(folder)
    return groupings, read_results(folder), settings


def runs_of_language(grouping: Grouping, language: str, runs: Iterable[dict[str, Any]]) -> list[dict]:
    """The runs of the cluster that a language is in: those trained and tested on exactly its languages.

    Runs on another corpus are not among them, be they of the same languages.
    """
    own = grouping.clusters[grouping.cluster_of[language]]
    return [
        run
        for run in runs
        if run["languages"] == run["test_languages"] == own and not run["grouping"].startswith(OTHER)
    ]


def table3(
    groupings: list[Grouping], runs: list[dict[str, Any]]
) -> dict[str, dict[str, dict[str, Cell | None]]]:
    """F1 by language, grouping and label (all, LOC, ORG, PER), over seeds."""
    table: dict[str, dict[str, dict[str, Cell | None]]] = {}
    for language in groupings[0].languages:
        table[language] = {}
        for grouping in groupings:
            tests = [run["test"] for run in runs_of_language(grouping, language, runs)]
            table[language][grouping.name] = {
                "all": summarize([test["ents_per_language"][language]["f"] for test in tests]),
                **{
                    label: summarize(
                        [
                            test["ents_per_language_type"].get(f"{language}:{label}", {"f": 0.0})["f"]
                            for test in tests
                        ]
                    )
                    for label in ("LOC", "ORG", "PER")
                },
            }
    return table


def table4(runs: list[dict[str, Any]]) -> dict[str, dict[str, Cell | None]]:
    """Zero-shot F1 of languages whose cluster was trained without them, by language and label."""
    tests = defaultdict(list)
    for run in runs:
        if "-without-" in run["cluster"]:
            for language in run["test_languages"]:
                tests[language].append(run["test"])
    return {
        language: {
            "all": summarize([test["ents_per_language"][language]["f"] for test in own]),
            **{
                label: summarize(
                    [
                        test["ents_per_language_type"].get(f"{language}:{label}", {"f": 0.0})["f"]
                        for test in own
                    ]
                )
                for label in ("LOC", "ORG", "PER")
            },
        }
        for language, own in sorted(tests.items())
    }


def table5(runs: list[dict[str, Any]]) -> dict[str, float]:
    """F1 on another corpus, by what was trained on."""
    return {run["cluster"]: 100 * run["test"]["ents_f"] for run in runs if run["grouping"].startswith(OTHER)}


def compare(groupings: list[Grouping], runs: list[dict[str, Any]]) -> dict[str, dict[str, Comparison | None]]:
    """Compare the first grouping with every other, by language."""
    first, *others = groupings
    table: dict[str, dict[str, Comparison | None]] = {}
    for language in first.languages:
        own = _counts(runs_of_language(first, language, runs), language)
        table[language] = {}
        for grouping in others:
            theirs = _counts(runs_of_language(grouping, language, runs), language)
            table[language][grouping.name] = bootstrap(own, theirs) if own and theirs else None
    return table


def _counts(runs: list[dict[str, Any]], language: str) -> list[Counts]:
    return [numpy.array(run["counts"][language], dtype="float64") for run in runs]


def markdown(folder: Path) -> str:
    """All tables of a folder of runs as Markdown."""
    groupings, runs, settings = read_runs(folder)
    names = [grouping.name for grouping in groupings]
    lines = [f"Settings: {', '.join(f'{key} {value}' for key, value in settings.items())}.", ""]
    for grouping in groupings:
        members = "; ".join(f"{name}: {' '.join(own)}" for name, own in grouping.clusters.items())
        lines.append(f"- {grouping.name}: {members}")
    cells = table3(groupings, runs)
    rows = [[language, *embolden(row[name]["all"] for name in names)] for language, row in cells.items()]
    means = [summarize([c.mean / 100 for row in cells.values() if (c := row[name]["all"])]) for name in names]
    rows.append(["mean", *("–" if m is None else f"{m.mean:.1f}" for m in means)])
    lines += ["", *to_markdown(["", *names], rows)]
    rows = [[language, *map(_show, found.values())] for language, found in compare(groupings, runs).items()]
    lines += ["", f"Difference of {names[0]} (95 % of the bootstrap), * where p < 0.05:", ""]
    lines += to_markdown(["", *names[1:]], rows)
    columns = [(name, label) for name in names for label in ("LOC", "ORG", "PER")]
    rows = [
        [language, *(str(row[name][label] or "–") for name, label in columns)]
        for language, row in cells.items()
    ]
    lines += ["", *to_markdown(["", *(f"{name} {label}" for name, label in columns)], rows)]
    if zero_shot := table4(runs):
        lines += ["", "Zero-shot from their cluster without them:", ""]
        lines += to_markdown(
            ["", "F1", "LOC", "ORG", "PER"], [[lang, *row.values()] for lang, row in zero_shot.items()]
        )
    if combined := table5(runs):
        scores = ["F1", *(f"{value:.1f}" for value in combined.values())]
        lines += ["", *to_markdown(["trained on", *combined], [scores])]
    return "\n".join(lines) + "\n"


def _show(c: Comparison | None) -> str:
    if c is None:
        return "–"
    return f"{c.difference:+.1f} ({c.low:+.1f} to {c.high:+.1f}){' *' if c.p < 0.05 else ''}"


def box_plots(groupings: list[Grouping], runs: list[dict[str, Any]]) -> Any:
    """Draw the spread of F1 over seeds, a panel a language, a box a grouping (the paper's Figure 2)."""
    languages = groupings[0].languages
    figure, panels = make_panels(languages, columns=5, width=13, height=2.4)
    for axis, language in zip(panels, languages, strict=True):
        boxes = [
            [
                100 * run["test"]["ents_per_language"][language]["f"]
                for run in runs_of_language(g, language, runs)
            ]
            for g in groupings
        ]
        axis.boxplot([box or [numpy.nan] for box in boxes])
        axis.set_xticks(range(1, len(groupings) + 1), [g.name for g in groupings], fontsize=6, rotation=20)
    return figure

"""Tables of students. SOURCE: Li et al. 2021, Tables 1 and 3, Figure 3, section 5.1."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas

from scripts.results import ALL, Result, long_table
from scripts.tables import AVERAGE, Frame, Table, pivot, show, steps_of
from scripts.variants import BEST, RECIPES, ZERO_SHOT

# Axes of a student besides its recipe.
STUDENT = ["language", "domains", "amount", "frozen", "gamma", "seed"]


def _most_common(values: pandas.Series) -> Any:
    counts = values.value_counts()
    return min(counts[counts == counts.max()].index)


def plain_students(frame: Frame) -> Frame:
    """The runs that recipes are compared by: zero-shot, and the settings that most runs have."""
    students = frame[frame.recipe != ZERO_SHOT]
    if students.empty:
        return frame
    runs = students.drop_duplicates("run")
    common = {axis: _most_common(runs[axis]) for axis in ("amount", "frozen")}
    gammas = runs[runs.gamma > 0].gamma
    gamma = _most_common(gammas) if len(gammas) else 0.0
    comparable = frame[
        (frame.recipe == ZERO_SHOT) | (frame[list(common)] == pandas.Series(common)).all(axis=1)
    ]
    # The greatest mixture of domains that a language has.
    widest = {language: max(runs.domains, key=len) for language, runs in comparable.groupby("language")}
    is_plain = comparable.gamma.isin([0.0, gamma]) & (comparable.domains == comparable.language.map(widest))
    return comparable[(comparable.recipe == ZERO_SHOT) | is_plain]


def alike_but(frame: Frame, setting: str, recipes: tuple[str, ...] = (BEST,)) -> Frame:
    """Runs of some recipes that equal plain runs of the sequential recipe in all settings but one."""
    keys = [key for key in STUDENT if key != setting]
    defaults = plain_students(frame)
    defaults = defaults[defaults.recipe == BEST][keys].drop_duplicates()
    return frame[frame.recipe.isin(recipes)].merge(defaults, on=keys)


def beside_zero_shot(frame: Frame, setting: str) -> Frame:
    """Runs of the sequential recipe that differ in one setting, and those that they started from."""
    defaults = plain_students(frame)
    return pandas.concat(
        [defaults[defaults.recipe == ZERO_SHOT], alike_but(frame, setting)], ignore_index=True
    )


def in_domains(frame: Frame) -> Frame:
    """Zero-shot, each domain and all together, for languages with several domains."""
    several = frame[frame.domains.str.contains("+", regex=False)].language.unique()
    rows = beside_zero_shot(frame, "domains")
    rows = rows[rows.language.isin(several)]
    return rows.assign(domains=rows.domains.replace("", ZERO_SHOT))


def amounts(frame: Frame, language: str) -> Frame:
    """The sequential recipe by number of silver sentences, 0 for zero-shot; empty for fewer than three."""
    rows = beside_zero_shot(frame, "amount")
    rows = rows[rows.language == language]
    return rows if rows.sentences.nunique() > 2 else rows[:0]


def rates(frame: Frame, source: str) -> Table | None:
    """Precision, recall and F1 of every recipe and gamma on one test set (Tables 1 and 3).

    The silver text, the amount and the frozen layers are those that most runs have. Units: percent.
    """
    recipes = [ZERO_SHOT, BEST, *list(RECIPES)[1:]]
    rows = frame[frame.set == source]
    students = rows[rows.recipe != ZERO_SHOT]
    for setting in ("domains", "amount", "frozen"):
        if len(students):
            students = students[students[setting] == _most_common(students[setting])]
    rows = pandas.concat([rows[rows.recipe == ZERO_SHOT], students], ignore_index=True)
    if rows.empty:
        return None
    columns = {"P": 100 * rows.p, "R": 100 * rows.r, "F1": rows.f}
    measured = pandas.concat([rows.assign(measure=name, f=values) for name, values in columns.items()])
    cells = pivot(measured, ["recipe", "gamma"], "measure", order=lambda row: (recipes.index(row[0]), row[1]))
    cells = cells.drop(columns=AVERAGE, errors="ignore")[list(columns)]
    steps = steps_of(rows, ["recipe", "gamma"])
    return show(f"Precision, recall and F1, {source}", cells, steps, label=_with_gamma)


def _with_gamma(row: tuple[Any, ...]) -> str:
    recipe, gamma = row
    return f"{recipe}, gamma {gamma:g}" if gamma else str(recipe)


def tables(folder: Path, results: list[Result]) -> list[Table]:
    """Recipes at the settings that most runs have, and one setting varied at a time."""
    frame = long_table(results)
    frame = frame[(frame.split == "test") & (frame.label == ALL)]
    recipes = [BEST, ZERO_SHOT, *list(RECIPES)[1:]]
    defaults = plain_students(frame)
    domains = in_domains(frame)
    views: list[tuple[str, str, Frame, Callable[[tuple[Any, ...]], Any]]] = [
        ("Zero-shot and fine-tuned on silver", "recipe", defaults[defaults.recipe.isin([ZERO_SHOT, BEST])],
         lambda row: row[0] != ZERO_SHOT),
        ("Recipes", "recipe", defaults, lambda row: recipes.index(row[0])),
        ("Frozen layers", "frozen", alike_but(frame, "frozen"), lambda row: row),
        ("Gamma; 0 is the cross entropy", "gamma", alike_but(frame, "gamma", (BEST, "sequential CE")),
         lambda row: row),
        ("Domains", "domains", domains, lambda row: (row[0] != ZERO_SHOT, len(row[0]), row[0])),
    ]  # fmt: skip
    tables = [
        show(f"{title}: test F1", pivot(view, [axis], order=order), steps_of(view, [axis]), label=_first)
        for title, axis, view, order in views
        if view[axis].nunique() > 1
    ]
    tables += [table for source in sorted(frame.set.unique()) if (table := rates(frame, source))]
    for language in sorted(frame.language.unique()):
        if len(by_amount := amounts(frame, language)):
            title, steps = f"Silver sentences, {language}: test F1", steps_of(by_amount, ["sentences"])
            tables.append(show(title, pivot(by_amount, ["sentences"]), steps, label=_first))
    return tables


def _first(row: tuple[Any, ...]) -> str:
    return f"{row[0]:g}" if isinstance(row[0], float) else str(row[0])

"""Tables of transfer: what each part of a recipe brings, the choice of sources, confidence as selection."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from scipy.stats import spearmanr

from spacy_xner.files import read_json
from spacy_xner.significance import Comparison, bootstrap_mean

from scripts.recipes import AVERAGE, CONSTRAINED, READINGS, reading_of
from scripts.results import Result, settings_of, unpack_counts
from scripts.tables import Cell, Table, embolden, span, summarize

PLAIN = "plain"
# The fewest recipes that a rank correlation is computed of.
LEAST_RANKED = 4
# A run and the way that its weights are read.
Reading = tuple[Result, str]
# By recipe, a run a seed.
Recipes = dict[str, list[Reading]]


def name_recipe(parts: Sequence[str], reading: str) -> str | None:
    """Name the parts of a recipe; None for a reading that leaves out a part of the training."""
    read = [part for part in reading.split("+") if part]
    if not set(reading_of(parts).split("+")) - {""} <= set(read):
        return None
    names = [part for part in parts if part not in (AVERAGE, CONSTRAINED)] + read
    return "+ " + " + ".join(names) if names else PLAIN


def recipes_of(results: Sequence[Result]) -> Recipes:
    """All recipes that the runs allow to score, in the order of the runs."""
    recipes: Recipes = {}
    for result in sorted(results, key=lambda result: len(settings_of(result)["parts"])):
        for reading in READINGS:
            name = name_recipe(settings_of(result)["parts"], reading)
            if name and reading in result["unlabelled"]:
                recipes.setdefault(name, []).append((result, reading))
    return recipes


def scores_of(result: Result, reading: str, source: str = "") -> dict[str, float]:
    """F1 by language in percent. source: A corpus of its own; empty for that of the training."""
    rows = [row for row in result["scores"] if (row["reading"], row["source"]) == (reading, source)]
    return {row["language"]: 100 * row["f"] for row in rows}


def headline_of(result: Result) -> list[str]:
    """The languages whose mean is shown."""
    return [
        lang for lang in settings_of(result)["headline"] or result["targets"] if lang in result["targets"]
    ]


def headline_mean(reading: Reading) -> float:
    """Mean F1 of the languages whose mean is shown, in percent."""
    scores = scores_of(*reading)
    return mean(scores[lang] for lang in headline_of(reading[0]))


def tables(folder: Path, results: list[Result]) -> list[Table]:
    """The tables that the settings of an experiment are about."""
    recipes = recipes_of(results)
    shown_tables = [
        _table_of_parts(recipes),
        _table_of_readings(results),
        *_beside_published(folder, recipes),
    ]
    shown_tables += [
        _table_elsewhere(recipes, source)
        for source in sorted({row["source"] for result in results for row in result["scores"]} - {""})
    ]
    return [*shown_tables, *_tables_of_confidence(recipes)]


def _is_single(name: str, readings: list[Reading]) -> bool:
    """True for a recipe that was trained as it is listed, or that has one part."""
    parts = [settings_of(result)["parts"] for result, _ in readings]
    listed = any(
        reading == reading_of(parts_of) for parts_of, (_, reading) in zip(parts, readings, strict=True)
    )
    return listed or name.count("+ ") <= 1 or name == f"+ IOB2 + {CONSTRAINED}"


def _table_of_parts(recipes: Recipes) -> Table:
    """F1 by recipe and language, and the gain over plain fine-tuning."""
    shown = {name: readings for name, readings in recipes.items() if _is_single(name, readings)}
    first = next(iter(shown.values()))[0][0]
    languages = list(scores_of(first, ""))
    columns: list[list[str]] = []
    for language in languages:
        columns.append(embolden(_over_seeds(readings, _score_of(language)) for readings in shown.values()))
    columns.append(embolden(_over_seeds(readings, headline_mean) for readings in shown.values()))
    base = recipes.get(PLAIN)
    columns.append([show_gain(readings, base) for readings in shown.values()])
    columns.append([span(result["all_steps"] for result, _ in readings) for readings in shown.values()])
    columns.append([f"{mean(r['seconds'] for r, _ in readings) / 60:.0f}" for readings in shown.values()])
    split = settings_of(first)["scored"]
    header = ["", *languages, f"mean of {' '.join(headline_of(first))}", "gain (95 %)", "steps", "minutes"]
    rows = [list(row) for row in zip(shown, *columns, strict=True)]
    return Table(f"What each part brings: F1 on {split} sets", header, rows)


def _score_of(language: str) -> Callable[[Reading], float]:
    return lambda reading: scores_of(*reading)[language]


def _over_seeds(readings: list[Reading], measure: Callable[[Reading], float]) -> Cell | None:
    return summarize([measure(reading) for reading in readings])


def compare(ours: list[Reading], others: list[Reading]) -> Comparison | None:
    """Compare two recipes on the headline's sentences; None for runs without counts."""
    runs = [*ours, *others]
    if not all(result["counts"].get(reading) for result, reading in runs):
        return None

    def counts(readings: list[Reading]) -> dict[str, list[Any]]:
        return {
            lang: [unpack_counts(result["counts"][reading][lang]) for result, reading in readings]
            for lang in headline_of(runs[0][0])
        }

    return bootstrap_mean(counts(ours), counts(others))


def show_gain(ours: list[Reading], base: list[Reading] | None) -> str:
    """The difference of the headline's mean, with an interval, or the deviation over seeds."""
    if not base or ours == base:
        return "–"
    if compared := compare(ours, base):
        return f"{compared.difference:+.1f} ({compared.low:+.1f} to {compared.high:+.1f})"
    before = {result["axes"].get("seed"): headline_mean((result, reading)) for result, reading in base}
    pairs = [(headline_mean(run), before.get(run[0]["axes"].get("seed"))) for run in ours]
    cell = summarize([now - then for now, then in pairs if then is not None])
    return cell.signed if cell else "–"


def _table_of_readings(results: Sequence[Result]) -> Table:
    """The headline's mean by training and by what is read off it."""
    trainings: dict[str, list[Result]] = {}
    for result in results:
        trainings.setdefault(" + ".join(settings_of(result)["parts"]) or PLAIN, []).append(result)
    rows = []
    for name, runs in trainings.items():
        cells = [
            _over_seeds([(run, reading) for run in runs if reading in run["unlabelled"]], headline_mean)
            for reading in READINGS
        ]
        rows.append([name, *embolden(cells)])
    header = ["training", "last weights", *(" and ".join(r.split("+")) for r in READINGS if r)]
    return Table(
        f"Mean F1 of {' '.join(headline_of(results[0]))} by reading of the same training", header, rows
    )


def _beside_published(folder: Path, recipes: Recipes) -> list[Table]:
    """Runs beside published rows of the same languages, and the differences of the best recipe from them.

    The published table is results/published/{experiment}.json beside the results of the config.
    """
    path = folder.parents[1] / "published" / f"{folder.name}.json"
    if not path.is_file():
        return []
    [published] = read_json(path)["tables"]
    languages, first = published["header"][1:], next(iter(recipes.values()))[0][0]
    of_mean = headline_of(first)
    lines: dict[str, dict[str, float]] = {
        row[0]: {lang: float(f) for lang, f in zip(languages, row[1:], strict=True) if f != "–"}
        for row in published["rows"]
    }
    rows = [[name, *(_number(values.get(lang)) for lang in languages), _mean_of(values, of_mean)]
            for name, values in lines.items()]  # fmt: skip
    listed = {name: runs for name, runs in recipes.items() if any(_is_listed(run) for run in runs)}
    for name, runs in listed.items():
        cells = [
            _over_seeds([run for run in runs if lang in scores_of(*run)], _score_of(lang))
            for lang in languages
        ]
        rows.append(
            [name, *(str(cell) if cell else "–" for cell in cells), str(_over_seeds(runs, headline_mean))]
        )
    best = max(listed, key=lambda name: mean(map(headline_mean, listed[name])))
    ours = {lang: mean(scores_of(*run)[lang] for run in listed[best]) for lang in scores_of(*listed[best][0])}
    differences = []
    for name, values in lines.items():
        gains = {lang: ours[lang] - f for lang, f in values.items() if lang in ours}
        shown = [f"{gains[lang]:+.1f}" if lang in gains else "–" for lang in languages]
        differences.append([name, *shown, _mean_of(gains, of_mean, "+.1f")])
    header = ["", *languages, f"mean of {' '.join(of_mean)}"]
    return [
        Table("Test F1 beside published rows", header, rows),
        Table(f"Difference of {best} from published rows", header, differences),
    ]


def _is_listed(reading: Reading) -> bool:
    return reading[1] == reading_of(settings_of(reading[0])["parts"])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _mean_of(values: dict[str, float], languages: Sequence[str], style: str = ".1f") -> str:
    return format(mean(values[lang] for lang in languages), style) if set(languages) <= set(values) else "–"


def _table_elsewhere(recipes: Recipes, source: str) -> Table:
    """F1 on another corpus than that of the training."""
    listed = {name: runs for name, runs in recipes.items() if any(_is_listed(run) for run in runs)}
    languages = sorted({lang for runs in listed.values() for run in runs for lang in scores_of(*run, source)})

    def column(language: str) -> list[str]:
        return embolden(
            _over_seeds(runs, lambda run: scores_of(*run, source)[language]) for runs in listed.values()
        )

    columns = [column(language) for language in languages]
    rows = [list(row) for row in zip(listed, *columns, strict=True)]
    return Table(f"F1 on {source}", ["", *languages], rows)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's rho; None for too few values, or equal ones."""
    if len(one) < LEAST_RANKED or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(spearmanr(one, other)[0])


def _tables_of_confidence(recipes: Recipes) -> list[Table]:
    """How well what needs no labels ranks recipes: mean over seeds, a row a language."""
    if len(recipes) < LEAST_RANKED:
        return []
    languages = headline_of(next(iter(recipes.values()))[0][0])

    def measured(key: str) -> dict[str, list[float]]:
        return {
            lang: [
                mean(r["unlabelled"][reading][lang][key] for r, reading in runs) for runs in recipes.values()
            ]
            for lang in languages
        }

    f1 = {
        lang: [mean(scores_of(*run)[lang] for run in runs) for runs in recipes.values()] for lang in languages
    }
    criteria = {key: measured(key) for key in ("confidence", "density")}
    rows = [
        _rank_row(lang, list(recipes), {key: values[lang] for key, values in criteria.items()}, f1[lang])
        for lang in languages
    ]
    means = {key: _means(values) for key, values in criteria.items()}
    rows.append(_rank_row("mean", list(recipes), means, _means(f1)))
    header = [
        "", "confidence", "entities a sentence", "preferred by confidence", "its F1", "best", "its F1",
        "median F1",
    ]  # fmt: skip
    title = f"Rank correlation with F1 over {len(recipes)} recipes, of what needs no labels"
    return [Table(title, header, rows)]


def _means(by_language: dict[str, list[float]]) -> list[float]:
    return [mean(values) for values in zip(*by_language.values(), strict=True)]


def _rank_row(name: str, recipes: list[str], measured: dict[str, list[float]], f1: list[float]) -> list[str]:
    rhos = [rank_correlation(values, f1) for values in measured.values()]
    preferred = max(range(len(f1)), key=measured["confidence"].__getitem__)
    best = max(range(len(f1)), key=f1.__getitem__)
    shown = ["–" if rho is None else f"{rho:.2f}" for rho in rhos]
    middle = sorted(f1)[len(f1) // 2]
    ends = [recipes[preferred], f"{f1[preferred]:.1f}", recipes[best], f"{f1[best]:.1f}", f"{middle:.1f}"]
    return [name, *shown, *ends]

"""Figures of experiments: curves, boxes, bars, words in the plane. Pure functions on result files."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib
import pandas
from markupsafe import Markup
from matplotlib.figure import Figure

from spacy_xner.files import read_json
from spacy_xner.report.figures import draw_sentences, to_svg

from scripts.results import ALL, Result, long_table, read_description, read_results, settings_of
from scripts.variants import ZERO_SHOT
from scripts.views.clusters import by_grouping, read_groupings
from scripts.views.students import in_domains
from scripts.views.zero_shot import recipe_name, recipe_order

# Figures by title; a figure that is drawn by the package is SVG already.
Figures = dict[str, Any]


def figures_of(folder: Path) -> dict[str, Markup]:
    """Draw all figures that the finished runs of an experiment allow. RETURNS: SVG by title."""
    described, results = read_description(folder), read_results(folder)
    drawn = DRAW.get(described["kind"], lambda folder, results: {})(folder, results) if results else {}
    return {
        title: figure if isinstance(figure, Markup) else to_svg(figure) for title, figure in drawn.items()
    }


def make_panels(
    names: Sequence[str], *, columns: int, width: float, height: float
) -> tuple[Figure, list[Any]]:
    """Make a figure with a titled panel a name. RETURNS: Figure, panels."""
    n_rows = -(-len(names) // columns)
    figure = Figure(figsize=(width, height * n_rows))
    axes = figure.subplots(n_rows, columns, squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    for axis, name in zip(axes.flat, names, strict=False):
        axis.set(title=name)
    return figure, list(axes.flat[: len(names)])


# F1 of every evaluation by panel, line and seed.
Curves = dict[str, dict[Any, list[list[float]]]]


def draw_curves(curves: Curves, *, ylabel: str, label: Callable[[Any], str] = str) -> Figure:
    """Draw a score after every evaluation, the mean of seeds, a panel a language, a line a kind of run."""
    figure, panels = make_panels(list(curves), columns=4, width=13, height=3)
    for axis, lines in zip(panels, curves.values(), strict=True):
        axis.set_prop_cycle(color=matplotlib.color_sequences["tab20"])
        for line, seeds in lines.items():
            means = [100 * mean(values) for values in zip(*seeds, strict=False)]
            axis.plot(range(1, len(means) + 1), means, marker="o", markersize=3, label=label(line))
        axis.set(xlabel="evaluation", ylabel=ylabel)
        axis.xaxis.get_major_locator().set_params(integer=True)
    panels[-1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def curves_of(
    results: Sequence[Result], line_of: Callable[[Result], Any], split: str, *, all_languages: bool = False
) -> Curves:
    """Collect curves by language and kind of run. all_languages: Draw the source too."""
    curves: Curves = defaultdict(lambda: defaultdict(list))
    for result in results:
        measured = result["curve"][0]["languages"]
        for language in sorted(measured) if all_languages else result["targets"]:
            values = [epoch["languages"][language][split] for epoch in result["curve"]]
            curves[language][line_of(result)].append(values)
    return {language: dict(lines) for language, lines in sorted(curves.items())}


def _joint(folder: Path, results: list[Result]) -> Figures:
    """Dev F1 by frozen layers (Moon et al. 2019, Figures 2 and 3, with labels)."""
    joint = sorted(
        (result for result in results if settings_of(result)["trained_on"] == ALL),
        key=lambda result: settings_of(result)["frozen"],
    )
    if not joint:
        return {}
    curves = curves_of(joint, lambda result: settings_of(result)["frozen"], "dev", all_languages=True)
    title = "Dev F1 after every evaluation, by frozen layers"
    return {title: draw_curves(curves, ylabel="dev F1", label="{} frozen".format)}


def _zero_shot(folder: Path, results: list[Result]) -> Figures:
    """Test F1 by recipe (Moon et al. 2019, Figures 2 and 3)."""

    def recipe(result: Result) -> tuple[Any, ...]:
        return tuple(settings_of(result)[name] for name in ("objectives", "weight", "frozen"))

    ordered = sorted(results, key=lambda result: recipe_order(recipe(result)))
    curves = curves_of(ordered, recipe, "test")
    return {"Test F1 after every evaluation": draw_curves(curves, ylabel="test F1", label=recipe_name)}


def _clusters(folder: Path, results: list[Result]) -> Figures:
    """Sentences in the plane (Shaffer 2021, Figure 1), and F1 over seeds, a box a grouping (Figure 2)."""
    sentences = folder / "figures" / "sentences.json"
    drawn = {"Sentences by language": draw_sentences(read_json(sentences))} if sentences.exists() else {}
    frame = by_grouping(read_groupings(folder), results)
    frame = frame[frame.label == ALL]
    return drawn if frame.empty else {**drawn, "Test F1 over seeds by grouping": draw_boxes(frame)}


def draw_boxes(frame: pandas.DataFrame) -> Any:
    """Draw the spread of F1 over seeds, a panel a language, a box a grouping."""
    languages = sorted(frame.language.unique())
    figure, panels = make_panels(languages, columns=5, width=13, height=2.4)
    names = list(frame.grouping.cat.categories)
    for axis, language in zip(panels, languages, strict=True):
        of_language = frame[frame.language == language]
        boxes = [of_language[of_language.grouping == name].f.tolist() or [float("nan")] for name in names]
        axis.boxplot(boxes)
        axis.set_xticks(range(1, len(names) + 1), names, fontsize=6, rotation=20)
    return figure


def _students(folder: Path, results: list[Result]) -> Figures:
    frame = long_table(results)
    figure = draw_domains(in_domains(frame[frame.split == "test"]))
    return {"Test F1 by domain and entity type": figure} if figure is not None else {}


def draw_domains(frame: pandas.DataFrame) -> Figure | None:
    """Draw F1 by entity type, a panel a test set, a group of bars a domain (Li et al. 2021, Figure 4).

    RETURNS: Nothing for fewer than three domains.
    """
    domains = sorted(frame.domains.unique(), key=lambda name: (name != ZERO_SHOT, len(name), name))
    if len(domains) < 3:
        return None
    means = frame.pivot_table(
        index=["set", "domains"], columns="label", values="f", aggfunc="mean", fill_value=0
    )
    labels = [*sorted(set(means.columns) - {ALL}), ALL]
    names = sorted(frame.set.unique())
    figure, panels = make_panels(names, columns=3, width=12, height=3)
    for axis, name in zip(panels, names, strict=True):
        for i, domain in enumerate(domains):
            if (name, domain) in means.index:
                places = [j + 0.8 * i / len(domains) for j in range(len(labels))]
                axis.bar(places, means.loc[(name, domain), labels], width=0.8 / len(domains), label=domain)
        axis.set_xticks([j + 0.4 for j in range(len(labels))], labels)
        axis.set(ylabel="test F1", ylim=(0, 100))
    panels[0].legend(fontsize=6)
    return figure


def _lexical(folder: Path, results: list[Result]) -> Figures:
    """Curves, and what `lengths` and `words` left in the folder (Bari et al. 2020, Figures 2 and 3)."""
    # Runs that choose settings do not score the test sets.
    tested = [result for result in results if _is_scored(result, "test")]
    curves = curves_of(tested, lambda result: settings_of(result)["variant"], "test")
    drawn = {"Test F1 after every evaluation": draw_curves(curves, ylabel="test F1")} if tested else {}
    for path in sorted((folder / "figures").glob("*.json")):
        draw = draw_lengths if path.stem == "lengths" else draw_words
        drawn[path.stem] = draw(read_json(path))
    return drawn


def _is_scored(result: Result, split: str) -> bool:
    """True if the evaluations of a run scored its targets on this split."""
    measured = result["curve"][0]["languages"]
    return all(split in measured[target] for target in result["targets"])


def draw_lengths(counts: dict[str, dict[str, tuple[int, int]]]) -> Figure:
    """Draw the share of rightly tagged words by sentence length, a line a language."""
    figure, (axis,) = make_panels(["rightly tagged entity words"], columns=1, width=6, height=3)
    for language, bins in counts.items():
        known = [(int(end), 100 * right / n) for end, (right, n) in bins.items() if n]
        axis.plot(*zip(*known, strict=True), marker="o", markersize=3, label=language)
    axis.set(xlabel="tokens in the sentence, at most", ylabel="%")
    axis.legend()
    return figure


def draw_words(spaces: dict[str, list[dict[str, Any]]]) -> Figure:
    """Draw the words of both languages, a panel a space: colour is the label, shape the language."""
    figure, panels = make_panels(list(spaces), columns=3, width=13, height=4)
    labels = sorted({point["label"] for points in spaces.values() for point in points})
    for axis, points in zip(panels, spaces.values(), strict=True):
        groups = defaultdict(list)
        for point in points:
            groups[point["language"], point["label"]].append((point["x"], point["y"]))
        languages = sorted({language for language, _ in groups})
        for (language, label), places in sorted(groups.items()):
            axis.scatter(
                *zip(*places, strict=True),
                s=8,
                alpha=0.6,
                color=f"C{labels.index(label)}",
                marker="ox^s"[languages.index(language) % 4],
                label=f"{language} {label}",
            )
        axis.set(xticks=[], yticks=[])
    panels[-1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


DRAW: dict[str, Callable[[Path, list[Result]], Figures]] = {
    "joint": _joint,
    "zero_shot": _zero_shot,
    "clusters": _clusters,
    "students": _students,
    "lexical": _lexical,
}

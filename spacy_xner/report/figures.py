"""Figures of the report, as SVG inside of the page."""

import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

import matplotlib
import numpy
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.text import Text

# The salt makes equal figures equal bytes.
SETTINGS: Any = {"svg.hashsalt": "spacy_xner"}
# Characters of a name in a legend beside its panel, which would leave no room for the panel otherwise.
N_SHOWN = 24
TITLES = {"base-max": "base model, max-pooled", "identifier": "after language identification"}


def draw_curves(lines: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw the training loss and the dev F1 of each language over the steps.

    lines: Lines of `curves.jsonl`; the first one is from before the training.
    """
    figure = Figure(figsize=(10, 3.2))
    left, right = figure.subplots(1, 2)
    steps = [line["step"] for line in lines]
    sums = [mean(line["losses"].values()) for line in lines[1:]]
    per_step = [
        total / (end - start) for total, (start, end) in zip(sums, itertools.pairwise(steps), strict=True)
    ]
    left.plot(steps[1:], per_step, marker="o")
    left.set(title="training loss a step", xlabel="step", ylabel="nats", yscale="log")
    right.set_prop_cycle(color=matplotlib.color_sequences["tab20"])
    for language in sorted(lines[-1]["scores"].get("ents_per_language") or {}):
        scores = [line["scores"]["ents_per_language"].get(language, {"f": 0.0}) for line in lines]
        values = [100 * score["f"] for score in scores]
        right.plot(steps, values, marker="o", markersize=3, label=language)
    right.set(title="dev F1 by language", xlabel="step", ylim=(0, 100))
    if right.get_legend_handles_labels()[0]:
        # The legend lies within the panel, and may cover it, but not make it narrower.
        legend = right.legend(ncols=3, fontsize=7)
        legend.set_in_layout(False)
        _show_literally(legend.get_texts())
    return to_svg(figure)


def draw_sentences(content: Mapping[str, Any]) -> Markup:
    """Draw sentences in two dimensions, before and after fine-tuning.

    content: The return value of `router.sentences.place_sentences`.
    SOURCE: Shaffer 2021, Figure 1.
    """
    names, kinds = content["languages"], content["points"]
    colors = matplotlib.color_sequences["tab20"]
    figure = Figure(figsize=(12, 5))
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    for panel, (kind, points) in zip(panels, kinds.items(), strict=True):
        places = numpy.array(points, dtype="float64")
        for i, language in enumerate(sorted(set(names))):
            is_of_language = [name == language for name in names]
            x, y = places[is_of_language].T
            panel.scatter(x, y, s=5, color=colors[i % len(colors)], label=language[:N_SHOWN])
        panel.set(title=TITLES.get(kind, kind), xticks=[], yticks=[])
        _show_literally([panel.title])
    legend = panels[-1].legend(ncols=1, fontsize=7, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    _show_literally(legend.get_texts())
    return to_svg(figure)


def draw_calibration(content: Mapping[str, Any]) -> Markup:
    """Draw how reliable probabilities are, and the risk by coverage.

    content: The field `calibration` of `evaluate`.
    """
    figure = Figure(figsize=(9, 3.6))
    left, right = figure.subplots(1, 2)
    rows = [(float(row["score"]), float(row["precision"]), int(row["n"])) for row in content["bins"]]
    scores, precisions, counts = zip(*rows, strict=True)
    largest = max(counts)
    left.plot([0, 1], [0, 1], color="#999999", linestyle="--")
    left.plot(scores, precisions, color="#1864ab")
    left.scatter(scores, precisions, s=[12 + 120 * n / largest for n in counts], color="#1864ab")
    left.set(title="reliability", xlabel="probability", ylabel="share of right entities")
    left.set(xlim=(0, 1), ylim=(0, 1.05))
    coverage, risk = ([float(value) for value in content[key]] for key in ("coverage", "risk"))
    right.plot(coverage, risk, color="#c92a2a")
    right.set(
        title="risk by coverage", xlabel="share given out, surest first", ylabel="share of wrong entities"
    )
    right.set(xlim=(0, 1), ylim=(0, max(0.05, 1.1 * max(risk))))
    return to_svg(figure)


def to_svg(figure: Figure) -> Markup:
    """Render a figure as inline SVG; matplotlib escapes all texts in it."""
    buffer = io.StringIO()
    with matplotlib.rc_context(SETTINGS):
        figure.tight_layout()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    content = buffer.getvalue()
    return Markup(content[content.index("<svg") :])


def _show_literally(texts: Iterable[Text]) -> None:
    """Keep matplotlib from reading dollar signs in names from outside as mathematics."""
    for text in texts:
        text.set_parse_math(False)

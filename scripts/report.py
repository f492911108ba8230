"""Write one self-contained HTML page: scores, curves, and predictions to look at."""

import io
import itertools
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import matplotlib
import typer
from spacy import displacy
from wasabi import msg

from spacy_xner.files import read_lines, write_text
from spacy_xner.router.grouping import read_grouping

import groupings
import parts
import silver
import spaces
import transfer
from common import render
from runs import CORPORA, JOINT, PARTS, PLAN, RISKS, kind_of, read_results
from tables import choose, make_panels

matplotlib.use("svg")
from matplotlib import pyplot as plt

COLORS = {"PER": "#ffd8a8", "ORG": "#b2f2bb", "LOC": "#a5d8ff", "MISC": "#e5dbff"}
BEGIN, END = "<!-- XNER: GENERATED RESULTS START -->", "<!-- XNER: GENERATED RESULTS END -->"


def main(
    out: Annotated[Path, typer.Argument(help="HTML file to write.")],
    metrics: Annotated[Path, typer.Option(help="Folder of evaluate's JSON files.")],
    training: Annotated[Path, typer.Option(help="Folder of trained pipelines.")],
    runs: Annotated[Path | None, typer.Option(help="Folder of folders of runs, one experiment each.")] = None,
    readme: Annotated[Path | None, typer.Option(help="Also renew the table in this README.")] = None,
) -> None:
    """Collect scores, clusters and the runs of all experiments into one page without outside links."""
    models = []
    for path in sorted(metrics.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        curves = training / path.stem / "curves.jsonl"
        models.append(
            {
                "name": path.stem,
                "scores": content["scores"],
                "confusion": content.get("confusion"),
                "examples": [draw_example(row) for row in content["examples"]],
                "curves": draw_curves(read_lines(curves)) if curves.exists() else "",
            }
        )
    folders = (
        sorted(path for path in runs.iterdir() if path.is_dir()) if runs is not None and runs.is_dir() else []
    )
    described: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for folder in folders:
        kind = kind_of(folder)
        if kind is not None and (found := EXPERIMENTS[kind](folder)):
            described[kind].append(found)
    clusterings = [describe_clustering(path) for path in sorted(training.glob("*/found.json"))]
    page = render(
        "report.html.jinja",
        models=models,
        experiments=described[JOINT],
        clusterings=clusterings,
        comparisons=described[PLAN],
        transfers=described[RISKS],
        projections=described[CORPORA],
        lexical=described[PARTS],
        percent=percent,
    )
    write_text(out, page)
    msg.good(f"Wrote {out}")
    if readme is not None and models:
        routed = [model for model in models if model["name"] == "xner"]
        renew_readme(readme, (routed or models)[0]["scores"])
        msg.good(f"Renewed the table in {readme}")


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal."""
    return "–" if value is None else f"{100 * value:.1f}"


def draw_example(row: dict[str, Any]) -> dict[str, Any]:
    """Draw gold and predicted entities of one text with displaCy."""
    drawn = {
        key: displacy.render(
            {"text": row["text"], "ents": row[key]},
            style="ent",
            manual=True,
            options={"colors": COLORS},
        )
        for key in ("gold", "predicted")
    }
    return {**row, **drawn}


def draw_curves(lines: list[dict[str, Any]]) -> str:
    """Draw loss and dev F1 by language over steps, as SVG."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2))
    steps = [line["step"] for line in lines]
    sums = [mean(line["losses"].values()) for line in lines[1:]]
    per_step = [s / (b - a) for s, (a, b) in zip(sums, itertools.pairwise(steps), strict=True)]
    left.plot(steps[1:], per_step, marker="o")
    left.set(title="training loss a step", xlabel="step", ylabel="nats", yscale="log")
    right.set_prop_cycle(color=plt.colormaps["tab20"].colors)
    for language in sorted(lines[-1]["scores"].get("ents_per_language") or {}):
        values = [100 * line["scores"]["ents_per_language"].get(language, {"f": 0.0})["f"] for line in lines]
        right.plot(steps, values, marker="o", markersize=3, label=language)
    right.set(title="dev F1 by language", xlabel="step", ylim=(0, 100))
    right.legend(ncols=3, fontsize=7)
    return to_svg(figure)


def describe_clustering(path: Path) -> dict[str, Any]:
    """A found grouping with its purity, and the sentences in two dimensions."""
    grouping = read_grouping(path)
    figure = path.with_name("figure1.json")
    return {
        "name": f"{path.parent.name}/{path.stem}",
        "grouping": grouping,
        "figure": to_svg(groupings.scatter(json.loads(figure.read_text()))) if figure.exists() else "",
    }


def describe_groupings(folder: Path) -> dict[str, Any]:
    """The tables of runs by grouping, as in Shaffer 2021."""
    chosen, runs, settings = groupings.read_runs(folder)
    return {
        "name": folder.name,
        "settings": settings,
        "groupings": chosen,
        "table3": groupings.table3(chosen, runs),
        "comparisons": groupings.compare(chosen, runs),
        "table4": groupings.table4(runs),
        "table5": groupings.table5(runs),
        "figure2": to_svg(groupings.box_plots(chosen, runs)),
    }


def describe_transfer(folder: Path) -> dict[str, Any] | None:
    """Collect finished zero-shot runs into the tables and figures of Moon et al. 2019."""
    runs = transfer.read_results(folder)
    if not runs:
        return None
    return {
        "name": folder.name,
        "settings": runs[0]["settings"],
        "risks": json.loads((folder / "risk.json").read_text(encoding="utf-8")),
        "languages": [*transfer.target_languages(runs), transfer.AVERAGE],
        "tables": {criterion: transfer.table(runs, criterion) for criterion in ("source dev", "target dev")},
        "gains": transfer.gains(runs, "source dev"),
        "criteria": transfer.table_of_criteria(runs),
        "chosen": transfer.choose_recipe(runs),
        "correlations": transfer.rank_correlations(runs),
        "figure": to_svg(transfer.draw_curves(runs)),
    }


def describe_students(folder: Path) -> dict[str, Any] | None:
    """Collect finished students into the tables and figures of Li et al. 2021."""
    runs = silver.read_results(folder)
    if not runs:
        return None
    figure = silver.draw_domains(runs)
    return {
        "name": folder.name,
        "settings": runs[0]["settings"],
        "corpora": silver.label_counts(silver.read_counts(folder)),
        "tables": silver.all_tables(runs),
        "amounts": {
            language: curve
            for language in sorted({run["language"] for run in runs})
            if (curve := silver.amounts(runs, language))
        },
        "figure": to_svg(figure) if figure is not None else "",
    }


def describe_parts(folder: Path) -> dict[str, Any] | None:
    """Collect runs of the BiLSTM-CRF: tables and figures of Huang et al. 2019 and Bari et al. 2020."""
    runs = parts.read_results(folder)
    if not runs:
        return None
    return {
        "name": folder.name,
        "settings": runs[0]["settings"],
        "tables": parts.all_tables(runs),
        "columns": parts.SELECTIONS,
        "selections": parts.all_selections(runs),
        "unknown": parts.read_unknown(folder),
        "figures": {
            path.stem: to_svg((spaces.draw_lengths if path.stem == "lengths" else spaces.draw_words)(content))
            for path in sorted((folder / "figures").glob("*.json"))
            if (content := json.loads(path.read_text(encoding="utf-8")))
        },
    }


def describe_joint(folder: Path) -> dict[str, Any] | None:
    """Collect joint and monolingual runs into a table and the curves of frozen layers."""
    runs = read_results(folder)
    if not runs:
        return None
    languages = sorted({lang for run in runs for lang in run["test"]["ents_per_language"]})
    rows = []
    for run in sorted(runs, key=lambda run: (run["kind"], run["n_frozen_layers"], run["seed"])):
        scores = run["test"]["ents_per_language"]
        values = {lang: {"f": scores[lang]["f"], "seen": lang in run["languages"]} for lang in languages}
        rows.append(
            {
                "name": run["name"],
                "seconds": run["train_seconds"],
                "scores": values,
                "dev": _best_dev(folder / f"{run['name']}.jsonl"),
            }
        )
    return {"languages": languages, "rows": rows, "figure": draw_frozen_curves(folder, runs, languages)}


def _best_dev(path: Path) -> dict[str, float]:
    """Dev F1 by language at the epoch that was chosen."""
    lines = read_lines(path)[1:]
    best = lines[choose([line["score"] for line in lines])]
    return {lang: scores["f"] for lang, scores in best["watch"]["dev"]["ents_per_language"].items()}


def draw_frozen_curves(folder: Path, runs: list[dict[str, Any]], languages: list[str]) -> str:
    """Draw dev F1 after every epoch, a panel a language, a line a number of frozen layers."""
    curves: dict[str, dict[int, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run["kind"] != "joint":
            continue
        lines = read_lines(folder / f"{run['name']}.jsonl")[1:]
        for language in languages:
            values = [line["watch"]["dev"]["ents_per_language"][language]["f"] for line in lines]
            curves[language][run["n_frozen_layers"]].append(values)
    if not curves:
        return ""
    figure, panels = make_panels(languages, columns=4, width=12, height=2.6)
    for axis, language in zip(panels, languages, strict=True):
        for n_frozen, seeds in sorted(curves[language].items()):
            means = [100 * mean(values) for values in zip(*seeds, strict=True)]
            axis.plot(range(1, len(means) + 1), means, marker="o", markersize=3, label=str(n_frozen))
        axis.set(xlabel="epoch", ylabel="dev F1")
        axis.xaxis.get_major_locator().set_params(integer=True)
    panels[0].legend(title="frozen", fontsize=6, title_fontsize=7)
    return to_svg(figure)


def to_svg(figure: Any) -> str:
    """Render a figure as inline SVG."""
    buffer = io.StringIO()
    figure.tight_layout()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    content = buffer.getvalue()
    return content[content.index("<svg") :]


def renew_readme(path: Path, scores: dict[str, Any]) -> None:
    """Replace the generated table between the two marks of the README."""
    languages = scores["ents_per_language"]
    lines = [
        "| | " + " | ".join(languages) + " | all |",
        "|---" * (len(languages) + 2) + "|",
        "| F1 | "
        + " | ".join(percent(s["f"]) for s in languages.values())
        + f" | **{percent(scores['ents_f'])}** |",
    ]
    content = path.read_text(encoding="utf-8")
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        msg.fail(f"{path} needs a line {BEGIN} and one {END} after it: the table goes between them", exits=1)
    table = "\n".join(lines)
    write_text(path, f"{before}{BEGIN}\n{table}\n{END}{after}")


EXPERIMENTS: dict[str, Callable[[Path], dict[str, Any] | None]] = {
    JOINT: describe_joint,
    PLAN: describe_groupings,
    RISKS: describe_transfer,
    CORPORA: describe_students,
    PARTS: describe_parts,
}


if __name__ == "__main__":
    typer.run(main)

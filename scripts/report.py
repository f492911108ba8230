"""The report page with the tables and figures of all experiments."""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import matplotlib
import typer
from markupsafe import Markup
from wasabi import msg

from spacy_xner.files import read_lines
from spacy_xner.pages import percent, render
from spacy_xner.report.figures import to_svg
from spacy_xner.report.page import collect_report, renew_readme, write_report

import groupings
import parts
import silver
import spaces
import transfer
from runs import CORPORA, JOINT, PARTS, PLAN, RISKS, kind_of, read_results
from tables import choose, make_panels

matplotlib.use("svg")
from matplotlib import pyplot as plt


def main(
    out: Annotated[Path, typer.Argument(help="HTML file to write.")],
    metrics: Annotated[Path, typer.Option(help="Folder of evaluate's JSON files.")],
    training: Annotated[Path, typer.Option(help="Folder of trained pipelines.")],
    runs: Annotated[Path | None, typer.Option(help="Folder of folders of runs, one experiment each.")] = None,
    readme: Annotated[Path | None, typer.Option(help="Also renew the table in this README.")] = None,
) -> None:
    """Write the page of `spacy xner report`, with the runs of all experiments at its end."""
    report = collect_report(metrics, training)
    folders = sorted(path for path in runs.iterdir() if path.is_dir()) if runs and runs.is_dir() else []
    described: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for folder in folders:
        kind = kind_of(folder)
        if kind is not None and (content := EXPERIMENTS[kind](folder)):
            described[kind].append(content)
    section = render(
        "experiments.html.jinja",
        folder=Path(__file__).parent,
        experiments=described[JOINT],
        comparisons=described[PLAN],
        transfers=described[RISKS],
        projections=described[CORPORA],
        lexical=described[PARTS],
        percent=percent,
    )
    write_report(out, report, [section])
    msg.good(f"Wrote {out}")
    if readme is not None:
        renew_readme(readme, report.models)
        msg.good(f"Renewed the table in {readme}")


def draw(figure: Any) -> Markup:
    """Render a figure of pyplot, which keeps figures until they are closed."""
    svg = to_svg(figure)
    plt.close(figure)
    return svg


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
        "figure2": draw(groupings.box_plots(chosen, runs)),
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
        "figure": draw(transfer.draw_curves(runs)),
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
        "figure": draw(figure) if figure is not None else "",
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
            path.stem: draw((spaces.draw_lengths if path.stem == "lengths" else spaces.draw_words)(content))
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
    return draw(figure)


EXPERIMENTS: dict[str, Callable[[Path], dict[str, Any] | None]] = {
    JOINT: describe_joint,
    PLAN: describe_groupings,
    RISKS: describe_transfer,
    CORPORA: describe_students,
    PARTS: describe_parts,
}


if __name__ == "__main__":
    typer.run(main)

"""Tables of runs by grouping. SOURCE: Shaffer 2021, Tables 3 to 5."""

from pathlib import Path
from typing import Any

import pandas

from spacy_xner.files import read_json
from spacy_xner.router.grouping import Grouping
from spacy_xner.significance import Comparison, bootstrap

from scripts.results import ALL, DESCRIPTION, Result, long_table, settings_of, unpack_counts
from scripts.tables import Frame, Table, pivot, show, span, steps_of, summarize

LABELS = ("LOC", "ORG", "PER")


def tables_of_identifier(folder: Path, results: list[Result]) -> list[Table]:
    """How often an identifier is right, and what it takes a language for."""
    tables = []
    for result in results:
        shares = [f"{100 * result['accuracy'][split]:.1f} %" for split in ("dev", "test")]
        header = ["", "right on dev", "right on test", "steps"]
        tables.append(Table("Identifier", header, [["languages", *shares, f"{result['steps']:,}"]]))
        counts = pandas.DataFrame(result["confusion"]).pivot(index="gold", columns="found", values="n")
        rows = [
            [gold, *("" if pandas.isna(n) else f"{n:.0f}" for n in row)]
            for gold, row in zip(counts.index, counts.to_numpy(), strict=True)
        ]
        tables.append(Table("Languages of test sentences", ["gold / found", *map(str, counts.columns)], rows))
    return tables


def read_groupings(folder: Path) -> list[Grouping]:
    """The groupings of an experiment with clusters."""
    described = read_json(folder / DESCRIPTION)
    return [Grouping.from_json(content, str(folder)) for content in described.get("groupings", [])]


def is_cluster_run(result: Result, languages: list[str]) -> bool:
    """True for a run that was trained and tested on exactly these languages, and on no other corpus."""
    settings = settings_of(result)
    return settings["trained_on"] == settings["tested_on"] == languages and not settings["combination"]


def by_grouping(groupings: list[Grouping], results: list[Result]) -> Frame:
    """The long table by grouping; a run stands for every grouping that has its cluster."""
    frames = [
        long_table(runs).assign(grouping=grouping.name)
        for grouping in groupings
        for languages in grouping.clusters.values()
        if (runs := [result for result in results if is_cluster_run(result, languages)])
    ]
    if not frames:
        return Frame(columns=["grouping", "language", "label", "seed", "f", "steps"])
    frame = pandas.concat(frames, ignore_index=True)
    names = [grouping.name for grouping in groupings]
    # The first grouping is the one to compare with.
    return frame.assign(grouping=pandas.Categorical(frame.grouping, categories=names, ordered=True))


def compare_groupings(
    groupings: list[Grouping], results: list[Result]
) -> dict[str, dict[str, Comparison | None]]:
    """Compare the first grouping with every other by a paired bootstrap over sentences, by language."""
    first, *others = groupings

    def counts(grouping: Grouping, language: str) -> list[Any]:
        languages = grouping.clusters[grouping.cluster_of[language]]
        runs = [result for result in results if is_cluster_run(result, languages)]
        return [unpack_counts(run["counts"][language]) for run in runs]

    return {
        language: {
            grouping.name: bootstrap(ours, others_) if ours and others_ else None
            for grouping in others
            for ours, others_ in [(counts(first, language), counts(grouping, language))]
        }
        for language in first.languages
    }


def tables(folder: Path, results: list[Result]) -> list[Table]:
    """F1 by grouping, differences from the first, zero-shot clusters, combined training sets."""
    groupings = read_groupings(folder)
    tables = []
    if len(frame := by_grouping(groupings, results)):
        tables += _tables_of_groupings(groupings, frame)
        if len(groupings) > 1:
            tables.append(_table_of_differences(groupings, results, frame))
    if held_out := [result for result in results if settings_of(result)["held_out"]]:
        frame = long_table(held_out)
        cells = pivot(frame[frame.label.isin([ALL, *LABELS])], ["language"], "label", average=False)
        steps = steps_of(frame, ["language"])
        tables.append(show("Zero-shot F1 from the cluster without these languages", cells, steps, best=""))
    if combined := [result for result in results if settings_of(result)["combination"]]:
        frame = long_table(combined)
        cells = pivot(frame[frame.label == ALL], ["combination"], "test_sources")
        title = "Test F1 on another corpus, by what was trained on"
        tables.append(show(title, cells, steps_of(frame, ["combination"])))
    return tables


def _tables_of_groupings(groupings: list[Grouping], frame: Frame) -> list[Table]:
    """Clusters, F1 by language and grouping, and by label."""
    everything = frame[frame.label == ALL]
    cells = pivot(everything, ["language"], "grouping", average=False)
    table = show("Test F1 by language and grouping", cells, best="row")
    means = [summarize(c.mean for c in cells[name] if c is not None) for name in cells.columns]
    steps = [span(everything[everything.grouping == name].steps) for name in cells.columns]
    averages = ["mean", *("–" if cell is None else f"{cell.mean:.1f}" for cell in means)]
    rows = [*table.rows, averages, ["steps", *steps]]
    labelled = frame[frame.label.isin(LABELS)]
    labelled = labelled.assign(column=labelled.grouping.astype(str) + " " + labelled.label)
    by_label = pivot(labelled, ["language"], "column", average=False)
    order = [name for g in groupings for label in LABELS if (name := f"{g.name} {label}") in by_label]
    clusters = [
        [grouping.name, "; ".join(f"{name}: {' '.join(langs)}" for name, langs in grouping.clusters.items())]
        for grouping in groupings
    ]
    return [
        Table("Groupings", ["", "clusters"], clusters),
        table._replace(rows=rows),
        show("Test F1 by label", by_label[order], steps_of(labelled, ["language"]), best=""),
    ]


def _table_of_differences(groupings: list[Grouping], results: list[Result], frame: Frame) -> Table:
    first, *others = groupings
    compared, steps = compare_groupings(groupings, results), steps_of(frame, ["language"])
    rows = [
        [language, *map(_show_comparison, row.values()), steps.get((language,), "–")]
        for language, row in compared.items()
    ]
    title = f"Difference of {first.name} in F1 (95 % of a paired bootstrap), * where p < 0.05"
    return Table(title, ["", *(grouping.name for grouping in others), "steps"], rows)


def _show_comparison(c: Comparison | None) -> str:
    if c is None:
        return "–"
    return f"{c.difference:+.1f} ({c.low:+.1f} to {c.high:+.1f}){' *' if c.p < 0.05 else ''}"

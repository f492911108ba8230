"""Tables of BiLSTM-CRF runs. SOURCE: Huang et al. 2019, Tables 2 to 6; Bari et al. 2020, Tables 2 to 4."""

from pathlib import Path
from typing import Any

from spacy_xner.files import read_json
from spacy_xner.runs import choose

from scripts.results import ALL, Result, long_table
from scripts.tables import Frame, Table, gains, pivot, show, span, steps_of, summarize
from scripts.variants import VARIANTS

# Variants that the others are compared with: the whole model of paper 4, the plainest mapped one of paper 5.
BASES = ("full", "cross-word")


def base_variant(frame: Frame) -> str:
    """The variant that the others are compared with."""
    variants = set(frame.variant)
    return next((name for name in BASES if name in variants), frame.variant.iloc[0])


def _variant_order(row: tuple[Any, ...]) -> int:
    return list(VARIANTS).index(row[0])


def table_of_selections(frame: Frame, target: str) -> Table:
    """F1 of a target by variant and what chose the epoch: mean, deviation, maximum over seeds; parameters.

    SOURCE: Bari et al. 2020, Table 4.
    """
    of_target = frame[(frame.set == target) & (frame.label == ALL)]
    rows = []
    for variant in sorted(of_target.variant.unique(), key=list(VARIANTS).index):
        runs = of_target[of_target.variant == variant]
        cells: list[str] = []
        for criterion in ("source dev", "target dev", "target test"):
            scores = runs[runs.selection == criterion].f
            cells += [str(summarize(scores)), f"{scores.max():.1f}"]
        rows.append([variant, *cells, f"{runs.parameters.iloc[0]:,}", span(runs.steps)])
    header = ["", "source dev", "max", "target dev", "max", "target test", "max", "parameters", "steps"]
    return Table(f"{target}: test F1 by what chooses the epoch", header, rows)


def table_on_dev(results: list[Result], axes: list[str]) -> Table:
    """F1 on dev sets by settings: the source's best, and the target's at the same epoch.

    axes: The settings that differ between the runs, besides seed, target and variant.
    """
    rows = []
    for result in results:
        at = result["curve"][choose([epoch["source_dev"] for epoch in result["curve"]])]
        head = {name: result["axes"].get(name, 0) for name in [*axes, "seed", "target"]}
        target = head["target"] or result["targets"][0]
        rows += [
            {**head, "set": f"{target}: source dev", "f": 100 * at["source_dev"]},
            {**head, "set": f"{target}: target dev", "f": 100 * at["languages"][target]["dev"]},
        ]
    cells = pivot(Frame(rows), axes, average=False)
    return show("F1 on dev, epoch chosen on source dev", cells)


def tables(folder: Path, results: list[Result]) -> list[Table]:
    """F1 by variant, differences from the base, by entity length, by what chose the epoch."""
    axes = [axis for axis in results[0]["axes"] if axis not in ("seed", "target", "variant")]
    tables = [table_on_dev(results, axes)] if axes else []
    if any("test" not in scores for scores in results[0]["curve"][0]["languages"].values()):
        return tables
    frame = long_table(results)
    scores = frame[frame.label == ALL]
    for criterion in ("source dev", "target dev"):
        selected = scores[scores.selection == criterion]
        cells = pivot(selected, ["variant"], order=_variant_order, average=False)
        tables.append(show(f"Test F1, epoch chosen on {criterion}", cells, steps_of(selected, ["variant"])))
    selected = scores[scores.selection == "source dev"]
    base = base_variant(selected)
    if selected.variant.nunique() > 1:
        cells = gains(selected, ["variant"], (base,), order=_variant_order, average=False)
        title = f"Difference from {base} with the same seed, epoch chosen on source dev"
        tables.append(show(title, cells, steps_of(selected, ["variant"]), signed=True))
    lengths = frame[(frame.label != ALL) & (frame.selection == "source dev") & (frame.variant == base)]
    if len(lengths):
        lengths = lengths.assign(words=lengths.label.str.removesuffix(" words"))
        cells = pivot(lengths, ["set"], "words", average=False)
        tables.append(show(f"F1 by words in the entity, {base}", cells, best=""))
    tables += [table_of_selections(frame, target) for target in sorted(scores.set.unique())]
    if augmented := [result for result in results if "admitted" in result]:
        tables.append(_table_of_bases(augmented))
    if unknown := _unknown_words(folder):
        tables.append(unknown)
    return tables


def _table_of_bases(results: list[Result]) -> Table:
    """The base of the runs with augmentation, and the share of the text that a drawn length admits."""
    header = ["", "seed", "base", "admitted"]
    rows = [
        [row["target"], str(row.get("seed", 0)), result["base"], f"{100 * result['admitted']:.1f} %"]
        for result in results
        for row in [{**result["settings"], **result["axes"]}]
    ]
    return Table("Augmented fine-tuning", header, sorted(rows))


def _unknown_words(folder: Path) -> Table | None:
    """Shares of words without a vector that `vectors coverage` left in `unknown/` (Huang et al., Table 6)."""
    shares_of: dict[str, dict[str, float]] = {}
    for path in sorted((folder / "unknown").glob("*.json")):
        for corpus, shares in read_json(path).items():
            shares_of[f"{path.stem} {corpus}"] = shares
    rows = [
        [name, *(f"{100 * share:.1f} %" for share in shares.values())] for name, shares in shares_of.items()
    ]
    return Table("Words without a vector", ["", "types", "tokens"], rows) if rows else None

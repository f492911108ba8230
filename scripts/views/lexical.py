"""Tables of BiLSTM-CRF runs. SOURCE: Huang et al. 2019, Tables 2 to 6; Bari et al. 2020, Tables 2 to 4."""

from pathlib import Path
from typing import Any

from spacy_xner.files import read_json

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


def tables(folder: Path, results: list[Result]) -> list[Table]:
    """F1 by variant, differences from the base, by entity length, by what chose the epoch."""
    frame = long_table(results)
    scores = frame[frame.label == ALL]
    tables = []
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
    if unknown := _unknown_words(folder):
        tables.append(unknown)
    return tables


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

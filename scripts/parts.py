"""Tables of BiLSTM-CRF runs. Pure functions on what `bilstm.py` wrote.

SOURCE: Huang et al. 2019, Tables 2 to 5; Bari et al. 2020, Tables 2 to 4.
"""

import json
from pathlib import Path
from typing import Any

from bilstm import VARIANTS, ZERO_RESOURCE
from runs import read_results
from tables import Cell, summarize, titled, to_markdown
from transfer import score, select, target_languages

Runs = list[dict[str, Any]]
Table = dict[str, dict[str, Cell | None]]
# What the others are compared with: the whole model of paper 4, the plainest mapped one of paper 5.
BASES = ("full", "cross-word")
LENGTHS = ("1", "2", "3+")
SELECTIONS = ["", "source dev", "max", "target dev", "max", "target test", "max", "parameters"]


def table_of_variants(runs: Runs, criterion: str) -> Table:
    """Test F1 by variant and target over seeds, at the epoch that a criterion chooses (Tables 2, 3, 5)."""
    targets = target_languages(runs)
    return {
        variant: {
            target: summarize([score(run, target, criterion) for run in _of(runs, variant, target)])
            for target in targets
        }
        for variant in VARIANTS
        if any(run["variant"] == variant for run in runs)
    }


def table_of_gains(runs: Runs, criterion: str) -> Table:
    """What a variant gains or loses against the base with the same seed."""
    base = base_of(runs)
    plain = {(run["target"], run["seed"]): score(run, run["target"], criterion) for run in _of(runs, base)}
    targets = target_languages(runs)
    return {
        variant: {
            target: summarize(
                [
                    score(run, target, criterion) - plain[target, run["seed"]]
                    for run in _of(runs, variant, target)
                    if (target, run["seed"]) in plain
                ]
            )
            for target in targets
        }
        for variant in VARIANTS
        if plain and variant != base and _of(runs, variant)
    }


def table_of_selections(runs: Runs, target: str) -> dict[str, list[str]]:
    """Test F1 by variant and what chose the epoch: mean, deviation, maximum over seeds; parameters.

    SOURCE: Bari et al. 2020, Table 4.
    """
    rows = {}
    for variant in VARIANTS:
        own = _of(runs, variant, target)
        if own:
            cells = []
            for criterion in ("source dev", "target dev", "target test"):
                scores = [score(run, target, criterion) for run in own]
                cells += [str(summarize(scores)), f"{100 * max(scores):.1f}"]
            rows[variant] = [*cells, f"{own[0]['parameters']:,}" if "parameters" in own[0] else "–"]
    return rows


def table_of_lengths(runs: Runs) -> Table:
    """F1 of the base by tokens in the entity, at the epoch chosen on source dev (Table 4)."""
    targets = target_languages(runs)
    return {
        target: {
            length: summarize(
                [
                    select(run, target, "source dev")["languages"][target]["lengths"].get(length, 0.0)
                    for run in _of(runs, base_of(runs), target)
                ]
            )
            for length in LENGTHS
        }
        for target in targets
    }


def read_unknown(folder: Path) -> dict[str, dict[str, float]]:
    """Shares of words without a vector that `spacy xner vectors coverage` left in `unknown/` (Table 6)."""
    return {
        f"{path.stem} {corpus}": shares
        for path in sorted((folder / "unknown").glob("*.json"))
        for corpus, shares in json.loads(path.read_text(encoding="utf-8")).items()
    }


def all_selections(runs: Runs) -> dict[str, dict[str, list[str]]]:
    """`table_of_selections` by target, of runs for want of a dictionary."""
    if not any(run["variant"] in ZERO_RESOURCE for run in runs):
        return {}
    return {target: table_of_selections(runs, target) for target in target_languages(runs)}


def base_of(runs: Runs) -> str:
    """The variant that the others are compared with."""
    return next((name for name in BASES if _of(runs, name)), runs[0]["variant"])


def _of(runs: Runs, variant: str, target: str | None = None) -> Runs:
    return [run for run in runs if run["variant"] == variant and target in (None, run["target"])]


def all_tables(runs: Runs) -> dict[str, Table]:
    """The tables that have something to compare, by their titles."""
    tables = {
        "Epoch chosen on source dev": table_of_variants(runs, "source dev"),
        "Epoch chosen on target dev": table_of_variants(runs, "target dev"),
        f"Difference from {base_of(runs)}, source dev": table_of_gains(runs, "source dev"),
        f"By words in the entity, {base_of(runs)}": table_of_lengths(runs),
    }
    return {title: table for title, table in tables.items() if table}


def markdown(folder: Path) -> str:
    """All tables of a folder of runs as Markdown."""
    runs = read_results(folder)
    shown = {key: value for key, value in runs[0]["settings"].items() if key != "made_of"}
    settings = ", ".join(f"{key} {value}" for key, value in shown.items())
    lines = [f"Settings: {settings}.", ""]
    for title, table in all_tables(runs).items():
        lines += titled(title, table)
    for target, found in all_selections(runs).items():
        rows = [[name, *cells] for name, cells in found.items()]
        lines += [f"**{target}, by what chooses the epoch**", "", *to_markdown(SELECTIONS, rows), ""]
    if unknown := read_unknown(folder):
        rows = [[name, *(f"{100 * share:.1f} %" for share in row.values())] for name, row in unknown.items()]
        lines += ["**Words without a vector**", "", *to_markdown(["", "types", "tokens"], rows), ""]
    return "\n".join(lines)

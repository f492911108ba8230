"""Tables of BiLSTM-CRF runs. Pure functions on what `bilstm.py` wrote.

SOURCE: Wu et al. 2019, Tables 2 to 5.
"""

import json
from pathlib import Path
from typing import Any

from bilstm import VARIANTS
from runs import read_results
from tables import Cell, summarize, titled, to_markdown
from transfer import score, select, target_languages

Runs = list[dict[str, Any]]
Table = dict[str, dict[str, Cell | None]]
FULL = "full"
LENGTHS = ("1", "2", "3+")


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
    """What a variant loses against the full model with the same seed."""
    full = {(run["target"], run["seed"]): score(run, run["target"], criterion) for run in _of(runs, FULL)}
    targets = target_languages(runs)
    return {
        variant: {
            target: summarize(
                [
                    score(run, target, criterion) - full[target, run["seed"]]
                    for run in _of(runs, variant, target)
                    if (target, run["seed"]) in full
                ]
            )
            for target in targets
        }
        for variant in VARIANTS
        if variant != FULL and _of(runs, variant)
    }


def table_of_lengths(runs: Runs) -> Table:
    """F1 of the full model by tokens in the entity, at the epoch chosen on source dev (Table 4)."""
    targets = target_languages(runs)
    return {
        target: {
            length: summarize(
                [
                    select(run, target, "source dev")["languages"][target]["lengths"].get(length, 0.0)
                    for run in _of(runs, FULL, target)
                ]
            )
            for length in LENGTHS
        }
        for target in targets
    }


def read_unknown(folder: Path) -> dict[str, dict[str, float]]:
    """Shares of words without a vector that `vectors.py coverage` left in `unknown/` (Table 6)."""
    return {
        f"{path.stem} {corpus}": shares
        for path in sorted((folder / "unknown").glob("*.json"))
        for corpus, shares in json.loads(path.read_text(encoding="utf-8")).items()
    }


def _of(runs: Runs, variant: str, target: str | None = None) -> Runs:
    return [run for run in runs if run["variant"] == variant and target in (None, run["target"])]


def all_tables(runs: Runs) -> dict[str, Table]:
    """The tables that have something to compare, by their titles."""
    tables = {
        "Epoch chosen on source dev": table_of_variants(runs, "source dev"),
        "Epoch chosen on target dev": table_of_variants(runs, "target dev"),
        "Difference from the full model, source dev": table_of_gains(runs, "source dev"),
        "By words in the entity, full model": table_of_lengths(runs),
    }
    return {title: table for title, table in tables.items() if table}


def markdown(folder: Path) -> str:
    """All tables of a folder of runs as Markdown."""
    runs = read_results(folder)
    settings = ", ".join(f"{key} {value}" for key, value in runs[0]["settings"].items())
    lines = [f"Settings: {settings}.", ""]
    for title, table in all_tables(runs).items():
        lines += titled(title, table)
    if unknown := read_unknown(folder):
        rows = [[name, *(f"{100 * share:.1f} %" for share in row.values())] for name, row in unknown.items()]
        lines += ["**Words without a vector**", "", *to_markdown(["", "types", "tokens"], rows), ""]
    return "\n".join(lines)

"""Damaged pipelines: does every kind of damage get a coded error, and nothing a silent change?

Tiny pipelines are damaged in a copy, loaded and run in a process of their own with limits of time and memory.
"""

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from wasabi import msg

sys.path.insert(0, str(Path(__file__).parent.parent))

from spacy_xner.machine import describe_machine

from tests.attack.cases import make_cases
from tests.attack.pipelines import make_pipelines, read_texts
from tests.attack.trial import BAD, OUTCOMES, try_case


def main(
    out: Annotated[Path, typer.Option(help="JSON file of all cases.")] = Path("attack.json"),
    seed: Annotated[int, typer.Option(help="Seed of the random damage.")] = 0,
    n_flips: Annotated[int, typer.Option(help="Flipped bits a file.")] = 8,
    only: Annotated[str, typer.Option(help="Only kinds with this text in their name.")] = "",
) -> None:
    """Damage pipelines in all ways, and print what became of them by kind of damage."""
    machine = describe_machine()
    msg.info(str(machine))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        pipelines = make_pipelines(folder)
        cases = [case for case in make_cases(pipelines, seed, n_flips) if only in case.kind]
        healthy = {name: read_texts(spacy.load(path)) for name, path in pipelines.items()}
        rows = []
        for number, case in enumerate(cases):
            outcome = try_case(
                case, pipelines[case.pipeline], folder / f"case{number}", healthy[case.pipeline]
            )
            rows.append({**case._asdict(), "damage": "", "outcome": outcome.name, "message": outcome.message})
    result = {"machine": machine._asdict(), "cases": rows}
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    print_table(rows)
    bad = [row for row in rows if row["outcome"] in BAD]
    for row in bad:
        msg.warn(f"{row['outcome']}: {row['pipeline']}, {row['kind']}, {row['where']}: {row['message']}")
    seconds = time.perf_counter() - start
    msg.info(f"{len(rows)} damaged pipelines in {seconds:.0f} s, {len(bad)} with an outcome that must not be")
    if bad:
        raise typer.Exit(1)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the outcomes by kind of damage."""
    kinds = sorted({row["kind"] for row in rows})
    counts = Counter((row["kind"], row["outcome"]) for row in rows)
    table = [(kind, *(str(counts[kind, name] or "") for name in OUTCOMES)) for kind in kinds]
    total = Counter(row["outcome"] for row in rows)
    table.append(("all", *(str(total[name]) for name in OUTCOMES)))
    msg.table(table, header=("damage", *OUTCOMES), divider=True, aligns=tuple("l" + "r" * len(OUTCOMES)))


if __name__ == "__main__":
    typer.run(main)

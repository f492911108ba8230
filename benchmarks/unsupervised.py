"""Maps without a dictionary, several seeds a start: how good they are, and how often the verdict is wrong.

Starts from spelling depend on the seed only where chance leads them on (`--explored`); otherwise they are
followed once, and count at every seed. All that is finished lies in a folder and is not done again.
"""

import json
import statistics
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from wasabi import msg

from spacy_xner.files import write_bytes
from spacy_xner.machine import Machine, describe_machine
from spacy_xner.vectors.dictionary import BilingualDictionary, read_dictionary, split_dictionary
from spacy_xner.vectors.judge import choose_start
from spacy_xner.vectors.mapping import Pairs, align, precision
from spacy_xner.vectors.spelling import SPELLING, compare_spelling
from spacy_xner.vectors.starts import (
    EXPLORATION,
    INITIALISERS,
    MAP_SETTINGS,
    RANDOM,
    MapSettings,
    Start,
    follow_starts,
)
from spacy_xner.vectors.table import VectorTable, read_table

SUPERVISED, ALL = "dictionary", "all"
# Starts of these initialisers do not depend on the seed.
FIXED = ("identical", "cognates")
Tables = tuple[VectorTable, VectorTable]


def main(
    source: Annotated[Path, typer.Argument(help="Table of the source language.")],
    target: Annotated[Path, typer.Argument(help="Table of the target language.")],
    dictionary: Annotated[Path, typer.Argument(help="Pairs: 5,000 entries map, the next 1,500 measure.")],
    out: Annotated[Path, typer.Argument(help="Folder of the runs; those in there are kept.")],
    initialisers: Annotated[str, typer.Option(help="Starts to try.")] = ",".join(INITIALISERS),
    n_seeds: Annotated[int, typer.Option(help="Seeds from 0.")] = 5,
    restarts: Annotated[
        int, typer.Option(help="Restarts of the adversarial start, each in both directions.")
    ] = 1,
    iterations: Annotated[int, typer.Option(help="Times that a dictionary is induced anew.")] = 10,
    explored: Annotated[int, typer.Option(help="Words of the stochastic induction; 0 for none.")] = 4000,
    limit: Annotated[int, typer.Option(help="The first so many words; 0 takes all.")] = 20_000,
    failed: Annotated[
        float, typer.Option(help="P@1 without spelling below which a start has failed.")
    ] = 0.05,
) -> None:
    """Print a Markdown table of every start alone, of all together, and of a dictionary."""
    names = [name for name in initialisers.split(",") if name]
    files = {"source": source, "target": target, "dictionary": dictionary}
    settings = {
        **{name: zlib.crc32(path.read_bytes()) for name, path in files.items()},
        "restarts": restarts, "iterations": iterations, "limit": limit, "spelling": SPELLING,
        "exploration": EXPLORATION._replace(n_words=explored)._asdict(),
    }  # fmt: skip
    if keep(out / "settings.json", lambda: settings) != settings:
        msg.fail(f"{out} holds runs of other settings", exits=1)
    machine = keep(out / "machine.json", lambda: describe_machine()._asdict())
    msg.info(str(Machine(**machine)))
    tables = read_table(source, limit), read_table(target, limit)
    training, test = split_dictionary(read_dictionary(dictionary))
    runs = [keep(out / f"{SUPERVISED}.json", lambda: supervise(tables, training, test))]
    for seed in range(n_seeds):

        def follow(name: str, seed: int = seed) -> dict[str, Any]:
            number = 0 if name in FIXED and not explored else seed
            return keep(
                out / f"starts-{name}-{number}.json",
                lambda: follow_one(tables, name, number, restarts, iterations, explored),
            )

        # The random start is worth nothing: its row shows the effect of spelling alone.
        for group in [RANDOM, *names, ALL]:
            parts = names if group == ALL else [group] * (group != RANDOM)
            label = group if group != ALL else f"{ALL}-{'-'.join(names)}"
            run = keep(
                out / f"run-{label}-{seed}.json",
                lambda parts=parts: judge_one(tables, test, [follow(name) for name in (RANDOM, *parts)]),
            )
            msg.info(f"{group}, seed {seed}: {run['verdict']}, P@1 {100 * run['precision']:.1f}")
            runs.append({"group": group, **run})
    print("\n".join(tabulate(runs, [RANDOM, *names, ALL], failed)))


def keep(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Read what an earlier call left, or make it and leave it."""
    if not path.exists():
        write_bytes(path, json.dumps(make()).encode("utf-8"))
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def supervise(tables: Tables, training: BilingualDictionary, test: BilingualDictionary) -> dict[str, Any]:
    """Map by a dictionary."""
    begin = time.perf_counter()
    mapped = align(*tables, training, spelling=compare_spelling(*tables))
    seconds = time.perf_counter() - begin
    return {
        "group": SUPERVISED,
        "precision": precision(*mapped, test).by_neighbours[1],
        "unspelled": precision(*align(*tables, training), test).by_neighbours[1],
        "seconds": seconds,
    }


def follow_one(
    tables: Tables, name: str, seed: int, restarts: int, iterations: int, explored: int
) -> dict[str, Any]:
    """See where an initialiser's starts lead. RETURNS: Starts with their dictionaries, seconds a start."""
    begin = time.perf_counter()
    settings = MapSettings(
        (name,), seed=seed, restarts=restarts, n_iterations=iterations,
        exploration=EXPLORATION._replace(n_words=explored),
    )  # fmt: skip
    followed, skipped = follow_starts(*tables, settings)
    seconds = (time.perf_counter() - begin) / max(1, len(followed))
    starts = {
        label: {"criterion": start.criterion, "pairs": [rows.tolist() for rows in start.pairs]}
        for label, start in followed.items()
    }
    return {"starts": starts, "skipped": skipped, "seconds": seconds}


def judge_one(
    tables: Tables, test: BilingualDictionary, followed: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Map by the best of some starts, and measure the map whatever the verdict.

    followed: As of `follow_one`, the random rotation first.
    """
    starts = {
        label: Start(Pairs(*map(torch.tensor, start["pairs"])), start["criterion"])
        for part in followed
        for label, start in part["starts"].items()
    }
    skipped = {label: reason for part in followed for label, reason in part["skipped"].items()}
    mapped, unspelled = (
        choose_start(*tables, starts, skipped, MAP_SETTINGS._replace(spelling=weight))
        for weight in (SPELLING, 0)
    )
    return {
        "verdict": mapped.verdict,
        "precision": precision(mapped.source, mapped.target, test).by_neighbours[1],
        "unspelled": precision(unspelled.source, unspelled.target, test).by_neighbours[1],
        "seconds": statistics.mean(part["seconds"] for part in followed[1:] or followed),
        "evidence": mapped.evidence,
    }


def tabulate(runs: Sequence[Mapping[str, Any]], groups: Sequence[str], failed: float) -> list[str]:
    """Lines of a table in Markdown.

    runs: Results, the run with a dictionary first.
    failed: P@1 without spelling below which a start has failed. The verdict does not count here, because
        spelling makes a usable map even from a random start.
    """
    header = (
        "start", "P@1, CSLS", "without spelling", "OK", "WEAK", "FAILED", "failures not seen", "false alarms",
        "agreement", "seconds a start",
    )  # fmt: skip
    best = [f"{100 * runs[0][key]:.1f}" for key in ("precision", "unspelled")]
    rows = [header, ("---",) * len(header), (SUPERVISED, *best, *["–"] * 6, f"{runs[0]['seconds']:.0f}")]
    for group in groups:
        group_runs = [run for run in runs if run["group"] == group]
        shares = [[100 * run[key] for run in group_runs] for key in ("precision", "unspelled")]
        verdicts = [run["verdict"] for run in group_runs]
        agreements = [run["evidence"].get("agreement", 0.0) for run in group_runs]
        unseen = sum(run["verdict"] != "FAILED" and run["unspelled"] < failed for run in group_runs)
        alarms = sum(run["verdict"] == "FAILED" and run["unspelled"] >= failed for run in group_runs)
        row = (
            group,
            *(f"{statistics.mean(share):.1f} ({statistics.pstdev(share):.1f})" for share in shares),
            *(str(verdicts.count(verdict)) for verdict in ("OK", "WEAK", "FAILED")),
            str(unseen),
            str(alarms),
            f"{min(agreements):.3f} to {max(agreements):.3f}",
            f"{statistics.mean(run['seconds'] for run in group_runs):.0f}",
        )
        rows.append(row)
    return ["| " + " | ".join(row) + " |" for row in rows]


if __name__ == "__main__":
    typer.run(main)

"""Kill commands at moments that are spread over their work: see tests/kills.py.

python benchmarks/kills.py --kills 10 --out benchmarks/results/kills.json
"""

import argparse
import itertools
import json
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import Record, Table

from tests.kills import JOBS, Bench, Kill, make_inputs

STATES = ("old", "new", "beside", "refused", "loads", "half-written", "lost")
NOTE = (
    "Results after the kill, before the command is run again: wholly old; wholly new; kept beside their "
    "place by the exchange of two folders, which the next run ends; for plain `spacy train`, which writes in "
    "place, pipelines that spaCy refuses to load, and those that load, pass all checksums and predict. "
    "Failures are kills after which a result was half-written or lost, or the next run failed, gave another "
    "result, or left other files than an uninterrupted one."
)


def main() -> None:
    """Kill every command so many times, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="Kills of each command.")
    parser.add_argument("--jobs", nargs="*", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--out", type=Path, help="JSON file for the table.")
    parser.add_argument("--log", type=Path, help="JSON lines of all kills; those in it are not done again.")
    arguments = parser.parse_args()
    command = shlex.join(["python", "benchmarks/kills.py", *sys.argv[1:]])
    record = Record(command, "Kills (SIGKILL to the group) of fresh commands over results of an earlier run.")
    kills = read_log(arguments.log)
    done = {(kill["job"], kill["number"]) for kill in kills}
    left = [
        (name, number)
        for name in arguments.jobs
        for number in range(arguments.kills)
        if (name, number) not in done
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, kill in kill_all(left, Path(folder)):
            kills.append({**kill._asdict(), "moment": kill.moment._asdict(), "commit": record.commit})
            print(f"{name}, {kill.number}: {kill.states}, {'; '.join(kill.problems) or 'good'}", flush=True)
            if arguments.log:
                with arguments.log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(kills[-1]) + "\n")
    table = summarize(kills)
    print("\n".join(table.markdown()))
    if arguments.out:
        record.write(arguments.out, [table], NOTE, commits=sorted({kill["commit"] for kill in kills}))
    if any(kill["problems"] for kill in kills):
        sys.exit(1)


def kill_all(left: list[tuple[str, int]], folder: Path) -> Iterator[tuple[str, Kill]]:
    """Kill jobs so often. left: Names of jobs and numbers of kills."""
    if not left:
        return
    inputs = make_inputs(folder / "inputs")
    for name, group in itertools.groupby(left, key=lambda pair: pair[0]):
        bench = Bench(name, JOBS[name], inputs, folder / name)
        for _, number in group:
            yield name, bench.kill(number)


def read_log(path: Path | None) -> list[dict[str, Any]]:
    """Read the kills of an earlier run that did not end."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def summarize(kills: list[dict[str, Any]]) -> Table:
    """A row a command, and one of all."""
    jobs = [name for name in JOBS if any(kill["job"] == name for kill in kills)]
    rows = [_row(name, [kill for kill in kills if kill["job"] == name]) for name in jobs]
    header = ["command", "kills", "while files were half-written", *STATES, "failures"]
    return Table("Results after kills", header, [*rows, _row("all", kills)])


def _row(name: str, kills: list[dict[str, Any]]) -> list[str]:
    states: Counter[str] = Counter()
    for kill in kills:
        states.update(kill["states"])
    in_write = sum(kill["is_in_write"] for kill in kills)
    failures = sum(bool(kill["problems"]) for kill in kills)
    return [name, *map(str, (len(kills), in_write, *(states[key] for key in STATES), failures))]


if __name__ == "__main__":
    main()

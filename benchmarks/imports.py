"""CPU time of a process that makes a `Language`, with this package's entry points and without them.

spaCy imports the modules of all factories for that, and the modules of all loggers. Processes with and
without the entry points take turns; those of other packages that the option names are hidden from both.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.machine import describe_machine

SCRIPT = """
import json, sys, time

import spacy
from catalogue import Registry

imported = time.process_time()
hidden = tuple(sys.argv[1].split(","))
every = Registry._get_entry_points
Registry._get_entry_points = lambda self: [p for p in every(self) if not p.value.startswith(hidden)]
start = time.process_time()
spacy.blank("en")
end = time.process_time()
print(json.dumps({"spacy.blank": end - start, "the process": imported + end - start}))
"""


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Processes of either kind.")] = 20,
    hide: Annotated[str, typer.Option(help="Packages whose entry points no process sees.")] = (
        "spacy_transformers"
    ),
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Measure `spacy.blank("en")` alone, and together with `import spacy`."""
    machine = describe_machine()
    msg.info(str(machine))
    seconds: dict[str, dict[str, list[float]]] = {"with": {}, "without": {}}
    for _ in range(rounds):
        for kind, names in (("with", hide), ("without", f"{hide},spacy_xner".strip(","))):
            for part, spent in measure(names or "-").items():
                seconds[kind].setdefault(part, []).append(spent)
    medians = {kind: {part: statistics.median(v) for part, v in s.items()} for kind, s in seconds.items()}
    ratios = {
        part: statistics.median(a / b for a, b in zip(spent, seconds["without"][part], strict=True))
        for part, spent in seconds["with"].items()
    }
    rows = [
        (part, *(f"{1000 * medians[kind][part]:,.1f}" for kind in ("with", "without")), f"{ratio:.3f}x")
        for part, ratio in ratios.items()
    ]
    msg.table(rows, header=("CPU in ms", "with", "without", "ratio"), divider=True, aligns=tuple("lrrr"))
    if out is not None:
        result = {"machine": machine._asdict(), "rounds": rounds, "hidden": hide}
        result |= {"seconds": medians, "ratios": ratios}
        out.write_text(json.dumps(result, indent=2), encoding="utf-8")


def measure(hidden: str) -> dict[str, float]:
    """Make a language in a new process. RETURNS: Seconds of CPU by what was done."""
    command = [sys.executable, "-c", SCRIPT, hidden]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    typer.run(main)

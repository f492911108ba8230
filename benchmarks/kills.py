"""Kill commands at random moments: nothing half-written is taken for whole, and running again gives the same.

Every command is started as a user starts it, over the results of an earlier run on other text, and killed
(SIGKILL). Then every result under its own name must be wholly the earlier or wholly the new one, and the
command that is run again must give what an uninterrupted run gives, with nothing left over.

python benchmarks/kills.py --kills 12
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from spacy_xner.machine import describe_machine  # noqa: E402

from tests import tiny  # noqa: E402

# Files that name the folder they were made in, or the time it took.
UNEQUAL = ("config.cfg", "curves.jsonl", "RECORD")
LEFT_OVER = ("*.part", "*.old", "*.removed")


class Job(NamedTuple):
    """A command to be killed.

    command: Arguments of `python -m spacy`, run in a folder with `data`, `text`, `corpus` and `model`.
    results: What it writes, each of them a unit that is old or new.
    whole: Whether a killed run may leave only old or new results. spaCy's own commands write in place: what
        they leave must then fail to load, or predict.
    """

    command: list[str]
    results: list[str]
    whole: bool = True


TRAIN = [
    "--paths.corpus=corpus", "--paths.encoder=checkpoint", "--vars.n_frozen_layers=-1", "--vars.max_epochs=0",
    "--training.max_steps=4", "--vars.eval_frequency=2", "--components.ner.model.tok2vec.overlap=8",
]  # fmt: skip
JOBS = {
    "convert tagged": Job(
        ["xner", "convert", "tagged", "data", "out", "--source=x"],
        [f"out/{lang}-x-{split}.spacy" for lang in ("en", "ru", "zh") for split in ("train", "dev", "test")],
    ),
    "convert text": Job(
        ["xner", "convert", "text", "text", "out", "--language=en"], ["out/en-raw-train.spacy"]
    ),
    "train": Job(["xner", "train", "transformer", "out", *TRAIN], ["out/model-best", "out/model-last"]),
    "evaluate": Job(["xner", "evaluate", "model", "corpus", "out/metrics.json"], ["out/metrics.json"]),
    "package": Job(
        ["xner", "package", "model", "out", "--name=x", "--version=1.0.0"],
        ["out/xx_xner_x-1.0.0-py3-none-any.whl"],
    ),
    "spacy train": Job(
        ["train", "transformer.cfg", "--output=out", "--paths.curves=curves.jsonl", *TRAIN],
        ["out/model-best", "out/model-last"],
        whole=False,
    ),
}  # fmt: skip


def main() -> None:
    """Kill every command so many times, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="Kills of each command.")
    parser.add_argument("--jobs", nargs="*", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), random.Random(arguments.seed))
        print(f"{'command':16}{'killed':>8}{'ended before':>14}{'old':>6}{'new':>6}{'failures':>10}")
        failures = 0
        for name in arguments.jobs:
            counts = bench.kill(name, arguments.kills)
            failures += counts["failures"]
            columns = ("killed", "ended", "old", "new", "failures")
            row = "".join(
                f"{counts[key]:>{width}}" for key, width in zip(columns, (8, 14, 6, 6, 10), strict=True)
            )
            print(f"{name:16}{row}", flush=True)
    if failures:
        sys.exit(1)


class Bench:
    """Folders in which commands run: one with the inputs, of which each run gets a copy."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        self.inputs = folder / "inputs"
        self.inputs.mkdir()
        tiny.make_checkpoint(self.inputs / "checkpoint")
        tiny.write_tagged(self.inputs / "data")
        (self.inputs / "text").write_text("\n".join(tiny.TEXTS * 400), encoding="utf-8")
        shutil.copy(ROOT / "configs" / "transformer.cfg", self.inputs)
        self._run(JOBS["convert tagged"].command, self.inputs)
        (self.inputs / "out").rename(self.inputs / "corpus")
        self._run(JOBS["train"].command, self.inputs)
        (self.inputs / "out" / "model-best").rename(self.inputs / "model")
        shutil.rmtree(self.inputs / "out")

    def kill(self, name: str, n_kills: int) -> Counter[str]:
        """Kill a command again and again. RETURNS: Counts of what was seen."""
        job = JOBS[name]
        old, _ = self._complete(job, "old", change=True)
        new, seconds = self._complete(job, "new", change=False)
        counts: Counter[str] = Counter()
        for number in range(n_kills):
            place = self._copy(f"kill-{number}", change=False)
            shutil.copytree(self.folder / "old" / "out", place / "out")
            was_killed = self._start_and_kill(job, place, seconds)
            counts["killed" if was_killed else "ended"] += 1
            problems = self._judge(job, place, old, new, counts)
            self._run(job.command, place)
            if describe(job, place) != new:
                problems.append("another result when it is run again")
            problems += [f"left over: {path.name}" for mark in LEFT_OVER for path in place.rglob(mark)]
            for problem in problems:
                print(f"{name}, kill {number}: {problem}", file=sys.stderr)
            counts["failures"] += bool(problems)
            shutil.rmtree(place)
        for folder in ("old", "new"):
            shutil.rmtree(self.folder / folder)
        return counts

    def _judge(
        self, job: Job, place: Path, old: Mapping[str, str], new: Mapping[str, str], counts: Counter[str]
    ) -> list[str]:
        """Look at what a killed command has left. RETURNS: What is wrong with it."""
        problems = []
        after = describe(job, place)
        for result in job.results:
            kind = {old[result]: "old", new[result]: "new", "": "missing"}.get(after[result], "other")
            counts[kind] += 1
            if job.whole and kind == "other":
                problems.append(f"{result} is half-written")
            elif kind == "other":
                # Whatever loads must predict.
                code = (
                    f"import spacy; nlp = spacy.load({result!r}); print('loaded'); list(nlp.pipe(['Nokia.']))"
                )
                done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True)
                if "loaded" in done.stdout and done.returncode != 0:
                    problems.append(f"{result} loads and does not predict")
        return problems

    def _complete(self, job: Job, name: str, *, change: bool) -> tuple[dict[str, str], float]:
        """Run a command to its end. RETURNS: What its results are, and the seconds."""
        place = self._copy(name, change=change)
        start = time.perf_counter()
        self._run(job.command, place)
        return describe(job, place), time.perf_counter() - start

    def _copy(self, name: str, *, change: bool) -> Path:
        """Copy the inputs. change: Leave out a part of them, as an earlier run may have had it."""
        place = self.folder / name
        shutil.copytree(self.inputs, place, symlinks=True)
        if change:
            (place / "text").write_text("It rained .\n")
            for path in place.glob("data/*/*.tsv"):
                path.write_text("It\tO\nrained\tO\n")
            for path in place.glob("corpus/*-train.spacy"):
                if not path.name.startswith("en"):
                    path.unlink()
            for path in place.glob("corpus/*-test.spacy"):
                if not path.name.startswith("en"):
                    path.unlink()
            meta = place / "model" / "meta.json"
            meta.write_text(meta.read_text().replace('"description":""', '"description":"old"'))
            (place / "model" / "README.md").write_text("old")
        return place

    def _start_and_kill(self, job: Job, place: Path, seconds: float) -> bool:
        """Start a command and kill its processes. RETURNS: False if it had ended before."""
        process = self._start(job.command, place)
        if self.rng.random() < 0.3:
            time.sleep(self.rng.uniform(0, seconds))
        else:
            # Imports take most of the time: wait for the first sign of work.
            before = signs(place)
            while process.poll() is None and signs(place) == before:
                time.sleep(0.005)
            time.sleep(self.rng.uniform(0, seconds / 4))
        was_running = process.poll() is None
        # The command's own processes too, such as those that build wheels.
        with_children = Path(f"/proc/{process.pid}").exists()
        if with_children:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return was_running

    def _run(self, command: list[str], place: Path) -> None:
        process = self._start(command, place)
        output, _ = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"{command}: {output.decode()}")

    def _start(self, command: list[str], place: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "spacy", *command], cwd=place, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


def signs(place: Path) -> set[str]:
    """Names of all that is in a folder's output, and of locks beside it."""
    return {str(path) for path in place.rglob("*") if "out" in str(path.relative_to(place))}


def describe(job: Job, place: Path) -> dict[str, str]:
    """Digest every result; an empty text stands for one that is not there."""
    readers: dict[str, Callable[[Path], bytes]] = {".whl": read_wheel, ".json": read_scores}
    digests = {}
    for result in job.results:
        path = place / result
        content = b""
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file() and file.name not in UNEQUAL)
            content = b"".join(str(file.relative_to(path)).encode() + file.read_bytes() for file in files)
        elif path.exists():
            content = readers.get(path.suffix, Path.read_bytes)(path)
        digests[result] = hashlib.sha256(content).hexdigest() if content else ""
    return digests


def read_wheel(path: Path) -> bytes:
    """Names and checksums of a wheel's files, without their times; another text for a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            rows = [(info.filename, info.CRC) for info in archive.infolist()]
    except zipfile.BadZipFile:
        return b"damaged"
    return repr(sorted(row for row in rows if Path(row[0]).name not in UNEQUAL)).encode()


def read_scores(path: Path) -> bytes:
    """A metrics file without the speed."""
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines if "words_per_second" not in line).encode()


if __name__ == "__main__":
    main()

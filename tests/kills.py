"""Commands that are killed: nothing half-written is taken for whole, and running again gives the same.

Every command is started as a user starts it, over the results of an earlier run on other text, and killed
with all processes of its group (SIGKILL). Then every result under its name must be wholly the earlier or
wholly the new one. The command that is run again must end, give what an uninterrupted run gives, and leave
the same files. Runs that are not killed are forked from an interpreter that has all imported, which spares
time.
"""

import hashlib
import multiprocessing
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests import tiny

ROOT = Path(__file__).parent.parent
# Steps of this size spread over an interval evenly, however many there are.
GOLDEN = 0.6180339887
PIPELINE = "import spacy; nlp = spacy.load({!r}); print('loaded'); print(len(list(nlp.pipe(['Nokia.']))))"


class Job(NamedTuple):
    """A command to be killed.

    command: Arguments of Python, run in a folder with `data`, `text`, `corpus`, `checkpoint` and `model`.
    results: What it writes, each of them a unit that is old or new.
    is_ours: spaCy's own commands write in place: what a kill leaves of them must fail to load, or predict.
    """

    command: list[str]
    results: list[str]
    is_ours: bool = True


class Moment(NamedTuple):
    """When a command is killed.

    by: After a share of its "time", or after a share of the "changes" that it makes to files.
    """

    by: str
    share: float


class Run(NamedTuple):
    """What an uninterrupted run does.

    digests: Digests of its results.
    files: All files there are in the end.
    seconds: Seconds of the processor, which other work on the machine does not lengthen.
    n_changes: Changes to files that are seen.
    """

    digests: dict[str, str]
    files: set[str]
    seconds: float
    n_changes: int


class Kill(NamedTuple):
    """What a kill has left.

    states: Numbers of results that are old, new, kept beside their place, lost, half-written, refused by
        spaCy, or pipelines that load and predict.
    is_in_write: Whether half-written files lay there.
    problems: What is wrong, if anything.
    """

    job: str
    number: int
    moment: Moment
    states: dict[str, int]
    is_in_write: bool
    problems: list[str]


TRAIN = [
    "--paths.corpus=corpus", "--paths.encoder=checkpoint", "--vars.n_frozen_layers=-1", "--vars.max_epochs=0",
    "--training.max_steps=4", "--vars.eval_frequency=2", "--components.ner.model.tok2vec.overlap=8",
]  # fmt: skip
SPACY = ["-m", "spacy"]
JOBS = {
    "convert tagged": Job(
        [*SPACY, "xner", "convert", "tagged", "data", "out", "--source=x"],
        [f"out/{lang}-x-{split}.spacy" for lang in ("en", "ru", "zh") for split in ("train", "dev", "test")],
    ),
    "convert text": Job(
        [*SPACY, "xner", "convert", "text", "text", "out", "--language=en"], ["out/en-raw-train.spacy"]
    ),
    "train": Job(
        [*SPACY, "xner", "train", "transformer", "out", *TRAIN], ["out/model-best", "out/model-last"]
    ),
    "evaluate": Job(
        [*SPACY, "xner", "evaluate", "model", "corpus", "out/metrics.json"], ["out/metrics.json"]
    ),
    "package": Job(
        [*SPACY, "xner", "package", "model", "out", "--name=x", "--version=1.0.0"],
        ["out/xx_xner_x-1.0.0-py3-none-any.whl"],
    ),
    "spacy train": Job(
        [*SPACY, "train", "transformer.cfg", "--output=out", "--paths.curves=out/curves.jsonl", *TRAIN],
        ["out/model-best", "out/model-last"],
        is_ours=False,
    ),
}  # fmt: skip


def make_inputs(folder: Path) -> Path:
    """Write what all jobs read: checkpoint, text, tagged files, corpus, pipeline. RETURNS: The folder."""
    (folder / "tmp").mkdir(parents=True)
    tiny.make_checkpoint(folder / "checkpoint")
    tiny.write_tagged(folder / "data")
    (folder / "text").write_text("\n".join(tiny.TEXTS * 400), encoding="utf-8")
    shutil.copy(ROOT / "configs" / "transformer.cfg", folder)
    finish(JOBS["convert tagged"].command, folder)
    (folder / "out").rename(folder / "corpus")
    finish(JOBS["train"].command, folder)
    (folder / "out" / "model-best").rename(folder / "model")
    shutil.rmtree(folder / "out")
    return folder


def make_old(place: Path) -> None:
    """Take a part of the inputs away, so that an earlier run has other results."""
    (place / "text").write_text("It rained .\n")
    for path in place.glob("data/*/*.tsv"):
        path.write_text("It\tO\nrained\tO\n")
    for split in ("train", "test"):
        for path in place.glob(f"corpus/*-{split}.spacy"):
            if not path.name.startswith("en"):
                path.unlink()
    (place / "model" / "README.md").write_text("old")


class Bench:
    """One job, with an earlier and an uninterrupted run, to be killed again and again."""

    def __init__(self, name: str, job: Job, inputs: Path, folder: Path) -> None:
        self.name, self.job, self.inputs, self.folder = name, job, inputs, folder
        folder.mkdir(parents=True)
        old = self._copy("old")
        make_old(old)
        finish(job.command, old)
        self.old = describe(job, old)
        self.new = self._watch(self._copy("new", with_old=True))
        same = [result for result in job.results if self.old[result] == self.new.digests[result]]
        if same:
            raise ValueError(f"{name}: the earlier and the new run both give {same}: kills show nothing")

    def kill(self, number: int) -> Kill:
        """Kill the job once, at a moment that depends on the number, and run it again."""
        for attempt in range(12):
            place = self._copy(f"kill-{number}", with_old=True)
            moment = choose_moment(number, attempt)
            if self._start_and_kill(place, moment):
                break
            shutil.rmtree(place)
        else:
            raise RuntimeError(f"{self.name}, kill {number}: the command always ended before")
        is_in_write = not list_files(place) <= list_files(self.folder / "old") | self.new.files
        states, problems = self._judge(place)
        try:
            finish(self.job.command, place)
        except RuntimeError as error:
            problems.append(f"does not run again: {error}")
        else:
            if describe(self.job, place) != self.new.digests:
                problems.append("another result when it is run again")
            if more := list_files(place) ^ self.new.files:
                problems.append(f"other files than without a kill: {', '.join(sorted(more))}")
        shutil.rmtree(place)
        return Kill(self.name, number, moment, dict(states), is_in_write, problems)

    def _judge(self, place: Path) -> tuple[Counter[str], list[str]]:
        """Look at what a killed command has left."""
        states: Counter[str] = Counter()
        problems = []
        after = describe(self.job, place)
        for result in self.job.results:
            whole = {self.old[result]: "old", self.new.digests[result]: "new"}
            state = whole.get(after[result], "half-written")
            if not after[result]:
                state = "beside" if {*_beside(place, result)} & {*whole} else "lost"
            if not self.job.is_ours and state in ("half-written", "lost"):
                state = judge_pipeline(place, result)
            states[state] += 1
            if state in ("half-written", "lost"):
                problems.append(f"{result} is {state}")
        return states, problems

    def _copy(self, name: str, *, with_old: bool = False) -> Path:
        """Copy the inputs, and the results of the earlier run."""
        place = self.folder / name
        shutil.copytree(self.inputs, place, symlinks=True)
        if with_old:
            shutil.copytree(self.folder / "old" / "out", place / "out")
        return place

    def _watch(self, place: Path) -> Run:
        """Run the job to its end, and count its changes to files."""
        with command_in(place, self.job.command) as process:
            n_changes, seconds = 0, 0.0
            for is_change, spent in looks(process, place):
                n_changes, seconds = n_changes + is_change, spent
        if process.returncode != 0:
            raise RuntimeError(f"{self.name}: {said(place)}")
        return Run(describe(self.job, place), list_files(place), seconds, n_changes)

    def _start_and_kill(self, place: Path, moment: Moment) -> bool:
        """Start the job and kill its processes. RETURNS: False if it had ended before."""
        n_changes = 0
        with command_in(place, self.job.command) as process:
            for is_change, spent in looks(process, place):
                n_changes += is_change
                if moment.by == "time" and spent >= moment.share * self.new.seconds:
                    break
                if moment.by == "changes" and n_changes > moment.share * self.new.n_changes:
                    break
        return process.returncode == -signal.SIGKILL


def choose_moment(number: int, attempt: int = 0) -> Moment:
    """Spread kills over a command: three of ten over its processor time, the others over changes to files.

    attempt: Kills that came too late before.
    """
    share = (number + 0.5) * GOLDEN % 1
    return Moment("time" if number % 10 in (0, 4, 8) else "changes", share * 0.8**attempt)


@contextmanager
def command_in(place: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start Python in a folder, as the first of a group of processes that is killed in the end."""
    with (place / "tmp" / "said").open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=place, start_new_session=True, stdout=file, stderr=file,
            env={**os.environ, "TMPDIR": str(place / "tmp"), "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            # It has not been waited for: the group is its own, even when it has ended.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def looks(process: subprocess.Popen[bytes], place: Path) -> Iterator[tuple[bool, float]]:
    """Look at a process until it ends.

    YIELDS: Whether names or sizes in the output have changed, and the processor's seconds so far.
    """
    before = _sizes(place)
    while process.poll() is None:
        after = _sizes(place)
        yield after != before, _processor_seconds(process.pid)
        before = after
        time.sleep(0.001)


def finish(command: list[str], place: Path) -> None:
    """Run Python in a folder to its end. RAISES: RuntimeError with what it said, if it fails."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["spacy.cli", "tests.kills"])
    process = context.Process(target=_run_here, args=(command, place))
    process.start()
    process.join(600)
    if process.exitcode != 0:
        process.kill()
        raise RuntimeError(f"{command}: {process.exitcode}: {said(place)}")


def _run_here(command: list[str], place: Path) -> None:
    os.chdir(place)
    os.environ["TMPDIR"] = tempfile.tempdir = str(place / "tmp")
    with open("tmp/said", "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


def said(place: Path) -> str:
    """The end of what the last command in a folder printed."""
    return (place / "tmp" / "said").read_text(errors="replace")[-2000:]


def judge_pipeline(place: Path, result: str) -> str:
    """Judge a pipeline that is neither old nor new.

    RETURNS: "refused" if it does not load, "loads" if it loads and predicts, "half-written" if it only loads.
    """
    done = subprocess.run(
        [sys.executable, "-c", PIPELINE.format(result)], cwd=place, capture_output=True, text=True
    )
    if done.returncode == 0:
        return "loads"
    return "half-written" if "loaded" in done.stdout else "refused"


def describe(job: Job, place: Path) -> dict[str, str]:
    """Digest every result; an empty text stands for one that is not there."""
    return {result: digest(place / result, place) for result in job.results}


def digest(path: Path, place: Path) -> str:
    """Digest a result, without times and without the name of the folder that it was made in.

    place: That folder, which lies beside those that the result may have been copied from.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        content = b"".join(str(file.relative_to(path)).encode() + file.read_bytes() for file in files)
    elif path.exists():
        content = {".whl": read_wheel, ".json": read_scores}.get(path.suffix, Path.read_bytes)(path)
    else:
        return ""
    places = re.escape(str(place.parent).encode()) + rb"/[\w-]+"
    return hashlib.sha256(re.sub(places, b"", content)).hexdigest()


def read_wheel(path: Path) -> bytes:
    """Names and contents of a wheel's files, without their times; another text for a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return b"".join(name.encode() + archive.read(name) for name in sorted(archive.namelist()))
    except (zipfile.BadZipFile, zipfile.zlib.error, EOFError):  # type: ignore[attr-defined]
        return b"damaged"


def read_scores(path: Path) -> bytes:
    """A metrics file without the speed."""
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines if "words_per_second" not in line).encode()


def list_files(place: Path) -> set[str]:
    """All files of a folder, without locks, which stay, and the system's temporary ones."""
    paths = {path.relative_to(place) for path in place.rglob("*") if not path.is_dir()}
    return {str(path) for path in paths if path.suffix != ".lock" and path.parts[0] != "tmp"}


def _beside(place: Path, result: str) -> list[str]:
    """Digests of a result where `fresh_folder` keeps the old and the new one during the exchange."""
    folder, name = result.split("/")
    return [digest(place / near / name, place) for near in (f".{folder}.old", f".{folder}.part/whole")]


def _processor_seconds(pid: int) -> float:
    """Seconds of a process that has not been waited for, and of its children that have."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _sizes(place: Path) -> dict[str, int]:
    """Sizes of the output's files, and of what lies beside it under a name like its name."""
    sizes = {}
    folders = [place]
    while folders:
        try:
            for entry in os.scandir(folders.pop()):
                if entry.path.startswith((f"{place}/out", f"{place}/.out")):
                    sizes[entry.path] = 0 if entry.is_dir() else entry.stat().st_size
                    folders += [Path(entry.path)] * entry.is_dir()
        except FileNotFoundError:  # gone in the meantime
            continue
    return sizes

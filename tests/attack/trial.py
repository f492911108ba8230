"""A damaged pipeline is loaded and run in a process of its own, and what became of it is judged."""

import json
import os
import resource
import select
import shutil
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import spacy
from spacy.language import Language

from tests.attack.damage import Case
from tests.attack.pipelines import read_texts

SECONDS = 30
# Address space beside what the process has already: no tiny pipeline takes a tenth of it.
ROOM = 4 * 2**30
# What may become of a damaged pipeline.
OUTCOMES = (
    "unchanged",
    "coded",
    "warned",
    "spaCy's error",
    "coded late",
    "uncoded",
    "silent",
    "hang",
    "crash",
)
BAD = {"uncoded", "silent", "hang", "crash"}
# Files of the pipeline that spaCy reads and writes; and its bytes, around the bytes of components.
SPACY_FILES = ("config.cfg", "meta.json", "vocab", "bytes")


class Outcome(NamedTuple):
    """What became of a damaged pipeline: one of `OUTCOMES`, and the message."""

    name: str
    message: str


def try_case(case: Case, pipeline: Path, place: Path, healthy: list[Any]) -> Outcome:
    """Damage a copy of a pipeline, load and run it in a process of its own."""
    shutil.copytree(pipeline, place)
    case.damage(place)
    outcome = run_apart(lambda: judge(case, place, healthy), SECONDS)
    shutil.rmtree(place)
    return outcome


def judge(case: Case, place: Path, healthy: list[Any]) -> Outcome:
    """Load and run a damaged pipeline."""
    is_loaded = False
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            nlp = load(place)
            is_loaded = True
            found = read_texts(nlp)
        # Whatever a damaged pipeline raises is what is looked for here.
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            if str(error).startswith("[XNER"):
                return Outcome("coded late" if is_loaded else "coded", message)
            is_spacys = any(case.where.startswith(name) for name in SPACY_FILES) and not is_loaded
            return Outcome("spaCy's error" if is_spacys else "uncoded", message)
    coded = [str(warning.message) for warning in heard if "[XNER-W33" in str(warning.message)]
    if found == healthy:
        return Outcome("unchanged", "; ".join(coded))
    return Outcome("warned" if coded else "silent", "; ".join(coded))


def load(place: Path) -> Language:
    """Load a folder, or the bytes in its place."""
    stored = place / "pipeline.bytes"
    if not stored.exists():
        return spacy.load(place)
    nlp = spacy.util.load_model_from_config(spacy.util.load_config(place / "config.cfg"))
    return nlp.from_bytes(stored.read_bytes())


def run_apart(work: Callable[[], Outcome], seconds: float) -> Outcome:
    """Run in a forked process, with limits of time and memory."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        answer = ["crash", "memory"]
        try:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
            answer = list(work())
        finally:
            os.write(writer, json.dumps(answer).encode("utf-8")[:60_000])
            os._exit(0)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], seconds)
    if not ready:
        os.kill(child, signal.SIGKILL)
    answer = os.read(reader, 65_536) if ready else b""
    os.close(reader)
    os.waitpid(child, 0)
    if not ready:
        return Outcome("hang", f"no answer in {seconds} s")
    return Outcome(*json.loads(answer)) if answer else Outcome("crash", "no answer")

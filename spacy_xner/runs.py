"""Results of long runs: who works at one, whether it is done, and which evaluation counts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import read_json


@contextmanager
def claim(result: Path) -> Iterator[bool]:
    """Hold the lock of a result, so that processes can share a plan. The lock of a process that died is free.

    YIELDS: False if another process holds it.
    """
    # Lock files stay: a process that removes one may remove the lock that another process has just taken.
    locks = result.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{result.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_done(path: Path, settings: dict[str, Any], **run: Any) -> bool:
    """True for a finished run of the same kind.

    run: Fields of the result that make it the same run.
    RAISES: XNER640 if the run was done with other settings, XNER641 if the file is no result.
    """
    if not path.exists():
        return False
    try:
        result = read_json(path)
        before = dict(result["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise XnerError(Errors.XNER641.format(path=path)) from error
    if any(result.get(key) != value for key, value in run.items()):
        return False
    if before != settings:
        names = sorted({*before, *settings})
        changed = {k: (before.get(k), settings.get(k)) for k in names if before.get(k) != settings.get(k)}
        raise XnerError(Errors.XNER640.format(path=path, changed=changed))
    return True


def choose(scores: Sequence[float]) -> int:
    """Choose the evaluation with the best score, the last of equals, as spaCy does for model-best."""
    return max(range(len(scores)), key=lambda i: (scores[i], i))

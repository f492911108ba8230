"""What the experiments have in common: runs that are shared among processes, kept and never mixed up."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from wasabi import msg

from spacy_xner.files import read_json
from spacy_xner.routes.settings import (  # noqa: F401
    augment,
    count_sentences,
    learn_from_text,
    read_sentences,
    reader,
    run_overrides,
    text_steps,
)
from spacy_xner.runs import claim, is_done

# The files that experiments write beside their runs, and are known by.
JOINT, PLAN, RISKS = "joint-plan.json", "plan.json", "risk.json"
CORPORA, PARTS = "silver.json", "parts.json"
MARKS = (JOINT, PLAN, RISKS, CORPORA, PARTS)


def kind_of(folder: Path) -> str | None:
    """Which of MARKS a folder of runs has."""
    return next((mark for mark in MARKS if (folder / mark).exists()), None)


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Read the result of every finished run."""
    return [read_json(path) for path in sorted(folder.glob("*.json")) if path.name not in MARKS]


class PlannedRun(Protocol):
    """A named tuple of what makes a run; `name` is that of its result file."""

    @property
    def name(self) -> str: ...

    def _asdict(self) -> dict[str, Any]: ...


RunT = TypeVar("RunT", bound=PlannedRun)


def unfinished(
    plan: Sequence[RunT],
    out: Path,
    settings_of: Callable[[RunT], dict[str, Any]],
    kept_of: Callable[[RunT], Path | None] = lambda run: None,
) -> Iterator[tuple[RunT, Path, dict[str, Any]]]:
    """Iterate over the runs that neither have a result nor another process at them.

    The lock of a run is held from when it is yielded until the next run is asked for.
    settings_of: Returns the settings of a run. Called with the lock held, because it may hash large files.
    kept_of: Returns the place of a run's pipeline; without that pipeline a run is not finished.
    YIELDS: A run, the path of its result and its settings.
    """
    for number, run in enumerate(plan, start=1):
        path, kept = out / f"{run.name}.json", kept_of(run)
        with claim(path) as is_mine:
            if not is_mine:
                msg.info(f"{run.name}: another process is at it")
                continue
            settings = settings_of(run)
            if is_done(path, settings, **run._asdict()) and (kept is None or kept.exists()):
                msg.info(f"{run.name}: done before")
            else:
                msg.divider(f"{run.name} ({number} of {len(plan)})")
                yield run, path, settings

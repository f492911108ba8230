"""Runs of an experiment: planned from axes, shared among processes, done once, never mixed up."""

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

from wasabi import msg

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import move_folder, read_json
from spacy_xner.machine import describe_machine
from spacy_xner.runs import claim
from spacy_xner.types import Precision

from scripts.results import DESCRIPTION, write_result
from scripts.versions import describe_commit, describe_versions

Settings = dict[str, Any]
# Longer names of files are cut, for most file systems end at 255.
_LONGEST = 180


@dataclass(frozen=True)
class Run:
    """One training.

    axes: The settings that tell this run from the others of its experiment.
    settings: All settings, those of the axes among them.
    """

    axes: Settings
    settings: Settings

    def __getitem__(self, setting: str) -> Any:
        return self.settings[setting]

    @property
    def name(self) -> str:
        """The name of the run's result file, without its suffix."""
        parts = [f"{axis.rpartition('.')[2]}={_show(value)}" for axis, value in self.axes.items()]
        name = "_".join(parts) or "run"
        if len(name) <= _LONGEST:
            return name
        digest = blake2b(name.encode("utf-8"), digest_size=6).hexdigest()
        return f"{name[:_LONGEST]}-{digest}"

    @property
    def fixed(self) -> Settings:
        """The settings that all runs of the experiment have alike."""
        return {name: value for name, value in self.settings.items() if name not in self.axes}


def _show(value: Any) -> str:
    """A value as a part of a file name."""
    if isinstance(value, list):
        return "+".join(map(_show, value)) or "none"
    shown = f"{value:g}" if isinstance(value, float) else "none" if value in (None, "") else str(value)
    return re.sub(r"[^\w.+-]+", "-", shown)


class Experiment:
    """A kind of experiment. Subclasses say what its settings are and how one of its runs is trained.

    name: The experiment's name in its config.
    section: `axes` (lists of values by setting), `settings` and `exclude` of the config.
    paths: Folders by their names in the config: `corpus` and what the kind needs besides.
    gpu: GPU id, -1 for the CPU.
    precision: Numbers that the networks compute with.
    RAISES: XNER802, XNER803, XNER804.
    """

    kind: ClassVar[str]
    # Every setting with its default. Settings with a dot in their name override the training config.
    defaults: ClassVar[Settings]
    # Settings without a useful default.
    required: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ("corpus",)

    def __init__(
        self, name: str, section: Settings, paths: Mapping[str, Path], *, gpu: int, precision: Precision
    ) -> None:
        self.name = name
        self.axes: dict[str, list[Any]] = dict(section.get("axes", {}))
        self.settings: Settings = dict(section.get("settings", {}))
        self.exclude: list[Settings] = list(section.get("exclude", []))
        self.paths = paths
        self.gpu = gpu
        self.precision = precision
        self._check()

    def _check(self) -> None:
        about = {"name": self.name, "kind": self.kind}
        given = [*self.axes, *self.settings, *(key for rule in self.exclude for key in rule)]
        unknown = sorted({key for key in given if key not in self.defaults and "." not in key})
        if unknown:
            known = ", ".join(self.defaults)
            raise XnerError(Errors.XNER802.format(**about, unknown=", ".join(unknown), known=known))
        for axis, values in self.axes.items():
            if not isinstance(values, list) or not values:
                raise XnerError(Errors.XNER803.format(**about, axis=axis, found=values))
        missing = [key for key in self.required if not (self.axes.get(key) or self.settings.get(key))]
        missing += [f"paths.{key}" for key in self.needs if key not in self.paths]
        if missing:
            raise XnerError(Errors.XNER804.format(**about, missing=", ".join(missing)))

    def expand(self, settings: Settings) -> Iterable[Settings]:
        """Turn one combination of the axes into the settings of its runs; of none if it means nothing.

        Settings without a meaning get their neutral value, so that equal runs are planned once.
        """
        yield settings

    def axes_of(self, settings: Settings) -> Settings:
        """The values that tell a run from the others."""
        return {axis: settings[axis] for axis in self.axes}

    def inputs(self, run: Run) -> dict[str, Any]:
        """Fingerprints of the files that a run is made of, beyond its corpus."""
        return {}

    def place(self, run: Run) -> Path | None:
        """Where the pipeline of a run is kept, if anywhere."""
        return None

    def forget(self, out: Path) -> None:
        """Remove the kept pipelines of former runs before everything is run again."""

    def train(self, run: Run, work: Path) -> dict[str, Any]:
        """Train and score a run. RETURNS: The content of its result file without the head.

        work: An empty folder that is removed afterwards. A pipeline to be kept is left in its `kept`.
        """
        raise NotImplementedError

    def describe(self) -> Settings:
        """Kind, axes and settings: what the results of a folder have in common."""
        settings = {**self.defaults, **self.settings}
        return {"name": self.name, "kind": self.kind, "axes": self.axes, "settings": settings}

    def obstacle(self) -> str:
        """Say what in the data leaves the experiment nothing to train; empty if it can run."""
        return ""

    def plan(self) -> list[Run]:
        """List the runs: the product of the axes without what is excluded, the first axis slowest.

        With the seed as the first axis a stopped experiment is a whole one with fewer seeds.
        RAISES: XNER810.
        """
        runs: dict[str, Run] = {}
        for values in product(*self.axes.values()):
            chosen = {**self.defaults, **self.settings, **dict(zip(self.axes, values, strict=True))}
            if any(_matches(chosen, rule) for rule in self.exclude):
                continue
            for settings in self.expand(chosen):
                run = Run(self.axes_of(settings), settings)
                runs.setdefault(run.name, run)
        if not runs:
            raise XnerError(Errors.XNER810.format(name=self.name))
        return list(runs.values())


def _matches(settings: Settings, rule: Settings) -> bool:
    """True if every setting of a rule has its value, or one of its values."""
    # Values of some axes are lists themselves.
    return all(
        settings.get(key) == wanted or (isinstance(wanted, list) and settings.get(key) in wanted)
        for key, wanted in rule.items()
    )


def is_done(path: Path, run: Run, inputs: Settings, defaults: Mapping[str, Any]) -> bool:
    """True for a finished run.

    defaults: Values of settings that are younger than the result.
    RAISES: XNER806 for another file in the place, XNER807 for a result with other settings or inputs.
    """
    if not path.exists():
        return False
    try:
        result = read_json(path)
        before = {**defaults, **result["settings"], **result["axes"], **result["inputs"]}
    except (ValueError, KeyError, TypeError) as error:
        raise XnerError(Errors.XNER806.format(path=path)) from error
    now = {**run.settings, **inputs}
    changed = {
        name: (before.get(name), now.get(name))
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    }
    if changed:
        raise XnerError(Errors.XNER807.format(path=path, changed=changed))
    return True


def run_experiment(experiment: Experiment, out: Path, *, restart: bool = False) -> None:
    """Train every run that has no result yet. Several processes may work on one folder.

    An experiment that the data leave nothing to train is passed over with a warning.

    out: Folder of the result files.
    restart: Forget results and kept pipelines first.
    RAISES: XNER805 to XNER807, XNER810.
    """
    if restart:
        experiment.forget(out)
        shutil.rmtree(out, ignore_errors=True)
    if obstacle := experiment.obstacle():
        msg.warn(f"{experiment.name} has no run: {obstacle}")
        return
    plan = experiment.plan()
    _describe(experiment, out, len(plan))
    for number, run in enumerate(plan, start=1):
        with claim(out / f"{run.name}.json") as is_mine:
            if is_mine:
                _run_once(experiment, run, out, f"{number} of {len(plan)}")
            else:
                msg.info(f"{run.name}: another process is at it")


def _describe(experiment: Experiment, out: Path, n_runs: int) -> None:
    """Write what the experiment is beside its results."""
    path = out / DESCRIPTION
    if path.exists():
        kind = read_json(path).get("kind")
        if kind != experiment.kind:
            raise XnerError(Errors.XNER805.format(folder=out, kind=experiment.kind, found=kind))
    write_result(path, {**experiment.describe(), "runs": n_runs})


def _run_once(experiment: Experiment, run: Run, out: Path, number: str) -> None:
    """Train a run unless that was done before, and write its result when all is whole."""
    path, place = out / f"{run.name}.json", experiment.place(run)
    inputs = experiment.inputs(run)
    done = is_done(path, run, inputs, experiment.defaults)
    if done and (place is None or place.exists()):
        msg.info(f"{run.name}: done before")
        return
    msg.divider(f"{run.name} ({number})")
    # The lock keeps others away: what lies there is of a process that died.
    work = out / ".work" / run.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    outcome = experiment.train(run, work)
    if place is not None:
        move_folder(work / "kept", place)
    write_result(
        path,
        {
            "experiment": experiment.name,
            "kind": experiment.kind,
            "axes": run.axes,
            "settings": run.fixed,
            "inputs": inputs,
            **outcome,
            "machine": describe_machine()._asdict(),
            "versions": describe_versions(),
            "commit": describe_commit(),
        },
    )
    shutil.rmtree(work)

"""Experiments from a config: axes and settings, one or more experiments a file.

```ini
[paths]                       ; folders that the experiments read and write
corpus = "corpus"

[machine]
gpu = -1
precision = "auto"

[experiments]

[experiments.freezing]
kind = "zero_shot"
exclude = [{"objectives": "PC", "frozen": [-1, 0]}]

[experiments.freezing.axes]   ; a run for every combination, the first axis slowest
seed = [0, 1, 2]
objectives = ["ML", "PC"]
frozen = [-1, 0, 3]

[experiments.freezing.settings]
languages = ["en"]
targets = ["de", "sw"]
training.dropout = 0.1        ; names with a dot override the training config
```
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from confection import Config

from spacy_xner.errors import Errors, XnerError
from spacy_xner.precision import read_precision

from scripts.runner import Experiment, run_experiment


def kinds() -> dict[str, type[Experiment]]:
    """All kinds of experiments by name. They import spaCy and torch: not before one is run."""
    from scripts.clusters import Clusters
    from scripts.corpora import Corpora
    from scripts.identifier import Identifier
    from scripts.joint import Joint
    from scripts.lexical import Lexical
    from scripts.students import Students
    from scripts.teachers import Teachers
    from scripts.transfer import TransferRuns
    from scripts.zero_shot import ZeroShot

    known = (Identifier, Joint, ZeroShot, Clusters, Corpora, Teachers, Students, Lexical, TransferRuns)
    return {kind.kind: kind for kind in known}


def read_config(path: Path, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read a config of experiments. RAISES: XNER801 if it has no experiments."""
    config = Config().from_disk(path, overrides=overrides or {})
    sections = config.get("experiments")
    if not isinstance(sections, dict) or not all(isinstance(section, dict) for section in sections.values()):
        raise XnerError(Errors.XNER801.format(path=path, known="joint, zero_shot, ...", found=list(config)))
    return dict(config)


def read_experiments(path: Path, overrides: dict[str, Any] | None = None) -> list[Experiment]:
    """Read the experiments of a config.

    overrides: Values by dotted names of the config, such as "paths.corpus".
    RAISES: XNER801 to XNER804.
    """
    config, known = read_config(path, overrides), kinds()
    machine = _read_machine(config.get("machine", {}))
    paths = {name: Path(value) for name, value in config.get("paths", {}).items() if value}
    experiments = []
    for name, section in config["experiments"].items():
        kind = known.get(section.get("kind"))
        if kind is None:
            kind = section.get("kind")
            raise XnerError(Errors.XNER801.format(path=path, known=", ".join(known), found=kind))
        experiments.append(kind(name, section, paths, **machine))
    return experiments


def _read_machine(section: dict[str, Any]) -> dict[str, Any]:
    """Read GPU and precision, which earlier configs call `mixed_precision`. RAISES: XNER130."""
    machine = {"gpu": -1, "precision": None, "mixed_precision": None, **section}
    old = machine.pop("mixed_precision")
    machine["precision"] = read_precision(machine["precision"] or (None if old is not None else "auto"), old)
    return machine


def run_config(
    path: Path,
    out: Path,
    overrides: dict[str, Any] | None = None,
    *,
    only: Sequence[str] = (),
    restart: bool = False,
) -> None:
    """Run the experiments of a config into a folder each; finished runs are left as they are.

    only: Names of experiments; all by default.
    RAISES: XNER801 to XNER810, XNER814.
    """
    experiments = read_experiments(path, overrides)
    names = [experiment.name for experiment in experiments]
    if unknown := sorted(set(only) - set(names)):
        raise XnerError(
            Errors.XNER808.format(setting="only", known=", ".join(names), found=", ".join(unknown))
        )
    for experiment in experiments:
        if not only or experiment.name in only:
            run_experiment(experiment, out / experiment.name, restart=restart)

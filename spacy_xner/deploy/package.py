"""Wheels `xx_xner_{name}` of trained pipelines, whole or not there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version
from spacy.cli.package import package

import spacy_xner
from spacy_xner.deploy.card import write_card
from spacy_xner.deploy.evidence import Evidence, describe_pipeline, read_metrics
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import coded_writing, hold, sync_folder, write_json

NO_EVIDENCE = Evidence()


def find_pipelines(folder: Path) -> dict[str, Path]:
    """Find the pipelines one folder down, by name. RAISES: XNER126 if there are none."""
    metas = sorted(path for path in folder.glob("*/meta.json") if not path.parent.name.startswith("."))
    if not metas:
        raise XnerError(Errors.XNER126.format(path=folder))
    return {path.parent.name: path.parent for path in metas}


def build_wheels(
    models: Mapping[str, Path], out: Path, version: str, evidence: Evidence = NO_EVIDENCE
) -> Iterator[Path]:
    """Build a wheel for each pipeline, as many at once as there are cores.

    models: Pipelines by the name after xx_xner_; the empty name stands for xx_xner itself.
    evidence: Files for the card and the metadata. If its metrics are a folder, each pipeline has those of
        the file NAME.json there, if there is one.
    YIELDS: The wheels' paths, in the order in which they are built.
    RAISES: XNER106, XNER126, XNER127, XNER702, XNER730, XNER731, XNER732.
    """
    for path in models.values():
        if not (path / "meta.json").is_file():
            raise XnerError(Errors.XNER126.format(path=path))
    # Packaging loads each pipeline: in processes, so that several are loaded at once.
    with ProcessPoolExecutor(min(len(models), os.cpu_count() or 1), get_context("spawn")) as pool:
        jobs = [
            pool.submit(
                build_wheel,
                path.resolve(),
                out.resolve(),
                f"xner_{name}".rstrip("_"),
                version,
                _evidence_of(name, evidence),
            )
            for name, path in models.items()
        ]
        for job in as_completed(jobs):
            # The process works with whole paths; people see the one that they gave.
            yield out / job.result().name


def _evidence_of(name: str, evidence: Evidence) -> Evidence:
    metrics = evidence.metrics
    if metrics is not None and metrics.is_dir():
        path = metrics / f"{name or 'xner'}.json"
        return evidence._replace(metrics=path if path.is_file() else None)
    return evidence


def build_wheel(model: Path, out: Path, name: str, version: str, evidence: Evidence = NO_EVIDENCE) -> Path:
    """Build a wheel with a card; its metadata requires this version of spacy_xner.

    The new wheel replaces an old one only when it is whole.
    RETURNS: Its path.
    RAISES: XNER127 for a wheel that cannot be built, XNER702 if another process builds it, XNER703,
        XNER106 and XNER730 for evidence of another kind, XNER731 and XNER732 for weights that are not free.
    """
    if not name.isidentifier() or "__" in name:
        raise XnerError(Errors.XNER127.format(name=name, reason="a package cannot have this name"))
    if not is_version(version):
        raise XnerError(Errors.XNER127.format(name=name, reason=f"{version!r} is no version"))
    work = out / f".{name}.part"
    with hold(out / name), coded_writing(out):
        # Left by a process that died: the lock is ours.
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            meta = {**_describe(model, evidence), "version": version}
            write_json(work / "meta.json", meta)
            source = _write_source(model, work, name, version)
            calibration = read_metrics(evidence.metrics).get("calibration")
            # For those who look at the package, and for the hub, which takes the folder of the pipeline.
            for folder in (source, next(source.glob(f"*/{source.name}"))):
                write_card(folder, f"{meta['lang']}_{name}", meta, calibration)
            wheel = _build(source, name)
            sync_folder(wheel.parent)
            return wheel.replace(out / wheel.name)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def is_version(text: str) -> bool:
    """True for a version as Python's packages have it, such as 0.2.0."""
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _describe(model: Path, evidence: Evidence) -> dict[str, Any]:
    meta = describe_pipeline(model, evidence)
    minor = ".".join(spacy_xner.__version__.split(".")[:2])
    meta["requirements"] = [f"spacy_xner>={spacy_xner.__version__},=={minor}.*"]
    return meta


def _write_source(model: Path, work: Path, name: str, version: str) -> Path:
    """Write the package's source by spaCy. RETURNS: Its folder. RAISES: XNER127."""
    settings = {"name": name, "version": version, "create_sdist": False, "create_wheel": False}
    try:
        package(model, work, meta_path=work / "meta.json", silent=True, **settings)
    except SystemExit as error:
        reason = "spaCy refuses its metadata; `python -m spacy package` says why"
        raise XnerError(Errors.XNER127.format(name=name, reason=reason)) from error
    return next(work.glob("*/setup.py")).parent


def _build(source: Path, name: str) -> Path:
    """Build a wheel from source by the installed setuptools, without the network. RAISES: XNER127."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(source)]
    # A folder `build` in the working directory would be taken for the module.
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=source.parent)
    wheel = next(source.glob("dist/*.whl"), None)
    if done.returncode != 0 or wheel is None:
        reason = " ".join((done.stderr or done.stdout).split())[-300:]
        raise XnerError(Errors.XNER127.format(name=name, reason=reason or "no output"))
    return wheel

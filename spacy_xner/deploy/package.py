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
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import coded_writing, hold, read_json, sync_folder, write_json

DESCRIPTION = "Named entities in many languages, trained with spacy_xner."


def find_pipelines(folder: Path) -> dict[str, Path]:
    """Find the pipelines one folder down, by name. RAISES: XNER126 if there are none."""
    metas = sorted(path for path in folder.glob("*/meta.json") if not path.parent.name.startswith("."))
    if not metas:
        raise XnerError(Errors.XNER126.format(path=folder))
    return {path.parent.name: path.parent for path in metas}


def build_wheels(
    models: Mapping[str, Path], out: Path, version: str, metrics: Path | None = None
) -> Iterator[Path]:
    """Build a wheel for each pipeline, as many at once as there are cores.

    models: Pipelines by the name after xx_xner_; the empty name stands for xx_xner itself.
    metrics: An evaluation, whose scores go to the metadata.
    YIELDS: The wheels' paths, in the order in which they are built.
    RAISES: XNER126, XNER127, XNER702.
    """
    for path in models.values():
        if not (path / "meta.json").is_file():
            raise XnerError(Errors.XNER126.format(path=path))
    # Packaging loads each pipeline: in processes, so that several are loaded at once.
    with ProcessPoolExecutor(min(len(models), os.cpu_count() or 1), get_context("spawn")) as pool:
        jobs = [
            pool.submit(
                build_wheel, path.resolve(), out.resolve(), f"xner_{name}".rstrip("_"), version, metrics
            )
            for name, path in models.items()
        ]
        for job in as_completed(jobs):
            yield job.result()


def build_wheel(model: Path, out: Path, name: str, version: str, metrics: Path | None = None) -> Path:
    """Build a wheel; its metadata requires this version of spacy_xner.

    The new wheel replaces an old one only when it is whole.
    RETURNS: Its path.
    RAISES: XNER127 for a wheel that cannot be built, XNER702 if another process builds it, XNER703.
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
            write_json(work / "meta.json", _describe(model, metrics))
            wheel = _build(_write_source(model, work, name, version), name)
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


def _describe(model: Path, metrics: Path | None) -> dict[str, Any]:
    meta = dict(read_json(model / "meta.json"))
    meta["description"] = DESCRIPTION
    if metrics is not None:
        meta["performance"] = read_json(metrics)["scores"]
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

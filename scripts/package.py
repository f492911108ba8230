"""Package a trained pipeline as a wheel `xx_xner_{name}`."""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import srsly
import typer
from spacy.cli.package import package
from wasabi import msg

import spacy_xner
from spacy_xner.files import read_json


def main(
    model: Annotated[Path, typer.Argument(help="Trained pipeline, or with --each a folder of them.")],
    out: Annotated[Path, typer.Argument(help="Folder for the wheel.")],
    name: Annotated[str, typer.Option(help="Name after xx_xner_; empty for xx_xner itself.")] = "",
    each: Annotated[bool, typer.Option(help="One wheel a pipeline of the folder, named like it.")] = False,
    metrics: Annotated[Path | None, typer.Option(help="Scores for the package's meta.")] = None,
    version: Annotated[str, typer.Option(help="Version of the wheel.")] = spacy_xner.__version__,
) -> None:
    """Build the wheel; its metadata requires this version of spacy_xner.

    The new wheel replaces an old one only when it is whole.
    """
    models = {name: model}
    if each:
        models = {path.parent.name: path.parent for path in sorted(model.glob("*/meta.json"))}
    if not models:
        msg.fail(f"No trained pipelines in {model}", exits=1)
    msg.info(f"Building wheels: {len(models)}, about a minute for each half a gigabyte")
    # Processes, because `spacy package` changes the working directory.
    with ProcessPoolExecutor(min(len(models), os.cpu_count() or 1), get_context("spawn")) as pool:
        jobs = [
            pool.submit(
                build_wheel, path.resolve(), out.resolve(), f"xner_{own}".rstrip("_"), version, metrics
            )
            for own, path in models.items()
        ]
        for job in as_completed(jobs):
            wheel = job.result()
            msg.good(f"{wheel} ({wheel.stat().st_size / 1e6:.0f} MB). Install it with: pip install {wheel}")


def build_wheel(model: Path, out: Path, name: str, version: str, metrics: Path | None = None) -> Path:
    """Build a wheel. RETURNS: Its path."""
    work = out / f".{name}.part"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    meta = read_json(model / "meta.json")
    meta["description"] = "Named entities in many languages, trained with spacy_xner."
    if metrics is not None:
        meta["performance"] = read_json(metrics)["scores"]
    minor = ".".join(spacy_xner.__version__.split(".")[:2])
    meta["requirements"] = [f"spacy_xner>={spacy_xner.__version__},=={minor}.*"]
    srsly.write_json(work / "meta.json", meta)
    package(
        model,
        work,
        meta_path=work / "meta.json",
        name=name,
        version=version,
        create_sdist=False,
        create_wheel=True,
        silent=True,
    )
    built = next(work.glob("*/dist/*.whl"))
    wheel = built.replace(out / built.name)
    shutil.rmtree(work)
    return wheel


if __name__ == "__main__":
    typer.run(main)

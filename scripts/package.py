"""Package a trained pipeline as a wheel `xx_xner_{name}`."""

import shutil
from pathlib import Path
from typing import Annotated

import srsly
import typer
from spacy.cli.package import package
from wasabi import msg

import spacy_xner


def main(
    model: Annotated[Path, typer.Argument(help="Trained pipeline.")],
    out: Annotated[Path, typer.Argument(help="Folder for the wheel.")],
    name: Annotated[str, typer.Option(help="Name after xx_xner_; empty for xx_xner itself.")],
    metrics: Annotated[Path | None, typer.Option(help="Scores for the package's meta.")] = None,
    version: Annotated[str, typer.Option(help="Version of the wheel.")] = spacy_xner.__version__,
) -> None:
    """Build the wheel; its metadata requires this version of spacy_xner.

    The new wheel replaces an old one only when it is whole.
    """
    wheel = build_wheel(model, out, f"xner_{name}" if name else "xner", version, metrics)
    msg.good(f"{wheel} ({wheel.stat().st_size / 1e6:.0f} MB). Install it with: pip install {wheel}")


def build_wheel(model: Path, out: Path, name: str, version: str, metrics: Path | None = None) -> Path:
    """Build a wheel. RETURNS: Its path."""
    work = out / f".{name}.part"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    meta = srsly.read_json(model / "meta.json")
    meta["description"] = "Named entities in many languages, trained with spacy_xner."
    if metrics is not None:
        meta["performance"] = srsly.read_json(metrics)["scores"]
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

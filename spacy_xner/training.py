"""Train pipelines from configs, as `spacy train` does: steps by epochs, whole folders, curves."""

import importlib.util
import shutil
import time
from pathlib import Path
from typing import Any

import spacy
from spacy.cli._util import setup_gpu
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config, registry

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import TRAINING, fresh_folder, move_folder, read_lines

# The factory of spacy-transformers, whose transformer several components listen to.
SHARED_FACTORY = "transformer"


def config_path(name: str) -> Path:
    """Find an installed training config by its name. RAISES: XNER115."""
    path = _configs() / f"{name}.cfg"
    if name not in config_names():
        raise XnerError(Errors.XNER115.format(name=name, known=", ".join(config_names())))
    return path


def find_config(config: str | Path) -> Path:
    """Find a training config: a file, or else the name of an installed one. RAISES: XNER115."""
    path = Path(config)
    return path if path.is_file() else config_path(str(config))


def config_names() -> list[str]:
    """Names of the installed training configs."""
    return sorted(path.stem for path in _configs().glob("*.cfg"))


def train_pipeline(config: Path, out: Path, overrides: dict[str, Any], gpu: int = -1) -> None:
    """Train beside `out`, and move model-best, model-last and the curve there when they are whole.

    A config with `paths.average` (see `averaging`) has model-average there too.

    RAISES: XNER167 if a shared transformer's package is absent, XNER702 if another process trains into
        `out`, XNER703 if it cannot be written.
    """
    check_shared(config)
    setup_gpu(gpu)
    if gpu >= 0:
        overrides = {**overrides, "system.gpu_allocator": "pytorch"}
    with fresh_folder(out, TRAINING) as folder:
        paths = {"paths.curves": str(folder / "curves.jsonl")}
        if "average" in load_config(config, interpolate=False).get("paths", {}):
            paths["paths.average"] = str(folder / "model-average")
        overrides = {**paths, **overrides}
        nlp = init_nlp(load_config(config, overrides=overrides, interpolate=False), use_gpu=gpu)
        train(nlp, folder, use_gpu=gpu)


def check_shared(config: Path) -> None:
    """Look whether the package of a config's shared transformer is installed. RAISES: XNER167."""
    components = load_config(config, interpolate=False).get("components", {})
    shared = [name for name, settings in components.items() if settings.get("factory") == SHARED_FACTORY]
    if shared and importlib.util.find_spec("spacy_transformers") is None:
        raise XnerError(Errors.XNER167.format(config=config, name=shared[0]))


def train_curve(
    config: Path,
    path: Path,
    overrides: dict[str, Any],
    gpu: int,
    keep: Path | None = None,
    weights: str = "model-best",
) -> tuple[float, list[dict[str, Any]]]:
    """Train a pipeline for the sake of its evaluations.

    path: The file of the result; the curve is written beside it.
    keep: The folder for a pipeline; without it no pipeline is kept.
    weights: The pipeline that is kept, "model-best" or "model-last".
    RETURNS: Seconds, and the lines of the curve after the one before training.
    """
    start = time.perf_counter()
    trained, curve = path.with_suffix(".model"), path.with_suffix(".jsonl")
    train_pipeline(config, trained, {**overrides, "paths.curves": str(curve)}, gpu)
    if keep is not None:
        move_folder(trained / weights, keep)
    shutil.rmtree(trained)
    return time.perf_counter() - start, read_lines(curve)[1:]


def count_batches(config: Path, overrides: dict[str, Any]) -> int:
    """Count the batches that the config's batcher makes of one pass over the corpus. RAISES: XNER123."""
    settings = load_config(config, overrides=overrides, interpolate=True)
    if "batch_size" not in settings.get("vars", {}):
        raise XnerError(Errors.XNER123.format(config=config))
    resolved = registry.resolve(
        {"corpus": settings["corpora"]["train"], "batcher": settings["training"]["batcher"]}
    )
    return sum(1 for _ in resolved["batcher"](resolved["corpus"](spacy.blank("xx"))))


def steps_per_epoch(n_sentences: int, batch_size: int = 32) -> int:
    """Count the batches of one pass over a corpus. batch_size: Sentences a batch."""
    return -(-n_sentences // batch_size)


def fixed_steps(n_steps: int, *, eval_frequency: int) -> dict[str, Any]:
    """Overrides for a training of so many steps, the last of which is evaluated."""
    return {
        "vars.eval_frequency": eval_frequency,
        "vars.total_steps": n_steps,
        # The step after the last epoch is the one that spaCy evaluates.
        "training.max_epochs": 0,
        "training.max_steps": n_steps,
    }


def learnt_nothing(out: Path) -> bool:
    """True if a training was scored before its first step alone, so that its best pipeline is the first."""
    curve = out / "curves.jsonl"
    return curve.exists() and len(read_lines(curve)) < 2


def whole_epochs(n_epochs: int, steps: int) -> dict[str, Any]:
    """Overrides for epochs of so many steps, each of them scored."""
    return {"vars.steps_per_epoch": steps, **fixed_steps(steps * n_epochs, eval_frequency=steps)}


def _configs() -> Path:
    # In a checkout the configs lie beside the package, in a wheel inside of it.
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "configs"

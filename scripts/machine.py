"""What a result was made with: processor, threads, versions, commit."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Instruction sets that decide how fast a processor multiplies matrices, as /proc/cpuinfo names them.
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")
PACKAGES = ("spacy_xner", "spacy", "torch", "transformers")


def describe_machine(gpu: int = -1) -> dict[str, Any]:
    """Name the processor, its instruction sets, the threads of this process, and the GPU in use."""
    import torch

    described: dict[str, Any] = {**_describe_cpu(), "threads": torch.get_num_threads()}
    if gpu >= 0:
        described["gpu"] = torch.cuda.get_device_name(gpu)
    return described


def _describe_cpu() -> dict[str, Any]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    # The first core stands for all; names differ between architectures.
    fields = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    name = fields.get("model name") or platform.processor() or platform.machine()
    return {"cpu": name, "instruction_sets": [flag for flag in INSTRUCTION_SETS if flag in flags]}


def describe_versions() -> dict[str, str]:
    """Versions of the packages that decide a result."""
    return {name: version(name) for name in PACKAGES}


def describe_commit() -> str | None:
    """The commit of this checkout, with a plus where files differ from it; None outside of a repository."""
    root = Path(__file__).resolve().parent.parent
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return None
    return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()

"""Versions and commit that a result was made with."""

import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("spacy_xner", "spacy", "torch", "transformers")


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

"""Modules that are files beside the package, such as benchmarks and the examples of the docs."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load_module(path: Path | str) -> ModuleType:
    """Run a file as a module, which is known by the name of its folder and its own."""
    path = Path(path)
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module

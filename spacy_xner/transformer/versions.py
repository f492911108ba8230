"""Differences between the versions of transformers that the package runs with, 4.45 to 5."""

from typing import Any

import torch
import transformers
from packaging.version import Version

try:
    from transformers.initialization import no_init_weights
except ImportError:  # Before transformers 5.
    from transformers.modeling_utils import no_init_weights

__all__ = ["float32_option", "no_init_weights"]

# From here on `torch_dtype` is called `dtype`, and the older name gives a warning.
_RENAMED = Version("4.56")


def float32_option() -> dict[str, Any]:
    """The argument of `from_pretrained` and `from_config` that asks for float32.

    Without it transformers 5 takes whatever precision a checkpoint was stored in.
    """
    name = "dtype" if Version(transformers.__version__) >= _RENAMED else "torch_dtype"
    return {name: torch.float32}

"""The numbers that a network computes with: chosen by the machine, or forced by a setting."""

import functools
import warnings
from typing import NamedTuple

import torch
from spacy.util import logger
from thinc.api import PyTorchGradScaler
from torch import Tensor

from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.machine import describe_processor
from spacy_xner.types import Precision

TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# Sets of instructions that multiply matrices of a type.
MATRIX_SETS = {
    "bfloat16": frozenset({"avx512_bf16", "amx_bf16"}),
    "float16": frozenset({"avx512_fp16", "amx_fp16"}),
}


class Choice(NamedTuple):
    """The numbers that a network computes with.

    precision: Never "auto".
    device: The kind of device as torch names it, such as "cpu" or "cuda".
    reason: Why it was chosen, as the rest of a sentence.
    is_slow: The device has no instructions for these numbers.
    """

    precision: Precision
    device: str
    reason: str
    is_slow: bool

    @property
    def is_scaled(self) -> bool:
        """True if small gradients vanish, so that a scaler has to enlarge them."""
        return self.precision == "float16"

    def autocast(self) -> torch.autocast:
        """The context in which networks compute with these numbers; the weights stay in float32."""
        if self.precision == "float32":
            return torch.autocast(self.device, enabled=False)
        return torch.autocast(self.device, dtype=TYPES[self.precision])


class GradScaler(PyTorchGradScaler):
    """thinc's scaler of gradients; thinc's own refuses gradients that are not on a GPU."""

    def _scale_tensor(
        self, tensor: Tensor, scale_per_device: dict[torch.device, Tensor], inplace: bool
    ) -> Tensor:
        scale = self._scale.to(tensor.device)
        return tensor.mul_(scale) if inplace else tensor * scale


def read_precision(precision: Precision | None, mixed_precision: bool | None) -> Precision:
    """Read the setting of today, or the one of earlier configs.

    precision: None where the config does not say it; that is float32.
    mixed_precision: The setting of earlier configs: true is "auto" and false "float32".
    RAISES: XNER130 if both are given.
    """
    if mixed_precision is None:
        return precision or "float32"
    if precision is not None:
        raise XnerError(Errors.XNER130.format(precision=precision, mixed_precision=mixed_precision))
    return "auto" if mixed_precision else "float32"


def choose_precision(setting: Precision | None, device: str) -> Choice:
    """Choose the numbers for a network on a device, and say so in spaCy's log, once a process.

    A setting that is forced works on every machine; where it is slow, a warning says so once (XNER-W130).

    setting: None, for a network without the setting, is float32, and nothing is said.
    """
    choice = _choose(setting or "float32", device)
    if setting is not None:
        _announce(choice)
    return choice


def has_cpu_bfloat16() -> bool:
    """True if this CPU multiplies bfloat16 matrices in hardware."""
    return bool(torch.backends.mkldnn.is_available()) and _has_matrices("bfloat16")


def _choose(setting: Precision, device: str) -> Choice:
    kind = "GPU" if device != "cpu" else "CPU"
    if setting != "auto":
        is_slow = setting != "float32" and not _is_fast(setting, device)
        return Choice(setting, device, f'the setting is precision = "{setting}"', is_slow)
    if device == "cuda":
        return Choice("float16", device, f'precision = "auto" takes it on a {kind}', False)
    if device == "cpu" and has_cpu_bfloat16():
        return Choice("bfloat16", device, f"this {kind} multiplies bfloat16 matrices in hardware", False)
    return Choice("float32", device, f"this {kind} multiplies no bfloat16 matrices in hardware", False)


def _is_fast(setting: Precision, device: str) -> bool:
    if device == "cuda":
        return setting == "float16" or bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        return bool(torch.backends.mkldnn.is_available()) and _has_matrices(setting)
    return True


def _has_matrices(precision: Precision) -> bool:
    """Ask torch, which asks the processor itself; the system's list of its flags where torch cannot tell."""
    names = {"bfloat16": ("_is_avx512_bf16_supported", "_is_amx_tile_supported")}.get(precision, ())
    checks = [check for name in names if (check := getattr(torch.cpu, name, None)) is not None]
    if checks:
        return any(check() for check in checks)
    return not MATRIX_SETS[precision].isdisjoint(describe_processor().instruction_sets)


def _describe_device(device: str) -> str:
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    processor = describe_processor()
    return f"{processor.cpu}; {', '.join(processor.instruction_sets) or 'unknown instruction sets'}"


@functools.cache
def _announce(choice: Choice) -> None:
    """Log a choice, and warn of a slow one, the first time that it is made."""
    device = _describe_device(choice.device)
    logger.info(f"Encoders compute in {choice.precision}, because {choice.reason} ({device})")
    if choice.is_slow:
        warnings.warn(Warnings.W130.format(precision=choice.precision, device=device), stacklevel=5)

"""Looks at stored weights before and after they become a network's. Torch only."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from spacy_xner.errors import Errors, XnerError


def check_tensors(
    outline: Callable[[dict[str, Any]], nn.Module], cfg: dict[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Compare stored weights with the network that its settings describe, before it takes any memory.

    outline: Builds the modules that have weights.
    RAISES: XNER337 for another kind of number, XNER338 for other names and sizes.
    """
    with torch.device("meta"), _at_most(len(tensors)):
        expected = outline(cfg).state_dict()
    unknown = sorted(expected.keys() ^ tensors.keys())
    if unknown:
        reason = f"{unknown[0]} is {'missing' if unknown[0] in expected else 'not part of it'}"
        raise XnerError(Errors.XNER338.format(reason=reason))
    for name, tensor in tensors.items():
        wanted = expected[name]
        if wanted.shape != tensor.shape:
            reason = f"{name} has the shape {list(tensor.shape)}, not {list(wanted.shape)}"
            raise XnerError(Errors.XNER338.format(reason=reason))
        if wanted.dtype != tensor.dtype:
            expected_dtype, stored = (str(t.dtype).removeprefix("torch.") for t in (wanted, tensor))
            raise XnerError(
                Errors.XNER337.format(name="network", where=name, expected=expected_dtype, found=stored)
            )


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Look for numbers that are not finite. RAISES: XNER336."""
    for name, tensor in tensors.items():
        # A sum of finite numbers may be infinite, but it is the rare case that is looked at twice.
        if not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
            raise XnerError(Errors.XNER336.format(name="network", where=name))


@contextmanager
def _at_most(n_parameters: int) -> Iterator[None]:
    """Stop the building of a network that has more parameters than were stored.

    A million layers would take hours, even without memory for their weights.
    """
    # Some networks register a weight anew once they have drawn it.
    limit = 2 * n_parameters + 16
    built = 0
    builder = threading.get_ident()

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal built
        # The hook hears of the networks of all threads.
        if threading.get_ident() != builder or parameter is None:
            return
        built += 1
        if built > limit:
            raise XnerError(
                Errors.XNER338.format(reason=f"it has more than the {n_parameters} stored weights")
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()

"""The step of thinc's optimizers on torch parameters: fused kernels, and lazy Adam for sparse gradients.

A parameter whose gradient is sparse (the word embeddings of a transformer that is trained as a whole) is
stepped in the rows that have a gradient. DIFFERS from Adam on the same gradient with zeros in it: a row
without a gradient keeps its weights and its moments, where Adam lets its momentum fade, moves it by what is
left of that, and decays its weights. So a row that has occurred in no batch keeps its pretrained weights even
where decay is on. A row that occurs in every batch is stepped as Adam does it, decay or not. Without decay a
row that occurs for the first time is too; the two differ only behind a row's first absence.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy
import torch
from thinc.api import Optimizer, torch2xp, xp2torch
from torch import Tensor

# thinc's averages are those of about as many steps.
MAX_DECAY = 0.9999
Parameters = list[tuple[str, torch.nn.Parameter]]


class _Rows(NamedTuple):
    """The stepped part of a parameter: all of it, or copies of some of its rows.

    tensors: Weights, gradient, first and second moments, all of one shape.
    indices: The rows that were copied; None for the parameter itself. Shape: (n_rows,).
    whole: Weights and moments that the copies are of.
    """

    tensors: tuple[Tensor, Tensor, Tensor, Tensor]
    indices: Tensor | None
    whole: tuple[Tensor, Tensor, Tensor]

    def write_back(self) -> None:
        """Write copied rows to where they are from."""
        if self.indices is not None:
            weights, _, mom1, mom2 = self.tensors
            for whole, rows in zip(self.whole, (weights, mom1, mom2), strict=True):
                whole.index_copy_(0, self.indices, rows)


def is_plain_adam(optimizer: Any) -> bool:
    """True if the step of an optimizer is Adam's, its decay apart from the gradient."""
    return (
        isinstance(optimizer, Optimizer)
        and not optimizer.use_radam
        and optimizer.b1 > 0
        and optimizer.b2 > 0
        and (optimizer.L2 == 0 or optimizer.L2_is_weight_decay)
    )


def dense_part(tensor: Tensor) -> Tensor:
    """The numbers of a tensor's gradient: all of a dense one, those that are there of a sparse one.

    Changes of the result in place change the gradient.
    """
    grad = tensor.grad
    assert grad is not None
    if not grad.is_sparse:
        return grad
    # Rows that occur several times are summed, so that each of them is there once.
    tensor.grad = grad.coalesce()
    return tensor.grad._values()


def step_fused(optimizer: Optimizer, shim_id: int, parameters: Parameters, rate: float) -> None:
    """Step parameters with torch's fused kernel on the optimizer's own moments and averages.

    Rate, schedule, betas, eps, decay and clipping are the optimizer's, as in thinc's step.

    parameters: Parameters with a gradient, by name.
    rate: The learning rate in place of the optimizer's.
    """
    chosen = [_choose_rows(optimizer, (shim_id, name), parameter) for name, parameter in parameters]
    if optimizer.grad_clip:
        _clip([rows.tensors[1] for rows in chosen], float(optimizer.grad_clip))
    by_step: dict[int, list[_Rows]] = {}
    for (name, _), rows in zip(parameters, chosen, strict=True):
        key = (shim_id, name)
        optimizer.nr_update[key] += 1
        by_step.setdefault(optimizer.nr_update[key], []).append(rows)
    for step, group in by_step.items():
        _step_adam(optimizer, group, step, rate)
    if optimizer.L2:
        torch._foreach_mul_([rows.tensors[0] for rows in chosen], 1 - rate * float(optimizer.L2))
    for rows in chosen:
        rows.write_back()
    if optimizer.averages is not None:
        for name, parameter in parameters:
            _average(optimizer, (shim_id, name), parameter.data)


def step_one_by_one(optimizer: Optimizer, shim_id: int, parameters: Parameters, scale: float) -> None:
    """Step parameters with any optimizer, in thinc's own step. Sparse gradients are filled up with zeros.

    scale: Multiplier of the learning rate.
    """
    with _scaled_rate(optimizer, scale):
        for name, parameter in parameters:
            assert parameter.grad is not None
            grad = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
            stepped, _ = optimizer((shim_id, name), torch2xp(parameter.data), torch2xp(grad))
            parameter.data = xp2torch(stepped, device=parameter.device)


@contextmanager
def _scaled_rate(optimizer: Optimizer, scale: float) -> Iterator[None]:
    """Let an optimizer have another rate in a block. thinc's RAdam does not read its argument `lr_scale`."""
    if scale == 1:
        yield
        return
    rate = optimizer.learn_rate
    optimizer.learn_rate = rate * scale
    try:
        yield
    finally:
        optimizer.learn_rate = rate


def _choose_rows(optimizer: Optimizer, key: tuple[int, str], parameter: torch.nn.Parameter) -> _Rows:
    moments = []
    for store in (optimizer.mom1, optimizer.mom2):
        if key not in store:
            store[key] = _zeros(parameter)
        moments.append(xp2torch(store[key], device=parameter.device).view_as(parameter))
    whole = (parameter.data, *moments)
    numbers = dense_part(parameter)
    assert parameter.grad is not None
    if not parameter.grad.is_sparse:
        return _Rows((parameter.data, numbers, *moments), None, whole)
    indices = parameter.grad._indices()[0]
    weights, mom1, mom2 = (tensor.index_select(0, indices) for tensor in whole)
    return _Rows((weights, numbers, mom1, mom2), indices, whole)


def _zeros(parameter: torch.nn.Parameter) -> Any:
    """Moments of a parameter in the form of thinc. Shape: (n_numbers,)."""
    if parameter.device.type == "cpu":
        # numpy leaves pages that nobody writes to without memory: the rows of most wordpieces.
        return numpy.zeros(parameter.numel(), dtype="float32")
    return torch2xp(torch.zeros_like(parameter.data).view(-1))


def _clip(grads: list[Tensor], limit: float) -> None:
    """Bring the gradient of every parameter to at most a norm by itself, as thinc does.

    A sparse gradient has the norm that it would have with zeros in it.
    """
    norms = torch.stack(torch._foreach_norm(grads))
    scales = torch.clamp(limit / (norms + 1e-12), max=1.0)
    torch._foreach_mul_(grads, list(scales.unbind()))


def _step_adam(optimizer: Optimizer, group: list[_Rows], step: int, rate: float) -> None:
    weights, grads, mom1, mom2 = (list(tensors) for tensors in zip(*(r.tensors for r in group), strict=True))
    b1, b2 = float(optimizer.b1), float(optimizer.b2)
    torch._fused_adam_(
        weights,
        grads,
        mom1,
        mom2,
        [],
        [torch.tensor(float(step), device=tensor.device) for tensor in weights],
        lr=rate,
        beta1=b1,
        beta2=b2,
        weight_decay=0.0,
        # thinc adds eps to the root of the uncorrected second moment, torch to the corrected.
        eps=float(optimizer.eps) / (1 - b2**step) ** 0.5,
        amsgrad=False,
        maximize=False,
    )


def _average(optimizer: Optimizer, key: tuple[int, str], weights: Tensor) -> None:
    """Move the average of a parameter. All its rows: those that stay have averages that move."""
    averages: Any = optimizer.averages
    if key not in averages:
        averages[key] = torch2xp(torch.zeros_like(weights))
    step = optimizer.nr_update[key]
    decay = min((1.0 + step) / (10.0 + step), MAX_DECAY)
    xp2torch(averages[key], device=weights.device).lerp_(weights, 1 - decay)

"""A thinc shim for torch networks: safetensors, half precision on any device, a fast Adam step."""

import contextlib
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from thinc.api import Model, Optimizer, PyTorchShim, torch2xp, xp2torch
from thinc.shims import Shim
from thinc.types import ArgsKwargs
from thinc.util import convert_recursive, get_torch_default_device, iterate_recursive

from spacy_xner.errors import Errors, Warnings, XnerError, named_damage
from spacy_xner.netfile import StoredNetwork, read_network, write_network
from spacy_xner.packing import Storage
from spacy_xner.precision import GradScaler, choose_precision
from spacy_xner.steps import Parameters, dense_part, is_plain_adam, step_fused, step_one_by_one
from spacy_xner.types import Precision
from spacy_xner.weights import check_finite, check_tensors


class TorchShim(PyTorchShim):
    """Hold a torch network that is rebuilt from plain settings and safetensors.

    thinc's own shim pickles the weights, steps parameters one by one through numpy, knows half precision
    on GPUs only, and turns dropout on after every prediction; this one changes those four things. The
    network is built late, when its sizes are known: `cfg` (plain JSON) is all that `build` needs for it.

    Many threads may predict at once: outside of `training_mode` a network has no dropout, and a prediction
    does not touch its mode. Only one thread may train, and no other predicts meanwhile. torch cuts every
    operation into as many threads as there are cores; a server whose own threads keep the cores busy is
    faster with `OMP_NUM_THREADS=1` (see `benchmarks/threads.py`).

    build: Makes the network, with any weights, from `cfg`.
    precision: Numbers that the network computes with; the weights are float32 in any case. "auto" is float16
        with a gradient scaler on a GPU, bfloat16 on CPUs that have it, and float32 on others. The other names
        force it, at whatever speed; see `precision.choose_precision`. None, for a small network without the
        setting, is float32 too, and is not logged.
    outline: Makes the modules with weights alone, where `build` makes more; to compare sizes with.
    on_load: Called with the network once its stored weights are in place, also in another process.
    learn_rate_factor: The optimizer's learning rate is multiplied by it for this network.
    max_learn_rate: The network is stepped with this rate where the optimizer has a greater one; None for no
        limit. spaCy's default, Adam with 0.001, destroys a pretrained transformer within a few steps.
    layer_decay: The rate of a layer is that of the layer above it times this factor; 1 for one rate. The
        network's method `depths` counts the layers above each parameter.
    """

    def __init__(
        self,
        build: Callable[[dict[str, Any]], torch.nn.Module],
        *,
        outline: Callable[[dict[str, Any]], torch.nn.Module] | None = None,
        precision: Precision | None = None,
        grad_scaler_config: dict[str, Any] | None = None,
        on_load: Callable[[Any], None] | None = None,
        learn_rate_factor: float = 1.0,
        max_learn_rate: float | None = None,
        layer_decay: float = 1.0,
    ) -> None:
        self.choice = choose_precision(precision, get_torch_default_device().type)
        scaler = GradScaler(self.choice.is_scaled, **(grad_scaler_config or {}))
        super().__init__(None, {}, mixed_precision=self.choice.is_scaled, grad_scaler=scaler)
        self._build = build
        self._outline = outline or build
        self._on_load = on_load
        self.learn_rate_factor = learn_rate_factor
        self.max_learn_rate = max_learn_rate
        self.layer_decay = layer_decay
        self._has_warned = False
        self._process = os.getpid()
        # Counts changes of the weights: a cache of what was computed with them asks for it.
        self.version = 0
        # How weights are stored: as they were when they were loaded, unless `trim` says otherwise.
        self.storage: Storage = "float32"

    @property
    def network(self) -> torch.nn.Module:
        """The network. RAISES: XNER301 before it is built."""
        if self._model is None:
            raise XnerError(Errors.XNER301.format(name="network"))
        return self._model

    @property
    def is_built(self) -> bool:
        """True once there is a network."""
        return self._model is not None

    @property
    def structure(self) -> Any:
        """A description of what the network is built of: weights fit every network of the same structure."""
        return getattr(self.network, "structure", self.cfg)

    def start(self, cfg: dict[str, Any], network: torch.nn.Module | None = None) -> None:
        """Build the network from `cfg`, or take the one given, and move it to the device.

        It predicts until `begin_update` is called.
        """
        self.cfg = cfg
        self.version += 1
        self._model = (network or self._build(cfg)).to(get_torch_default_device()).eval()

    def restart(self, cfg: dict[str, Any]) -> None:
        """Build a network of other sizes in place of this one; optimizers take it for a new one."""
        with Shim.global_id_lock:
            Shim.global_id += 1
            self.id = Shim.global_id
        self.start(cfg)

    def predict(self, inputs: ArgsKwargs) -> Any:
        """Compute the network's output without gradients. Threads may call this at the same time."""
        self._use_one_thread_in_forks()
        with torch.inference_mode(), self.choice.autocast():
            return self.network(*inputs.args, **inputs.kwargs)

    @contextlib.contextmanager
    def training_mode(self) -> Iterator[torch.nn.Module]:
        """Run a forward pass with dropout; the network only predicts before and afterwards.

        The backward pass may come later: it takes what the forward pass has drawn.
        """
        network = self.network
        network.train()
        try:
            yield network
        finally:
            network.eval()

    def begin_update(self, inputs: ArgsKwargs, method: str = "__call__") -> Any:
        """Compute the network's output with dropout.

        method: Name of the network's method that computes it.
        RETURNS: The output, and a function of its gradients that adds to those of the parameters and
            returns those of the inputs.
        """
        with self.training_mode() as network, self.choice.autocast():
            output = getattr(network, method)(*inputs.args, **inputs.kwargs)

        def backprop(grads: ArgsKwargs) -> Any:
            has_overflow = self._backward(inputs, grads)

            def gradient(tensor: torch.Tensor) -> torch.Tensor | None:
                return torch.zeros_like(tensor) if has_overflow and tensor.grad is not None else tensor.grad

            return convert_recursive(_has_gradient, gradient, inputs)

        return output, backprop

    def _backward(self, inputs: ArgsKwargs, grads: ArgsKwargs) -> bool:
        """Run one backward pass. RETURNS: True if half precision could not hold a gradient.

        Half precision has gradients scaled here, at the border of the network: other layers know none of
        it. The gradients of earlier passes of a step, which are divided by the scale already, stay apart.
        """
        if not self._mixed_precision:
            torch.autograd.backward(*grads.args, **grads.kwargs)
            return False
        earlier = [(p, p.grad) for p in self.network.parameters() if p.grad is not None]
        for parameter, _ in earlier:
            parameter.grad = None
        grads.kwargs["grad_tensors"] = self._grad_scaler.scale(grads.kwargs["grad_tensors"], inplace=True)
        torch.autograd.backward(*grads.args, **grads.kwargs)
        tensors = [*self.network.parameters(), *iterate_recursive(_has_gradient, inputs)]
        grads_now = [dense_part(t) for t in tensors if t.grad is not None]
        has_overflow = self._grad_scaler.unscale(grads_now)
        for parameter, grad in earlier:
            parameter.grad = grad if parameter.grad is None else parameter.grad + grad
        return bool(has_overflow)

    def finish_update(self, optimizer: Optimizer) -> None:
        """Step all parameters that have a gradient and drop the gradients.

        Plain Adam goes through torch's fused kernel on the optimizer's own moments, and for sparse gradients
        on the rows alone that have one (see `steps`); anything else (RAdam, SGD, L2 in the gradient) goes
        through thinc's step.
        """
        self.version += 1
        scale = self._rate_scale(optimizer)
        if (scale != 1 or self.layer_decay != 1) and not isinstance(optimizer, Optimizer):
            # `nlp.rehearse` collects gradients and steps them later with the full rate. Instead they wait for
            # the next update.
            return
        parameters = [(n, p) for n, p in self.network.named_parameters() if p.grad is not None]
        if parameters and not self._grad_scaler.found_inf:
            for decay, group in self._by_decay(parameters).items():
                if is_plain_adam(optimizer):
                    step_fused(optimizer, self.id, group, float(optimizer.learn_rate) * scale * decay)
                else:
                    step_one_by_one(optimizer, self.id, group, scale * decay)
        for _, parameter in parameters:
            # Not zero_(): a parameter that is frozen later must not be stepped by its momentum.
            parameter.grad = None
        self._grad_scaler.update()

    def _by_decay(self, parameters: Parameters) -> dict[float, Parameters]:
        """Group parameters by the factor of their rate: every layer further down has a lower one.

        Gradients are clipped parameter by parameter, so that groups change nothing else.
        """
        network: Any = self.network
        if self.layer_decay == 1:
            return {1.0: parameters}
        depths: dict[str, int] = network.depths()
        groups: dict[float, Parameters] = {}
        for name, parameter in parameters:
            groups.setdefault(self.layer_decay ** depths[name], []).append((name, parameter))
        return groups

    def _rate_scale(self, optimizer: Optimizer) -> float:
        """Multiplier of the optimizer's learning rate: the factor, or less where the limit is reached."""
        limit, rate = self.max_learn_rate, float(optimizer.learn_rate) * self.learn_rate_factor
        if limit is None or rate <= limit:
            return self.learn_rate_factor
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(Warnings.W350.format(rate=rate, limit=limit), stacklevel=2)
        return self.learn_rate_factor * limit / rate

    def to_bytes(self) -> bytes:
        """Save settings and weights; see `netfile`. RAISES: XNER140."""
        frozen: list[list[str]] = getattr(self.network, "frozen_names", list)()
        return write_network(self.cfg, self.network.state_dict(), self.storage, frozen)

    def from_bytes(self, bytes_data: bytes) -> "TorchShim":
        """Rebuild the network: settings, structure, weights.

        RAISES: XNER302 for bytes that cannot be read, XNER336 to XNER338 for weights of another network,
            XNER141 and XNER142 for parts that other components have too.
        """
        with named_damage("network"):
            stored = read_network(bytes_data)
            shapes = {name: torch.empty(t.shape, device="meta") for name, t in stored.tables.items()}
            check_tensors(self._outline, stored.cfg, {**stored.tensors, **shapes})
            numbers = {**stored.tensors, **{name: t.scales for name, t in stored.tables.items()}}
            shared = stored.shared_names()
            check_finite({name: tensor for name, tensor in numbers.items() if name not in shared})
            self.start(stored.cfg)
            self._assign(stored)
        self.storage = stored.storage
        self._grad_scaler.to_(self.device)
        if self._on_load is not None:
            self._on_load(self.network)
        return self

    def _assign(self, stored: StoredNetwork) -> None:
        """Make the stored tensors themselves the weights: one copy less of the largest thing there is."""
        network: Any = self.network
        tensors = dict(stored.tensors)
        for name, table in stored.tables.items():
            if not (hasattr(network, "keep_table") and network.keep_table(name, table.to(self.device))):
                tensors[name] = table.weight
        shared = {name for part in stored.parts if isinstance(part.value, tuple) for name in part.value[0]}
        # Others use the weights of a shared part: a network that trains its weights leaves them alone.
        copied = {name for name, p in network.named_parameters() if p.requires_grad and name in shared}
        tensors = {
            name: (tensor.clone() if name in copied else tensor).to(self.device)
            for name, tensor in tensors.items()
        }
        network.load_state_dict(tensors, assign=True)
        network.parts = stored.parts

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Come out of a pickle, as in the processes that `nlp.pipe(n_process=2)` spawns."""
        self.__dict__.update(state)
        self._process = os.getpid()
        if multiprocessing.parent_process() is not None:
            # There are as many processes as there are to be threads.
            torch.set_num_threads(1)
        if self._on_load is not None and self.is_built:
            self._on_load(self.network)

    @contextlib.contextmanager
    def use_params(self, params: dict[Any, Any]) -> Iterator[None]:
        """Run a block with other parameters, as thinc does with the optimizer's averages."""
        names = dict(self.network.named_parameters())
        values = {key[1]: value for key, value in params.items() if key[0] == self.id}
        backup = {name: names[name].data for name in values}
        for name, value in values.items():
            names[name].data = xp2torch(value, device=self.device).view_as(names[name])
        self.version += 1
        try:
            yield
        finally:
            self.version += 1
            for name, value in backup.items():
                names[name].data = value

    def _use_one_thread_in_forks(self) -> None:
        # A forked child of `nlp.pipe(n_process=2)` inherits the state of OpenMP but not its threads, and
        # hangs in the first parallel region.
        if os.getpid() != self._process:
            torch.set_num_threads(1)
            self._process = os.getpid()


def trained_parameters(model: Model) -> dict[tuple[int, str], torch.nn.Parameter]:
    """Find the parameters that are trained in the torch networks of a model, by shim and name."""
    shims = (shim for node in model.walk() for shim in node.shims if isinstance(shim, TorchShim))
    return {
        (shim.id, name): parameter
        for shim in shims
        for name, parameter in shim.network.named_parameters()
        if parameter.requires_grad
    }


def trained_weights(model: Model) -> dict[Any, Any]:
    """Copy the weights that are trained, in the form that `Model.use_params` takes."""
    of_thinc = {
        (node.id, name): node.get_param(name).copy()
        for node in model.walk()
        for name in node.param_names
        if node.has_param(name)
    }
    of_torch = {key: torch2xp(p.detach().clone()) for key, p in trained_parameters(model).items()}
    return {**of_thinc, **of_torch}


def _has_gradient(value: Any) -> bool:
    return hasattr(value, "grad")

"""The torch shim: the fast step equals thinc's, frozen means frozen, averages are used."""

import numpy
import pytest
import spacy
import torch
from thinc.api import Adam, ArgsKwargs, Optimizer, PyTorchShim, fix_random_seed
from thinc.optimizers import ADAM_DEFAULTS

from spacy_xner.shim import TorchShim
from spacy_xner.transformer.freezing import frozen_modules

from tests import tiny


def make_network(cfg):
    torch.manual_seed(cfg["seed"])
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))


def steps(shim, optimizer, n_steps=5):
    inputs = torch.arange(12.0).view(3, 4)
    for _ in range(n_steps):
        outputs, backprop = shim(ArgsKwargs(args=(inputs,), kwargs={}), True)
        grads = ArgsKwargs(args=((outputs,),), kwargs={"grad_tensors": 3 * outputs.detach()})
        backprop(grads)
        shim.finish_update(optimizer)
        optimizer.step_schedules()
    return [p.detach().numpy().copy() for p in shim._model.parameters()]


@pytest.mark.parametrize(
    "settings",
    [
        {"L2": 0.0, "grad_clip": 0.0},
        {"L2": 0.1, "L2_is_weight_decay": True, "grad_clip": 1.0},
        {"L2": 0.1, "L2_is_weight_decay": False, "grad_clip": 1.0},
        {"use_averages": True},
        {"use_radam": True},
        {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "grad_clip": 0.5},
    ],
)
def test_the_step_gives_the_weights_of_thincs_own(settings):
    ours = TorchShim(make_network)
    ours.start({"seed": 3})
    theirs = PyTorchShim(make_network({"seed": 3}))
    # Optimizers of thinc have averages unless they are told not to.
    settings = {**ADAM_DEFAULTS, "learn_rate": 0.05, "use_averages": False, **settings}
    optimizers = Optimizer(**settings), Optimizer(**settings)
    found, expected = steps(ours, optimizers[0]), steps(theirs, optimizers[1])
    averages = [list((optimizer.averages or {}).values()) for optimizer in optimizers]
    assert len(averages[0]) == len(averages[1]) == (4 if settings["use_averages"] else 0)
    for a, b in zip([*found, *averages[0]], [*expected, *averages[1]], strict=True):
        # thinc's 1 - b2 is a float32, and off by one in 80,000.
        assert numpy.allclose(a, b, atol=5e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"L2": 0.1, "L2_is_weight_decay": True},
        {"use_averages": True},
        {"L2": 0.1, "L2_is_weight_decay": False},
    ],
)
def test_a_networks_own_rate_is_the_optimizers_times_a_factor(settings):
    shim = TorchShim(make_network, learn_rate_factor=3.0)
    shim.start({"seed": 3})
    reference = PyTorchShim(make_network({"seed": 3}))
    ours = steps(shim, Optimizer(**{**ADAM_DEFAULTS, "learn_rate": 0.02, "use_averages": False, **settings}))
    expected = steps(
        reference, Optimizer(**{**ADAM_DEFAULTS, "learn_rate": 0.06, "use_averages": False, **settings})
    )
    for a, b in zip(ours, expected, strict=True):
        assert numpy.allclose(a, b, atol=5e-6)


def test_bytes_restore_the_weights_under_another_seed():
    shim = TorchShim(make_network)
    shim.start({"seed": 3})
    weights = steps(shim, Adam(0.1))
    other = TorchShim(make_network)
    other.start({"seed": 4})
    other.from_bytes(shim.to_bytes())
    for a, b in zip(weights, other.network.parameters(), strict=True):
        assert numpy.array_equal(a, b.detach().numpy())


def test_damaged_bytes_are_a_named_error():
    shim = TorchShim(make_network)
    shim.start({"seed": 3})
    with pytest.raises(ValueError, match="XNER302"):
        TorchShim(make_network).from_bytes(shim.to_bytes()[:-7])


def test_use_params_swaps_and_restores():
    shim = TorchShim(make_network)
    shim.start({"seed": 3})
    name, parameter = next(iter(shim.network.named_parameters()))
    before = parameter.detach().clone()
    with shim.use_params({(shim.id, name): numpy.zeros(before.shape, dtype="float32")}):
        assert not parameter.any()
    assert torch.equal(parameter, before)


@pytest.mark.parametrize("n_frozen", [-1, 0, 1, 2])
def test_frozen_layers_stay_bit_equal_also_after_training_and_reload(checkpoint, n_frozen, tmp_path):
    fix_random_seed(0)
    nlp = tiny.make_nlp(checkpoint, n_frozen_layers=n_frozen)
    examples = tiny.make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    network = nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0].network

    def frozen_ids(net):
        return {id(p) for m in frozen_modules(net.encoder, n_frozen) for p in m.parameters()}

    def moved(nlp, net, optimizer):
        before = {n: p.detach().clone() for n, p in net.named_parameters()}
        for _ in range(3):
            nlp.update(tiny.make_examples(nlp), sgd=optimizer)
        return {n for n, p in net.named_parameters() if not torch.equal(p, before[n])}

    frozen = {n for n, p in network.named_parameters() if id(p) in frozen_ids(network)}
    every = {n for n, _ in network.named_parameters()}
    unused = {n for n in every if "token_type" in n}
    assert moved(nlp, network, optimizer) | unused | frozen == every
    assert not moved(nlp, network, optimizer) & frozen
    nlp.to_disk(tmp_path)
    reloaded = spacy.load(tmp_path)
    again = reloaded.get_pipe("ner").model.get_ref("tok2vec").shims[0].network
    assert not moved(reloaded, again, reloaded.resume_training()) & frozen


def test_a_layer_frozen_after_training_is_not_moved_by_momentum():
    shim = TorchShim(make_network)
    shim.start({"seed": 3})
    optimizer = Adam(0.1, L2=0.1, L2_is_weight_decay=True)
    steps(shim, optimizer)
    first = shim.network[0]
    first.requires_grad_(False)
    before = first.weight.detach().clone()
    steps(shim, optimizer)
    assert torch.equal(first.weight, before)


def test_dropout_is_off_in_frozen_layers(checkpoint):
    nlp = tiny.make_nlp(checkpoint, n_frozen_layers=1)
    nlp.initialize(lambda: tiny.make_examples(nlp))
    network = nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0].network
    network.train()
    layers = network.encoder.encoder.layer
    assert not network.encoder.embeddings.dropout.training
    assert not layers[0].output.dropout.training
    assert layers[1].output.dropout.training


class Scaler:
    """A gradient scaler as thinc's, for any device."""

    found_inf = False

    def __init__(self):
        self.divided = 0

    def scale(self, tensors, inplace=False):
        return tensors * 8

    def unscale(self, tensors):
        self.divided += len(tensors)
        for tensor in tensors:
            tensor.div_(8)
        return False

    def update(self):
        pass


@pytest.mark.parametrize("n_passes", [1, 2, 3])
def test_several_backward_passes_are_unscaled_once_each(n_passes):
    gradients = []
    for half in (False, True):
        shim = TorchShim(make_network)
        shim.start({"seed": 3})
        shim._mixed_precision, shim._grad_scaler = half, Scaler()
        for i in range(n_passes):
            inputs = torch.arange(12.0).view(3, 4) + i
            outputs, backprop = shim.begin_update(ArgsKwargs(args=(inputs,), kwargs={}))
            seed = (i + 1) * torch.ones_like(outputs)
            if half:
                backprop(ArgsKwargs(args=((outputs,),), kwargs={"grad_tensors": seed}))
            else:
                outputs.backward(seed)
        gradients.append([p.grad.clone() for p in shim.network.parameters()])
        assert not half or shim._grad_scaler.divided == 4 * n_passes
    for exact, scaled in zip(*gradients, strict=True):
        assert torch.allclose(exact, scaled, atol=1e-5)


@pytest.mark.parametrize(("overflows", "expected"), [(False, 5.0), (True, 0.0)])
def test_gradients_of_inputs_are_unscaled_and_zero_after_an_overflow(overflows, expected):
    class Overflowing(Scaler):
        def unscale(self, tensors):
            super().unscale(tensors)
            return overflows

    shim = TorchShim(lambda cfg: torch.nn.Bilinear(1, 1, 1, bias=False))
    shim.start({})
    torch.nn.init.constant_(shim.network.weight, 5.0)
    shim._mixed_precision, shim._grad_scaler = True, Overflowing()
    inputs = torch.ones(1, 1, requires_grad=True)
    outputs, backprop = shim.begin_update(ArgsKwargs(args=(inputs, torch.ones(1, 1)), kwargs={}))
    d_inputs = backprop(ArgsKwargs(args=((outputs,),), kwargs={"grad_tensors": torch.ones(1, 1)}))
    assert float(d_inputs.args[0]) == expected
    assert d_inputs.args[1] is None


def test_a_method_of_the_network_is_called_by_name():
    class Network(torch.nn.Linear):
        def double(self, inputs):
            assert self.training
            return 2 * self(inputs)

    shim = TorchShim(lambda cfg: Network(2, 1, bias=False))
    shim.start({})
    ones = torch.ones(1, 2)
    outputs, backprop = shim.begin_update(ArgsKwargs(args=(ones,), kwargs={}), "double")
    assert torch.equal(outputs, 2 * shim.predict(ArgsKwargs(args=(ones,), kwargs={})))
    backprop(ArgsKwargs(args=((outputs,),), kwargs={"grad_tensors": torch.ones(1, 1)}))
    assert torch.equal(shim.network.weight.grad, 2 * ones)

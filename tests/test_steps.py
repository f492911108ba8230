"""Lazy Adam: equal to Adam where every row occurs, and precisely how it differs where rows are absent."""

import copy

import numpy
import pytest
import torch
from thinc.api import Adam, ArgsKwargs, Optimizer, RAdam

from spacy_xner.optimizer import SGD
from spacy_xner.shim import TorchShim

from tests import tiny

N_ROWS, WIDTH, RATE, DECAY = 6, 4, 0.05, 0.5
ALL = [[5, 0, 1, 2, 3, 4, 0, 0], [2, 3, 4, 5, 0, 1, 1, 5], [0, 1, 2, 3, 4, 5, 5, 5]]


class Words(torch.nn.Module):
    """Embeddings and a layer behind them."""

    def __init__(self, is_sparse):
        super().__init__()
        torch.manual_seed(0)
        self.words = torch.nn.Embedding(N_ROWS, WIDTH, sparse=is_sparse)
        self.project = torch.nn.Linear(WIDTH, 3)

    def forward(self, ids):
        return self.project(self.words(ids)).tanh()


def start(is_sparse):
    shim = TorchShim(lambda cfg: Words(is_sparse))
    shim.start({})
    return shim


def collect(shim, ids):
    """Add the gradients of a batch."""
    outputs, backprop = shim(ArgsKwargs(args=(torch.tensor(ids),), kwargs={}), True)
    weight = torch.linspace(0.1, 3.0, outputs.numel()).view_as(outputs)
    backprop(ArgsKwargs(args=((outputs,),), kwargs={"grad_tensors": weight * outputs.detach()}))


def train(shim, optimizer, batches):
    """RETURNS: The weights after every batch, by name."""
    history = []
    for ids in batches:
        collect(shim, ids)
        shim.finish_update(optimizer)
        optimizer.step_schedules()
        history.append({n: p.detach().clone() for n, p in shim.network.named_parameters()})
    return history


def both(batches, make=lambda: Adam(RATE, L2=0.0, grad_clip=0.0)):
    """RETURNS: Weights after every batch with sparse gradients and with dense ones."""
    return train(start(True), make(), batches), train(start(False), make(), batches)


def assert_equal(one, other, atol=1e-6):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.allclose(one[name], other[name], atol=atol), name


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adam(RATE, L2=0.0, grad_clip=0.0),
        lambda: Adam(RATE, L2=DECAY, grad_clip=0.0),
        lambda: Adam(RATE, L2=DECAY, grad_clip=0.3, beta1=0.8, beta2=0.95, eps=1e-3),
        lambda: Adam(RATE, L2=DECAY, L2_is_weight_decay=False, grad_clip=1.0),
        lambda: RAdam(RATE, grad_clip=1.0),
        lambda: SGD(RATE, momentum=0.9, clip=1.0, clip_norm=0.5),
        lambda: Optimizer(RATE, use_averages=True, grad_clip=0.3),
    ],
    ids=["no decay", "decay", "clipping", "decay in the gradient", "RAdam", "SGD", "averages"],
)
def test_where_all_rows_occur_the_lazy_step_is_the_usual_one(make):
    lazy, usual = both(ALL * 4, make)
    for one, other in zip(lazy, usual, strict=True):
        assert_equal(one, other)


def test_the_gradient_is_sparse_and_passes_of_one_step_add_up():
    shims = start(True), start(False)
    optimizers = [Adam(RATE, L2=0.0, grad_clip=0.2) for _ in shims]
    for shim, optimizer in zip(shims, optimizers, strict=True):
        for ids in ALL:
            collect(shim, ids)
        assert shim.network.words.weight.grad.is_sparse == (shim is shims[0])
        shim.finish_update(optimizer)
        assert all(p.grad is None for p in shim.network.parameters())
    assert_equal(dict(shims[0].network.named_parameters()), dict(shims[1].network.named_parameters()))


def test_clipping_takes_the_norm_of_a_whole_sparse_gradient():
    # A row that occurs twice counts with the sum of its gradients, not with the root of their squares.
    lazy, usual = both([[1, 1, 1, 1, 2, 2]] * 3, lambda: Adam(RATE, L2=0.0, grad_clip=1e-3, eps=1e-2))
    assert_equal(lazy[0], usual[0])
    unclipped, _ = both([[1, 1, 1, 1, 2, 2]], lambda: Adam(RATE, L2=0.0, grad_clip=0.0, eps=1e-2))
    assert not torch.allclose(lazy[0]["words.weight"], unclipped[0]["words.weight"], atol=1e-4)


@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_a_row_that_never_occurs_keeps_its_weights_where_adam_decays_them(decay):
    before = start(True).network.words.weight.detach().clone()
    lazy, usual = both([[0, 1, 2, 3]] * 5, lambda: Adam(RATE, L2=decay, grad_clip=0.0))
    assert torch.equal(lazy[-1]["words.weight"][4:], before[4:])
    shrunk = before[4:] * (1 - RATE * decay) ** 5
    assert torch.allclose(usual[-1]["words.weight"][4:], shrunk, atol=1e-6)
    for name in ("project.weight", "project.bias"):
        assert torch.allclose(lazy[-1][name], usual[-1][name], atol=1e-6)


def test_a_row_that_occurs_for_the_first_time_is_stepped_as_adam_does_it():
    lazy, usual = both([[0, 1], [1, 0], [0, 1], [5, 0, 1]])
    assert_equal(lazy[-1], usual[-1])


def test_an_absent_row_stays_where_adam_moves_it_by_its_momentum():
    lazy, usual = both([[0, 1, 5], [0, 1], [0, 1]])
    assert_equal(lazy[0], usual[0])
    assert torch.equal(lazy[2]["words.weight"][5], lazy[0]["words.weight"][5])
    # The momentum of the first step has faded to b1, its square to b2; all else of the step is known.
    first = usual[0]["words.weight"][5] - start(False).network.words.weight[5]
    b1, b2 = 0.9, 0.999
    factor = b1 / b2**0.5 * (1 - b2**2) ** 0.5 / (1 - b1**2) / ((1 - b2) ** 0.5 / (1 - b1))
    moved = usual[1]["words.weight"][5] - usual[0]["words.weight"][5]
    assert torch.allclose(moved, first.detach() * factor, rtol=1e-3)


def test_averages_are_those_of_all_steps_also_of_absent_rows():
    shim = start(True)
    optimizer = Adam(RATE, L2=0.0, grad_clip=0.0, use_averages=True)
    history = train(shim, optimizer, [[0, 1, 5], [0, 1], [0, 2], [1, 1]])
    expected = torch.zeros(N_ROWS, WIDTH)
    for step, weights in enumerate(history, start=1):
        expected += (1 - (1 + step) / (10 + step)) * (weights["words.weight"] - expected)
    average = optimizer.averages[shim.id, "words.weight"]
    assert numpy.allclose(average, expected.numpy(), atol=1e-6)
    with shim.use_params(optimizer.averages):
        assert numpy.allclose(shim.network.words.weight.detach().numpy(), average)


def test_dense_and_sparse_steps_of_one_parameter_share_their_moments():
    shims = start(True), start(False)
    optimizers = [Adam(RATE, L2=0.0, grad_clip=0.0) for _ in shims]
    for turn in range(4):
        shims[0].network.words.sparse = turn % 2 == 0
        for shim, optimizer in zip(shims, optimizers, strict=True):
            train(shim, optimizer, ALL)
    assert_equal(dict(shims[0].network.named_parameters()), dict(shims[1].network.named_parameters()))


@pytest.mark.parametrize(("n_frozen", "is_sparse"), [(-1, True), (0, False), (1, False)])
def test_an_encoder_without_frozen_layers_has_sparse_gradients(checkpoint, n_frozen, is_sparse):
    nlp = tiny.make_nlp(checkpoint, n_frozen_layers=n_frozen)
    examples = tiny.make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    network = nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0].network
    words = network.encoder.get_input_embeddings()
    assert words.sparse == is_sparse
    before = words.weight.detach().clone()
    nlp.get_pipe("ner").update(examples[:1], losses={})
    if is_sparse:
        assert words.weight.grad.is_sparse
        rows = set(words.weight.grad.coalesce().indices()[0].tolist())
        pieces = set(network.split([examples[0].text])[0].ids.tolist())
        assert rows == pieces | {network.special_ids["bos"], network.special_ids["eos"]}
    else:
        assert words.weight.grad is None
    optimizer.learn_rate, optimizer.L2 = 0.01, 0.1
    nlp.get_pipe("ner").finish_update(optimizer)
    moved = set((words.weight != before).any(dim=1).nonzero()[:, 0].tolist())
    assert moved == (rows if is_sparse else set())
    network.set_frozen(0 if n_frozen == -1 else -1)
    assert words.sparse != is_sparse


def test_a_tiny_tagger_learns_alike_with_sparse_and_dense_gradients(checkpoint):
    results = []
    for is_sparse in (True, False):
        torch.manual_seed(0)
        numpy.random.seed(0)
        nlp = tiny.make_nlp(checkpoint)
        # All sentences are in every batch, so that the rows that ever occur always do.
        examples = tiny.make_examples(nlp)
        optimizer = nlp.initialize(lambda examples=examples: examples)
        network = nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0].network
        network.encoder.get_input_embeddings().sparse = is_sparse
        optimizer.learn_rate, optimizer.L2, optimizer.averages = 0.005, 0.0, None
        torch.manual_seed(1)
        losses = [nlp.update(examples, sgd=optimizer, losses={})["ner"] for _ in range(5)]
        results.append((losses, copy.deepcopy(dict(network.named_parameters()))))
    assert numpy.allclose(results[0][0], results[1][0], atol=1e-4)
    assert_equal(results[0][1], results[1][1], atol=1e-4)

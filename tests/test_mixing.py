"""A scalar mix of the unfrozen layers: what it computes, that it learns, and how it is stored."""

import copy

import pytest
import spacy
import torch

from spacy_xner.deploy.distill import Schooling, distill
from spacy_xner.deploy.onnx import choose_settings, export_encoder
from spacy_xner.errors import XnerError
from spacy_xner.transformer.mixing import ScalarMix, make_mix

from tests import tiny


def make_mixed(checkpoint, **tok2vec):
    nlp = tiny.make_nlp(checkpoint, **{"mix_layers": True, **tok2vec})
    nlp.initialize(lambda: tiny.make_examples(nlp))
    return nlp


def network_of(nlp):
    return nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0].network


def vectors(nlp):
    docs = [nlp.make_doc(text) for text in tiny.TEXTS]
    return torch.cat(
        [torch.from_numpy(v) for v in nlp.get_pipe("ner").model.get_ref("tok2vec").predict(docs)]
    )


def test_the_mix_is_a_weighted_mean_of_the_highest_layers():
    mix = ScalarMix(2)
    states = [torch.full((1, 3, 2), float(i)) for i in range(4)]
    assert torch.allclose(mix(states), torch.full((1, 3, 2), 2.5))
    with torch.no_grad():
        mix.weights.copy_(torch.tensor([0.0, 3.0]).log())
        mix.scale.fill_(2.0)
    # All the weight is on the last layer, times two.
    assert torch.allclose(mix(states), torch.full((1, 3, 2), 6.0))


@pytest.mark.parametrize("n_frozen", [-1, 0, 1])
def test_unfrozen_layers_are_mixed_and_no_others(n_frozen, checkpoint):
    nlp = make_mixed(checkpoint, n_frozen_layers=n_frozen)
    network = network_of(nlp)
    assert len(network.mix.weights) == 2 - max(0, n_frozen)
    mixed = vectors(nlp)
    with torch.no_grad():
        network.mix.weights[:-1] = -100.0
    last = vectors(nlp)
    network.mix = None
    assert torch.allclose(last, vectors(nlp), atol=1e-5)
    assert torch.allclose(mixed, last, atol=1e-3) == (n_frozen == 1)


def test_the_mix_learns_and_comes_back_from_disk(checkpoint, tmp_path):
    nlp = tiny.make_nlp(checkpoint, mix_layers=True)
    losses = tiny.train(nlp)
    weights = network_of(nlp).mix.weights
    assert losses[-1] < losses[0] / 10
    assert weights.abs().min() > 0
    nlp.to_disk(tmp_path / "mixed")
    loaded = spacy.load(tmp_path / "mixed")
    assert torch.equal(network_of(loaded).mix.weights, weights)
    assert torch.equal(vectors(loaded), vectors(nlp))
    student = spacy.load(tmp_path / "mixed")
    distill(loaded, student, tiny.TEXTS * 4, Schooling(layers=1, steps=2))
    assert network_of(student).mix is None
    student.to_disk(tmp_path / "one")
    assert torch.equal(vectors(spacy.load(tmp_path / "one")), vectors(student))


def test_frozen_layers_that_are_shared_give_the_same_mix(checkpoint, tmp_path):
    """States that another network has left go through the upper half alone."""
    nlp = make_mixed(checkpoint, n_frozen_layers=1)
    with torch.no_grad():
        network_of(nlp).mix.scale.fill_(2.0)
    nlp.to_disk(tmp_path / "mixed")
    first, second = spacy.load(tmp_path / "mixed"), spacy.load(tmp_path / "mixed")
    assert network_of(first)._stack.is_shared
    assert torch.allclose(vectors(first), vectors(nlp), atol=1e-6)
    assert torch.allclose(vectors(second), vectors(nlp), atol=1e-6)


def test_layers_that_are_not_trained_are_not_mixed(checkpoint):
    with pytest.raises(XnerError, match="XNER655"):
        make_mixed(checkpoint, n_frozen_layers=2)
    with pytest.raises(XnerError, match="XNER655"):
        make_mix(3, 2, -1)
    assert make_mix(0, 2, 2) is None


def test_a_mix_cannot_be_exported(checkpoint):
    nlp = make_mixed(checkpoint)

    class Encoder:
        component = "ner"
        network = network_of(nlp)
        node = nlp.get_pipe("ner").model.get_ref("tok2vec")

    before = copy.deepcopy(network_of(nlp).state_dict())
    with pytest.raises(XnerError, match=r"XNER162.*mixes"):
        export_encoder(Encoder, choose_settings(int8=False), tiny.TEXTS)
    assert before.keys() == network_of(nlp).state_dict().keys()

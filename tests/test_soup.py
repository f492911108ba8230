"""The mean of several trainings under one head: what it is, what is refused, and who trains it."""

import json
import warnings

import pytest
import spacy
import torch

from spacy_xner.errors import XnerError
from spacy_xner.routes.transfer import transfer_languages
from spacy_xner.routes.transfer_data import Transfer
from spacy_xner.soup import average_pipelines

from tests import tiny


def train(checkpoint, folder, seed, head=None, n_steps=3, config=None):
    """Train a tagger with a seed of its own. RETURNS: Its folder."""
    nlp = tiny.make_nlp(checkpoint, config)
    torch.manual_seed(seed)
    if head is not None:
        nlp.config["initialize"]["components"]["ner"] = {"head": str(head)}
    optimizer = nlp.initialize(lambda: tiny.make_examples(nlp))
    optimizer.learn_rate = 0.02
    for _ in range(n_steps):
        nlp.update(tiny.make_examples(nlp), sgd=optimizer, drop=0.3)
    nlp.to_disk(folder)
    return folder


def tensors_of(folder):
    nlp = spacy.load(folder)
    return {
        (node.name, key): tensor.clone()
        for node in nlp.get_pipe("ner").model.walk()
        for shim in node.shims
        for key, tensor in shim.network.state_dict().items()
    }


@pytest.fixture(scope="module")
def members(checkpoint, tmp_path_factory):
    """Three trainings under the head of the first one; do not change them."""
    folder = tmp_path_factory.mktemp("soup")
    first = train(checkpoint, folder / "0", 0)
    return [first, *(train(checkpoint, folder / str(i), i, first) for i in (1, 2))]


def test_a_frozen_head_is_not_trained_and_the_encoder_is(members):
    first, second = (tensors_of(folder) for folder in members[:2])
    assert all(torch.equal(first[name], second[name]) for name in first if name[0] == "entity_head")
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_weights_of_thinc_are_averaged_too(tmp_path):
    params = []
    for seed in range(2):
        nlp = spacy.blank("xx")
        nlp.add_pipe("tok2vec")
        nlp.initialize()
        model = nlp.get_pipe("tok2vec").model
        for node in model.walk():
            for name in node.param_names:
                node.set_param(name, node.get_param(name) * 0 + 2 * seed + 1)
        nlp.to_disk(tmp_path / str(seed))
    average_pipelines([tmp_path / "0", tmp_path / "1"], tmp_path / "mean")
    for node in spacy.load(tmp_path / "mean").get_pipe("tok2vec").model.walk():
        params += [node.get_param(name) for name in node.param_names]
    assert params
    assert all((param == 2.0).all() for param in params)


def test_the_mean_is_that_of_every_weight(members, tmp_path):
    average_pipelines(members, tmp_path / "mean")
    states = [tensors_of(folder) for folder in members]
    for name, tensor in tensors_of(tmp_path / "mean").items():
        expected = torch.stack([state[name] for state in states]).mean(dim=0)
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-6)


def test_the_mean_of_one_pipeline_with_itself_is_that_pipeline(members, tmp_path):
    average_pipelines([members[1]] * 3, tmp_path / "mean")
    before = tensors_of(members[1])
    assert all(torch.equal(before[name], tensor) for name, tensor in tensors_of(tmp_path / "mean").items())


def test_the_pipelines_themselves_stay(members, tmp_path):
    before = [tensors_of(folder) for folder in members]
    average_pipelines(members, tmp_path / "mean")
    for folder, state in zip(members, before, strict=True):
        assert all(torch.equal(state[name], tensor) for name, tensor in tensors_of(folder).items())


def test_heads_that_differ_are_refused(members, checkpoint, tmp_path):
    other = train(checkpoint, tmp_path / "other", 7)
    with pytest.raises(XnerError, match=r"XNER358.*'ner'"):
        average_pipelines([members[0], other], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_other_networks_are_refused(members, checkpoint, tmp_path):
    other = train(checkpoint, tmp_path / "other", 0, config={"scheme": "BIOES"}, n_steps=0)
    for group in ([members[0], other], members[:1], []):
        with pytest.raises(XnerError, match="XNER359"):
            average_pipelines(group, tmp_path / "mean")
    with pytest.raises(XnerError, match="XNER420"):
        average_pipelines([members[0], tmp_path / "nothing"], tmp_path / "mean")


@pytest.mark.parametrize(
    ("config", "reason"),
    [({"scheme": "BIOES"}, "it tags"), ({"model": {"head": tiny.CRF_HEAD}}, "its weights are others")],
)
def test_a_head_that_does_not_fit_is_refused(config, reason, members, checkpoint, tmp_path):
    with pytest.raises(XnerError, match=f"XNER360.*{reason}"):
        train(checkpoint, tmp_path / "other", 0, members[0], 0, config)


def test_a_head_of_no_tagger_is_refused(checkpoint, tmp_path):
    tiny.blank().to_disk(tmp_path / "blank")
    with pytest.raises(XnerError, match=r"XNER360.*0 taggers"):
        train(checkpoint, tmp_path / "other", 0, tmp_path / "blank", 0)


def test_a_transfer_averages_seeds(toy_corpus, checkpoint, tmp_path, monkeypatch):
    transfer = Transfer(
        toy_corpus, tmp_path / "out", ("en",), ("ru",), encoder=str(checkpoint), frozen=1, epochs=1, rounds=0,
        learn_rate=0.01, precision="float32", soup_seeds=2,
    )  # fmt: skip
    averaged = []

    def average(paths, out):
        averaged.extend(tensors_of(path) for path in paths)
        average_pipelines(paths, out)

    monkeypatch.setattr("spacy_xner.routes.transfer.average_pipelines", average)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transfer_languages(transfer)
    made = tensors_of(tmp_path / "out" / "pipeline")
    one, other = averaged
    assert any(not torch.equal(one[name], other[name]) for name in made)
    for name, tensor in made.items():
        torch.testing.assert_close(tensor, (one[name] + other[name]) / 2, rtol=0, atol=1e-6)
    assert not list((tmp_path / "out" / "pipeline").glob("seed-*"))
    assert json.loads((tmp_path / "out" / "pipeline.json").read_text())["settings"]["soup_seeds"] == 2


def test_one_seed_is_the_setting_of_earlier_results(toy_corpus, tmp_path):
    transfer = Transfer(toy_corpus, tmp_path, ("en",), ("ru",))
    assert "soup_seeds" not in transfer.conditions

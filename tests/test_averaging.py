"""The mean of the weights of the epochs from the second on, and rates that fall from layer to layer."""

import io
import json

import numpy
import pytest
import spacy
import torch
from spacy.util import load_config, registry
from thinc.api import Adam, RAdam, fix_random_seed

from spacy_xner.averaging import WeightMean, create_mean_logger
from spacy_xner.errors import XnerError
from spacy_xner.shim import TorchShim, trained_weights
from spacy_xner.training import config_path, train_pipeline, whole_epochs

from tests import tiny


def silent(nlp, stdout, stderr):
    return lambda info: None, lambda: None


def evaluation(step, score=0.5):
    return {"step": step, "score": score, "epoch": 0, "losses": {}, "other_scores": {}}


def weights(nlp):
    return trained_weights(nlp.get_pipe("ner").model)


def make_trained(checkpoint):
    nlp = tiny.make_nlp(checkpoint)
    examples = tiny.make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.02
    return nlp, lambda: nlp.update(examples, sgd=optimizer, drop=0.0)


def run(nlp, step, path, n, first=2):
    """Evaluate after every step. RETURNS: The weights at every evaluation after the one before training."""
    log, finish = create_mean_logger(silent, str(path), first)(nlp, io.StringIO(), io.StringIO())
    log(evaluation(0))
    states = []
    for i in range(1, n + 1):
        step()
        # Steps between evaluations do not count.
        log(evaluation(2 * i - 1, None))
        states.append(weights(nlp))
        log(evaluation(2 * i, score=1 / i))
    log(None)
    finish()
    return states


def test_the_pipeline_that_is_written_has_the_mean_and_the_training_goes_on(checkpoint, tmp_path):
    nlp, step = make_trained(checkpoint)
    states = run(nlp, step, tmp_path / "mean", 4)
    last = weights(nlp)
    assert all(numpy.array_equal(last[key], states[-1][key]) for key in last)
    names = {key: i for i, key in enumerate(last)}
    averaged = list(weights_by_order(spacy.load(tmp_path / "mean")))
    assert len(averaged) == len(names) > 20
    for key, i in names.items():
        expected = numpy.mean([state[key] for state in states[1:]], axis=0)
        assert averaged[i] == pytest.approx(expected, abs=1e-6)
        assert not numpy.array_equal(states[0][key], states[-1][key])


def weights_by_order(nlp):
    return [numpy.asarray(value) for value in weights(nlp).values()]


def test_the_mean_of_one_state_is_that_state(checkpoint):
    nlp, step = make_trained(checkpoint)
    step()
    mean = WeightMean(nlp)
    mean.add()
    now = weights(nlp)
    assert all(numpy.array_equal(mean.values[key], now[key]) for key in now)


def test_a_training_that_ends_too_early_writes_no_mean_and_says_so(checkpoint, tmp_path):
    nlp, step = make_trained(checkpoint)
    with pytest.warns(UserWarning, match="XNER-W650.*evaluation 3, but there were 2"):
        run(nlp, step, tmp_path / "mean", 2, first=3)
    assert not (tmp_path / "mean").exists()


def test_foreign_networks_are_a_coded_error():
    nlp = spacy.blank("xx")
    nlp.add_pipe("ner").add_label("PER")
    nlp.initialize()
    nlp.get_pipe("ner").model.shims.append(
        registry.get("layers", "PyTorchWrapper.v1")(torch.nn.Linear(1, 1)).shims[0]
    )
    with pytest.raises(XnerError, match="XNER653"):
        WeightMean(nlp)


def test_any_config_takes_the_logger(toy_corpus, checkpoint, tmp_path):
    config = load_config(config_path("transformer"), interpolate=False)
    logger = config["training"]["logger"]
    config["paths"]["average"] = "average"
    config["training"]["logger"] = {
        "@loggers": "spacy_xner.MeanLogger.v1", "path": "${paths.average}", "logger": logger,
    }  # fmt: skip
    config.to_disk(tmp_path / "mine.cfg")
    out = tmp_path / "out"
    train_pipeline(
        tmp_path / "mine.cfg",
        out,
        {
            "paths.corpus": str(toy_corpus),
            "paths.encoder": str(checkpoint),
            "components.ner.model.tok2vec.overlap": 8,
            **whole_epochs(3, 2),
        },
    )
    curve = (out / "curves.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in curve] == [0, 2, 4, 6]
    averaged, last = spacy.load(out / "model-average"), spacy.load(out / "model-last")
    assert averaged.pipe_names == ["ner"]
    pairs = zip(weights_by_order(averaged), weights_by_order(last), strict=True)
    assert any(not numpy.array_equal(a, b) for a, b in pairs)
    # It is stored for training on, as the others are.
    assert averaged.config["training"]["optimizer"] == last.config["training"]["optimizer"]


RATE = 0.01


@pytest.mark.parametrize("make", [Adam, RAdam], ids=["fused", "thinc"])
def test_the_rate_falls_from_layer_to_layer(make, checkpoint):
    """Adam's first step moves every number by its rate, whatever its gradient."""
    moves = {}
    for decay in (1.0, 0.5):
        fix_random_seed(0)
        nlp = tiny.make_nlp(checkpoint, layer_decay=decay)
        examples = tiny.make_examples(nlp)
        nlp.initialize(lambda examples=examples: examples)
        shim = nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0]
        before = {name: p.detach().clone() for name, p in shim.network.named_parameters()}
        optimizer = make(RATE, L2=0.0, grad_clip=0.0)
        nlp.update(examples, sgd=optimizer, drop=0.0)
        moves[decay] = {n: (p.detach() - before[n]).abs().max() for n, p in shim.network.named_parameters()}
    for name, move in moves[1.0].items():
        depth = 1 if "layer.0" in name else 2 if "embeddings" in name else 0
        assert moves[0.5][name] == pytest.approx(float(move) * 0.5**depth, rel=1e-3, abs=1e-7), name
    assert float(moves[1.0]["encoder.encoder.layer.0.output.dense.weight"]) > 0


def test_layers_of_another_kind_have_one_rate():
    class Other(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(2, 2)

    from spacy_xner.transformer.freezing import layer_depths

    with pytest.raises(XnerError, match="XNER654"):
        layer_depths(Other())
    shim = TorchShim(lambda cfg: Other())
    assert shim.layer_decay == 1.0

"""The verb `train` and what is behind it: configs by name, epochs, folders, coded errors."""

import importlib.util
import json
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
from spacy.util import load_config, registry

from spacy_xner.cli.app import xner
from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.errors import XnerError
from spacy_xner.files import hold
from spacy_xner.optimizer import create_warmup_linear
from spacy_xner.training import config_path, count_batches, find_config, learnt_nothing

from tests import cli

invoke = partial(cli.invoke, xner, "train")


def test_a_config_is_a_file_or_the_name_of_an_installed_one(tmp_path):
    mine = tmp_path / "transformer"
    mine.write_text("[nlp]")
    assert find_config(mine) == mine
    assert find_config("transformer") == config_path("transformer")
    with pytest.raises(XnerError, match="XNER115"):
        find_config(tmp_path / "nowhere.cfg")


def test_the_rate_rises_for_a_share_of_the_steps_however_few_they_are():
    rates = list(islice(create_warmup_linear(0.2, total_steps=20, warmup=0.1), 21))
    assert rates == pytest.approx([0.0, 0.1, *(0.2 * (20 - step) / 18 for step in range(2, 21))])


@pytest.mark.parametrize("name", ["aligner", "identifier", "similarity", "transformer"])
def test_installed_configs_warm_up_for_the_share_that_is_asked_for(name):
    shares = {0.1: 1, 0.5: 5}
    for share, highest in shares.items():
        overrides = {"vars.total_steps": 10, "vars.learn_rate": 1.0, "vars.warmup": share}
        config = load_config(config_path(name), overrides, interpolate=True)
        optimizer = registry.resolve({"optimizer": config["training"]["optimizer"]})["optimizer"]
        rates = []
        for _ in range(11):
            rates.append(optimizer.learn_rate)
            optimizer.step_schedules()
        assert rates.index(1.0) == highest


def test_epochs_of_a_foreign_config_are_a_coded_error(tmp_path):
    with pytest.raises(XnerError, match="XNER123"):
        count_batches(config_path("shared"), {})
    assert "XNER123" in invoke("shared", tmp_path / "out", "--epochs=2", code=1)
    assert "XNER122" in invoke("shared", tmp_path / "out", "--epochs=-2", code=1)


def test_a_folder_in_which_another_process_trains_is_a_coded_error(tmp_path):
    with hold(tmp_path / "out"):
        assert "XNER702" in invoke("transformer", tmp_path / "out", code=1)


@pytest.mark.parametrize(("options", "steps"), [((), [0]), (("--epochs", 3), [0, 2, 4, 6])])
def test_epochs_follow_the_size_of_the_corpus(options, steps, checkpoint, toy_corpus, tmp_path):
    sizes = (len(read_docs(path)) for [path] in find_files(toy_corpus, "train", []).values())
    out = tmp_path / "out"
    (out / "notes").mkdir(parents=True)
    output = invoke(
        "transformer", out, "--paths.corpus", toy_corpus, "--paths.encoder", checkpoint,
        "--vars.batch_size", -(-sum(sizes) // 2), "--vars.max_epochs", 1,
        "--components.ner.model.tok2vec.overlap", 8, *options,
    )  # fmt: skip
    curve = (out / "curves.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in curve] == steps
    assert ("has learnt nothing" in output) == learnt_nothing(out) == (len(steps) == 1)
    assert sorted(path.name for path in out.iterdir()) == [
        "curves.jsonl",
        "model-best",
        "model-last",
        "notes",
    ]


def test_a_shared_transformer_without_its_package_is_a_coded_error(monkeypatch, tmp_path):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *args: None if name == "spacy_transformers" else find_spec(name, *args),
    )
    printed = invoke("shared", tmp_path / "out", code=1)
    assert "XNER167" in printed
    assert "spacy_xner[shared]" in printed
    assert not (tmp_path / "out").exists()


def test_a_training_without_a_curve_is_not_judged(tmp_path):
    assert not learnt_nothing(Path(tmp_path))

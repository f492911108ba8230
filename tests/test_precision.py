"""The numbers that networks compute with: chosen by the machine, forced by a setting, read from configs."""

import logging
import warnings

import numpy
import pytest
import spacy
import torch
from thinc.api import ArgsKwargs

from spacy_xner import machine, precision
from spacy_xner.errors import XnerError
from spacy_xner.precision import choose_precision, read_precision
from spacy_xner.shim import TorchShim

from tests import tiny


@pytest.fixture(autouse=True)
def unsaid():
    """Nothing has been logged or warned of in this process."""
    precision._announce.cache_clear()
    yield
    precision._announce.cache_clear()


@pytest.fixture
def log(monkeypatch):
    """The lines of spaCy's log."""
    lines = []
    monkeypatch.setattr(precision.logger, "info", lines.append)
    return lines


@pytest.fixture
def old_cpu(monkeypatch, tmp_path):
    """A CPU with AVX2 alone."""
    content = "model name\t: Old CPU\nflags\t\t: sse2 avx avx2 fma\n"
    (tmp_path / "cpuinfo").write_text(content)
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)


def encoder_of(nlp):
    """The shim of a tagger's encoder."""
    return nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0]


@pytest.mark.parametrize(
    ("setting", "old", "expected"),
    [
        (None, None, "float32"), (None, False, "float32"), (None, True, "auto"), ("auto", None, "auto"),
        ("float32", None, "float32"), ("bfloat16", None, "bfloat16"), ("float16", None, "float16"),
    ],
)  # fmt: skip
def test_old_and_new_settings_are_read(setting, old, expected):
    assert read_precision(setting, old) == expected


@pytest.mark.parametrize("old", [True, False])
def test_both_settings_are_a_coded_error(checkpoint, old):
    with pytest.raises(XnerError, match="XNER130"):
        tiny.make_nlp(checkpoint, precision="auto", mixed_precision=old)


def test_unknown_precision_is_refused(checkpoint):
    with pytest.raises(ValueError, match="precision"):
        tiny.make_nlp(checkpoint, precision="half")


@pytest.mark.parametrize(("has_bfloat16", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_asks_the_cpu(monkeypatch, log, has_bfloat16, expected):
    monkeypatch.setattr(precision, "has_cpu_bfloat16", lambda: has_bfloat16)
    choice = choose_precision("auto", "cpu")
    assert (choice.precision, choice.is_slow) == (expected, False)
    assert expected in log[0]


def test_auto_is_float16_on_a_gpu(monkeypatch, log):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    choice = choose_precision("auto", "cuda")
    assert (choice.precision, choice.is_scaled) == ("float16", True)
    assert "A GPU" in log[0]


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_slow_on_gpus_that_only_imitate_it(monkeypatch, log, native):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        choice = choose_precision("bfloat16", "cuda")
    assert choice.is_slow is not native
    assert ["XNER-W130" in str(warning.message) for warning in seen] == [True] * choice.is_slow


def test_the_choice_is_logged_once_with_the_cpu(checkpoint, log, old_cpu):
    for _ in range(2):
        tiny.make_nlp(checkpoint, precision="auto")
    assert log == [
        "Encoders compute in float32, because this CPU multiplies no bfloat16 matrices in hardware "
        "(Old CPU; avx, avx2, fma)"
    ]
    tiny.make_nlp(checkpoint, precision="float32")
    assert len(log) == 2
    assert 'precision = "float32"' in log[1]


def test_the_line_goes_to_the_log_that_spacy_train_shows():
    assert precision.logger is logging.getLogger("spacy")


@pytest.mark.parametrize("setting", ["bfloat16", "float16"])
def test_a_forced_precision_works_on_any_cpu_and_warns_once(checkpoint, old_cpu, setting):
    with pytest.warns(UserWarning, match=f"XNER-W130.*'{setting}'.*Old CPU; avx, avx2, fma"):
        nlp = tiny.make_nlp(checkpoint, precision=setting)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny.make_nlp(checkpoint, precision=setting)
    nlp.initialize(lambda: tiny.make_examples(nlp))
    losses = tiny.train(nlp, 3)
    assert all(numpy.isfinite(losses))
    assert losses[-1] < losses[0]
    [doc] = nlp.pipe([tiny.TEXTS[0]])
    assert all(0 <= score <= 1 for score in doc.spans["xner"].attrs["scores"])


@pytest.mark.parametrize("setting", ["bfloat16", "float16"])
def test_gradients_in_half_precision_are_those_of_float32(setting):
    # Gradients of 1e-6 times 1e-3 are zero in float16, if nothing enlarges them.
    found = {}
    for name in ("float32", setting):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shim = TorchShim(lambda cfg: torch.nn.Linear(4, 4), precision=name)
        shim.start({})
        torch.nn.init.constant_(shim.network.weight, 0.001)
        outputs, backprop = shim.begin_update(ArgsKwargs(args=(torch.ones(2, 4),), kwargs={}))
        assert outputs.dtype == (torch.float32 if name == "float32" else precision.TYPES[setting])
        gradient = torch.full_like(outputs, 1e-6, dtype=torch.float32)
        backprop(ArgsKwargs(args=((outputs.float(),),), kwargs={"grad_tensors": gradient}))
        found[name] = shim.network.weight.grad.clone()
    assert torch.allclose(found[setting], found["float32"], rtol=0.02, atol=0)


@pytest.mark.parametrize("old", [True, False])
def test_a_stored_pipeline_with_the_old_setting_loads(checkpoint, tmp_path, old):
    nlp = tiny.make_nlp(checkpoint, mixed_precision=old)
    nlp.initialize(lambda: tiny.make_examples(nlp))
    nlp.to_disk(tmp_path)
    text = (tmp_path / "config.cfg").read_text()
    assert f"mixed_precision = {str(old).lower()}" in text
    # As an earlier version stored it.
    (tmp_path / "config.cfg").write_text(text.replace("precision = null\n", ""))
    expected = choose_precision("auto" if old else "float32", "cpu").precision
    assert encoder_of(spacy.load(tmp_path)).choice.precision == expected


def test_unreadable_flags_leave_the_choice_to_torch(monkeypatch, log, tmp_path):
    # A folder cannot be read as a file, whoever asks.
    monkeypatch.setattr(machine, "CPUINFO", tmp_path)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert choose_precision("auto", "cpu").precision == "bfloat16"
    assert "unknown instruction sets" in log[0]


@pytest.mark.parametrize(
    ("flags", "expected"), [("avx2 avx512_bf16", "bfloat16"), ("avx2", "float32"), (None, "float32")]
)
def test_flags_decide_where_torch_cannot_tell(monkeypatch, log, tmp_path, flags, expected):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    assert choose_precision("auto", "cpu").precision == expected

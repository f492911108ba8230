"""Export to onnxruntime: the same vectors, nearly the same ones, storage, parity, and what may go wrong."""

import json
import pickle
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
import spacy
import torch

from spacy_xner.cli import xner
from spacy_xner.deploy import onnx, onnx_graph, parity
from spacy_xner.deploy.onnx import GraphSettings, export_encoder, find_encoders
from spacy_xner.deploy.parity import export_pipeline
from spacy_xner.errors import Errors, XnerError

from tests import cli, tiny

pytest.importorskip("onnx", reason="needs pip install spacy_xner[onnx]")
pytest.importorskip("onnxruntime", reason="needs pip install spacy_xner[onnx]")

FLOAT, INT8, NARROW = GraphSettings(int8=False), GraphSettings(int8=True), GraphSettings(True, True)
LONG = " ".join(tiny.TEXTS * 20)


def copy_of(nlp):
    """An equal pipeline of its own."""
    return spacy.util.load_model_from_config(nlp.config, auto_fill=True).from_bytes(nlp.to_bytes())


def vectors(nlp, texts, component="ner"):
    model = nlp.get_pipe(component).model
    return model.get_ref("tok2vec").predict([nlp.make_doc(text) for text in texts])


def export(nlp, settings):
    for encoder in find_encoders(nlp):
        export_encoder(encoder, settings, tiny.TEXTS)


def entities(nlp, texts=tiny.TEXTS, **settings):
    docs = nlp.pipe(texts, **settings)
    return [[(e.start_char, e.end_char, e.label_) for e in doc.ents] for doc in docs]


def networks(nlp):
    """The networks of all transformers, exported or not."""
    shims = [
        shim
        for _, pipe in nlp.pipeline
        if hasattr(pipe, "model")
        for node in pipe.model.walk()
        for shim in node.shims
    ]
    return [shim.network for shim in shims if hasattr(shim.network, "share_frozen")]


@pytest.fixture
def exported(trained):
    """A trained tagger in whole numbers."""
    nlp = copy_of(trained)
    export(nlp, INT8)
    return nlp


@pytest.mark.parametrize(("settings", "error"), [(FLOAT, 1e-5), (INT8, 0.1), (NARROW, 0.15)])
def test_graphs_compute_what_the_network_computes(trained, settings, error):
    """On short texts and on one of many windows; roundings are small beside the numbers' spread, 1."""
    nlp = copy_of(trained)
    before = vectors(nlp, [*tiny.TEXTS, LONG])
    export(nlp, settings)
    after = vectors(nlp, [*tiny.TEXTS, LONG])
    differences = numpy.concatenate([a - b for a, b in zip(before, after, strict=True)])
    assert numpy.abs(differences).max() < error
    assert numpy.concatenate(before).std() > 0.5
    assert (numpy.abs(differences).max() > 1e-4) == settings.int8


def test_layers_in_float32_are_nearer_to_the_original(trained):
    before = numpy.concatenate(vectors(trained, tiny.TEXTS))
    errors, sizes = [], []
    for n_float_layers in range(tiny.N_LAYERS + 1):
        nlp = copy_of(trained)
        export(nlp, GraphSettings(int8=True, n_float_layers=n_float_layers))
        errors.append(numpy.abs(numpy.concatenate(vectors(nlp, tiny.TEXTS)) - before).mean())
        sizes.append(sum(networks(nlp)[0].encoder.settings.sizes))
    assert errors == sorted(errors, reverse=True)
    assert sizes == sorted(sizes)
    assert errors[-1] < errors[0] / 2
    with pytest.raises(XnerError, match="XNER122"):
        onnx.choose_settings(int8=True, n_float_layers=-1)


def test_the_same_entities_are_found(trained, exported):
    assert any(entities(trained))
    assert entities(exported) == entities(trained)


def test_a_text_is_read_alike_whatever_stands_beside_it(exported):
    """onnxruntime's own quantiser takes one scale for all texts of a batch."""
    [alone] = vectors(exported, tiny.TEXTS[:1])
    beside = vectors(exported, [*tiny.TEXTS[:1], LONG, *tiny.TEXTS])[0]
    assert numpy.abs(alone - beside).max() < 1e-5


def test_columns_with_large_numbers_cost_less_precision():
    """The error of a product of whole numbers, with the factors of smoothing and without."""
    generator = numpy.random.default_rng(0)
    tokens = generator.normal(size=(50, 32)).astype("float32")
    tokens[:, 3] *= 40
    matrices = [generator.normal(size=(32, 8)).astype("float32") for _ in range(2)]
    errors = []
    for factors in (onnx_graph.smoothing(numpy.abs(tokens).max(axis=0), matrices), numpy.ones(32, "float32")):
        smooth = tokens / factors
        scales = numpy.abs(smooth).max(axis=1, keepdims=True) / 127
        columns, weights = onnx_graph.round_columns(matrices[0] * factors[:, None], 127)
        product = numpy.rint(smooth / scales) @ weights * scales * columns
        errors.append(numpy.abs(product - tokens @ matrices[0]).mean())
    assert errors[0] < 0.5 * errors[1]


def test_it_is_saved_and_loaded_as_any_pipeline(exported, tmp_path):
    expected = vectors(exported, tiny.TEXTS)
    exported.to_disk(tmp_path / "out")
    for nlp in (spacy.load(tmp_path / "out"), copy_of(exported), pickle.loads(pickle.dumps(exported))):
        for a, b in zip(vectors(nlp, tiny.TEXTS), expected, strict=True):
            assert numpy.array_equal(a, b)
    assert entities(spacy.load(tmp_path / "out")) == entities(exported)


def test_processes_and_threads_find_the_same(exported):
    texts = tiny.TEXTS * 4
    expected = entities(exported, texts)
    processes = [
        [(e.start_char, e.end_char, e.label_) for e in doc.ents] for doc in exported.pipe(texts, n_process=2)
    ]
    assert processes == expected
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: entities(exported, texts), range(8)):
            assert found == expected


def test_encoders_take_a_quarter_of_the_bytes(checkpoint):
    nlp = tiny.make_nlp(checkpoint)
    nlp.initialize(lambda: tiny.make_examples(nlp))
    [encoder] = find_encoders(nlp)
    torch_embedding = torch.nn.Embedding(1000, 512)
    rows = onnx.rebuild_exported(
        {
            "config": {**encoder.shim.cfg["config"], "vocab_size": 1000, "hidden_size": 512},
            "exported": {"version": 1, "precision": "int8", "n_frozen_layers": -1, "sizes": [0, 0]},
        }
    ).get_input_embeddings()
    rows.round_rows(torch_embedding.weight)
    n_bytes = sum(p.numel() * p.element_size() for p in rows.parameters())
    assert n_bytes < 0.26 * torch_embedding.weight.numel() * 4
    ids = torch.arange(1000).view(4, 250)
    assert (rows(ids) - torch_embedding(ids)).abs().max() < torch_embedding.weight.abs().max() / 200


@pytest.fixture(scope="module")
def routed(checkpoint):
    """A routed pipeline on equal frozen layers; do not change it."""
    torch.manual_seed(0)
    return tiny.make_routed(checkpoint)


def test_frozen_layers_are_run_once_for_all_components(routed, tmp_path, monkeypatch):
    nlp = copy_of(routed)
    expected = entities(nlp)
    export(nlp, INT8)
    nlp.to_disk(tmp_path / "out")
    again = spacy.load(tmp_path / "out")
    assert entities(again) == expected
    encoders = networks(again)
    assert len(encoders) == 3
    assert len({id(network._stack) for network in encoders}) == 1
    assert len({network.encoder.lower.graph.data_ptr() for network in encoders}) == 1
    for network in encoders:
        network.encoder.lower(torch.zeros(1, 3, tiny.WIDTH), torch.ones(1, 3))
    assert len({id(network.encoder.lower._session) for network in encoders}) == 1


def read(nlp):
    return lambda: tiny.make_examples(nlp, known_language=False)


def test_the_report_counts_by_language(trained):
    nlp = copy_of(trained)
    report = export_pipeline(nlp, read(nlp), tiny.TEXTS)
    assert report.components == ["ner"]
    assert [row.language for row in report.languages] == ["en", "ru", "zh"]
    for row in report.languages:
        assert row.before == row.after == 100.0
        assert (row.n_differ, row.kept) == (0, [])
        assert row.n_entities > 0
    assert min(report.words_per_second) > 0
    assert find_encoders(nlp) == []


class Nothing(torch.nn.Module):
    """Layers that say nothing of any text."""

    def forward(self, hidden, mask):
        return torch.zeros_like(hidden)


def spoil(monkeypatch, *components):
    """Let these components find nothing once they are exported."""

    def spoiled(encoder, settings, texts):
        export_encoder(encoder, settings, texts)
        if encoder.component in components:
            encoder.shim.network.encoder.upper = Nothing()

    monkeypatch.setattr(parity, "export_encoder", spoiled)


def test_a_tagger_of_a_language_that_loses_stays_as_it_is(routed, monkeypatch, tmp_path):
    nlp = copy_of(routed)
    expected = entities(nlp)
    spoil(monkeypatch, "ner_asian")
    report = export_pipeline(nlp, read(nlp), tiny.TEXTS)
    assert report.components == ["language_identifier", "ner_european"]
    assert {row.language: row.kept for row in report.languages} == {"en": [], "ru": [], "zh": ["ner_asian"]}
    assert [encoder.component for encoder in find_encoders(nlp)] == ["ner_asian"]
    nlp.to_disk(tmp_path / "out")
    assert entities(spacy.load(tmp_path / "out")) == expected


def test_an_export_that_loses_is_refused_with_the_table(trained, monkeypatch):
    spoil(monkeypatch, "ner")
    with pytest.raises(XnerError, match=r"(?s)XNER164.*en: 100\.0 before, 0\.0 after.*zh: 100\.0"):
        export_pipeline(nlp := copy_of(trained), read(nlp), tiny.TEXTS)
    report = export_pipeline(nlp := copy_of(trained), read(nlp), tiny.TEXTS, max_loss=100.0)
    assert [row.after for row in report.languages] == [0.0, 0.0, 0.0]


def test_the_verb_exports_what_spacy_loads(toy_model, toy_corpus, tmp_path):
    out, report = tmp_path / "out", tmp_path / "report.json"
    printed = cli.invoke(
        xner, "export", toy_model / "model-best", out, "--int8", f"--corpus={toy_corpus}", "--max-loss=100",
        f"--report={report}",
    )  # fmt: skip
    assert re.search(r"en +\d+\.\d +\d+\.\d +\d+ of \d+", printed)
    stored = json.loads(report.read_text())
    assert [row["language"] for row in stored["languages"]] == ["en", "ru", "zh"]
    nlp = spacy.load(out)
    assert find_encoders(nlp) == []
    assert len(entities(nlp)) == len(tiny.TEXTS)
    again = cli.invoke(xner, "export", out, tmp_path / "twice", f"--corpus={toy_corpus}", code=1)
    assert "XNER165" in again
    assert not (tmp_path / "twice").exists()


def test_exported_encoders_are_not_trained(exported):
    with pytest.raises(XnerError, match=re.escape(Errors.XNER163)):
        exported.update(tiny.make_examples(exported), losses={})
    assert any(entities(exported))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_absent_packages_are_named_at_export(trained, monkeypatch, package):
    nlp = copy_of(trained)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(XnerError, match=rf"XNER160.* {package},.*spacy_xner\[onnx\]"):
        export(nlp, INT8)
    assert entities(nlp) == entities(trained)


def test_an_absent_runtime_is_named_at_load(exported, monkeypatch, tmp_path):
    exported.to_disk(tmp_path / "out")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(XnerError, match="XNER160"):
        spacy.load(tmp_path / "out")
    # The package that writes graphs is not needed to run them.
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert any(entities(spacy.load(tmp_path / "out")))


def test_another_version_is_refused(trained, monkeypatch, tmp_path):
    nlp = copy_of(trained)
    monkeypatch.setattr(onnx, "VERSION", 2)
    monkeypatch.setattr("spacy_xner.transformer.exported.VERSION", 2)
    export(nlp, INT8)
    nlp.to_disk(tmp_path / "out")
    monkeypatch.undo()
    with pytest.raises(XnerError, match=r"XNER161.* 2, .* 1\."):
        spacy.load(tmp_path / "out")


def test_a_changed_byte_of_the_graph_is_found(exported, tmp_path):
    exported.to_disk(tmp_path / "out")
    path = tmp_path / "out" / "ner" / "model"
    content = bytearray(path.read_bytes())
    [network] = networks(exported)
    graph = network.encoder.upper.graph.numpy().tobytes()
    content[bytes(content).index(graph) + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(XnerError, match="XNER330"):
        spacy.load(tmp_path / "out")


def test_graphs_that_the_runtime_cannot_read_are_named(exported):
    [network] = networks(exported)
    part = network.encoder.upper
    part.graph.data = torch.zeros(100, dtype=torch.uint8)
    part._session = None
    with pytest.raises(XnerError, match="XNER166"):
        exported("Maria")


@pytest.mark.parametrize(
    ("key", "value"),
    [("model_type", "electra"), ("hidden_act", "relu"), ("position_embedding_type", "relative_key")],
)
def test_other_encoders_are_refused(trained, key, value):
    nlp = copy_of(trained)
    [encoder] = find_encoders(nlp)
    config = encoder.network.encoder.config
    config.__class__ = type("Other", (config.__class__,), {"model_type": config.model_type})
    if key == "model_type":
        type(config).model_type = value
    else:
        setattr(config, key, value)
    with pytest.raises(XnerError, match=f"XNER162.*{value}"):
        export_encoder(encoder, INT8, tiny.TEXTS)

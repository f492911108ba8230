"""Layers that components have alike are stored once, in fewer bytes, and are what they were."""

import json
import shutil

import pytest
import spacy
import torch
from hypothesis import given
from hypothesis import strategies as st
from spacy.util import load_model_from_path

from spacy_xner import trunk
from spacy_xner.deploy.trim import transformer_shims, trim
from spacy_xner.errors import XnerError
from spacy_xner.netfile import read_network, write_network
from spacy_xner.packing import Blocks, from_blocks, pack, to_blocks, unpack
from spacy_xner.storage import MANIFEST
from spacy_xner.types import SHARED_FOLDER as FOLDER

from tests import tiny
from tests.attack import damage


@pytest.fixture(scope="module")
def routed(tmp_path_factory):
    """The folder of a routed pipeline, and what it finds."""
    folder = tmp_path_factory.mktemp("shared")
    checkpoint = tiny.make_checkpoint(folder / "checkpoint")
    nlp = tiny.make_routed(checkpoint)
    nlp.to_disk(folder / "routed")
    return folder / "routed", read(nlp)


@pytest.fixture
def copy(routed, tmp_path):
    """A copy of the routed pipeline, to change."""
    return shutil.copytree(routed[0], tmp_path / "copy")


def read(nlp):
    docs = list(nlp.pipe(tiny.TEXTS))
    return [(d._.language, [(span.text, span.label_) for span in d.ents]) for d in docs]


def names(folder):
    return sorted(path.name for path in (folder / FOLDER).iterdir())


def test_equal_layers_are_stored_once(routed):
    folder, _ = routed
    # Embeddings, one layer, and the tokenizer.
    assert len(names(folder)) == 3
    for component in ("language_identifier", "ner_asian", "ner_european"):
        assert json.loads((folder / component / MANIFEST).read_bytes())["shared"] == names(folder)
    sizes = [(folder / c / "model").stat().st_size for c in ("ner_asian", "ner_european")]
    shared = sum(path.stat().st_size for path in (folder / FOLDER).iterdir())
    alone = tiny_size(folder)
    assert 2 * alone > sum(sizes) + 1.5 * shared
    assert max(sizes) < alone - 0.7 * shared


def tiny_size(folder):
    """Bytes of a tagger that is whole by itself."""
    return len(spacy.load(folder).get_pipe("ner_asian").model.to_bytes())


def test_a_copied_pipeline_finds_what_it_found(routed, copy):
    assert read(spacy.load(copy)) == routed[1]


def test_a_loaded_pipeline_is_saved_with_equal_layers_once(routed, copy, tmp_path):
    spacy.load(copy).to_disk(tmp_path / "again")
    assert names(tmp_path / "again") == names(routed[0])
    assert read(spacy.load(tmp_path / "again")) == routed[1]


def test_a_pipeline_is_whole_as_bytes(routed, copy):
    nlp = spacy.load(copy)
    content = nlp.to_bytes()
    shutil.rmtree(copy / FOLDER)
    assert read(load_model_from_path(routed[0]).from_bytes(content)) == routed[1]


def test_a_component_may_be_left_out(routed, copy):
    nlp = spacy.load(copy, exclude=["language_identifier"])
    docs = [nlp.make_doc(text) for text in tiny.TEXTS]
    for doc, (_, _, language) in zip(docs, tiny.SENTENCES, strict=True):
        doc._.language = language
    found = [[(e.text, e.label_) for e in doc.ents] for doc in nlp.pipe(docs)]
    assert found == [entities for _, entities in routed[1]]


def test_a_component_that_is_saved_by_itself_is_whole(copy, tmp_path):
    tagger = spacy.load(copy).get_pipe("ner_asian")
    (tmp_path / "alone").mkdir()
    tagger.to_disk(tmp_path / "alone" / "ner")
    assert not (tmp_path / "alone" / FOLDER).exists()
    assert "shared" not in json.loads((tmp_path / "alone" / "ner" / MANIFEST).read_bytes())
    tagger.from_disk(tmp_path / "alone" / "ner")


def test_parts_that_nothing_names_are_removed(copy, tmp_path):
    nlp = spacy.load(copy)
    before = names(copy)
    for name in ("language_identifier", "ner_asian", "ner_european"):
        encoder = next(n for n in nlp.get_pipe(name).model.walk() if n.name.endswith("encoder"))
        network = encoder.shims[0].network
        network.set_frozen(1)
        with torch.no_grad():
            network.encoder.embeddings.word_embeddings.weight += 1
    nlp.to_disk(copy)
    assert len(names(copy)) == 3
    assert len(set(names(copy)) - set(before)) == 1


def test_training_one_component_leaves_the_others_alone(copy, routed):
    config = (copy / "config.cfg").read_text(encoding="utf-8")
    start = config.index("[components.ner_asian.model.tok2vec]")
    changed = config[start:].replace("n_frozen_layers = 1", "n_frozen_layers = -1", 1)
    (copy / "config.cfg").write_text(config[:start] + changed, encoding="utf-8")
    with pytest.warns(UserWarning, match="XNER-W330"):
        nlp = spacy.load(copy)
    trained = nlp.get_pipe("ner_asian").model.get_ref("tok2vec").shims[0].network
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.zero_()
    languages = [language for language, _ in read(nlp)]
    assert languages == [language for language, _ in routed[1]]
    assert read(spacy.load(routed[0])) == routed[1]


def test_a_missing_part_is_refused(copy):
    name = names(copy)[0]
    (copy / FOLDER / name).unlink()
    with pytest.raises(XnerError, match=rf"^\[XNER141\].*{name}"):
        spacy.load(copy)


def test_a_component_without_its_pipeline_is_refused(routed, copy, tmp_path):
    nlp = spacy.load(routed[0])
    content = (copy / "ner_asian" / "model").read_bytes()
    with pytest.raises(XnerError, match="XNER141"):
        nlp.get_pipe("ner_asian").model.from_bytes(content)


def test_a_damaged_part_is_refused_even_where_the_healthy_one_is_in_memory(routed, copy):
    healthy = spacy.load(routed[0])
    name = names(copy)[-1]
    damage.flip(f"{FOLDER}/{name}", (copy / FOLDER / name).stat().st_size // 2, 0)(copy)
    with pytest.raises(XnerError, match=r"^\[XNER142\]"):
        spacy.load(copy)
    assert healthy.pipe_names


def test_a_part_that_was_saved_with_numbers_that_are_not_finite_is_refused(routed, copy):
    nlp = spacy.load(routed[0])
    for name, parameter in transformer_shims(nlp)[0].network.named_parameters():
        if "word_embeddings" in name:
            parameter.data[0, 0] = float("nan")
    nlp.to_disk(copy)
    del nlp, parameter
    with pytest.raises(XnerError, match=r"^\[XNER336\]"):
        spacy.load(copy)


def test_parts_whose_names_have_no_checksum_are_compared_with_their_digest(routed, tmp_path, monkeypatch):
    monkeypatch.setattr(trunk, "_name", trunk._digest)
    spacy.load(routed[0]).to_disk(tmp_path / "digests")
    assert {len(name) for name in names(tmp_path / "digests")} == {32}
    assert read(spacy.load(tmp_path / "digests")) == routed[1]
    name = names(tmp_path / "digests")[0]
    damage.flip(f"{FOLDER}/{name}", 99, 0)(tmp_path / "digests")
    with pytest.raises(XnerError, match=r"^\[XNER142\]"):
        spacy.load(tmp_path / "digests")


@pytest.mark.parametrize("name", ["../config.cfg", "0" * 32, 7, None])
def test_names_that_are_no_parts_are_refused(copy, name):
    def lie(cfg, tensors):
        content = json.loads(tensors["__stored__"].tobytes())
        content["parts"][0] = name
        tensors["__stored__"] = damage.numpy.frombuffer(json.dumps(content).encode(), dtype="uint8")

    damage.rewrite_network("ner_asian", 0, lie, "checksums anew")(copy)
    with pytest.raises(XnerError, match=r"^\[XNER141\]"):
        spacy.load(copy)


def block_matrix(n_rows, n_columns):
    generator = torch.Generator().manual_seed(0)
    steps = torch.randint(-8, 8, (n_rows, n_columns // 32, 32), generator=generator).float()
    scales = torch.randn(n_rows, n_columns // 32, 1, generator=generator).half().float()
    # The number that gives a block its scale stands at one end.
    steps[..., 0] = -8
    return (steps * scales).view(n_rows, n_columns)


def test_numbers_out_of_blocks_are_stored_exactly_in_an_eighth():
    matrix = block_matrix(2000, 384)
    matrix[7] = 0
    blocks = to_blocks(matrix)
    assert torch.equal(from_blocks(blocks), matrix)
    assert blocks.numel() * 7 < matrix.numel() * 4


@pytest.mark.parametrize("change", [1e-6, 1e6, float("nan"), float("inf")])
def test_other_numbers_are_no_blocks(change):
    matrix = block_matrix(3, 64)
    matrix[1, 5] += change
    assert to_blocks(matrix) is None
    assert to_blocks(block_matrix(3, 64)[:, :40]) is None


@given(st.integers(1, 5), st.integers(1, 70), st.floats(0.001, 1000))
def test_half_precision_is_close(n_rows, n_columns, size):
    tensors = {"matrix": torch.randn(n_rows, n_columns) * size, "vector": torch.randn(n_columns)}
    packed, kinds = pack(tensors)
    found, _ = unpack(packed, kinds)
    assert torch.equal(found["vector"], tensors["vector"])
    assert torch.allclose(found["matrix"], tensors["matrix"], rtol=1e-3, atol=1e-6)
    assert packed["matrix"].dtype == torch.float16


def test_numbers_too_large_for_half_precision_are_refused():
    with pytest.raises(XnerError, match=r"^\[XNER140\] The weights big.*7e\+04"):
        write_network({}, {"big": torch.full((2, 3), 7e4)}, "float16")


def test_float32_is_stored_as_ever():
    tensors = {"a": torch.randn(3, 4)}
    stored = read_network(write_network({"k": 1}, tensors))
    assert stored.cfg == {"k": 1}
    assert torch.equal(stored.tensors["a"], tensors["a"])
    half = read_network(write_network({"k": 1}, tensors, "float16"))
    assert half.storage == "float16"
    assert half.tensors["a"].dtype == torch.float32


@pytest.mark.parametrize("kind", ["blocks", "float16", "pickle"])
def test_kinds_that_lie_are_refused(kind):
    with pytest.raises((ValueError, KeyError)):
        unpack({"a": torch.zeros(2, 17)}, {"a": kind})
    with pytest.raises(ValueError, match="blocks"):
        unpack({"a": torch.zeros(2, 17, dtype=torch.uint8)}, {"a": "blocks"})


def test_a_table_in_blocks_gives_the_same_rows():
    matrix = block_matrix(50, 96)
    table = Blocks(to_blocks(matrix))
    ids = torch.tensor([[3, 49, 3], [0, 7, 1]])
    assert torch.equal(table(ids), matrix[ids])
    assert table.shape == matrix.shape
    assert torch.equal(table.state_dict()["weight"], matrix)
    with pytest.raises(ValueError, match="blocks"):
        Blocks(torch.zeros(2, 17, dtype=torch.uint8))


@pytest.fixture
def block_nlp(tmp_path, monkeypatch):
    """A tagger whose frozen embeddings are numbers out of blocks."""
    monkeypatch.setattr(tiny, "WIDTH", 32)
    nlp = tiny.make_nlp(tiny.make_checkpoint(tmp_path / "wide"), n_frozen_layers=1)
    tiny.train(nlp, 5)
    (shim,) = transformer_shims(nlp)
    weight = shim.network.encoder.get_input_embeddings().weight
    weight.data = block_matrix(*weight.shape) / 64
    shim.storage = "float16"
    return nlp


def test_embeddings_in_blocks_stay_in_blocks_while_they_are_frozen(block_nlp, tmp_path):
    block_nlp.to_disk(tmp_path / "nlp")
    nlp = spacy.load(tmp_path / "nlp")
    (shim,), (whole,) = transformer_shims(nlp), transformer_shims(block_nlp)
    assert isinstance(shim.network.encoder.get_input_embeddings(), Blocks)
    ids = torch.arange(20).view(2, 10)
    one, other = (n.encoder.get_input_embeddings()(ids) for n in (shim.network, whole.network))
    assert torch.equal(one, other)
    nlp.update(tiny.make_examples(nlp), sgd=nlp.resume_training())
    again = nlp.from_bytes(nlp.to_bytes())
    assert again.pipe_names == ["ner"]
    shim.network.set_frozen(-1)
    embedding = shim.network.encoder.get_input_embeddings()
    assert torch.equal(embedding.weight, whole.network.encoder.get_input_embeddings().weight)
    assert embedding.weight.requires_grad
    nlp.update(tiny.make_examples(nlp), sgd=nlp.resume_training())
    assert not torch.equal(embedding.weight, whole.network.encoder.get_input_embeddings().weight)


def test_a_pipeline_in_blocks_is_shared_and_trimmed_again(block_nlp, tmp_path):
    trim(block_nlp, tiny.TEXTS, keep="words")
    block_nlp.to_disk(tmp_path / "nlp")
    nlp, twin = spacy.load(tmp_path / "nlp"), spacy.load(tmp_path / "nlp")
    (shim,), (other,) = transformer_shims(nlp), transformer_shims(twin)
    tables = [s.network.encoder.get_input_embeddings() for s in (shim, other)]
    assert tables[0].blocks.data_ptr() == tables[1].blocks.data_ptr()
    before = shim.network.encoder.get_input_embeddings().weight
    n_before = len(before)
    sizes = trim(nlp, ["Toyota bought"], keep="words")
    assert sizes.n_before == n_before >= sizes.n_after


def test_other_embeddings_in_blocks_are_not_taken_for_equal_ones(block_nlp, tmp_path):
    block_nlp.to_disk(tmp_path / "one")
    (shim,) = transformer_shims(block_nlp)
    shim.network.encoder.get_input_embeddings().weight.data *= 2
    block_nlp.to_disk(tmp_path / "two")
    one, two = (transformer_shims(spacy.load(tmp_path / name))[0].network for name in ("one", "two"))
    tables = [network.encoder.get_input_embeddings().weight for network in (one, two)]
    assert torch.equal(tables[0] * 2, tables[1])
    assert one._stack is not two._stack


def test_damaged_scales_are_refused(block_nlp, tmp_path):
    (tmp_path / "alone").mkdir()
    tagger = block_nlp.get_pipe("ner")
    tagger.to_disk(tmp_path / "alone" / "ner")

    def spoil(cfg, tensors):
        name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
        tensors[name] = tensors[name].copy()
        tensors[name][3, :2] = [0, 0x7C]

    damage.rewrite_network("ner", 0, spoil, "checksums anew")(tmp_path / "alone")
    with pytest.raises(XnerError, match=r"^\[XNER336\]"):
        tagger.from_disk(tmp_path / "alone" / "ner")


def test_a_lone_tagger_has_parts_only_in_half_precision(block_nlp, tmp_path):
    (shim,) = transformer_shims(block_nlp)
    block_nlp.to_disk(tmp_path / "half")
    shim.storage = "float32"
    block_nlp.to_disk(tmp_path / "whole")
    assert len(names(tmp_path / "half")) == 3
    assert not (tmp_path / "whole" / FOLDER).exists()
    spacy.load(tmp_path / "half").to_disk(tmp_path / "whole")
    assert names(tmp_path / "whole") == names(tmp_path / "half")

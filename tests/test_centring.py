"""Token vectors without the mean of their language: what is taken off, that it is stored, who is refused."""

import numpy
import pytest
import spacy
import torch
from thinc.api import Model

from spacy_xner.deploy.distill import Schooling, distill
from spacy_xner.deploy.extend import Course, Material, extend
from spacy_xner.deploy.finetuning import start_optimizer
from spacy_xner.deploy.onnx import choose_settings, export_encoder, find_encoders
from spacy_xner.deploy.trim import trim_folder
from spacy_xner.errors import XnerError
from spacy_xner.transformer.centring import LanguageMeans, build_language_means

from tests import tiny


def make_nlp(checkpoint, config=None, **settings):
    inner = tiny.make_encoder("TransformerEncoder", checkpoint, n_frozen_layers=-1)
    encoder = {"@architectures": "spacy_xner.LanguageMeans.v1", "tok2vec": inner, **settings}
    nlp = tiny.blank()
    nlp.add_pipe("transformer_ner", name="ner", config={"model": {"tok2vec": encoder}, **(config or {})})
    return nlp


def start(nlp, examples=None):
    nlp.initialize(lambda: tiny.make_examples(nlp) if examples is None else examples)
    return nlp


@pytest.fixture(scope="module")
def centred(checkpoint):
    """A pipeline that was initialized with sentences in en, ru and zh; do not change it."""
    return start(make_nlp(checkpoint))


def encoder_of(nlp):
    return nlp.get_pipe("ner").model.get_ref("tok2vec")


def make_doc(nlp, text="Toyota bought Nokia.", language="en"):
    doc = nlp.make_doc(text)
    doc._.language = language
    return doc


def both(nlp, *docs):
    """Vectors of documents without and with their language's mean."""
    encoder = encoder_of(nlp)
    return encoder.layers[0].predict(list(docs)), encoder.predict(list(docs))


def mean_of(nlp, language):
    """The mean of all token vectors of a language's examples, one by one."""
    rows = [
        row
        for example in tiny.make_examples(nlp)
        if example.predicted._.language == language
        for row in encoder_of(nlp).layers[0].predict([example.predicted])[0]
    ]
    return numpy.mean(rows, axis=0)


@pytest.mark.parametrize("language", ["en", "ru", "zh"])
def test_the_mean_of_its_language_is_taken_off_a_document(centred, language):
    [before], [after] = both(centred, make_doc(centred, language=language))
    numpy.testing.assert_allclose(before - after, numpy.tile(mean_of(centred, language), (4, 1)), atol=1e-4)


def test_documents_of_the_languages_have_no_mean_left(centred):
    docs = [
        example.predicted for example in tiny.make_examples(centred) if example.predicted._.language == "en"
    ]
    rows = numpy.concatenate(encoder_of(centred).predict(docs))
    assert numpy.abs(rows.mean(axis=0)).max() < 1e-4
    assert numpy.abs(rows).max() > 0.1


@pytest.mark.parametrize("language", ["fi", None])
@pytest.mark.parametrize("unseen", ["all", "batch", "none"])
def test_what_is_taken_off_an_unseen_language_is_a_setting(checkpoint, unseen, language):
    nlp = start(make_nlp(checkpoint, unseen=unseen))
    one, other = make_doc(nlp, language=language), make_doc(nlp, "It rained all day.", language)
    before, after = both(nlp, one, other, make_doc(nlp, language="ru"))
    expected = {
        "all": numpy.mean([mean_of(nlp, name) for name in ("en", "ru", "zh")], axis=0),
        "batch": numpy.concatenate(before[:2]).mean(axis=0),
        "none": numpy.zeros(before[0].shape[1]),
    }[unseen]
    for i in (0, 1):
        numpy.testing.assert_allclose(
            before[i] - after[i], numpy.tile(expected, (len(before[i]), 1)), atol=1e-4
        )


def test_the_language_can_be_a_setting(checkpoint):
    nlp = start(make_nlp(checkpoint, language="zh"))
    assert list(encoder_of(nlp).shims[0].network.place_of) == ["zh"]
    [before], [after] = both(nlp, make_doc(nlp, language="en"))
    assert numpy.abs(before - after).max() > 1e-3


def test_tokens_without_a_vector_stay_without_one_and_count_for_no_mean(centred):
    rows = numpy.array([[3.0, 1.0], [0.0, 0.0], [1.0, 1.0]], dtype="float32")

    def forward(model, docs, is_train):
        return [rows for _ in docs], lambda gradients: docs

    model = build_language_means(Model("inner", forward, dims={"nO": 2}))
    doc = make_doc(centred, "a b c")
    model.initialize(X=[doc])
    assert model.predict([doc])[0].tolist() == [[1, 0], [0, 0], [-1, 0]]


def test_a_document_without_tokens_is_no_harm(centred):
    vectors = encoder_of(centred).predict([make_doc(centred, ""), make_doc(centred)])
    assert [len(rows) for rows in vectors] == [0, 4]


def test_the_means_come_back_from_disk_and_bytes(centred, checkpoint, tmp_path):
    centred.to_disk(tmp_path)
    docs = [make_doc(centred, language=language) for language in ("en", "ru", "fi")]
    expected = encoder_of(centred).predict(docs)
    for nlp in (spacy.load(tmp_path), make_nlp(checkpoint).from_bytes(centred.to_bytes())):
        for one, other in zip(encoder_of(nlp).predict(docs), expected, strict=True):
            numpy.testing.assert_array_equal(one, other)


def test_only_so_many_texts_of_a_language_are_looked_at(checkpoint):
    nlp = start(make_nlp(checkpoint, n_texts=1))
    assert {name: len(docs) for name, docs in encoder_of(nlp).shims[0].network.texts.items()} == {
        "en": 1, "ru": 1, "zh": 1,
    }  # fmt: skip


def test_more_texts_than_a_sample_has_are_looked_at(checkpoint):
    nlp = make_nlp(checkpoint)
    start(nlp, tiny.make_examples(nlp) * 6)
    assert len(encoder_of(nlp).shims[0].network.texts["en"]) == 18


@pytest.mark.parametrize("refresh", [0, 2])
def test_means_are_computed_anew_as_the_encoder_moves(checkpoint, refresh):
    nlp = make_nlp(checkpoint, refresh=refresh)
    optimizer = nlp.initialize(lambda: tiny.make_examples(nlp))
    optimizer.learn_rate = 0.01
    before = encoder_of(nlp).shims[0].network.means.clone()
    for step in range(1, 4):
        nlp.update(tiny.make_examples(nlp), sgd=optimizer)
        has_moved = not torch.equal(before, encoder_of(nlp).shims[0].network.means)
        assert has_moved == (refresh > 0 and step >= refresh)


def test_a_tagger_learns_on_it(checkpoint):
    nlp = make_nlp(checkpoint)
    optimizer = nlp.initialize(lambda: tiny.make_examples(nlp))
    optimizer.learn_rate = 0.01
    before = encoder_of(nlp).layers[0].shims[0].network.state_dict()
    weights = {name: tensor.clone() for name, tensor in before.items()}
    losses = [nlp.update(tiny.make_examples(nlp), sgd=optimizer)["ner"] for _ in range(15)]
    assert losses[-1] < losses[0]
    now = encoder_of(nlp).layers[0].shims[0].network.state_dict()
    assert any(not torch.equal(tensor, now[name]) for name, tensor in weights.items())


def test_documents_without_languages_are_an_error(checkpoint):
    nlp = make_nlp(checkpoint)
    with pytest.raises(XnerError, match="XNER356"):
        start(nlp, tiny.make_examples(nlp, known_language=False))


@pytest.mark.parametrize(
    "cfg", [{}, {"languages": [], "width": 4}, {"languages": ["en", "en"], "width": 4},
            {"languages": ["en", 3], "width": 4}, {"languages": ["en"], "width": "4"}],
)  # fmt: skip
def test_damaged_settings_are_an_error(cfg):
    with pytest.raises(XnerError, match="XNER357"):
        LanguageMeans(cfg)


@pytest.mark.parametrize("name", ["cloze", "predictive_cloze", "language_id", "subword_consistency"])
def test_objectives_that_hide_or_cut_input_say_that_they_need_the_encoder_itself(checkpoint, name):
    nlp = make_nlp(checkpoint, {"objectives": {name: {"@misc": f"spacy_xner.{name}.v1"}}})
    texts = [*tiny.make_unlabelled(nlp, tiny.TEXTS), *tiny.make_unlabelled(nlp, tiny.TEXTS, "fi")]
    with pytest.raises(XnerError, match=r"XNER308.*'language_means'.*TransformerEncoder"):
        start(nlp, [*tiny.make_examples(nlp), *texts])


def test_objectives_on_tags_alone_learn_through_it(checkpoint):
    nlp = make_nlp(checkpoint, {"objectives": {"same": {"@misc": "spacy_xner.r_drop.v1"}}})
    unlabelled = tiny.make_unlabelled(nlp, tiny.TEXTS, "en")
    optimizer = nlp.initialize(lambda: [*tiny.make_examples(nlp), *unlabelled])
    optimizer.learn_rate = 0.01
    network = encoder_of(nlp).layers[0].shims[0].network
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    losses = nlp.update(unlabelled, sgd=optimizer, drop=0.3)
    assert losses["ner_same"] > 0
    assert any(not torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_a_tagger_on_it_is_not_distilled_and_says_what_to_train(centred):
    with pytest.raises(XnerError, match=r"XNER650.*language_means.*TransformerEncoder"):
        distill(centred, centred, tiny.TEXTS * 8, Schooling(layers=1, steps=1))


def test_a_trimmed_one_has_fewer_pieces_and_the_same_vectors(centred, tmp_path):
    centred.to_disk(tmp_path / "whole")
    texts = tiny.TEXTS[1:3]
    sizes = trim_folder(tmp_path / "whole", tmp_path / "small", texts, keep="words", storage="float32")
    assert sizes.n_after < sizes.n_before
    docs = [make_doc(centred, text, language) for text, language in zip(texts, ("en", "ru"), strict=True)]
    small = encoder_of(spacy.load(tmp_path / "small")).predict(docs)
    for one, other in zip(small, encoder_of(centred).predict(docs), strict=True):
        numpy.testing.assert_allclose(one, other, atol=1e-5)


@pytest.fixture
def exported(centred):
    """A copy whose inner encoder is in float graphs."""
    pytest.importorskip("onnx", reason="needs pip install spacy_xner[onnx]")
    pytest.importorskip("onnxruntime", reason="needs pip install spacy_xner[onnx]")
    nlp = spacy.util.load_model_from_config(centred.config, auto_fill=True).from_bytes(centred.to_bytes())
    [encoder] = find_encoders(nlp)
    export_encoder(encoder, choose_settings(int8=False), tiny.TEXTS)
    assert not find_encoders(nlp)
    return nlp


def test_an_exported_one_takes_the_same_means_off(centred, exported, tmp_path):
    exported.to_disk(tmp_path)
    docs = [make_doc(centred, text, language) for text, _, language in tiny.SENTENCES]
    expected = encoder_of(centred).predict(docs)
    for nlp in (exported, spacy.load(tmp_path)):
        for one, other in zip(encoder_of(nlp).predict(docs), expected, strict=True):
            numpy.testing.assert_allclose(one, other, atol=1e-4)


def test_an_exported_one_is_not_trained(exported):
    with pytest.raises(XnerError, match="XNER163"):
        exported.update(tiny.make_examples(exported), losses={})
    material = Material(tiny.make_examples(exported), [], {})
    with pytest.raises(XnerError, match=r"XNER352.*was exported"):
        extend(exported, material, Course())


def test_who_goes_on_training_steps_the_inner_encoder_at_the_full_rate(checkpoint):
    inner = tiny.make_encoder("TransformerEncoder", checkpoint, n_frozen_layers=-1, max_learn_rate=0.00005)
    nlp = start(make_nlp(checkpoint, tok2vec=inner))
    start_optimizer(nlp.get_pipe("ner"), 0.01, 10)
    assert encoder_of(nlp).layers[0].shims[0].max_learn_rate is None

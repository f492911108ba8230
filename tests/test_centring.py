"""Token vectors without the mean of their language: what is taken off, that it is stored, who is refused."""

import numpy
import pytest
import spacy
import torch
from thinc.api import Model

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

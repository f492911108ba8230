"""The tagger with both heads: what it learns, labels, gold, settings, weights of another one."""

import copy
import shutil

import numpy
import pytest
import spacy
import torch
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import fix_random_seed

from spacy_xner.tagger.gold import align_gold
from spacy_xner.tagger.model import head_network
from spacy_xner.tags import MISSING, TagSet

from tests import tiny

HEADS = {
    "softmax": {},
    "crf": {"model": {"head": tiny.CRF_HEAD}},
    "crf-bioes": {"model": {"head": tiny.CRF_HEAD}, "scheme": "BIOES"},
    "softmax-iob1": {"scheme": "IOB1"},
}
TEXTS = tiny.TEXTS


@pytest.fixture(scope="module", params=HEADS)
def taught(request, checkpoint):
    """A tagger with each head that has learnt the tiny sentences; do not change it."""
    fix_random_seed(0)
    nlp = tiny.make_nlp(checkpoint, HEADS[request.param])
    return nlp, tiny.train(nlp)


def entities(doc):
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]


def assert_same(a, b):
    assert entities(a) == entities(b)
    assert a.spans["xner"].attrs["scores"] == pytest.approx(b.spans["xner"].attrs["scores"], abs=1e-5)


def parameters(nlp):
    model = nlp.get_pipe("ner").model
    shims = [shim for node in model.walk() for shim in node.shims]
    return [(n, p) for shim in shims for n, p in shim.network.named_parameters()]


def test_a_pipe_without_config_has_the_default_encoder():
    nlp = spacy.blank("xx")
    pipe = nlp.add_pipe("transformer_ner")
    assert pipe.model.get_ref("tok2vec").attrs["name"] == "multilingual-e5-small"


def test_the_loss_falls_and_the_examples_are_learnt(taught):
    nlp, losses = taught
    assert losses[-1] < losses[0] / 10
    for doc, (_, expected, _) in zip(nlp.pipe(TEXTS), tiny.SENTENCES, strict=True):
        assert entities(doc) == expected


def test_scores_are_probabilities_of_the_entities(taught):
    doc = taught[0](TEXTS[0])
    scores = doc.spans["xner"].attrs["scores"]
    assert len(scores) == len(doc.ents) == len(doc.spans["xner"])
    assert all(0.5 < score <= 1 for score in scores)


def test_the_saved_model_does_not_need_the_checkpoint(checkpoint, tmp_path):
    moved = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    nlp = tiny.make_nlp(moved)
    tiny.train(nlp, n_steps=1)
    nlp.to_disk(tmp_path / "model")
    shutil.rmtree(moved)
    assert_same(spacy.load(tmp_path / "model")(TEXTS[0]), nlp(TEXTS[0]))


def test_a_hundred_thousand_words_are_tagged_to_the_end(trained):
    text = " ".join([TEXTS[0]] * 14_300)
    nlp = trained
    nlp.max_length = len(text) + 1
    doc = nlp(text)
    assert len(doc) > 100_000
    half = len(text) // 2
    assert any(ent.start_char > half for ent in doc.ents)
    assert doc.ents[-1].end_char > len(text) - 100


def test_use_before_initialize_is_a_named_error(checkpoint):
    nlp = tiny.make_nlp(checkpoint)
    with pytest.raises(ValueError, match="XNER301"):
        nlp("text")


def test_labels_do_not_depend_on_the_order_of_the_examples(checkpoint):
    nlp = tiny.make_nlp(checkpoint)
    nlp.initialize(lambda: tiny.make_examples(nlp)[::-1])
    assert nlp.get_pipe("ner").labels == ("LOC", "ORG", "PER")


def test_a_known_label_is_not_added_and_a_nameless_one_an_error(taught):
    pipe = taught[0].get_pipe("ner")
    assert pipe.add_label("PER") == 0
    with pytest.raises(ValueError, match="XNER307"):
        pipe.add_label("")


def test_no_labels_is_an_error(checkpoint):
    nlp = tiny.make_nlp(checkpoint)
    example = Example.from_dict(nlp.make_doc("It rained."), {"entities": []})
    with pytest.raises(ValueError, match="XNER304"):
        nlp.initialize(lambda: [example])


def test_labels_can_be_given(checkpoint):
    nlp = tiny.make_nlp(checkpoint)
    examples = tiny.make_examples(nlp)
    nlp.get_pipe("ner").initialize(lambda: examples, nlp=nlp, labels=["X", "PER"])
    assert nlp.get_pipe("ner").label_data == ("PER", "X")


def test_labels_unseen_at_initialization_are_masked_with_a_warning(checkpoint):
    nlp = tiny.make_nlp(checkpoint)
    optimizer = nlp.initialize(lambda: tiny.make_examples(nlp))
    example = Example.from_dict(nlp.make_doc("Nokia won"), {"entities": [(0, 5, "NEW")]})
    with pytest.warns(UserWarning, match="XNER-W102"):
        nlp.update([example], sgd=optimizer)


def test_misaligned_gold_is_masked_and_reported(checkpoint):
    nlp = tiny.make_nlp(checkpoint)
    optimizer = nlp.initialize(lambda: tiny.make_examples(nlp))
    reference = Doc(
        nlp.vocab,
        words=["Toyota", "s", "won"],
        spaces=[False, True, False],
        ents=["B-ORG", "O", "O"],
    )
    predicted = Doc(nlp.vocab, words=["Toyotas", "won"], spaces=[True, False])
    example = Example(predicted, reference)
    gold = align_gold(example, TagSet(("ORG",), "IOB2"))
    assert gold.ids.tolist() == [MISSING, 0]
    assert gold.misaligned == ["Toyota"]
    with pytest.warns(UserWarning, match="XNER-W101"):
        nlp.update([example], sgd=optimizer)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["Maria", "Santos", "won"], [1, 2, 0]),  # same
        (["Ma", "ria", "Santos", "won"], [1, 2, 2, 0]),  # split
        (["Maria Santos", "won"], [1, 0]),  # merged
        (["Maria Santos won"], [MISSING]),  # merged across the border
        (["Maria", " ", "Santos", "won"], None),  # other text
    ],
)
def test_gold_is_aligned_across_tokenizations(words, expected):
    vocab = spacy.blank("xx").vocab
    reference = Doc(vocab, words=["Maria", "Santos", "won"], ents=["B-PER", "I-PER", "O"])
    spaces = [w != "Ma" for w in words]
    spaces[-1] = True
    predicted = Doc(vocab, words=words, spaces=spaces)
    example = Example(predicted, reference)
    if expected is None:
        with pytest.raises(ValueError, match="XNER114"):
            align_gold(example, TagSet(("PER",), "IOB2"))
    else:
        assert align_gold(example, TagSet(("PER",), "IOB2")).ids.tolist() == expected


def test_unlabelled_and_partly_labelled_references_are_missing():
    vocab = spacy.blank("xx").vocab
    plain = Doc(vocab, words=["Maria", "won"])
    assert align_gold(Example(plain, plain.copy()), TagSet(("PER",), "IOB2")).ids.tolist() == [
        -1,
        -1,
    ]
    partly = Doc(vocab, words=["Maria", "won"], ents=["B-PER", ""])
    assert align_gold(Example(plain, partly), TagSet(("PER",), "IOB2")).ids.tolist() == [1, -1]


def test_unlabelled_examples_change_nothing(checkpoint):
    nlp = tiny.make_nlp(checkpoint)
    optimizer = nlp.initialize(lambda: tiny.make_examples(nlp))
    before = copy.deepcopy([p.data for _, p in parameters(nlp)])
    doc = nlp.make_doc("Maria won")
    losses = nlp.update([Example(doc, doc.copy())], sgd=optimizer)
    assert losses["ner"] == 0.0
    assert all(torch.equal(a, b) for a, (_, b) in zip(before, parameters(nlp), strict=True))


@pytest.mark.parametrize("head", ["softmax", "crf"])
def test_a_nan_loss_is_an_error_that_changes_no_weight(checkpoint, head):
    nlp = tiny.make_nlp(checkpoint, HEADS[head])
    examples = tiny.make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    network = head_network(nlp.get_pipe("ner").model)
    with torch.no_grad():
        network.project.bias.fill_(float("nan"))
    before = copy.deepcopy(network.project.weight.data)
    with pytest.raises(ValueError, match="XNER303"):
        nlp.update(examples, sgd=optimizer)
    assert torch.equal(network.project.weight, before)


def test_only_documents_of_the_clusters_are_annotated(taught, tmp_path):
    taught[0].to_disk(tmp_path)
    nlp = spacy.load(tmp_path, config={"components": {"ner": {"clusters": ["2"]}}})
    docs = [nlp.make_doc(TEXTS[0]) for _ in range(3)]
    docs[0]._.cluster, docs[1]._.cluster = "1", "2"
    piped = list(nlp.get_pipe("ner").pipe(docs))
    # The last one was routed nowhere: the pipeline of one cluster works alone.
    assert [bool(doc.ents) for doc in piped] == [False, True, True]
    assert piped == docs


def cut(doc, places, clusters):
    """Route parts of a document, as the router does with sentences."""
    doc.spans["clusters"] = [
        Span(doc, start, end, label=label) for (start, end), label in zip(places, clusters, strict=True)
    ]
    return doc


def test_sentences_are_annotated_whole_and_as_often_as_one_likes(taught, tmp_path):
    taught[0].to_disk(tmp_path)
    nlp = spacy.load(tmp_path, config={"components": {"ner": {"clusters": ["a"]}}})
    doc = cut(nlp.make_doc(f"{TEXTS[0]} It rained"), [(0, 8), (8, 10)], "ab")
    # Of these one is in the sentence, one reaches into the other and one is there alone.
    doc.ents = [Span(doc, 3, 4, "OLD"), Span(doc, 7, 9, "OLD"), Span(doc, 9, 10, "OLD")]
    for _ in range(2):
        doc = nlp.get_pipe("ner")(doc)
        assert [(ent.text, ent.label_) for ent in doc.ents] == [
            ("Maria Santos", "PER"), ("Lisbon", "LOC"), ("rained", "OLD")
        ]  # fmt: skip
        assert [span.text for span in doc.spans["xner"]] == ["Maria Santos", "Lisbon"]
        assert len(doc.spans["xner"].attrs["scores"]) == 2
    # O where it was read, missing where it was not.
    assert [token.ent_iob for token in doc] == [3, 1, 2, 2, 2, 2, 3, 2, 0, 3]


def test_documents_whose_error_may_pass_are_dropped(taught, monkeypatch):
    nlp, _ = taught
    pipe = nlp.get_pipe("ner")
    predict, errors = type(pipe).predict, []

    def fail(self, docs):
        docs = list(docs)
        if any("Nokia" in doc.text for doc in docs):
            raise ValueError("no such text")
        return predict(self, docs)

    monkeypatch.setattr(type(pipe), "predict", fail)
    monkeypatch.setattr(pipe, "clusters", ["a"])
    pipe.set_error_handler(lambda name, proc, docs, error: errors.append(error))
    docs = [nlp.make_doc(text) for text in (TEXTS[0], TEXTS[1])]
    text = f"{TEXTS[0]} {TEXTS[1]} {TEXTS[4]}"
    docs.append(cut(nlp.make_doc(text), [(0, 8), (8, 12), (12, 17)], "aab"))
    docs.append(cut(nlp.make_doc(f"{TEXTS[0]} {TEXTS[4]}"), [(0, 8), (8, 13)], "ab"))
    kept = list(pipe.pipe(docs, batch_size=1))
    assert [doc.text for doc in kept] == [docs[0].text, docs[3].text]
    assert len(errors) == 2
    # All or nothing: the sentences that could be read are not annotated without the others.
    docs[2].ents = [Span(docs[2], 8, 9, "OLD")]
    assert [ent.label_ for ent in pipe(docs[2]).ents] == ["OLD"]


def test_spans_key_and_confidence_are_settings(taught, tmp_path):
    taught[0].to_disk(tmp_path)
    named = spacy.load(tmp_path, config={"components": {"ner": {"spans_key": "found"}}})
    assert "found" in named(TEXTS[0]).spans
    plain = spacy.load(tmp_path, config={"components": {"ner": {"spans_key": "", "confidence": False}}})
    doc = plain(TEXTS[0])
    assert doc.ents
    assert not doc.spans


def test_class_weights_change_the_loss_and_must_name_labels(checkpoint):
    losses = {}
    for weight in (1.0, 5.0):
        head = {"model": {"head": {"class_weights": {"PER": weight}}}}
        fix_random_seed(0)
        losses[weight] = tiny.train(tiny.make_nlp(checkpoint, head), n_steps=3)[-1]
    assert losses[1.0] != losses[5.0]
    # Numbers of JSON may be whole ones for all tags.
    whole = {"O": 1, "PER": 2, "LOC": 3, "ORG": 1}
    tiny.train(tiny.make_nlp(checkpoint, {"model": {"head": {"class_weights": whole}}}), n_steps=1)
    head = {"model": {"head": {"class_weights": {"PERSON": 2.0}}}}
    with pytest.raises(ValueError, match="XNER306"):
        tiny.train(tiny.make_nlp(checkpoint, head), n_steps=1)


def test_predictions_do_not_depend_on_the_batch(taught):
    nlp, _ = taught
    alone = nlp.get_pipe("ner").model.predict([nlp.make_doc(TEXTS[0])])[0]
    among = nlp.get_pipe("ner").model.predict([nlp.make_doc(text) for text in TEXTS])[0]
    assert numpy.allclose(alone, among, atol=1e-5)


def initialize_from(checkpoint, folder, config=None, **tok2vec):
    nlp = tiny.make_nlp(checkpoint, config, **tok2vec)
    fix_random_seed(5)
    nlp.get_pipe("ner").initialize(lambda: tiny.make_examples(nlp)[:1], nlp=nlp, weights=folder)
    return nlp


def test_a_tagger_goes_on_from_the_weights_of_another(taught, checkpoint, request, tmp_path):
    nlp, _ = taught
    nlp.to_disk(tmp_path)
    config = HEADS[request.node.callspec.params["taught"]]
    again = initialize_from(checkpoint, tmp_path, config, n_frozen_layers=1)
    assert again.get_pipe("ner").labels == nlp.get_pipe("ner").labels
    for a, b in zip(nlp.pipe(TEXTS), again.pipe(TEXTS), strict=True):
        assert_same(a, b)
    # The settings are the new config's.
    network = again.get_pipe("ner").model.get_ref("tok2vec").shims[0].network
    assert not any(p.requires_grad for p in network.encoder.embeddings.parameters())
    again.to_disk(tmp_path / "again")
    assert_same(spacy.load(tmp_path / "again")(TEXTS[0]), nlp(TEXTS[0]))


def test_another_loss_can_be_trained_on(trained, checkpoint, tmp_path):
    trained.to_disk(tmp_path)
    loss = {"@misc": "spacy_xner.reweighted.v1", "gamma": 4.0}
    losses = []
    for config in ({}, {"model": {"head": {"@architectures": "spacy_xner.SoftmaxHead.v1", "loss": loss}}}):
        nlp = initialize_from(checkpoint, tmp_path, config)
        losses.append(nlp.update(tiny.make_examples(nlp), sgd=nlp.create_optimizer())["ner"])
    # The teacher is sure of its labels: (1 + p) ** 4 is nearly 16.
    assert losses[1] > 4 * losses[0] > 0


@pytest.mark.parametrize(
    ("config", "reason"), [({"scheme": "BIOES"}, "scheme is IOB2"), (HEADS["crf"], "another one")]
)
def test_weights_of_another_network_are_an_error(trained, checkpoint, tmp_path, config, reason):
    trained.to_disk(tmp_path)
    with pytest.raises(ValueError, match=f"XNER310.*{reason}"):
        initialize_from(checkpoint, tmp_path, config)
    with pytest.raises(ValueError, match=r"XNER310.*another one"):
        initialize_from(checkpoint, tmp_path, n_layers=1)
    spacy.blank("xx").to_disk(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"XNER310.*0 taggers"):
        initialize_from(checkpoint, tmp_path / "empty")


@pytest.mark.parametrize("head", [{}, tiny.CRF_HEAD])
def test_the_head_learns_at_its_own_rate(checkpoint, head):
    """After one step of Adam every weight has moved by the rate, whatever its gradient was."""

    def moved(factor):
        nlp = tiny.make_nlp(checkpoint, {"model": {"head": {**head, "learn_rate_factor": factor}}})
        examples = tiny.make_examples(nlp)
        optimizer = nlp.initialize(lambda: examples)
        optimizer.learn_rate = 0.001
        model = nlp.get_pipe("ner").model
        networks = [model.get_ref(part).shims[0].network for part in ("tok2vec", "head")]
        before = [[p.detach().clone() for p in network.parameters()] for network in networks]
        nlp.update(examples, sgd=optimizer, drop=0.0)
        return [
            max(float((a - b).abs().max()) for a, b in zip(weights, network.parameters(), strict=True))
            for weights, network in zip(before, networks, strict=True)
        ]

    (encoder, plain_head), (same_encoder, fast_head) = moved(1.0), moved(10.0)
    assert encoder == pytest.approx(same_encoder)
    assert fast_head == pytest.approx(10 * plain_head, rel=0.01)

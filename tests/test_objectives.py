"""Auxiliary objectives: masking, the sampled softmax, and their place in the tagger's training."""

import itertools

import numpy
import pytest
import spacy
import torch
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import fix_random_seed
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from spacy_xner.objectives.base import Batch
from spacy_xner.objectives.cloze import create_cloze, create_predictive_cloze
from spacy_xner.objectives.language_id import create_language_id
from spacy_xner.objectives.network import mask_all, mask_randomly, sampled_cross_entropy
from spacy_xner.tags import TokenSpan

from tests import tiny

OBJECTIVES = {
    "language_id": {"@misc": "spacy_xner.language_id.v1"},
    "cloze": {"@misc": "spacy_xner.cloze.v1"},
    "predictive_cloze": {"@misc": "spacy_xner.predictive_cloze.v1"},
}
SETS = {
    "LI": ["language_id"],
    "CL": ["cloze"],
    "PC": ["predictive_cloze"],
    "CL+LI": ["cloze", "language_id"],
    "PC+LI": ["predictive_cloze", "language_id"],
}


def make_nlp(checkpoint, names, **tok2vec):
    return tiny.make_nlp(checkpoint, {"objectives": {name: OBJECTIVES[name] for name in names}}, **tok2vec)


def unlabelled(nlp, text, language):
    doc = nlp.make_doc(text)
    example = Example(doc, doc.copy())
    example.reference._.language = example.predicted._.language = language
    return example


def mixed_examples(nlp):
    """Labelled English, unlabelled Russian and Chinese."""
    examples = []
    for example in tiny.make_examples(nlp):
        language = example.reference._.language
        examples.append(example if language == "en" else unlabelled(nlp, example.reference.text, language))
    return examples


def test_random_masks_follow_80_10_10():
    torch.manual_seed(0)
    ids = torch.randint(10, 1000, (200, 100))
    maskable = torch.ones_like(ids, dtype=torch.bool)
    maskable[:, 0] = False
    masked = mask_randomly(ids, maskable, 0.15, mask_id=4, n_vocab=1000)
    assert not masked.chosen[:, 0].any()
    assert masked.chosen.float().mean() == pytest.approx(0.15, abs=0.01)
    assert torch.equal(masked.ids[~masked.chosen], ids[~masked.chosen])
    seen, true = masked.ids[masked.chosen], ids[masked.chosen]
    assert (seen == 4).float().mean() == pytest.approx(0.8, abs=0.02)
    assert (seen == true).float().mean() == pytest.approx(0.1, abs=0.02)


def test_entity_masks_hide_all_chosen_pieces():
    ids = torch.arange(6).view(2, 3)
    chosen = torch.tensor([[False, True, True], [False, False, False]])
    assert mask_all(ids, chosen, 99).ids.tolist() == [[0, 99, 99], [3, 4, 5]]


def softmax_case(n_vocab=40):
    torch.manual_seed(1)
    vectors = torch.randn(7, 5)
    return vectors, torch.randint(n_vocab, (7,)), torch.randn(n_vocab, 5), torch.randn(n_vocab)


@pytest.mark.parametrize("n_sampled", [0, 40, 1000])
def test_the_whole_vocabulary_gives_the_exact_loss(n_sampled):
    vectors, targets, weight, bias = softmax_case()
    expected = torch.nn.functional.cross_entropy(vectors @ weight.T + bias, targets)
    assert float(sampled_cross_entropy(vectors, targets, weight, bias, n_sampled)) == pytest.approx(
        float(expected), abs=1e-5
    )


def test_a_sample_gives_the_exact_loss_on_average():
    vectors, targets, weight, bias = softmax_case(400)
    vectors = vectors / 3
    expected = float(torch.nn.functional.cross_entropy(vectors @ weight.T + bias, targets))
    found = [float(sampled_cross_entropy(vectors, targets, weight, bias, 100)) for _ in range(300)]
    assert numpy.mean(found) == pytest.approx(expected, rel=0.03)
    # Without counting the sample for what it stands for, the loss would be far lower.
    assert min(found) > expected - 1


@pytest.mark.parametrize("names", SETS.values(), ids=list(SETS))
@pytest.mark.parametrize("frozen", [-1, 1])
def test_objectives_are_learnt_beside_the_entities(checkpoint, names, frozen):
    nlp = make_nlp(checkpoint, names, n_frozen_layers=frozen)
    examples = mixed_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.02
    history = []
    for _ in range(40):
        losses = {}
        nlp.update(examples, sgd=optimizer, losses=losses, drop=0.0)
        history.append(losses)
    assert set(history[0]) == {"ner", *(f"ner_{name}" for name in names)}
    assert history[-1]["ner"] < history[0]["ner"] / 5
    for name in names:
        losses = [step[f"ner_{name}"] for step in history]
        start = next(loss for loss in losses if loss)
        assert numpy.mean(losses[-5:]) < start
    frozen_part = nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0].network.encoder.embeddings
    plain = tiny.make_nlp(checkpoint)
    plain.initialize(lambda: tiny.make_examples(plain))
    before = plain.get_pipe("ner").model.get_ref("tok2vec").shims[0].network.encoder.embeddings
    same = torch.equal(frozen_part.word_embeddings.weight, before.word_embeddings.weight)
    assert same == (frozen == 1)


def test_the_pipeline_is_saved_without_the_objectives_heads(checkpoint, tmp_path):
    nlp = make_nlp(checkpoint, ["cloze", "language_id"])
    examples = mixed_examples(nlp)
    nlp.initialize(lambda: examples)
    nlp.to_disk(tmp_path)
    fix_random_seed(1)
    again = spacy.load(tmp_path)
    text = tiny.SENTENCES[0][0]
    assert [e.text for e in again(text).ents] == [e.text for e in nlp(text).ents]
    plain = tiny.make_nlp(checkpoint)
    plain.initialize(lambda: tiny.make_examples(plain))
    assert len(again.get_pipe("ner").model.to_bytes()) == len(plain.get_pipe("ner").model.to_bytes())


@pytest.mark.parametrize("setting", [{"weight": 0.5}, {"mask_rate": 0.9}, {"window": 8, "overlap": 2}])
def test_settings_of_an_objective_change_its_loss(checkpoint, setting):
    found = []
    for settings in ({}, setting):
        fix_random_seed(0)
        torch.manual_seed(0)
        cloze = {"cloze": {"@misc": "spacy_xner.cloze.v1", **settings}}
        nlp = tiny.make_nlp(checkpoint, {"objectives": cloze})
        examples = mixed_examples(nlp)
        nlp.initialize(lambda examples=examples: examples)
        losses = {}
        nlp.update(examples, losses=losses)
        found.append(losses["ner_cloze"])
    assert found[0] != found[1]


def started(checkpoint, objective):
    nlp = tiny.make_nlp(checkpoint)
    nlp.initialize(lambda: tiny.make_examples(nlp))
    objective.start(nlp.get_pipe("ner"), ["en", "ru"], "it")
    return nlp, nlp.get_pipe("ner").model.get_ref("tok2vec")


def test_windows_lose_no_wordpiece(checkpoint):
    nlp, encoder = started(checkpoint, create_cloze())
    network = encoder.shims[0].network
    docs = [nlp.make_doc("Lisbon in rain " * 30), nlp.make_doc("Nokia")]
    batch = Batch(network, docs, window=64, overlap=8)
    [length] = {w.end - w.start for w in batch.windows if w.doc == 0}
    assert batch.ids.shape[1] == length + 2 <= 64
    seen = {(w.doc, i) for w in batch.windows for i in range(w.start, w.end)}
    assert seen == {(doc, i) for doc, pieces in enumerate(batch.pieces) for i in range(len(pieces.ids))}
    starts = [w.start for w in batch.windows if w.doc == 0]
    assert all(b - a <= 62 - 8 for a, b in itertools.pairwise(starts))
    ids = batch.ids[batch.maskable]
    assert not set(ids.tolist()) & {0, 1, 2}


def test_the_pieces_of_entities_are_found(checkpoint):
    nlp, encoder = started(checkpoint, create_cloze())
    network = encoder.shims[0].network
    doc = nlp.make_doc("Maria Santos won in Lisbon")
    batch = Batch(network, [doc], window=16, overlap=4)
    marked = batch.mark([doc], [[TokenSpan(0, 2, "PER"), TokenSpan(4, 5, "LOC")]])
    letters = {}
    for row, window in enumerate(batch.windows):
        pieces = batch.pieces[0]
        for i in range(window.start, window.end):
            text = doc.text[pieces.starts[i] : pieces.ends[i]]
            letters[i] = text if marked[row, i - window.start + 1] else "_" * len(text)
    shown = "".join(letters[i] for i in sorted(letters)).replace(" ", "").strip("_")
    assert shown.replace("_", "") == "MariaSantosLisbon"
    assert shown.startswith("MariaSantos_")


def test_nothing_to_learn_changes_nothing(checkpoint):
    for objective in (create_cloze(), create_language_id()):
        nlp, encoder = started(checkpoint, objective)
        blank = Doc(nlp.vocab, words=[])
        blank._.language = "en"
        assert objective.update([blank], nlp.get_pipe("ner")) == 0.0
        assert all(p.grad is None for p in encoder.shims[0].network.parameters())
    nlp = make_nlp(checkpoint, ["predictive_cloze"])
    examples = mixed_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    pipe = nlp.get_pipe("ner")
    pipe.find_entities = lambda docs: [[] for _ in docs]
    losses = {}
    network = pipe.model.get_ref("tok2vec").shims[0].network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    nlp.update([eg for eg in examples if eg.reference._.language != "en"], sgd=optimizer, losses=losses)
    assert losses["ner_predictive_cloze"] == 0.0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_document_of_special_tokens_has_nothing_to_guess(checkpoint):
    nlp, encoder = started(checkpoint, objective := create_cloze(mask_rate=1.0))
    doc = nlp.make_doc("<s></s><mask>")
    doc._.language = "en"
    batch = Batch(encoder.shims[0].network, [doc], window=16, overlap=4)
    assert batch.maskable.sum() == (batch.ids == 4).sum()
    assert objective.update([doc], nlp.get_pipe("ner")) >= 0.0
    batch = Batch(encoder.shims[0].network, [nlp.make_doc("<mask>Nokia")], window=16, overlap=4)
    assert 0 < batch.maskable.sum() < len(batch.pieces[0].ids)


def test_text_in_an_undeclared_language_is_an_error(checkpoint):
    nlp = make_nlp(checkpoint, ["language_id"])
    examples = mixed_examples(nlp)
    nlp.initialize(lambda: examples)
    with pytest.raises(ValueError, match="XNER309"):
        nlp.update([unlabelled(nlp, "hei maailma", "fi")])


def test_one_language_is_none_to_tell_apart(checkpoint):
    nlp = make_nlp(checkpoint, ["language_id"])
    examples = [eg for eg in mixed_examples(nlp) if eg.reference._.language != "zh"]
    with pytest.raises(ValueError, match=r"XNER311.*found ru"):
        nlp.initialize(lambda: examples)


def test_an_encoder_that_cannot_serve_is_an_error():
    nlp = spacy.blank("xx")
    config = {
        "model": {"tok2vec": {"@architectures": "spacy.HashEmbedCNN.v2", "pretrained_vectors": None,
                              "width": 8, "depth": 1, "embed_size": 50, "window_size": 1,
                              "maxout_pieces": 2, "subword_features": False}},
        "objectives": {"cloze": OBJECTIVES["cloze"]},
    }  # fmt: skip
    nlp.add_pipe("transformer_ner", config=config)
    example = Example.from_dict(nlp.make_doc("Nokia won"), {"entities": [(0, 5, "ORG")]})
    with pytest.raises(ValueError, match=r"XNER308.*TransformerEncoder"):
        nlp.initialize(lambda: [example])


@pytest.mark.parametrize("kind", ["xlm-roberta", "bert"])
def test_the_checkpoints_own_cloze_head_is_used(checkpoint, tmp_path, kind):
    """With the whole vocabulary the loss is that of transformers' masked language model."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config_of = {
        "bert": (BertConfig, BertForMaskedLM),
        "xlm-roberta": (XLMRobertaConfig, XLMRobertaForMaskedLM),
    }
    config_class, model_class = config_of[kind]
    config = config_class(vocab_size=len(tokenizer), pad_token_id=1, layer_norm_eps=1e-3, **sizes)
    pretrained = model_class(config).eval()
    with torch.no_grad():
        for parameter in pretrained.parameters():
            parameter.normal_(std=0.3)
    pretrained.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    nlp, encoder = started(tmp_path, objective := create_cloze(mask_rate=1.0, n_sampled=0, head_steps=50))
    network = encoder.shims[0].network.eval()
    ids = torch.tensor([[0, 6, 7, 8, 2]])
    chosen = torch.tensor([[False, True, False, True, False]])
    mask = torch.ones_like(ids)
    with torch.no_grad():
        hidden = network.encoder(input_ids=ids, attention_mask=mask)[0]
        ours = objective._head.network(hidden[chosen], ids[chosen], objective._embeddings)
        labels = ids.masked_fill(~chosen, -100)
        expected = pretrained(input_ids=ids, attention_mask=mask, labels=labels).loss
    assert float(ours) == pytest.approx(float(expected), rel=1e-4)
    # A head that is trained already need not learn alone first.
    assert weights_that_move(nlp, encoder, objective)


def weights_that_move(nlp, encoder, objective):
    """Names of the encoder's parameters that a batch of unlabelled text gives a gradient."""
    objective.update([nlp.make_doc("Ана уехала в Москву")], nlp.get_pipe("ner"))
    named = encoder.shims[0].network.named_parameters()
    return [name for name, p in named if p.grad is not None and bool(p.grad.any())]


@pytest.mark.parametrize("create", [create_cloze, create_predictive_cloze])
def test_a_fresh_head_learns_alone_first(checkpoint, create):
    settings = {"mask_rate": 1.0} if create is create_cloze else {}
    nlp, encoder = started(checkpoint, objective := create(head_steps=2, **settings))
    if create is create_predictive_cloze:
        # What the untrained tagger finds is chance; here everything is an entity.
        nlp.get_pipe("ner").find_entities = lambda docs: [[TokenSpan(0, len(doc), "PER")] for doc in docs]
    for _ in range(2):
        assert weights_that_move(nlp, encoder, objective) == []
        assert objective._head.network.transform[0].weight.grad.any()
    assert weights_that_move(nlp, encoder, objective)


def test_the_labelled_languages_can_be_told_apart_too(checkpoint):
    """With one unlabelled language there is nothing to tell apart but the labelled ones."""
    everything = {"language_id": {"@misc": "spacy_xner.language_id.v1", "languages": "all"}}
    nlp = tiny.make_nlp(checkpoint, {"objectives": everything})
    labelled = [eg for eg in tiny.make_examples(nlp) if eg.reference._.language == "en"]
    examples = [*labelled, unlabelled(nlp, "Ана уехала в Москву", "ru")]
    nlp.initialize(lambda: examples)
    objective = nlp.get_pipe("ner").objectives["language_id"]
    assert objective.languages == ["en", "ru"]
    texts = []
    update = objective.update
    objective.update = lambda docs, tagger: texts.extend(doc.text for doc in docs) or update(docs, tagger)
    losses = nlp.update(examples, losses={}, drop=0.0)
    assert texts == [eg.reference.text for eg in examples]
    assert losses["ner_language_id"] > 0
    # By default the labelled text is not read, and one language is none to tell apart.
    alone = make_nlp(checkpoint, ["language_id"])
    with pytest.raises(ValueError, match=r"XNER311.*all"):
        alone.initialize(lambda: examples)

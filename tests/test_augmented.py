"""Augmented fine-tuning: the teacher, the lengths, the second reader, and self-training of a transformer."""

import random
from collections import Counter
from pathlib import Path

import numpy
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.training import Example
from thinc.api import fix_random_seed

from spacy_xner.objectives.augmented import (
    LengthRange,
    admitted_share,
    create_augmented_tuning,
    trained_weights,
)
from spacy_xner.tags import TokenSpan

from tests import tiny
from tests.tiny import SENTENCES, make_bilstm

OBJECTIVE = {"@misc": "spacy_xner.augmented_tuning.v1", "refresh_every": 3}


def make_nlp(dense_width: int = 0, **settings) -> Language:
    return make_bilstm((), {"objectives": {"own": {**OBJECTIVE, **settings}}}, dense_width=dense_width)


def make_examples(nlp: Language) -> tuple[list[Example], list[Example]]:
    """Labelled English, and the same sentences as unlabelled Spanish."""
    labelled = [eg for eg in tiny.make_examples(nlp) if eg.reference._.language == "en"]
    return labelled, tiny.make_unlabelled(nlp, [text for text, _, language in SENTENCES if language == "en"])


def start(nlp: Language):
    labelled, unlabelled = make_examples(nlp)
    fix_random_seed(0)
    optimizer = nlp.initialize(lambda: [*labelled, *unlabelled])
    optimizer.learn_rate = 0.02
    return nlp.get_pipe("ner"), optimizer, labelled, unlabelled


def state(pipe) -> dict[str, torch.Tensor]:
    network = pipe.model.get_ref("tok2vec").shims[0].network
    return {name: value.clone() for name, value in network.state_dict().items()}


def update(nlp: Language, examples: list[Example], optimizer) -> float:
    losses: dict[str, float] = {}
    nlp.update(examples, sgd=optimizer, losses=losses, drop=0.0)
    return losses["ner_own"]


@pytest.mark.parametrize("dense_width", [0, 6])
def test_both_readers_learn_what_the_teacher_found(dense_width: int) -> None:
    nlp = make_nlp(dense_width, start_after=1)
    pipe, optimizer, labelled, unlabelled = start(nlp)
    for _ in range(200):
        nlp.update(labelled, sgd=optimizer, drop=0.0)
    assert update(nlp, unlabelled, optimizer) == 0.0
    expected = [[ent.text for ent in eg.reference.ents] for eg in labelled]
    assert [[ent.text for ent in nlp(eg.reference.text).ents] for eg in unlabelled] == expected
    before = state(pipe)
    losses = [update(nlp, unlabelled, optimizer) for _ in range(30)]
    after = state(pipe)
    # The target's reader began as the source's was when learning began, not as it was built.
    assert losses[0] < 0.5
    assert losses[-1] < losses[0]
    for part in ("source", "target"):
        name = f"{part}.word_lstm.lstm.weight_hh_l0"
        assert not torch.equal(before[name], after[name])
    for language in ("en", "es", None):
        docs = [nlp.make_doc(eg.reference.text) for eg in labelled]
        for doc in docs:
            doc._.language = language
        assert [[ent.text for ent in doc.ents] for doc in nlp.pipe(docs)] == expected


def test_the_teacher_stays_until_it_is_refreshed(monkeypatch: pytest.MonkeyPatch) -> None:
    nlp = make_nlp(refresh_every=3, min_length=50, max_length=50)
    pipe, optimizer, labelled, unlabelled = start(nlp)
    found = []
    name = "source.word_lstm.lstm.weight_hh_l0"

    def find(docs):
        found.append(state(pipe)[name])
        return [[] for _ in docs]

    monkeypatch.setattr(pipe, "find_entities", find)
    own = []
    for _ in range(6):
        own.append(state(pipe)[name])
        update(nlp, [*labelled, *unlabelled], optimizer)
    for i, weights in enumerate(found):
        # The labelled part of the batch has been learnt by then, but not stepped.
        torch.testing.assert_close(weights, own[i - i % 3])
    assert not torch.equal(own[0], own[1])
    assert not torch.equal(found[0], found[3])


def test_documents_up_to_the_drawn_length_are_learnt_in_full_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    nlp = make_nlp(refresh_every=1, min_length=3)
    pipe, optimizer, _, unlabelled = start(nlp)
    asked = []
    monkeypatch.setattr(random, "randint", lambda low, high: asked.append((low, high)) or 4)
    seen = []
    monkeypatch.setattr(pipe, "find_entities", lambda docs: seen.extend(map(len, docs)) or [[] for _ in docs])
    lengths = [len(eg.predicted) for eg in unlabelled]
    short = [n for n in lengths if n <= 4]
    assert 0 < len(short) < len(lengths) <= 3 * len(short)
    # Three batches have enough of them for one.
    losses = [update(nlp, unlabelled, optimizer) for _ in range(3)]
    assert asked == [(3, max(lengths))] * 3
    assert seen == (short * 3)[: len(lengths)]
    assert losses[0] == 0.0 < losses[-1]
    # The last batch of a corpus is a small one: what is left waits for a whole one.
    n_seen = len(seen)
    update(nlp, unlabelled[:1], optimizer)
    assert len(seen) == n_seen


@pytest.mark.parametrize(
    "setting",
    [{"weight": 0.5}, {"target_reader": False}, {"start_after": 2}, {"refresh_every": 1},
     {"min_length": 4, "max_length": 4}, {"mean": True}],
    ids=str,
)  # fmt: skip
def test_settings_change_what_is_learnt(setting: dict) -> None:
    found = []
    for settings in ({"min_length": 50, "max_length": 50}, setting):
        nlp = make_nlp(**{"min_length": 50, "max_length": 50, **settings})
        _, optimizer, labelled, unlabelled = start(nlp)
        # The tagger has learnt little yet, so that a later teacher finds other entities.
        nlp.update(labelled, sgd=optimizer, drop=0.0)
        losses = [update(nlp, unlabelled, optimizer)]
        for _ in range(15):
            nlp.update(labelled, sgd=optimizer, drop=0.0)
            losses.append(update(nlp, unlabelled, optimizer))
        found.append(losses)
    assert found[0] != found[1]


def test_lengths_are_drawn_between_the_shortest_and_a_quantile() -> None:
    lengths = Counter({2: 5, 4: 4, 50: 1})
    assert LengthRange(0, 0, 1.0).ends(lengths) == (2, 50)
    assert LengthRange(0, 0, 0.9).ends(lengths) == (2, 4)
    assert LengthRange(0, 0, 0.91).ends(lengths) == (2, 50)
    assert LengthRange(5, 0, 0.9).ends(lengths) == (4, 4)
    assert LengthRange(3, 9, 0.9).ends(lengths) == (3, 9)
    # Limits 2 and 3 admit half of the documents, 4 admits nine of ten.
    assert admitted_share(lengths, LengthRange(0, 0, 0.9)) == pytest.approx((0.5 + 0.5 + 0.9) / 3)
    assert admitted_share(lengths, LengthRange(5, 0, 1.0)) == pytest.approx((45 * 0.9 + 1.0) / 46)


@pytest.mark.parametrize("target_reader", [True, False])
def test_the_mean_of_the_losses_has_a_share_of_the_gradient_of_their_sum(target_reader: bool) -> None:
    gradients = []
    for mean in (False, True):
        nlp = make_nlp(mean=mean, min_length=50, max_length=50, target_reader=target_reader)
        pipe, _, labelled, unlabelled = start(nlp)
        nlp.update([*labelled, *unlabelled], drop=0.0, sgd=None)
        network = pipe.model.get_ref("tok2vec").shims[0].network
        gradients.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    n_losses = 3 if target_reader else 2
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient / n_losses)


def test_a_tagger_with_two_readers_is_stored_whole(tmp_path: Path) -> None:
    nlp = make_nlp()
    pipe, optimizer, labelled, unlabelled = start(nlp)
    for _ in range(5):
        update(nlp, [*labelled, *unlabelled], optimizer)
    nlp.to_disk(tmp_path)
    fix_random_seed(9)
    again = spacy.load(tmp_path)
    texts = [eg.reference.text for eg in labelled]
    for language in ("en", "es"):
        docs = [[p.make_doc(text) for text in texts] for p in (nlp, again)]
        for doc in [*docs[0], *docs[1]]:
            doc._.language = language
        pairs = zip(pipe.model.predict(docs[0]), again.get_pipe("ner").model.predict(docs[1]), strict=True)
        for a, b in pairs:
            numpy.testing.assert_array_equal(a, b)
    assert "target.word_lstm.lstm.weight_hh_l0" in state(again.get_pipe("ner"))


def test_a_transformer_learns_from_its_own_labels(checkpoint: Path) -> None:
    objective = {**OBJECTIVE, "target_reader": False, "start_after": 2}
    nlp = tiny.make_nlp(checkpoint, {"objectives": {"own": objective}}, n_frozen_layers=1)
    pipe, optimizer, labelled, unlabelled = start(nlp)
    for _ in range(40):
        nlp.update(labelled, sgd=optimizer, drop=0.0)
    losses = [update(nlp, unlabelled, optimizer) for _ in range(20)]
    assert losses[:2] == [0.0, 0.0]
    assert 0 < losses[-1] < losses[2]
    weights = trained_weights(pipe.model)
    shim = pipe.model.get_ref("tok2vec").shims[0]
    assert {name for key, name in weights if key == shim.id} == {
        name for name, p in shim.network.named_parameters() if p.requires_grad
    }


def test_the_teachers_weights_are_a_copy_and_leave_no_trace(checkpoint: Path) -> None:
    nlp = tiny.make_nlp(checkpoint)
    nlp.initialize(lambda: tiny.make_examples(nlp))
    pipe = nlp.get_pipe("ner")
    docs = [nlp.make_doc("Maria won in Lisbon")]
    weights, before = trained_weights(pipe.model), pipe.model.predict(docs)[0].copy()
    pipe.learn(docs, [[TokenSpan(0, 1, "PER")]])
    pipe.finish_update(nlp.create_optimizer())
    after = pipe.model.predict(docs)[0].copy()
    assert not numpy.array_equal(before, after)
    with pipe.model.use_params(weights):
        numpy.testing.assert_allclose(pipe.model.predict(docs)[0], before, atol=1e-6)
    numpy.testing.assert_array_equal(pipe.model.predict(docs)[0], after)


def test_nothing_to_learn_from_and_an_encoder_without_readers_are_coded_errors(checkpoint: Path) -> None:
    nlp = make_nlp()
    with pytest.raises(ValueError, match="XNER312"):
        nlp.initialize(lambda: make_examples(nlp)[0])
    unknown = tiny.make_unlabelled(nlp, ["Maria"], language="")
    with pytest.raises(ValueError, match=r"XNER316.*doc\._\.language"):
        make_nlp().initialize(lambda: [*make_examples(nlp)[0], *unknown])
    # Without a second reader nobody has to know.
    make_nlp(target_reader=False).initialize(lambda: [*make_examples(nlp)[0], *unknown])
    nlp = tiny.make_nlp(checkpoint, {"objectives": {"own": OBJECTIVE}})
    with pytest.raises(ValueError, match=r"XNER313.*target_reader = false"):
        nlp.initialize(lambda: [eg for group in make_examples(nlp) for eg in group])


def test_objectives_of_a_loaded_tagger_have_not_begun() -> None:
    nlp = make_nlp()
    labelled, unlabelled = make_examples(nlp)
    nlp.initialize(lambda: [*labelled, *unlabelled])
    loaded = make_nlp().from_bytes(nlp.to_bytes())
    with pytest.raises(ValueError, match=r"XNER315.*\(own\).*initialize\.components\.ner\]"):
        loaded.update(unlabelled)


def test_defaults_are_the_papers() -> None:
    objective = create_augmented_tuning()
    assert (objective.target_reader, objective.refresh_every, objective.start_after) == (True, 150, 0)


def test_a_tagger_that_listens_is_refused() -> None:
    nlp = spacy.blank("xx")
    nlp.add_pipe("tok2vec")
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 96}
    objectives = {"own": {**OBJECTIVE, "target_reader": False}}
    nlp.add_pipe("transformer_ner", config={"model": {"tok2vec": listener}, "objectives": objectives})
    labelled, unlabelled = make_examples(nlp)
    with pytest.raises(ValueError, match="XNER314"):
        nlp.initialize(lambda: [*labelled, *unlabelled])

"""The BiLSTM encoder: packing against a plain LSTM, what a word is read by, kept spellings, settings."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.vectors import Vectors
from thinc.api import Adam

from spacy_xner.bilstm.model import build_bilstm_encoder, read_words
from spacy_xner.bilstm.network import RANGE, BiLSTM, BiLSTMNetwork, Words, forget_rare
from spacy_xner.optimizer import SGD, create_adam_or_sgd, create_epoch_decay, create_sgd
from spacy_xner.shim import TorchShim
from spacy_xner.vectors.words import key_of

from tests.tiny import SENTENCES, fit, make_bilstm, make_examples, make_unlabelled

CFG = {
    "n_characters": 50,
    "character_width": 6,
    "character_hidden": 5,
    "word_hidden": 7,
    "tie_characters": False,
    "tie_words": False,
    "dense_width": 0,
    "vector_width": 3,
    "vector_scale": 2.0,
    "targets": [],
}


def make_words(lengths: list[int], seed: int = 0) -> Words:
    rng = torch.Generator().manual_seed(seed)
    n_characters = sum(lengths)
    return Words(
        torch.randn(len(lengths), CFG["vector_width"], generator=rng),
        torch.tensor([i % 2 == 0 for i in range(len(lengths))]),
        torch.randint(CFG["n_characters"], (n_characters,), generator=rng),
        torch.tensor(lengths),
    )


# Four words in documents of two, four and one token.
BATCH = (make_words([3, 1, 5, 2]), None, torch.tensor([0, 1, 2, 3, 2, 2, 0]), torch.tensor([2, 4, 1]))


def test_network_equals_reading_one_word_and_one_document_at_a_time() -> None:
    torch.manual_seed(0)
    network = BiLSTMNetwork(CFG).eval()
    found = network(*BATCH, torch.tensor([False] * 3))
    spelled = []
    for characters in BATCH[0].characters.split(BATCH[0].lengths.tolist()):
        _, (states, _) = network.source.character_lstm.lstm(network.characters(characters))
        spelled.append(states.flatten())
    vectors = torch.where(BATCH[0].has_vector[:, None], 2.0 * BATCH[0].vectors, network.unknown)
    inputs = torch.cat((vectors, torch.stack(spelled)), dim=1)[BATCH[2]]
    expected = [network.source.word_lstm.lstm(d)[0] for d in inputs.split(BATCH[3].tolist())]
    torch.testing.assert_close(found, torch.cat(expected))


@pytest.mark.parametrize("tied", [False, True])
def test_sequences_are_read_from_both_ends(tied: bool) -> None:
    torch.manual_seed(0)
    both = BiLSTM(3, 4, tied=tied)
    lengths = [2, 5, 1]
    inputs = torch.randn(sum(lengths), 3)
    states, last = both(inputs, torch.tensor(lengths))
    forward = backward = torch.nn.LSTM(3, 4)
    if tied:
        forward.load_state_dict(both.lstm.state_dict())
    else:
        weights = both.lstm.state_dict()
        backward = torch.nn.LSTM(3, 4)
        forward.load_state_dict({n: w for n, w in weights.items() if not n.endswith("_reverse")})
        backward.load_state_dict(
            {n.removesuffix("_reverse"): w for n, w in weights.items() if n.endswith("_reverse")}
        )
    for i, (found, own) in enumerate(zip(states.split(lengths), inputs.split(lengths), strict=True)):
        there, back = forward(own)[0], backward(own.flip(0))[0].flip(0)
        torch.testing.assert_close(found, torch.cat((there, back), dim=1))
        torch.testing.assert_close(last[i], torch.cat((there[-1], back[0])))


def test_tied_directions_read_a_mirrored_text_as_its_mirror() -> None:
    torch.manual_seed(0)
    both = BiLSTM(3, 4, tied=True)
    inputs, lengths = torch.randn(5, 3), torch.tensor([5])
    there, back = both(inputs, lengths)[0].chunk(2, dim=1)
    mirrored = both(inputs.flip(0), lengths)[0].flip(0)
    torch.testing.assert_close(mirrored, torch.cat((back, there), dim=1))


@pytest.mark.parametrize("dense_width", [0, 6])
def test_a_targets_reader_begins_as_the_sources_and_then_goes_its_own_way(dense_width: int) -> None:
    torch.manual_seed(0)
    network = BiLSTMNetwork(CFG | {"targets": ["es"], "dense_width": dense_width}).eval()
    network.start_target()
    nobody, everybody = torch.tensor([False] * 3), torch.tensor([True] * 3)
    before = network(*BATCH, nobody)
    torch.testing.assert_close(network(*BATCH, everybody), before)
    learnt = network(*BATCH, everybody).square().sum()
    learnt.backward()
    # The source's reader guides, and does not learn from what the target's makes of it.
    assert all(p.grad is None for p in network.source.parameters())
    assert network.characters.weight.grad is not None
    with torch.no_grad():
        for parameter in network.target.parameters():
            parameter += 0.5
    some = network(*BATCH, torch.tensor([False, True, False]))
    torch.testing.assert_close(some[[0, 1, 6]], before[[0, 1, 6]])
    assert not torch.allclose(some[2:6], before[2:6])
    kept = network.spell(BATCH[0])
    torch.testing.assert_close(network(BATCH[0], kept, *BATCH[2:], everybody)[2:6], some[2:6])


def test_weights_begin_within_the_papers_range_or_as_torchs() -> None:
    uniform = torch.cat([p.flatten() for p in BiLSTMNetwork(CFG).parameters()])
    assert 0.9 * RANGE < uniform.abs().max() <= RANGE
    network = BiLSTMNetwork(CFG | {"initialisation": "torch"})
    # torch draws embeddings from a normal distribution.
    assert network.characters.weight.std() > 0.5
    assert "unknown" in network.state_dict()
    assert "unknown" not in dict(network.named_parameters())


def test_an_unknown_word_is_as_loud_as_a_known_one() -> None:
    network = BiLSTMNetwork(CFG | {"vector_width": 3000})
    assert float((network.unknown**2).mean()) == pytest.approx(1.0, abs=0.1)


WORDS = tuple(f"{a}{b}{c}" for a in "kst" for b in "aiou" for c in "lnr")


@pytest.mark.parametrize(
    ("initialisation", "balance"), [("torch", "scale"), ("uniform", "scale"), ("torch", "normalise")]
)
def test_characters_and_vectors_are_equally_loud_at_the_start(initialisation: str, balance: str) -> None:
    """Words differ as much in their characters' states as in their vectors, within 1:3."""

    def ratio(**settings: Any) -> float:
        nlp = make_bilstm(WORDS, initialisation=initialisation, **settings)
        docs = [nlp.make_doc(" ".join(WORDS[i::3])) for i in range(3)]
        encoder = encoder_of(nlp)
        encoder.initialize(X=docs)
        network = encoder.shims[0].network.eval()
        # Words that were not there when the scale was chosen.
        words = read_words(encoder, nlp.vocab, [*WORDS[::2], "Maria", "Lissabon", "Nokia", "Helsinki"])
        vectors = network.read_vectors(words)[words.has_vector]
        spelled = network.spell(words)
        return float((spelled.var(dim=0).mean() / vectors.var(dim=0).mean()).sqrt().detach())

    assert 1 / 3 < ratio(balance=balance) < 3
    assert ratio(balance="none") < (0.1 if initialisation == "uniform" else 0.5)


def test_normalised_halves_have_one_size_in_every_word() -> None:
    network = BiLSTMNetwork(CFG | {"normalise": True, "initialisation": "torch"})
    words = make_words([3, 1, 5])._replace(has_vector=torch.tensor([True, True, False]))
    for rows in (network.spell(words), network.read_vectors(words)[:2]):
        torch.testing.assert_close(rows.mean(dim=1), torch.zeros(len(rows)), atol=1e-4, rtol=0)
        torch.testing.assert_close(rows.var(dim=1, correction=0), torch.ones(len(rows)), atol=0.05, rtol=0)
    torch.testing.assert_close(network.read_vectors(words)[2], network.unknown)


def test_adam_or_sgd_by_name() -> None:
    """Both step as the optimizer that they name, and clip by norm."""
    weights, gradient = numpy.array([1.0, 2.0], "float32"), numpy.array([3.0, 4.0], "float32")
    expected = {
        "sgd": create_sgd(0.1, 0.9, 0.0, 1.0), "adam": Adam(0.1, beta1=0.9, L2=0.0, grad_clip=1.0)
    }  # fmt: skip
    for method, other in expected.items():
        optimizer = create_adam_or_sgd(0.1, method, use_averages=False)
        stepped = [o((1, "W"), weights.copy(), gradient.copy())[0] for o in (optimizer, other)]
        numpy.testing.assert_array_equal(*stepped)
        assert not numpy.array_equal(stepped[0], weights)
    assert isinstance(create_adam_or_sgd(0.1, "sgd", clip=2.0), SGD)
    with pytest.raises(ValueError, match="XNER623"):
        create_adam_or_sgd(0.1, "adam", clip=2.0)


def test_rare_words_are_read_without_their_vectors() -> None:
    torch.manual_seed(0)
    has_vector = torch.tensor([True] * 10 + [False] * 2)
    counts = torch.tensor([1] * 5 + [1000] * 5 + [1] * 2)
    draws = torch.stack([forget_rare(has_vector, counts, 0.25) for _ in range(400)])
    forgotten = (has_vector & ~draws).float()
    assert not draws[:, 10:].any()
    assert float(forgotten[:, :10].mean()) == pytest.approx(0.25, abs=0.03)
    assert float(forgotten[:, :5].mean()) > 0.45
    assert float(forgotten[:, 5:10].mean()) < 0.05
    assert torch.equal(forget_rare(has_vector, counts, 0.0), has_vector)
    assert not forget_rare(has_vector, counts, 1.0).any()


def test_words_are_forgotten_in_training_alone() -> None:
    nlp = make_bilstm(("maria", "nokia", "lisbon", "the"), unknown_rate=1.0)
    examples = make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    network = encoder_of(nlp).shims[0].network
    nlp.update(examples, sgd=optimizer, drop=0.0)
    assert network.n_read[nlp.vocab.strings["Nokia"]] == 1
    # What training does not see of the vectors, prediction does.
    before = encoder_of(nlp).predict([nlp.make_doc("Nokia")])[0]
    nlp.vocab.vectors.data = nlp.vocab.vectors.data * 2
    assert not numpy.allclose(before, encoder_of(nlp).predict([nlp.make_doc("Nokia")])[0])
    states = []
    for _ in range(2):
        states.append(encoder_of(nlp).begin_update([nlp.make_doc("Nokia")])[0][0])
        nlp.vocab.vectors.data = nlp.vocab.vectors.data * 2
    numpy.testing.assert_allclose(states[0], states[1])


def test_dropout_acts_on_the_vectors_in_training_alone() -> None:
    nlp = make_bilstm(("maria", "nokia"), vector_dropout=0.5)
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    doc = nlp.make_doc("Nokia")
    trained = [encoder_of(nlp).begin_update([doc])[0][0] for _ in range(8)]
    assert any(not numpy.allclose(trained[0], other) for other in trained[1:])
    numpy.testing.assert_array_equal(encoder_of(nlp).predict([doc])[0], encoder_of(nlp).predict([doc])[0])


def test_characters_or_vectors_alone() -> None:
    lengths, tokens = torch.tensor([3]), torch.tensor([0, 1, 1])
    words = make_words([2, 4])
    for cfg in (CFG | {"n_characters": 0}, CFG | {"vector_width": 0}):
        own = words._replace(vectors=words.vectors[:, : cfg["vector_width"]])
        assert BiLSTMNetwork(cfg)(own, None, tokens, lengths, torch.tensor([False])).shape == (3, 14)


def test_it_learns_and_finds_in_any_batch_what_it_finds_alone() -> None:
    nlp = make_bilstm()
    losses = fit(nlp, make_examples(nlp), "ner", 80, 0.02)
    assert losses[-1] < 0.1 * losses[0]
    texts = [text for text, _, _ in SENTENCES] + ["", "   ", "Maria"]
    piped = [[(e.text, e.label_) for e in doc.ents] for doc in nlp.pipe(texts, batch_size=4)]
    assert piped == [[(e.text, e.label_) for e in nlp(text).ents] for text in texts]
    assert piped[1] == [("Toyota", "ORG"), ("Nokia", "ORG")]


def encoder_of(nlp: Language):
    return nlp.get_pipe("ner").model.get_ref("tok2vec")


def test_words_are_looked_up_as_written_then_in_lower_case() -> None:
    words = ["Nokia", "nokia", "Maria", "maria", "Lisbon", "2019", "http://a.b"]
    cased = make_bilstm(("Nokia", "maria", "num"), lower=False)
    fit(cased, make_examples(cased), "ner", 1, 0.02)
    found = read_words(encoder_of(cased), cased.vocab, words)
    assert found.has_vector.tolist() == [True, False, True, True, False, True, False]
    torch.testing.assert_close(found.vectors[2], found.vectors[3])
    lower = make_bilstm(("Nokia", "maria", "num"))
    fit(lower, make_examples(lower), "ner", 1, 0.02)
    found = read_words(encoder_of(lower), lower.vocab, words)
    # What is lower-cased is what characters read: a table may know names in capitals alone.
    assert found.has_vector.tolist() == [True, False, True, True, False, True, False]


def test_a_tagger_goes_on_where_there_are_more_vectors_and_from_one_with_two_readers(tmp_path: Path) -> None:
    teacher = make_bilstm(("maria", "nokia"))
    fit(teacher, make_examples(teacher), "ner", 5, 0.02)
    objectives = {"own": {"@misc": "spacy_xner.augmented_tuning.v1"}}
    augmented = make_bilstm(("maria", "nokia"), {"objectives": objectives})
    unlabelled = make_unlabelled(augmented, ["Maria"])
    augmented.initialize(lambda: [*make_examples(augmented), *unlabelled])
    for name, nlp in (("teacher", teacher), ("augmented", augmented)):
        nlp.to_disk(tmp_path / name)
        student = make_bilstm(("maria", "nokia", "lisbon"))
        student.get_pipe("ner").initialize(
            lambda student=student: make_examples(student), nlp=student, weights=tmp_path / name
        )
        kept = [encoder_of(pipeline).shims[0].network.state_dict() for pipeline in (nlp, student)]
        assert kept[0].keys() == kept[1].keys()
        assert all(torch.equal(kept[0][key], kept[1][key]) for key in kept[0])


def test_words_of_two_languages_that_are_spelled_alike_have_two_vectors() -> None:
    keys = tuple(key_of(word, language) for language in ("en", "es") for word in ("nokia", "maria"))
    nlp = make_bilstm(keys, vectors_by_language=True)
    fit(nlp, make_examples(nlp), "ner", 1, 0.02)
    found = read_words(encoder_of(nlp), nlp.vocab, ["Nokia"] * 3, ["en", "es", "fr"])
    assert found.has_vector.tolist() == [True, True, False]
    assert not torch.equal(found.vectors[0], found.vectors[1])
    # The same words in one batch, and in batches of their own.
    docs = [nlp.make_doc("Nokia Maria") for _ in range(3)]
    for doc, language in zip(docs, ("en", "es", None), strict=True):
        doc._.language = language
    together = encoder_of(nlp).predict(docs)
    for doc, vectors in zip(docs, together, strict=True):
        numpy.testing.assert_allclose(encoder_of(nlp).predict([doc])[0], vectors, atol=1e-5)
    assert not numpy.allclose(together[0], together[1])


def test_floret_makes_a_vector_of_any_word() -> None:
    nlp = make_bilstm(("maria",))
    data = numpy.random.default_rng(0).normal(size=(50, 4)).astype("float32") / 7
    nlp.vocab.vectors = Vectors(
        data=data, mode="floret", minn=2, maxn=3, hash_count=2, strings=nlp.vocab.strings
    )
    fit(nlp, make_examples(nlp), "ner", 1, 0.02)
    network = encoder_of(nlp).shims[0].network
    words = sorted({token.text for eg in make_examples(nlp) for token in eg.reference})
    read = read_words(encoder_of(nlp), nlp.vocab, [*words, "Unseen"])
    assert read.has_vector.all()
    assert not torch.equal(read.vectors[0], read.vectors[-1])
    # The rows of the table are added up to vectors: these are to have the size, not the rows.
    seen = network.vector_scale * read.vectors[:-1]
    assert float((seen**2).mean()) == pytest.approx(1.0, rel=1e-3)


def spelling(nlp: Language, word: str) -> list[int]:
    return read_words(encoder_of(nlp), nlp.vocab, [word]).characters.tolist()


def test_characters_are_lower_cased_and_romanised() -> None:
    nlp = make_bilstm(lower=True)
    fit(nlp, make_examples(nlp), "ner", 1, 0.02)
    assert spelling(nlp, "Москва") == spelling(nlp, "moskva") == spelling(nlp, "Moskva")
    assert spelling(nlp, "12.5") == spelling(nlp, "num")
    as_written = make_bilstm(romanise=False)
    fit(as_written, make_examples(as_written), "ner", 1, 0.02)
    spellings = [spelling(as_written, word) for word in ("Москва", "Moskva", "moskva")]
    assert spellings[0] != spellings[1] != spellings[2]


@pytest.mark.parametrize("word", ["\u200d", "\u0301", "x" * 5000, "\U0001f600", "\x00"])
def test_strange_words_are_read(word: str) -> None:
    nlp = make_bilstm()
    fit(nlp, make_examples(nlp), "ner", 1, 0.02)
    assert 1 <= len(spelling(nlp, word)) <= 100
    nlp(f"{word} Nokia")


def test_spellings_are_forgotten_when_weights_change() -> None:
    nlp = make_bilstm()
    examples = make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    docs = [example.predicted for example in examples]
    model = nlp.get_pipe("ner").model
    for _ in range(3):
        before = [vectors.copy() for vectors in model.predict(docs)]
        nlp.update(examples, sgd=optimizer)
        after = model.predict(docs)
        encoder_of(nlp).shims[0].network.spellings.clear()
        fresh = model.predict(docs)
        for a, b, c in zip(before, after, fresh, strict=True):
            numpy.testing.assert_array_equal(b, c)
            assert not numpy.allclose(a, b)


def test_dropout_of_training_acts_on_what_characters_give() -> None:
    nlp = make_bilstm()
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    nlp.update(examples, drop=0.5, sgd=nlp.create_optimizer())
    assert encoder_of(nlp).shims[0].network.dropout.p == 0.5
    nlp.update(examples, drop=0.0, sgd=nlp.create_optimizer())
    assert encoder_of(nlp).shims[0].network.dropout.p == 0.0


def test_nothing_to_read_and_other_vectors_are_coded_errors() -> None:
    nlp = make_bilstm(use_characters=False)
    with pytest.raises(ValueError, match="XNER613"):
        nlp.initialize(lambda: make_examples(nlp))
    nlp = make_bilstm(("maria",))
    fit(nlp, make_examples(nlp), "ner", 1, 0.02)
    nlp.vocab.vectors = Vectors(shape=(1, 9))
    with pytest.raises(ValueError, match="XNER614"):
        nlp("Maria")


def test_vectors_of_another_language_are_noticed() -> None:
    nlp = make_bilstm(("kissa", "koira"))
    with pytest.raises(ValueError, match="XNER615"):
        nlp.initialize(lambda: make_examples(nlp))


def test_vectors_of_any_length_are_brought_to_one_size() -> None:
    scales = []
    for factor in (1.0, 0.01):
        nlp = make_bilstm(("maria", "nokia"))
        nlp.vocab.vectors.data = nlp.vocab.vectors.data.astype("float32") * factor
        nlp.initialize(lambda nlp=nlp: make_examples(nlp))
        scale = encoder_of(nlp).shims[0].network.vector_scale
        scales.append(scale)
        assert (nlp.vocab.vectors.data**2).mean() * scale**2 == pytest.approx(1)
    assert scales[1] == pytest.approx(100 * scales[0])


def test_settings_reach_the_network() -> None:
    encoder = build_bilstm_encoder(
        use_vectors=False, character_width=3, character_hidden=4, word_hidden=5, n_characters=6
    )
    encoder.initialize(X=[spacy.blank("xx")("a b")])
    network = encoder.shims[0].network
    assert network.characters.weight.shape == (6, 3)
    assert network.source.character_lstm.lstm.hidden_size == 4
    assert network.source.word_lstm.lstm.hidden_size == 5
    assert encoder.get_dim("nO") == 10
    plain = sum(parameter.numel() for parameter in network.source.word_lstm.parameters())
    tied = build_bilstm_encoder(
        use_vectors=False,
        character_hidden=4,
        word_hidden=5,
        tie_words=True,
        tie_characters=True,
        dense_width=7,
    )
    tied.initialize(X=[spacy.blank("xx")("a b")])
    network = tied.shims[0].network
    assert sum(parameter.numel() for parameter in network.source.word_lstm.parameters()) == plain / 2
    assert not network.source.character_lstm.lstm.bidirectional
    assert tied.get_dim("nO") == tied.predict([spacy.blank("xx")("a b")])[0].shape[1] == 7


def test_momentum_and_clipping_step_as_torchs_sgd_does() -> None:
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    shim = TorchShim(lambda cfg: torch.nn.Linear(3, 2))
    shim.start({})
    shim.network.load_state_dict(network.state_dict())
    ours = create_sgd(0.1, momentum=0.9, clip=0.5)
    theirs = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(4):
        x = torch.randn(5, 3)
        for own in (network, shim.network):
            own(x).square().sum().backward()
        torch.nn.utils.clip_grad_value_(network.parameters(), 0.5)
        theirs.step()
        theirs.zero_grad()
        shim.finish_update(ours)
    torch.testing.assert_close(shim.network.weight, network.weight)
    assert isinstance(ours, SGD)
    assert ours.averages is None


def test_gradients_are_clipped_by_their_norm_as_torch_does() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 3, requires_grad=True)
    gradient = 10 * torch.randn(4, 3)
    weight.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_([weight], 0.5)
    reference = torch.optim.SGD([weight], lr=0.1)
    before = weight.detach().numpy().copy()
    reference.step()
    optimizer = create_sgd(0.1, momentum=0.0, clip=0.0, clip_norm=0.5)
    stepped, _ = optimizer((0, "w"), before.copy(), gradient.numpy().copy())
    numpy.testing.assert_allclose(stepped, weight.detach().numpy(), rtol=1e-4)
    short = 0.01 * gradient.numpy() / gradient.norm().item()
    stepped, _ = optimizer((0, "v"), before.copy(), short.copy())
    numpy.testing.assert_allclose(stepped, before - 0.1 * short, rtol=1e-4)


def test_averages_are_those_of_thinc_without_its_beginning_at_nothing() -> None:
    optimizer = create_sgd(0.1, use_averages=True)
    rng = numpy.random.default_rng(0)
    weights, average = rng.normal(size=(3, 2)).astype("float32"), numpy.zeros(())
    for step in range(1, 30):
        weights, _ = optimizer((0, "w"), weights, rng.normal(size=(3, 2)).astype("float32"))
        share = (1 + step) / (10 + step) if step > 1 else 0.0
        average = share * average + (1 - share) * weights
        numpy.testing.assert_allclose(optimizer.averages[0, "w"], average, rtol=1e-4)
    assert not numpy.allclose(average, weights, atol=0.1)


def test_the_rate_falls_after_every_epoch_down_to_the_floor() -> None:
    rates = create_epoch_decay(0.01, 0.05, 2, floor=0.0091)
    expected = [0.01, 0.01, 0.01 / 1.05, 0.01 / 1.05, 0.0091, 0.0091]
    assert [next(rates) for _ in range(6)] == pytest.approx(expected)
    optimizer = create_sgd(create_epoch_decay(0.01, 0.05, 1))
    optimizer.step_schedules()
    assert optimizer.learn_rate == pytest.approx(0.01 / 1.05)

"""The BiLSTM encoder: packing against a plain LSTM, what a word is read by, kept spellings, settings."""

from pathlib import Path

import numpy
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.vectors import Vectors

from spacy_xner.bilstm.model import build_bilstm_encoder, read_words
from spacy_xner.bilstm.network import RANGE, BiLSTMNetwork, Words
from spacy_xner.optimizer import SGD, create_epoch_decay, create_sgd
from spacy_xner.shim import TorchShim

from tests.tiny import SENTENCES, TOKENIZER, _fit, make_examples

SMALL = {"character_width": 8, "character_hidden": 8, "word_hidden": 8, "n_characters": 256}
CFG = {
    "n_characters": 50,
    "character_width": 6,
    "character_hidden": 5,
    "word_hidden": 7,
    "vector_width": 3,
    "vector_scale": 2.0,
}


def make_nlp(words: tuple[str, ...] = (), **settings) -> Language:
    nlp = spacy.blank("xx", config={"nlp": {"tokenizer": {"@tokenizers": TOKENIZER}}})
    if words:
        data = numpy.random.default_rng(0).normal(size=(len(words), 4)).astype("float16")
        keys = [nlp.vocab.strings.add(word) for word in words]
        nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, keys=keys)
    encoder = {"@architectures": "spacy_xner.BiLSTMEncoder.v1", **SMALL, **settings}
    nlp.add_pipe("bilstm_crf_ner", name="ner", config={"model": {"tok2vec": encoder}})
    return nlp


def make_words(lengths: list[int], seed: int = 0) -> Words:
    rng = torch.Generator().manual_seed(seed)
    n_characters = sum(lengths)
    return Words(
        torch.randn(len(lengths), CFG["vector_width"], generator=rng),
        torch.tensor([i % 2 == 0 for i in range(len(lengths))]),
        torch.randint(CFG["n_characters"], (n_characters,), generator=rng),
        torch.tensor(lengths),
    )


def test_network_equals_reading_one_word_and_one_document_at_a_time() -> None:
    torch.manual_seed(0)
    network = BiLSTMNetwork(CFG).eval()
    words = make_words([3, 1, 5, 2])
    tokens = torch.tensor([0, 1, 2, 3, 2, 2, 0])
    lengths = torch.tensor([2, 4, 1])
    found = network(words, None, tokens, lengths)
    spelled = []
    for characters in words.characters.split(words.lengths.tolist()):
        _, (states, _) = network.character_lstm(network.characters(characters))
        spelled.append(states.flatten())
    vectors = torch.where(words.has_vector[:, None], 2.0 * words.vectors, network.unknown)
    inputs = torch.cat((vectors, torch.stack(spelled)), dim=1)[tokens]
    expected = [network.word_lstm(document)[0] for document in inputs.split(lengths.tolist())]
    torch.testing.assert_close(found, torch.cat(expected))


def test_weights_and_the_vector_of_unknown_words_begin_within_the_papers_range() -> None:
    network = BiLSTMNetwork(CFG)
    numbers = torch.cat([tensor.flatten() for tensor in network.state_dict().values()])
    assert numbers.abs().max() <= RANGE
    assert numbers.abs().max() > 0.9 * RANGE
    assert "unknown" in network.state_dict()
    assert "unknown" not in dict(network.named_parameters())


def test_characters_or_vectors_alone() -> None:
    lengths, tokens = torch.tensor([3]), torch.tensor([0, 1, 1])
    words = make_words([2, 4])
    for cfg in (CFG | {"n_characters": 0}, CFG | {"vector_width": 0}):
        own = words._replace(vectors=words.vectors[:, : cfg["vector_width"]])
        assert BiLSTMNetwork(cfg)(own, None, tokens, lengths).shape == (3, 14)


def test_it_learns_and_finds_in_any_batch_what_it_finds_alone() -> None:
    nlp = make_nlp()
    losses = _fit(nlp, make_examples(nlp), "ner", 80, 0.02)
    assert losses[-1] < 0.1 * losses[0]
    texts = [text for text, _, _ in SENTENCES] + ["", "   ", "Maria"]
    piped = [[(e.text, e.label_) for e in doc.ents] for doc in nlp.pipe(texts, batch_size=4)]
    assert piped == [[(e.text, e.label_) for e in nlp(text).ents] for text in texts]
    assert piped[1] == [("Toyota", "ORG"), ("Nokia", "ORG")]


def test_round_trips_to_disk_and_bytes_under_another_seed(tmp_path: Path) -> None:
    nlp = make_nlp(("maria", "nokia"))
    _fit(nlp, make_examples(nlp), "ner", 10, 0.02)
    nlp.to_disk(tmp_path / "nlp")
    torch.manual_seed(99)
    loaded = spacy.load(tmp_path / "nlp")
    other = make_nlp(("maria", "nokia"))
    other.from_bytes(nlp.to_bytes())
    docs = [nlp.make_doc(text) for text, _, _ in SENTENCES]
    expected = nlp.get_pipe("ner").model.predict(docs)
    for again in (loaded, other):
        docs = [again.make_doc(text) for text, _, _ in SENTENCES]
        for a, b in zip(again.get_pipe("ner").model.predict(docs), expected, strict=True):
            numpy.testing.assert_array_equal(a, b)


def test_n_process(tmp_path: Path) -> None:
    nlp = make_nlp(("maria",))
    _fit(nlp, make_examples(nlp), "ner", 30, 0.02)
    texts = [text for text, _, _ in SENTENCES] * 2
    alone = [[e.text for e in doc.ents] for doc in nlp.pipe(texts)]
    assert [[e.text for e in doc.ents] for doc in nlp.pipe(texts, n_process=2)] == alone


def encoder_of(nlp: Language):
    return nlp.get_pipe("ner").model.get_ref("tok2vec")


def test_words_are_looked_up_as_written_then_in_lower_case() -> None:
    words = ["Nokia", "nokia", "Maria", "maria", "Lisbon", "2019", "http://a.b"]
    cased = make_nlp(("Nokia", "maria", "num"), lower=False)
    _fit(cased, make_examples(cased), "ner", 1, 0.02)
    found = read_words(encoder_of(cased), cased.vocab, words)
    assert found.has_vector.tolist() == [True, False, True, True, False, True, False]
    torch.testing.assert_close(found.vectors[2], found.vectors[3])
    lower = make_nlp(("Nokia", "maria", "num"))
    _fit(lower, make_examples(lower), "ner", 1, 0.02)
    found = read_words(encoder_of(lower), lower.vocab, words)
    assert found.has_vector.tolist() == [False, False, True, True, False, True, False]


def spelling(nlp: Language, word: str) -> list[int]:
    return read_words(encoder_of(nlp), nlp.vocab, [word]).characters.tolist()


def test_characters_are_lower_cased_and_romanised() -> None:
    nlp = make_nlp()
    _fit(nlp, make_examples(nlp), "ner", 1, 0.02)
    assert spelling(nlp, "Москва") == spelling(nlp, "moskva") == spelling(nlp, "Moskva")
    assert spelling(nlp, "12.5") == spelling(nlp, "num")
    plain = make_nlp(romanise=False, lower=False)
    _fit(plain, make_examples(plain), "ner", 1, 0.02)
    assert spelling(plain, "Москва") != spelling(plain, "Moskva") != spelling(plain, "moskva")


@pytest.mark.parametrize("word", ["\u200d", "\u0301", "x" * 5000, "\U0001f600", "\x00"])
def test_strange_words_are_read(word: str) -> None:
    nlp = make_nlp()
    _fit(nlp, make_examples(nlp), "ner", 1, 0.02)
    assert 1 <= len(spelling(nlp, word)) <= 100
    nlp(f"{word} Nokia")


def test_kept_spellings_are_forgotten_when_weights_change() -> None:
    nlp = make_nlp()
    examples = make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    docs = [example.predicted for example in examples]
    model = nlp.get_pipe("ner").model
    for _ in range(3):
        before = [vectors.copy() for vectors in model.predict(docs)]
        nlp.update(examples, sgd=optimizer)
        after = model.predict(docs)
        encoder_of(nlp).shims[0].network.kept.clear()
        fresh = model.predict(docs)
        for a, b, c in zip(before, after, fresh, strict=True):
            numpy.testing.assert_array_equal(b, c)
            assert not numpy.allclose(a, b)


def test_dropout_of_training_acts_on_what_characters_give() -> None:
    nlp = make_nlp()
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    nlp.update(examples, drop=0.5, sgd=nlp.create_optimizer())
    assert encoder_of(nlp).shims[0].network.dropout.p == 0.5
    nlp.update(examples, drop=0.0, sgd=nlp.create_optimizer())
    assert encoder_of(nlp).shims[0].network.dropout.p == 0.0


def test_nothing_to_read_and_other_vectors_are_coded_errors() -> None:
    nlp = make_nlp(use_characters=False)
    with pytest.raises(ValueError, match="XNER613"):
        nlp.initialize(lambda: make_examples(nlp))
    nlp = make_nlp(("maria",))
    _fit(nlp, make_examples(nlp), "ner", 1, 0.02)
    nlp.vocab.vectors = Vectors(shape=(1, 9))
    with pytest.raises(ValueError, match="XNER614"):
        nlp("Maria")


def test_vectors_of_another_language_are_noticed() -> None:
    nlp = make_nlp(("kissa", "koira"))
    with pytest.raises(ValueError, match="XNER615"):
        nlp.initialize(lambda: make_examples(nlp))


def test_vectors_of_any_length_are_brought_to_one_size() -> None:
    scales = []
    for factor in (1.0, 0.01):
        nlp = make_nlp(("maria", "nokia"))
        nlp.vocab.vectors.data = nlp.vocab.vectors.data.astype("float32") * factor
        nlp.initialize(lambda nlp=nlp: make_examples(nlp))
        scale = encoder_of(nlp).shims[0].network.vector_scale
        scales.append(scale)
        assert (nlp.vocab.vectors.data**2).mean() * scale**2 == pytest.approx(1)
    assert scales[1] == pytest.approx(100 * scales[0])


def test_settings_reach_the_network() -> None:
    encoder = build_bilstm_encoder(character_width=3, character_hidden=4, word_hidden=5, n_characters=6)
    encoder.initialize(X=[spacy.blank("xx")("a b")])
    network = encoder.shims[0].network
    assert network.characters.weight.shape == (6, 3)
    assert network.character_lstm.hidden_size == 4
    assert network.word_lstm.hidden_size == 5
    assert encoder.get_dim("nO") == 10


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


def test_the_rate_falls_after_every_epoch_down_to_the_floor() -> None:
    rates = create_epoch_decay(0.01, 0.05, 2, floor=0.0091)
    expected = [0.01, 0.01, 0.01 / 1.05, 0.01 / 1.05, 0.0091, 0.0091]
    assert [next(rates) for _ in range(6)] == pytest.approx(expected)
    optimizer = create_sgd(create_epoch_decay(0.01, 0.05, 1))
    optimizer.step_schedules()
    assert optimizer.learn_rate == pytest.approx(0.01 / 1.05)

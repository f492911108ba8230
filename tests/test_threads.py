"""One pipeline in many threads, as a web server calls it: the same answers as in one thread."""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import ArgsKwargs, fix_random_seed

from spacy_xner.cache import TensorCache
from spacy_xner.corpus.docs import write_docs
from spacy_xner.shim import TorchShim
from spacy_xner.transformer import sharing
from spacy_xner.transformer.network import TransformerNetwork
from spacy_xner.vectors import romanise

from tests import tiny
from tests.modules import load_module

N_THREADS = 8
WAIT = 60.0  # Seconds after which a thread that waits for another one gives up.
TEXTS = [
    *tiny.TEXTS,
    " ".join(tiny.TEXTS),
    "Nokia bought Toyota in Lisbon. " * 12,
    "Ана уехала в Lisbon",
    "",
    *(f"{text} {number}" for number, text in enumerate(tiny.TEXTS)),
]


@pytest.fixture(scope="module")
def routed_folder(checkpoint, tmp_path_factory):
    """A routed pipeline on disk, whose components share frozen layers as soon as it is loaded."""
    fix_random_seed(0)
    path = tmp_path_factory.mktemp("routed")
    tiny.make_routed(checkpoint).to_disk(path)
    return path


@pytest.fixture
def eager_switching():
    """Let Python change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(function, inputs):
    """Call a function on all inputs in eight threads. RETURNS: The results in order."""
    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(function, inputs))


def answer(doc: Doc):
    """What a routed pipeline says of a document: names, and numbers."""
    spans = doc.spans.get("xner", ())
    entities = [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]
    names = (doc._.language, doc._.cluster, entities, [str(span) for span in spans])
    scores = list(spans.attrs["scores"]) if spans else []
    numbers = [*(doc._.language_scores or {}).values(), doc._.cluster_score or 0.0, *scores]
    return names, numbers


def networks(nlp):
    """All torch networks of a pipeline by the name of their component."""
    return [
        (name, shim.network)
        for name, pipe in nlp.pipeline
        if hasattr(pipe, "model")
        for node in pipe.model.walk()
        for shim in node.shims
    ]


def test_eight_threads_find_what_one_finds(routed_folder, eager_switching):
    nlp = spacy.load(routed_folder)
    texts = TEXTS * 12
    expected = {text: answer(spacy.load(routed_folder)(text)) for text in TEXTS}
    assert sum(len(names[2]) for names, _ in expected.values()) > 10
    for text, doc in zip(texts, in_threads(nlp, texts), strict=True):
        names, numbers = answer(doc)
        assert names == expected[text][0]
        assert numbers == pytest.approx(expected[text][1], abs=1e-6)


def make_bilstm(checkpoint):
    """A trained tagger on vectors and characters."""
    nlp = tiny.make_bilstm(("maria", "santos", "nokia", "lisbon"))
    tiny.train(nlp, n_steps=20)
    return nlp, [nlp.make_doc(text) for text in TEXTS]


def make_projector(checkpoint):
    """A pipeline that projects the entities of the same text."""
    nlp = tiny.make_projector(checkpoint)
    return nlp, [tiny.parallel(nlp, text, entities) for text, entities, _ in tiny.SENTENCES]


@pytest.mark.parametrize("make", [make_bilstm, make_projector])
def test_eight_threads_find_what_one_finds_with_vectors_and_by_projection(make, checkpoint, eager_switching):
    nlp, docs = make(checkpoint)

    def read(doc):
        # A copy: what a pipeline has written on a document must not be read again.
        copy = doc.copy()
        copy._.source = doc._.source
        return answer(nlp(copy))

    expected = [read(doc) for doc in docs]
    assert any(names[2] for names, _ in expected)
    # Spellings that were seen are held; each thread is to miss them.
    for node in nlp.get_pipe(nlp.pipe_names[-1]).model.walk():
        for shim in node.shims:
            getattr(shim._model, "spellings", TensorCache(1)).clear()
    repeats = 12
    for (names, numbers), (others, scores) in zip(
        in_threads(read, docs * repeats), expected * repeats, strict=True
    ):
        assert names == others
        assert numbers == pytest.approx(scores, abs=1e-6)


class MeetingNetwork(torch.nn.Module):
    """Dropout. The first caller leaves it when a second one has come, the second when the first has left."""

    def __init__(self, cfg):
        super().__init__()
        self.dropout = torch.nn.Dropout(0.5)
        self.came = [Event(), Event()]
        self.first_is_gone = Event()

    def forward(self, inputs, place):
        self.came[place].set()
        assert (self.first_is_gone if place else self.came[1]).wait(WAIT)
        return self.dropout(inputs)


def test_a_thread_that_is_done_does_not_turn_dropout_on_for_another():
    shim = TorchShim(MeetingNetwork)
    shim.start({})
    network, ones = shim.network, torch.ones(1000)

    def predict(place):
        return shim.predict(ArgsKwargs(args=(ones, place), kwargs={}))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(predict, 0)
        assert network.came[0].wait(WAIT)
        second = pool.submit(predict, 1)
        assert torch.equal(first.result(WAIT), ones)
        network.first_is_gone.set()
        assert torch.equal(second.result(WAIT), ones)


def test_networks_only_predict_unless_they_learn(checkpoint, routed_folder):
    for name, network in networks(spacy.load(routed_folder)):
        assert not any(module.training for module in network.modules()), name
    nlp = tiny.make_nlp(checkpoint, n_frozen_layers=1)
    modes = []
    optimizer = nlp.initialize(lambda: tiny.make_examples(nlp))
    for _, network in networks(nlp):
        assert not any(module.training for module in network.modules())
        network.register_forward_hook(lambda module, *_: modes.append(module.training))
    nlp.update(tiny.make_examples(nlp), sgd=optimizer)
    assert modes == [True, True]
    # Evaluation comes between two updates, and threads may go on while one learns elsewhere.
    nlp(tiny.TEXTS[0])
    assert modes == [True, True, False, False]
    assert not any(module.training for _, network in networks(nlp) for module in network.modules())


def test_a_training_step_that_fails_leaves_dropout_off():
    class Failing(torch.nn.Dropout):
        def forward(self, inputs):
            raise RuntimeError("no memory")

    shim = TorchShim(lambda cfg: Failing())
    shim.start({})
    with pytest.raises(RuntimeError, match="no memory"):
        shim.begin_update(ArgsKwargs(args=(torch.ones(2),), kwargs={}))
    assert not shim.network.training


def stack_of(nlp):
    """What the transformers of a pipeline share."""
    (stack,) = {net._stack for _, net in networks(nlp) if isinstance(net, TransformerNetwork)}
    return stack


def test_hidden_states_are_still_shared_after_many_threads(routed_folder, eager_switching, monkeypatch):
    # Room for a few texts, so that threads push each other's states out.
    monkeypatch.setattr(sharing, "CAPACITY", 300)
    nlp = spacy.load(routed_folder)
    in_threads(nlp, TEXTS * 12)
    stack = stack_of(nlp)
    left = stack.states.take(list(stack.states._tensors))
    assert stack.states.n_rows == 0
    assert all(len(states) <= 300 for states in left.values())
    runs = []
    for _, network in networks(nlp):
        if isinstance(network, TransformerNetwork):
            network.encoder.encoder.layer[0].register_forward_hook(lambda *_: runs.append(1))
    nlp(tiny.TEXTS[0])
    # The identifier computes the states; its tagger recalls them, as if nobody else had ever been here.
    assert len(runs) == 1


def test_networks_that_are_loaded_in_threads_share_one_stack(monkeypatch):
    class SlowStack(sharing.FrozenStack):
        def __init__(self, *args):
            # Time for other threads to look for a stack that is not there yet.
            time.sleep(0.05)
            super().__init__(*args)

    def load(number):
        layer = torch.nn.Linear(2, 2)
        torch.nn.init.constant_(layer.weight, 1.5)
        torch.nn.init.constant_(layer.bias, 2.5)
        return layer, sharing.share_stack(layer, [layer], "tokenizer", None)

    monkeypatch.setattr(sharing, "FrozenStack", SlowStack)
    layers, stacks = zip(*in_threads(load, range(N_THREADS)), strict=True)
    assert len(set(stacks)) == 1
    assert len({layer.weight.data_ptr() for layer in layers}) == 1
    assert set(stacks[0].users) == set(layers)


@pytest.mark.parametrize("capacity", [5, 50_000])
def test_eight_threads_spell_words_as_one_does(eager_switching, capacity):
    nlp = tiny.make_bilstm(("maria", "nokia"))
    tiny.train(nlp)
    nlp = spacy.blank("xx").from_config(nlp.config).from_bytes(nlp.to_bytes())
    (network,) = (net for _, net in networks(nlp) if hasattr(net, "spellings"))
    network.spellings = TensorCache(capacity)
    # Words that threads read for the first time at the same moment.
    texts = [f"{tiny.TEXTS[0]} Слово{number % 40} Word{number % 30}" for number in range(240)]
    found = [answer(doc) for doc in in_threads(nlp, texts)]
    assert 0 < len(network.spellings) <= capacity
    network.spellings.clear()
    for (names, numbers), doc in zip(found, map(nlp, texts), strict=True):
        assert names == answer(doc)[0]
        # Words are spelled together with other words, which changes the last digits.
        assert numbers == pytest.approx(answer(doc)[1], abs=1e-5)


def test_uroman_reads_in_one_thread_at_a_time(monkeypatch):
    read = []

    class Tables:
        def romanize_string(self, word):
            read.append(word)
            assert not romanise._uroman_lock._lock.acquire(blocking=False)
            return f"{word}!"

    monkeypatch.setattr(romanise, "_load_uroman", Tables)
    romanise._romanise.cache_clear()
    words = ["слово", "дело", "тело"] * N_THREADS
    assert in_threads(romanise.romanise, words) == [f"{word}!" for word in words]
    romanise._romanise.cache_clear()
    assert set(read) == set(words)


@pytest.fixture(scope="module")
def benchmark():
    """The module of the benchmark."""
    return load_module("benchmarks/threads.py")


@pytest.fixture
def corpus(tmp_path):
    """A folder of test sentences in two languages."""
    nlp = tiny.blank()
    docs = [example.reference for example in tiny.make_examples(nlp)]
    for language in ("en", "ru"):
        of_language = [doc for doc in docs if doc._.language == language]
        write_docs(of_language, tmp_path / f"{language}-tiny-test.spacy")
    return tmp_path


def test_the_benchmark_finds_no_other_answers(benchmark, routed_folder, corpus, tmp_path):
    out = tmp_path / "result.json"
    n_torch_threads = torch.get_num_threads()
    benchmark.main(routed_folder, corpus, calls=41, timed=20, rounds=2, out=out)
    result = json.loads(out.read_text())
    assert (result["calls"], result["texts"]) == (41, 4)
    assert list(result["words_per_second"])[-4:] == ["1", "2", "4", "8"]
    assert all(speed > 0 for speed in result["words_per_second"].values())
    assert result["other_answers"] == {"1": 0, "2": 0, "4": 0, "8": 0}
    assert result["largest_difference"] <= 1e-6
    assert result["machine_details"]["torch"] == torch.__version__
    assert result["compared"] == {"1": 20, "2": 20, "4": 20, "8": 41}
    assert {"commit", "versions"} <= set(result)
    assert torch.get_num_threads() == n_torch_threads


def test_the_benchmark_notices_other_answers(benchmark, corpus, tmp_path, monkeypatch):
    nlp = tiny.blank()

    def annotate(doc):
        in_pool = threading.current_thread() is not threading.main_thread()
        doc._.cluster_score = 0.5 + 2e-6 * in_pool
        return doc

    Language.component("differs_in_threads", func=annotate)
    nlp.add_pipe("differs_in_threads")
    monkeypatch.setattr(spacy, "load", lambda path: nlp)
    with pytest.raises(SystemExit) as stop:
        benchmark.main(tmp_path, corpus, calls=8, rounds=1, out=tmp_path / "result.json")
    assert stop.value.code == 1
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["other_answers"] == {"1": 8, "2": 8, "4": 8, "8": 8}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (([1], [0.5]), ([1], [0.25]), 0.25),
        (([1], []), ([1], []), 0.0),
        (([1], [0.5]), ([2], [0.5]), float("inf")),
        (([1], [0.5]), ([1], []), float("inf")),
        (([1], [float("nan"), 0.5]), ([1], [0.5, 0.5]), float("inf")),
    ],
)
def test_the_benchmark_compares_all_that_is_written(benchmark, one, other, expected):
    assert benchmark.difference(benchmark.Answer(*one), benchmark.Answer(*other)) == expected


@pytest.mark.parametrize("make", [tiny.make_nlp, lambda _: tiny.make_bilstm(("maria", "nokia"))])
def test_a_thread_need_not_know_the_device(checkpoint, monkeypatch, make):
    # thinc's default device is a thread's: after `require_gpu()` in one thread others still have the CPU.
    nlp = make(checkpoint)
    tiny.train(nlp, n_steps=2)
    expected = [answer(nlp(text)) for text in tiny.TEXTS]
    monkeypatch.setattr("thinc.util.get_torch_default_device", lambda: torch.device("meta"))
    assert [answer(nlp(text)) for text in tiny.TEXTS] == expected
    assert nlp.update(tiny.make_examples(nlp))["ner"] > 0

"""One pipeline in many threads, as a web server calls it: the same answers as in one thread."""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import spacy
import torch
from spacy.tokens import Doc
from thinc.api import ArgsKwargs, fix_random_seed

from spacy_xner.shim import TorchShim

from tests import tiny

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

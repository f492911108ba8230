"""Pipelines that were loaded from disk, in several processes: forked, and spawned as macOS and Windows do."""

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys

import pytest
import spacy
import torch
from thinc.api import fix_random_seed

from spacy_xner.shim import TorchShim
from spacy_xner.transformer.network import TransformerNetwork

from tests import tiny
from tests.test_threads import answer, networks

TEXTS = ["", *tiny.TEXTS, " ", *tiny.TEXTS]


def make_bilstm(checkpoint):
    nlp = tiny.make_bilstm(("maria", "nokia"))
    tiny.train(nlp)
    return nlp


def make_tagger(checkpoint):
    nlp = tiny.make_nlp(checkpoint, n_frozen_layers=1)
    tiny.train(nlp)
    return nlp


MAKERS = {"routed": tiny.make_routed, "tagger": make_tagger, "bilstm": make_bilstm}


@pytest.fixture(scope="module", params=MAKERS)
def folder(request, checkpoint, tmp_path_factory):
    """A trained pipeline on disk."""
    fix_random_seed(0)
    path = tmp_path_factory.mktemp(request.param)
    MAKERS[request.param](checkpoint).to_disk(path)
    return path


@pytest.fixture(
    params=[
        pytest.param(
            "fork",
            marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
        ),
        pytest.param("spawn", marks=pytest.mark.slow),
    ]
)
def start_method(request):
    """Start processes in this way."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(request.param, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


def test_two_processes_find_what_one_finds(folder, start_method):
    nlp = spacy.load(folder)
    docs = list(nlp.pipe(TEXTS, n_process=2, batch_size=4))
    assert [doc.text for doc in docs] == TEXTS
    assert sum(len(doc.ents) for doc in docs) > 5
    for doc, expected in zip(docs, nlp.pipe(TEXTS), strict=True):
        assert answer(doc)[0] == answer(expected)[0]
        assert answer(doc)[1] == pytest.approx(answer(expected)[1], abs=1e-5)


def frozen_layers(nlp):
    """Addresses of the shared weights of all transformers."""
    return [
        network.encoder.embeddings.word_embeddings.weight.data_ptr()
        for _, network in networks(nlp)
        if isinstance(network, TransformerNetwork)
    ]


def test_frozen_layers_are_shared_again_in_the_process_that_gets_them(checkpoint, tmp_path):
    fix_random_seed(0)
    tiny.make_routed(checkpoint).to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    expected = [answer(doc) for doc in nlp.pipe(tiny.TEXTS)]
    content = pickle.dumps(nlp)
    # As in another process, where there is nobody to share with yet.
    del nlp
    gc.collect()
    again = pickle.loads(content)
    assert len(frozen_layers(again)) == 3
    assert len(set(frozen_layers(again))) == 1
    transformers = [net for _, net in networks(again) if isinstance(net, TransformerNetwork)]
    assert len({id(network.tokenizer) for network in transformers}) == 1
    runs = []
    for network in transformers:
        network.encoder.encoder.layer[0].register_forward_hook(lambda *_: runs.append(1))
    found = [answer(doc) for doc in again.pipe(tiny.TEXTS)]
    # The identifier computes what the two taggers only recall.
    assert len(runs) == 1
    for (names, numbers), (other_names, other_numbers) in zip(found, expected, strict=True):
        assert names == other_names
        assert numbers == pytest.approx(other_numbers, abs=1e-5)


THREADS = """
import multiprocessing, pickle, sys, torch
def report(content, queue):
    torch.set_num_threads(2)
    pickle.loads(content)
    queue.put(torch.get_num_threads())
if __name__ == "__main__":
    content = open(sys.argv[1], "rb").read()
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=report, args=(content, queue))
    process.start()
    print("child", queue.get())
    process.join()
    report(content, queue)
    print("main", queue.get())
"""


def make_linear(cfg):
    return torch.nn.Linear(2, 2)


@pytest.mark.slow
def test_a_worker_takes_one_thread_and_a_program_that_reads_a_pickle_all_of_its_own(tmp_path):
    shim = TorchShim(make_linear)
    shim.start({})
    (tmp_path / "shim").write_bytes(pickle.dumps(shim))
    (tmp_path / "threads.py").write_text(THREADS)
    command = [sys.executable, str(tmp_path / "threads.py"), str(tmp_path / "shim")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split("\n")[:2] == ["child 1", "main 2"]

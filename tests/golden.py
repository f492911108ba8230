"""Golden values: what the default encoder gives for a sentence of each language, and how a tiny one learns.

They were written once, with transformers 4.53.2, and hold for every version that the package runs with.
Run as a module, this file writes them anew: `python -m tests.golden`.
"""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy
import torch
from numpy.typing import NDArray

from spacy_xner.transformer.checkpoint import describe, load_checkpoint
from spacy_xner.transformer.network import TransformerNetwork
from spacy_xner.transformer.wordpieces import cut_windows

from scripts.sample import read_sample
from tests import tiny

ENCODER = "multilingual-e5-small"
SAMPLE = Path("assets/sample")
FIXTURE = Path("tests/fixtures/golden/multilingual-e5-small.npz")
# Hidden states are stored as whole numbers: half a step of rounding is a quarter of the tolerance.
STEP = 5e-5
TRAINING = Path("tests/fixtures/golden/training.json")
N_STEPS = 20
TOLERANCE = 1e-4


class Golden(NamedTuple):
    """Wordpieces of all sentences one after the other, without special ones.

    lengths: Wordpieces a sentence. Shape: (n_sentences,).
    ids: Shape: (n_pieces,).
    offsets: First and end character. Shape: (n_pieces, 2).
    states: Last hidden states. Shape: (n_pieces, width).
    """

    lengths: NDArray[numpy.int64]
    ids: NDArray[numpy.int64]
    offsets: NDArray[numpy.int64]
    states: NDArray[numpy.float64]


def golden_texts() -> list[str]:
    """The first sentence of every language of the sample, in the order of the languages' codes."""
    return [next(read_sample(path))[1] for path in sorted(SAMPLE.glob("*.tsv"))]


def make_network(name: str = ENCODER) -> TransformerNetwork:
    """The network of an encoder, in float32 and without dropout."""
    encoder, tokenizer = load_checkpoint(name)
    return TransformerNetwork(
        describe(encoder, tokenizer), encoder=encoder, n_frozen_layers=-1,
        pooling="first", window=512, overlap=64, budget=512,
    ).eval()  # fmt: skip


def compute(network: TransformerNetwork, texts: list[str]) -> Golden:
    """Compute the values of the texts."""
    pieces = network.split(texts)
    windows = [cut_windows(len(p.ids), network.size, network.overlap, doc)[0] for doc, p in enumerate(pieces)]
    with torch.inference_mode():
        hidden = network.encode_windows(*network.pad_windows(pieces, windows)).numpy()
    return Golden(
        numpy.array([len(p.ids) for p in pieces], dtype="int64"),
        numpy.concatenate([p.ids for p in pieces]),
        numpy.concatenate([numpy.stack((p.starts, p.ends), axis=1) for p in pieces]),
        # The first state is the one of the special token before the text.
        numpy.concatenate([rows[1 : 1 + len(p.ids)] for rows, p in zip(hidden, pieces, strict=True)]),
    )


def read_golden() -> Golden:
    """Read the stored values."""
    with numpy.load(FIXTURE, allow_pickle=False) as stored:
        return Golden(
            *(stored[name].astype("int64") for name in ("lengths", "ids", "offsets")),
            stored["states"] * STEP,
        )


def write_golden() -> None:
    """Store the values as this environment computes them."""
    golden = compute(make_network(), golden_texts())
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    numpy.savez_compressed(
        FIXTURE,
        lengths=golden.lengths.astype("int32"),
        ids=golden.ids.astype("int32"),
        offsets=golden.offsets.astype("int32"),
        states=numpy.rint(golden.states / STEP).astype("int16"),
    )


def train_tiny(checkpoint: Path) -> dict[str, list[float]]:
    """Train taggers on the tiny transformer: the whole of it, and its upper layer beside an objective.

    RETURNS: By name of the training, the losses in nats step by step, and behind them the norm of every
        weight of the encoder in the end.
    """
    language_id = {"@misc": "spacy_xner.language_id.v1"}
    trainings = {
        "whole": ({"model": {"head": tiny.CRF_HEAD}}, -1),
        "frozen": ({"objectives": {"language": language_id}}, 1),
    }
    curves = {}
    for name, (config, n_frozen) in trainings.items():
        torch.manual_seed(0)
        nlp = tiny.make_nlp(checkpoint, config, n_frozen_layers=n_frozen)
        unlabelled = [
            *tiny.make_unlabelled(nlp, tiny.TEXTS),
            *tiny.make_unlabelled(nlp, tiny.TEXTS[:2], "de"),
        ]
        examples = [*tiny.make_examples(nlp), *unlabelled]
        steps = tiny.teach(nlp, examples, N_STEPS, 0.02)
        network = nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0].network
        norms = [float(parameter.detach().norm()) for _, parameter in sorted(network.named_parameters())]
        curves[name] = [sum(losses.values()) for losses in steps] + norms
    return curves


def write_training() -> None:
    """Store the trainings as this environment runs them."""
    with tempfile.TemporaryDirectory() as folder:
        curves = train_tiny(tiny.make_checkpoint(Path(folder)))
    TRAINING.write_text(json.dumps(curves, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_golden()
    write_training()

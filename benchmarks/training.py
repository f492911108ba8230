"""Sentences a second in training: this package against spacy-transformers with spaCy's `ner`.

One encoder, the same batches of the same sentences, the same optimizer as in the configs, both sides frozen
alike. The systems take turns batch by batch, with one thread, and their seconds are those of the processor,
so that other work on the machine slows none of them more than another.

python benchmarks/training.py CORPUS --out benchmarks/results/training.json
"""

import json
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import spacy
import torch
import typer
from record import Record, Table
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch
from thinc.api import Adam
from wasabi import msg

from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.transformer.checkpoint import load_checkpoint
from spacy_xner.transformer.freezing import freeze, make_sparse

from inference import build_spacy

SYSTEMS = {
    "spacy-transformers": "spacy-transformers + `ner`",
    "xner": "`transformer_ner`, float32",
    "xner-half": "`transformer_ner`, bfloat16",
    "xner-dense": "`transformer_ner`, float32, gradients of all word embeddings",
}
# Batches that warm up and do not count.
N_WARM = 2


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-train.spacy files.")],
    languages: Annotated[str, typer.Option(help="Comma-separated.")] = "de,en,es,fr",
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    n_sentences: Annotated[int, typer.Option(help="Sentences to train on.")] = 256,
    frozen: Annotated[str, typer.Option(help="Frozen layers, comma-separated.")] = "-1,0,6",
    batch_size: Annotated[int, typer.Option(help="Sentences a batch.")] = 32,
    systems: Annotated[str, typer.Option(help="Comma-separated.")] = "spacy-transformers,xner,xner-half",
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Measure every number of frozen layers; the first batches warm up and do not count."""
    torch.set_num_threads(1)
    record = Record(
        shlex.join(["python", "benchmarks/training.py", *sys.argv[1:]]),
        f"{n_sentences} WikiAnn sentences in {languages}, batches of {batch_size}, Adam with clipping "
        "and decay, both sides frozen alike, in turns batch by batch; one thread, sentences a second of the "
        "processor.",
    )
    names = systems.split(",")
    n_all = n_sentences + N_WARM * batch_size
    rows, figures = [], {}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder)
        model, tokenizer = load_checkpoint(encoder)
        model.save_pretrained(checkpoint)
        tokenizer.save_pretrained(checkpoint)
        del model
        for n_frozen in map(int, frozen.split(",")):
            trainers = [
                Trainer(name, checkpoint, corpus, languages.split(","), n_all, n_frozen) for name in names
            ]
            seconds = take_turns(trainers, batch_size)
            rates = {name: n_sentences / spent for name, spent in seconds.items()}
            figures[n_frozen] = rates
            base = rates[names[0]]
            rows.append(
                [describe(n_frozen), *(f"{rate:.1f} ({rate / base:.2f}x)" for rate in rates.values())]
            )
            msg.info(json.dumps({n_frozen: rates}))
            table = Table("Sentences a second in training", ["frozen", *(SYSTEMS[n] for n in names)], rows)
            if out is not None:
                record.write(out, [table], figures=figures)
    msg.table(table.rows, header=table.header, divider=True)


def describe(n_frozen: int) -> str:
    """Name what is frozen."""
    return {-1: "nothing", 0: "word embeddings"}.get(n_frozen, f"word embeddings and {n_frozen} layers")


class Trainer:
    """A pipeline that is trained, and its batches."""

    def __init__(
        self,
        system: str,
        checkpoint: Path,
        corpus: Path,
        languages: list[str],
        n_sentences: int,
        n_frozen: int,
    ) -> None:
        fix_random_seed(0)
        self.system = system
        self.nlp = build_spacy(system.replace("-dense", ""), checkpoint, train=True)
        reader = create_multilingual_corpus(
            corpus, "train", languages, limit=-(-n_sentences // len(languages))
        )
        self.examples: list[Example] = list(reader(self.nlp))[:n_sentences]
        self.nlp.initialize(lambda: self.examples[:50])
        freeze_encoder(self.nlp, system, n_frozen)
        self.optimizer: Any = Adam(5e-5, L2=0.01, grad_clip=1.0, use_averages=False)

    def learn(self, batch: list[Example]) -> float:
        """RETURNS: Seconds of the processor, the optimizer's step included."""
        start = time.process_time()
        self.nlp.update(batch, sgd=self.optimizer, losses={})
        return time.process_time() - start


def take_turns(trainers: list[Trainer], batch_size: int) -> dict[str, float]:
    """RETURNS: Seconds of all batches that count, by system."""
    seconds = dict.fromkeys((trainer.system for trainer in trainers), 0.0)
    turns = zip(*(minibatch(trainer.examples, batch_size) for trainer in trainers), strict=True)
    for number, batches in enumerate(turns):
        for trainer, batch in zip(trainers, batches, strict=True):
            spent = trainer.learn(batch)
            seconds[trainer.system] += spent if number >= N_WARM else 0.0
    return seconds


def freeze_encoder(nlp: spacy.Language, system: str, n_frozen: int) -> None:
    """Freeze the same layers on both sides."""
    if system == "spacy-transformers":
        freeze(nlp.get_pipe("transformer").model.transformer, n_frozen)
    else:
        network = nlp.get_pipe("transformer_ner").model.get_ref("tok2vec").shims[0].network
        network.set_frozen(n_frozen)
        if system == "xner-dense":
            make_sparse(network.encoder, False)


if __name__ == "__main__":
    typer.run(main)

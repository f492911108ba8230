"""Sentences a second in training: this package against spacy-transformers with spaCy's `ner`.

One encoder, the same batches of the same sentences, the same optimizer, both sides frozen alike.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch
from thinc.api import Adam
from wasabi import msg

from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.machine import describe_machine
from spacy_xner.transformer.checkpoint import load_checkpoint
from spacy_xner.transformer.freezing import freeze

from inference import build_spacy

SYSTEMS = ("spacy-transformers", "xner", "xner-half")


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-train.spacy files.")],
    languages: Annotated[str, typer.Option(help="Comma-separated.")] = "de,en,es,fr",
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    n_sentences: Annotated[int, typer.Option(help="Sentences to train on.")] = 512,
    frozen: Annotated[str, typer.Option(help="Frozen layers, comma-separated.")] = "-1,0,6",
    batch_size: Annotated[int, typer.Option(help="Sentences a batch.")] = 32,
) -> None:
    """Measure; the first two batches warm up and do not count."""
    msg.info(str(describe_machine()))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder)
        model, tokenizer = load_checkpoint(encoder)
        model.save_pretrained(checkpoint)
        tokenizer.save_pretrained(checkpoint)
        for n_frozen in map(int, frozen.split(",")):
            rates = {
                name: measure(
                    name, checkpoint, corpus, languages.split(","), n_sentences, n_frozen, batch_size
                )
                for name in SYSTEMS
            }
            base = rates["spacy-transformers"]
            rows.append((n_frozen, *(f"{rate:.1f} ({rate / base:.2f}x)" for rate in rates.values())))
    msg.table(rows, header=("frozen layers", *SYSTEMS), divider=True)


def measure(
    system: str,
    checkpoint: Path,
    corpus: Path,
    languages: list[str],
    n_sentences: int,
    n_frozen: int,
    batch_size: int,
) -> float:
    """RETURNS: Sentences a second, the optimizer's step included."""
    fix_random_seed(0)
    nlp = build_spacy(system, checkpoint, train=True)
    reader = create_multilingual_corpus(
        corpus, "train", languages, limit=-(-(n_sentences + 2 * batch_size) // len(languages))
    )
    examples: list[Example] = list(reader(nlp))
    nlp.initialize(lambda: examples[:50])
    freeze_encoder(nlp, system, n_frozen)
    optimizer = Adam(5e-5, L2=0.01, grad_clip=1.0)
    batches = list(minibatch(examples, batch_size))
    for batch in batches[:2]:
        nlp.update(batch, sgd=optimizer, losses={})
    start = time.perf_counter()
    for batch in batches[2:]:
        nlp.update(batch, sgd=optimizer, losses={})
    return sum(map(len, batches[2:])) / (time.perf_counter() - start)


def freeze_encoder(nlp: spacy.Language, system: str, n_frozen: int) -> None:
    """Freeze the same layers on both sides."""
    if system == "spacy-transformers":
        freeze(nlp.get_pipe("transformer").model.transformer, n_frozen)
    else:
        network = nlp.get_pipe("transformer_ner").model.get_ref("tok2vec").shims[0].network
        network.set_frozen(n_frozen)


if __name__ == "__main__":
    typer.run(main)

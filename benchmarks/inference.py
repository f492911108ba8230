"""Words a second and memory of one encoder in three pipelines, in one run on the same texts.

Every system runs in a process of its own, so that its peak memory is its own.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import spacy
import torch
import typer
from transformers import AutoModelForTokenClassification, TokenClassificationPipeline
from wasabi import msg

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.machine import describe_machine
from spacy_xner.tokenizer import create_multilingual_tokenizer
from spacy_xner.transformer.checkpoint import load_checkpoint

SYSTEMS = ("spacy-transformers", "transformers", "xner", "xner-half")
LABELS = ["O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER"]


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-test.spacy files.")],
    languages: Annotated[str, typer.Option(help="Comma-separated.")] = "de,en,es,fr",
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    n_words: Annotated[int, typer.Option(help="Words a set of texts.")] = 8000,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
    system: Annotated[str, typer.Option(hidden=True)] = "",
    work: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure on the test sentences and on documents of 200 and 2,000 words made of them."""
    if system and work is not None:
        print(json.dumps(measure(system, work, json.loads((work / "texts.json").read_text()))))
        return
    machine = describe_machine()
    msg.info(str(machine))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model, tokenizer = load_checkpoint(encoder)
        model.save_pretrained(work / "encoder")
        tokenizer.save_pretrained(work / "encoder")
        texts = make_texts(corpus, languages.split(","), n_words)
        (work / "texts.json").write_text(json.dumps(texts))
        results = {}
        for name in SYSTEMS:
            msg.info(f"{name} ...")
            command = [sys.executable, __file__, str(corpus), "--system", name, "--work", str(work)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[name] = json.loads(done.stdout.splitlines()[-1])
    base = results["spacy-transformers"]
    rows = [
        (
            name,
            *(f"{r[key]:,.0f} ({r[key] / base[key]:.2f}x)" for key in texts),
            f"{r['memory']:,.0f} MB",
        )
        for name, r in results.items()
    ]
    msg.table(rows, header=("words/s", *texts, "peak memory"), divider=True)
    if out is not None:
        out.write_text(json.dumps({"machine": machine._asdict(), "systems": results}, indent=2))


def make_texts(corpus: Path, languages: list[str], n_words: int) -> dict[str, list[str]]:
    """Join test sentences into documents of three lengths, each set of about `n_words` words."""
    vocab = spacy.blank("xx").vocab
    sentences = []
    for paths in find_files(corpus, "test", languages).values():
        texts, total = [], 0
        for doc in read_docs(paths[0]).get_docs(vocab):
            texts.append(doc.text)
            total += len(doc)
            if total >= n_words / len(languages):
                break
        sentences.append(texts)
    short = [text for group in sentences for text in group]
    return {"sentences": short, "200 words": join(short, 200), "2,000 words": join(short, 2000)}


def join(sentences: list[str], n_words: int) -> list[str]:
    """Join sentences until a document has `n_words` words."""
    documents: list[str] = []
    current: list[str] = []
    size = 0
    for sentence in sentences:
        current.append(sentence)
        size += len(sentence.split())
        if size >= n_words:
            documents.append(" ".join(current))
            current, size = [], 0
    return documents


def measure(system: str, work: Path, texts: dict[str, list[str]]) -> dict[str, float]:
    """Measure one system. RETURNS: Words a second by set of texts, peak memory in MB."""
    annotate = build(system, work)
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    annotate(texts["sentences"][:32])
    result: dict[str, float] = {}
    for name, group in texts.items():
        n_words = sum(len(nlp.make_doc(text)) for text in group)
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            annotate(group)
            seconds.append(time.perf_counter() - start)
        result[name] = n_words / min(seconds)
    result["memory"] = memory()
    return result


def memory(kind: str = "VmHWM") -> float:
    """Memory of this process in MB: VmHWM is its peak, VmRSS what it holds now.

    (getrusage's peak would be inherited from the parent.)
    """
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{kind}:"))
    return int(line.split()[1]) / 1024


def build(system: str, work: Path) -> Any:
    """Build a system with untrained labels: the work does not depend on the weights."""
    if system == "transformers":
        model, tokenizer = load_checkpoint(str(work / "encoder"))
        del model
        classifier = AutoModelForTokenClassification.from_pretrained(work / "encoder", num_labels=len(LABELS))
        pipeline = TokenClassificationPipeline(
            model=classifier, tokenizer=tokenizer, aggregation_strategy="first", stride=64
        )
        return lambda texts: pipeline(texts, batch_size=16)
    nlp = build_spacy(system, work / "encoder")
    return lambda texts: list(nlp.pipe(texts))


def build_spacy(system: str, encoder: Path, train: bool = False) -> spacy.Language:
    """Build a spaCy pipeline with one of the two taggers, both at their own defaults."""
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    if system == "spacy-transformers":
        nlp.add_pipe("transformer", config={"model": {"name": str(encoder)}})
        listener = {
            "@architectures": "spacy-transformers.TransformerListener.v1",
            "grad_factor": 1.0,
            "pooling": {"@layers": "reduce_mean.v1"},
        }
        parser = {
            "@architectures": "spacy.TransitionBasedParser.v2",
            "state_type": "ner",
            "extra_state_tokens": False,
            "hidden_width": 64,
            "maxout_pieces": 2,
            "use_upper": False,
            "tok2vec": listener,
        }
        pipe: Any = nlp.add_pipe("ner", config={"model": parser})
    else:
        half = system == "xner-half"
        tok2vec = {
            "@architectures": "spacy_xner.TransformerEncoder.v1",
            "name": str(encoder),
            "precision": "auto" if half else "float32",
        }
        pipe = nlp.add_pipe("transformer_ner", config={"model": {"tok2vec": tok2vec}})
    for label in ("LOC", "ORG", "PER"):
        pipe.add_label(label)
    if not train:
        torch.manual_seed(0)
        nlp.initialize()
    return nlp


if __name__ == "__main__":
    typer.run(main)

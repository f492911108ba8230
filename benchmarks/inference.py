"""Words a second and memory of one encoder in three pipelines, in one run on the same texts.

Every system runs in a process of its own, so that its peak memory is its own. The systems take turns, each
with one thread, and their seconds are those of the processor, so that other work on the machine slows none of
them more than another. Beside the speed stand three figures of where it goes:

- the encoder's share: seconds within the bare transformer, of all seconds;
- the share of the peak: multiplications of the encoder's matrices a second within the bare transformer, of
  what one large product of matrices reaches in the same process and precision;
- positions a piece: wordpieces that the encoder computes, padding, special tokens and overlaps included, for
  each wordpiece of the texts. The quotient of two systems is the ceiling that follows for the one with fewer.

python benchmarks/inference.py CORPUS --out benchmarks/results/inference.json
python benchmarks/inference.py CORPUS --avx2 --out benchmarks/results/inference-avx2.json
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import spacy
import torch
import typer
from memory import memory
from transformers import AutoModelForTokenClassification, PreTrainedModel, TokenClassificationPipeline
from wasabi import msg

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.tokenizer import create_multilingual_tokenizer
from spacy_xner.transformer.checkpoint import load_checkpoint

SYSTEMS = {
    "spacy-transformers": "spacy-transformers + `ner`",
    "transformers": "transformers' pipeline",
    "xner": "`transformer_ner`, float32",
    "xner-half": "`transformer_ner`, bfloat16",
}
LABELS = ["O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER"]
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
# A processor with more is kept to AVX2: torch's own kernels, oneDNN's and MKL's.
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
# Rows and columns of the matrices whose product is the peak.
PEAK_SIZE = 1024


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-test.spacy files.")],
    languages: Annotated[str, typer.Option(help="Comma-separated.")] = "de,en,es,fr",
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    n_words: Annotated[int, typer.Option(help="Words a set of texts.")] = 8000,
    rounds: Annotated[int, typer.Option(help="Turns; the fastest one counts.")] = 2,
    systems: Annotated[str, typer.Option(help="Comma-separated; all of them by default.")] = "",
    avx2: Annotated[bool, typer.Option(help="Keep the processor to AVX2, without bfloat16.")] = False,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
    system: Annotated[str, typer.Option(hidden=True)] = "",
    work: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure on the test sentences and on documents of 200 and 2,000 words made of them."""
    if system and work is not None:
        serve(system, work)
        return
    from record import Record, Table

    if avx2:
        os.environ.update(AVX2)
    os.environ.update(ONE_THREAD)
    limit = ", kept to AVX2 by " + ", ".join(f"{k}={v}" for k, v in AVX2.items()) if avx2 else ""
    record = Record(
        shlex.join(["python", "benchmarks/inference.py", *sys.argv[1:]]),
        f"About {n_words:,} words of WikiAnn test in {languages}, as sentences and joined into longer "
        "documents; every system at its own defaults in a process of its own, all with the same encoder and "
        "an untrained tag layer; one thread; words a second of the processor, the fastest of "
        f"{rounds} turns{limit}.",
    )
    chosen = (
        systems.split(",") if systems else [name for name in SYSTEMS if not (avx2 and name == "xner-half")]
    )
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model, tokenizer = load_checkpoint(encoder)
        model.save_pretrained(work / "encoder")
        tokenizer.save_pretrained(work / "encoder")
        del model
        texts = make_texts(corpus, languages.split(","), n_words)
        (work / "texts.json").write_text(json.dumps(texts))
        results = take_turns(chosen, corpus, work, list(texts), rounds)
    tables = make_tables(results, list(texts), Table)
    for table in tables:
        msg.table(table.rows, header=table.header, title=table.title, divider=True)
    if out is not None:
        record.write(out, tables, figures=results)


def take_turns(
    systems: list[str], corpus: Path, work: Path, sets: list[str], rounds: int
) -> dict[str, dict[str, Any]]:
    """Let every system read every set in turn. RETURNS: The figures of its fastest turn, a system a set."""
    workers = {}
    for name in systems:
        command = [sys.executable, __file__, str(corpus), "--system", name, "--work", str(work)]
        workers[name] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        ask(workers[name], "sentences")  # Warms up.
    results: dict[str, dict[str, Any]] = {name: {} for name in systems}
    for _ in range(rounds):
        for key in sets:
            for name, worker in workers.items():
                figures = ask(worker, key)
                best = results[name].get(key)
                if best is None or figures["seconds"] < best["seconds"]:
                    results[name][key] = figures
    for name, worker in workers.items():
        results[name]["memory"] = ask(worker, "memory")["memory"]
        ask(worker, "")
        worker.wait()
    return results


def ask(worker: subprocess.Popen[str], key: str) -> dict[str, Any]:
    """Let a worker read a set of texts. RETURNS: Its figures."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{key}\n")
    worker.stdin.flush()
    for line in worker.stdout:
        if line.startswith("{"):
            answer: dict[str, Any] = json.loads(line)
            return answer
    if key:
        raise RuntimeError("A system has ended before it has answered. Run it with --system to see why.")
    return {}


def make_tables(results: dict[str, dict[str, Any]], sets: list[str], table: Any) -> list[Any]:
    """Words a second, and where the seconds go."""
    base = next(iter(results.values()))
    speeds = [
        [
            SYSTEMS[name],
            *(f"{r[key]['speed']:,.0f} ({r[key]['speed'] / base[key]['speed']:.2f}x)" for key in sets),
            f"{r['memory']:,.0f} MB",
        ]
        for name, r in results.items()
    ]
    shares = [
        [
            SYSTEMS[name],
            *(f"{100 * r[key]['encoder_share']:.0f} %" for key in sets),
            *(f"{100 * r[key]['peak_share']:.0f} %" for key in sets),
            *(
                f"{r[key]['positions']:.2f} ({base[key]['positions'] / r[key]['positions']:.2f}x)"
                for key in sets
            ),
        ]
        for name, r in results.items()
    ]
    kinds = ("encoder's share", "share of the peak", "positions a piece (ceiling)")
    return [
        table("Words a second of the processor", ["", *sets, "peak memory"], speeds),
        table("Where the seconds go", ["", *(f"{kind}, {key}" for kind in kinds for key in sets)], shares),
    ]


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


def show_positions(number: float, base: float) -> str:
    """Positions a piece, and the ceiling that follows by those of the first system."""
    return f"{number:.2f} ({base / number:.2f}x)"


class Meter:
    """Counts what goes through a bare transformer: seconds of the processor, positions, multiplications."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        self._config = encoder.config
        encoder.register_forward_pre_hook(self._begin, with_kwargs=True)
        encoder.register_forward_hook(self._end)
        self.clear()

    def clear(self) -> None:
        self.seconds, self.positions, self.flops = 0.0, 0, 0.0

    def _begin(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        n_windows, length = ids.shape
        width, inner = self._config.hidden_size, self._config.intermediate_size
        # Query, key, value and output; two layers between; scores and their sums of values.
        products = 4 * width**2 + 2 * width * inner + 2 * width * length
        self.positions += n_windows * length
        self.flops += 2.0 * n_windows * length * products * self._config.num_hidden_layers
        self._start = time.process_time()

    def _end(self, *_: Any) -> None:
        self.seconds += time.process_time() - self._start


def measure_peak(dtype: torch.dtype) -> float:
    """RETURNS: Floating-point operations a second of a large product of matrices, the fastest of ten."""
    left, right = (torch.rand(PEAK_SIZE, PEAK_SIZE).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(10):
        start = time.process_time()
        left @ right
        seconds.append(time.process_time() - start)
    return 2 * PEAK_SIZE**3 / min(seconds[1:])


def serve(system: str, work: Path) -> None:
    """Read the sets of texts whose names come in, and print the figures of each."""
    texts = json.loads((work / "texts.json").read_text())
    annotate, encoder = build(system, work)
    meter = Meter(encoder)
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    _, tokenizer = load_checkpoint(str(work / "encoder"))
    peak = measure_peak(torch.bfloat16 if system == "xner-half" else torch.float32)
    for key in map(str.strip, sys.stdin):
        if not key:
            break
        if key == "memory":
            print(json.dumps({"memory": memory()}), flush=True)
            continue
        n_words = sum(len(nlp.make_doc(text)) for text in texts[key])
        n_pieces = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts[key])
        meter.clear()
        start = time.process_time()
        annotate(texts[key])
        seconds = time.process_time() - start
        figures = {
            "seconds": seconds,
            "speed": n_words / seconds,
            "encoder_share": meter.seconds / seconds,
            "peak_share": meter.flops / meter.seconds / peak,
            "positions": meter.positions / n_pieces,
            "peak_gflops": peak / 1e9,
        }
        print(json.dumps(figures), flush=True)


def build(system: str, work: Path) -> tuple[Any, PreTrainedModel]:
    """Build a system with untrained labels: the work does not depend on the weights.

    RETURNS: A function that annotates texts, and the bare transformer within it.
    """
    if system == "transformers":
        model, tokenizer = load_checkpoint(str(work / "encoder"))
        del model
        classifier = AutoModelForTokenClassification.from_pretrained(work / "encoder", num_labels=len(LABELS))
        pipeline = TokenClassificationPipeline(
            model=classifier, tokenizer=tokenizer, aggregation_strategy="first", stride=64
        )
        return lambda texts: pipeline(texts, batch_size=16), classifier.base_model
    nlp = build_spacy(system, work / "encoder")
    if system == "spacy-transformers":
        return lambda texts: list(nlp.pipe(texts)), nlp.get_pipe("transformer").model.transformer
    network = nlp.get_pipe("transformer_ner").model.get_ref("tok2vec").shims[0].network
    return lambda texts: list(nlp.pipe(texts)), network.encoder


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

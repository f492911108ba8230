"""The package on a GPU: training, prediction, the parity of an export, and the contract of all components.

Without a GPU it says so and measures nothing; `--gpu -1` tries the same steps on the CPU.
"""

import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import spacy
import torch
import typer
from wasabi import msg

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.files import read_lines
from spacy_xner.machine import describe_machine
from spacy_xner.training import config_path, train_pipeline

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = "import sys, spacy, pytest; {require}; sys.exit(pytest.main(['-q', 'tests/test_contract.py']))"


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy files.")],
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 200,
    limit: Annotated[int, typer.Option(min=1, help="Texts a language to predict.")] = 500,
    contract: Annotated[bool, typer.Option(help="Run tests/test_contract.py too.")] = True,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")] = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Train the config `transformer_gpu`, predict, export, and run the contract suite."""
    machine = describe_machine()
    msg.info(str(machine))
    if gpu >= 0 and not torch.cuda.is_available():
        msg.warn("No GPU that torch can use: nothing is measured. --gpu -1 tries the steps on the CPU")
        return
    with tempfile.TemporaryDirectory() as folder:
        trained = Path(folder) / "trained"
        result = train(corpus, encoder, trained, steps, gpu)
        result |= predict(trained / "model-last", corpus, limit)
        result["export"] = export(trained / "model-last", Path(folder) / "exported")
    result["contract"] = check_contract(gpu) if contract else "not run"
    msg.table([(name, str(value)) for name, value in result.items()], divider=True)
    if out is not None:
        result = {"machine": machine._asdict(), "encoder": encoder, **result}
        out.write_text(json.dumps(result, indent=2), encoding="utf-8")
    if str(result["contract"]).startswith("failed"):
        raise typer.Exit(1)


def train(corpus: Path, encoder: str, out: Path, steps: int, gpu: int) -> dict[str, Any]:
    """Train, scored once at the end. RETURNS: Seconds, F1, and the most memory of the GPU in MB."""
    overrides = {
        "paths.corpus": str(corpus), "paths.encoder": encoder,
        "training.max_steps": steps, "vars.eval_frequency": steps,
    }  # fmt: skip
    start = time.perf_counter()
    train_pipeline(config_path("transformer_gpu"), out, overrides, gpu)
    seconds = time.perf_counter() - start
    last = read_lines(out / "curves.jsonl")[-1]
    memory = torch.cuda.max_memory_allocated() / 1e6 if gpu >= 0 else 0.0
    return {"training, seconds": round(seconds, 1), "F1": last["score"], "memory, MB": round(memory)}


def predict(pipeline: Path, corpus: Path, limit: int) -> dict[str, Any]:
    """Tag the test sentences twice, the first time to warm up. RETURNS: Words a second."""
    nlp = spacy.load(pipeline)
    paths = [path for paths in find_files(corpus, "test", []).values() for path in paths]
    texts = [doc.text for path in paths for doc in islice(read_docs(path).get_docs(nlp.vocab), limit)]
    docs = list(nlp.pipe(texts))
    start = time.perf_counter()
    list(nlp.pipe(texts))
    return {"prediction, words/s": round(sum(map(len, docs)) / (time.perf_counter() - start))}


def export(pipeline: Path, out: Path) -> str:
    """Export by the verb, which compares the entities. RETURNS: The last line that it prints."""
    if find_spec("spacy_xner.deploy.onnx") is None:
        return "not there in this version"
    command = [sys.executable, "-m", "spacy", "xner", "export", str(pipeline), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
    return f"{'done' if done.returncode == 0 else 'failed'}: {lines[-1]}"


def check_contract(gpu: int) -> str:
    """Run the contract suite in a process of its own. RETURNS: The last line that pytest prints."""
    code = CONTRACT.format(require=f"spacy.require_gpu({gpu})" if gpu >= 0 else "spacy.require_cpu()")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
    return f"{'passed' if done.returncode == 0 else 'failed'}: {lines[-1]}"


if __name__ == "__main__":
    typer.run(main)

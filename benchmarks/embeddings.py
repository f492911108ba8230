"""Seconds of a step of the word embeddings: gradients of all rows, or of those that occur.

Backward pass and fused Adam step with clipping and decay, for the default encoder's embeddings and batches of
wordpieces as frequent as Zipf's law has it. Seconds are those of the processor, the two ways take turns, and
the fastest step of each counts.

python benchmarks/embeddings.py --out benchmarks/results/embeddings.json
"""

import argparse
import shlex
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy
import torch
from record import Record, Table
from thinc.api import Adam

from spacy_xner.steps import step_fused

# Wordpieces and numbers of a vector of multilingual-e5-small; pieces of a batch of 32 sentences.
N_ROWS, WIDTH, N_PIECES = 250_037, 384, 640


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file for the figures.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record = Record(
        shlex.join(["python", "benchmarks/embeddings.py", *sys.argv[1:]]),
        f"{N_ROWS:,} wordpieces, {WIDTH} wide, {N_PIECES} pieces a batch; Adam with clipping and decay; "
        f"one thread; seconds of the processor, the fastest of {arguments.steps} steps in turns.",
    )
    ways = {name: start(name == "rows that occur") for name in ("all rows", "rows that occur")}
    seconds: dict[str, list[float]] = defaultdict(list)
    rng = numpy.random.default_rng(0)
    for _ in range(arguments.steps + 1):
        ids = torch.from_numpy(rng.zipf(1.2, size=N_PIECES) % N_ROWS)
        for name, way in ways.items():
            seconds[name].append(step(*way, ids))
    # The first step makes the moments.
    best = {name: min(spent[1:]) for name, spent in seconds.items()}
    base = best["all rows"]
    rows = [[name, f"{spent * 1000:,.1f}", f"{base / spent:,.0f}x"] for name, spent in best.items()]
    table = Table("A step of the word embeddings", ["gradient of", "CPU milliseconds", "speed"], rows)
    print("\n".join(table.markdown()))
    if arguments.out:
        record.write(arguments.out, [table], figures=best)


def start(is_sparse: bool) -> tuple[torch.nn.Embedding, Any]:
    """RETURNS: Embeddings, and an optimizer of their own."""
    words = torch.nn.Embedding(N_ROWS, WIDTH, sparse=is_sparse)
    return words, Adam(5e-5, L2=0.01, grad_clip=1.0, use_averages=False)


def step(words: torch.nn.Embedding, optimizer: Any, ids: torch.Tensor) -> float:
    """RETURNS: Seconds of the processor of a backward pass and a step."""
    output = words(ids)
    begin = time.process_time()
    output.backward(torch.ones_like(output))
    step_fused(optimizer, 0, [("weight", words.weight)], 5e-5)
    words.weight.grad = None
    return time.process_time() - begin


if __name__ == "__main__":
    main()

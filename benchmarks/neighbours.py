"""Nearest neighbours by CSLS: this package's search with faiss beside blocks of torch's matrix product.

Both do the whole work: mean similarities of both sides, then the nearest word of every word.
"""

import resource
import time
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from torch import Tensor
from wasabi import msg

from spacy_xner.machine import describe_machine
from spacy_xner.vectors.mapping import N_NEIGHBOURS, nearest


def main(
    n_words: Annotated[int, typer.Option(help="Words on each side.")] = 50_000,
    width: Annotated[int, typer.Option(help="Numbers a vector.")] = 200,
    repetitions: Annotated[int, typer.Option(help="Times in turn; the fastest counts.")] = 2,
    peer: Annotated[bool, typer.Option(help="Measure torch too.")] = True,
) -> None:
    """Print seconds, the ratio, peak memory, and how often both find the same word."""
    msg.info(str(describe_machine()))
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(n_words, width, generator=rng)
    # Words and noisy translations, so that there is something to find.
    y = torch.nn.functional.normalize(x + 0.8 * torch.randn(n_words, width, generator=rng))
    x = torch.nn.functional.normalize(x)
    systems: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"xner": with_faiss}
    if peer:
        systems["torch"] = with_torch
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    memory: dict[str, float] = {}
    nearest: dict[str, Tensor] = {}
    for _ in range(repetitions):
        for name, system in systems.items():
            start = time.perf_counter()
            nearest[name] = system(x, y)
            seconds[name].append(time.perf_counter() - start)
            # The peak never falls: first that of the first system, then that of both.
            memory.setdefault(name, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
    package_seconds = min(seconds["xner"])
    rows = [
        (name, f"{min(times):.1f}", f"{min(times) / package_seconds:.2f}x", f"{memory[name]:.2f}")
        for name, times in seconds.items()
    ]
    msg.table(rows, header=("", "seconds", "of xner", "GB, peak so far"), divider=True, aligns=tuple("lrrr"))
    if peer:
        same = float((nearest["torch"] == nearest["xner"]).float().mean())
        msg.info(f"{100 * same:.1f} % of the words have the same nearest one in both")


def with_faiss(x: Tensor, y: Tensor) -> Tensor:
    """Find the nearest word of every word. Shape: (n_words,)."""
    return nearest(x, y, 1).ids[:, 0]


def with_torch(x: Tensor, y: Tensor) -> Tensor:
    """The same in blocks of similarities, 256 MB each. Shape: (n_words,)."""
    size = max(1, 2**26 // len(y))
    penalty = torch.cat([(block @ x.T).topk(N_NEIGHBOURS).values.mean(dim=1) for block in y.split(size)])
    means = torch.cat([(block @ y.T).topk(N_NEIGHBOURS).values.mean(dim=1) for block in x.split(size)])
    scores = zip(x.split(size), means.split(size), strict=True)
    return torch.cat([(2 * rows @ y.T - penalty - mean[:, None]).argmax(dim=1) for rows, mean in scores])


if __name__ == "__main__":
    typer.run(main)

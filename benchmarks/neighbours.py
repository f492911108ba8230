"""Nearest neighbours by CSLS: blocks of torch's matrix product beside faiss, time and memory.

Needs `pip install faiss-cpu`. Both do the whole work of CSLS: mean similarities of both sides, then the
nearest word of every word; faiss ranks by cosine, so that its candidates are 10 neighbours, ranked anew.
"""

import resource
import time
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from torch import Tensor
from wasabi import msg

from spacy_xner.vectors.mapping import N_NEIGHBOURS, nearest


def main(
    n_words: Annotated[int, typer.Option(help="Words on each side.")] = 50_000,
    width: Annotated[int, typer.Option(help="Numbers a vector.")] = 200,
    repetitions: Annotated[int, typer.Option(help="Times in turn; the fastest counts.")] = 2,
    peer: Annotated[bool, typer.Option(help="Measure faiss too.")] = True,
) -> None:
    """Print seconds, the ratio, peak memory, and how often both find the same word."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(n_words, width, generator=rng)
    # Words and noisy translations, so that there is something to find.
    y = torch.nn.functional.normalize(x + 0.8 * torch.randn(n_words, width, generator=rng))
    x = torch.nn.functional.normalize(x)
    systems: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"torch": with_torch}
    if peer:
        systems["faiss"] = with_faiss
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    memory: dict[str, float] = {}
    found: dict[str, Tensor] = {}
    for _ in range(repetitions):
        for name, system in systems.items():
            start = time.perf_counter()
            found[name] = system(x, y)
            seconds[name].append(time.perf_counter() - start)
            # The peak never falls: the first system's own, then that of both.
            memory.setdefault(name, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
    own = min(seconds["torch"])
    rows = [
        (name, f"{min(times):.1f}", f"{min(times) / own:.2f}x", f"{memory[name]:.2f}")
        for name, times in seconds.items()
    ]
    msg.table(rows, header=("", "seconds", "of own", "GB, peak so far"), divider=True, aligns=tuple("lrrr"))
    if peer:
        same = float((found["torch"] == found["faiss"]).float().mean())
        msg.info(f"{100 * same:.1f} % of the words have the same nearest one in both")


def with_torch(x: Tensor, y: Tensor) -> Tensor:
    """Find the nearest word of every word in blocks. Shape: (n_words,)."""
    return nearest(x, y, 1).ids[:, 0]


def with_faiss(x: Tensor, y: Tensor) -> Tensor:
    """Find it with a flat index of inner products. Shape: (n_words,)."""
    import faiss

    index, back = faiss.IndexFlatIP(x.shape[1]), faiss.IndexFlatIP(x.shape[1])
    index.add(y.numpy())
    back.add(x.numpy())
    similarities, ids = index.search(x.numpy(), N_NEIGHBOURS)
    penalty = torch.from_numpy(back.search(y.numpy(), N_NEIGHBOURS)[0]).mean(dim=1)
    candidates = torch.from_numpy(ids)
    scores = 2 * torch.from_numpy(similarities) - penalty[candidates]
    return candidates.gather(1, scores.argmax(dim=1, keepdim=True))[:, 0]


if __name__ == "__main__":
    typer.run(main)

"""Speed of the CRF's likelihood with its gradient, and of its best paths, beside pytorch-crf and TorchCRF.

Needs `pip install --no-deps pytorch-crf TorchCRF`, on a file system that tells `torchcrf` from `TorchCRF`.
All are given the same scores, each in its own layout, and must give the same results before they are timed.
One thread, time of the processor, samples of the systems in turn; a ratio is the median of the turns' ratios.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
import typer
from torch import Tensor, nn
from wasabi import msg

from spacy_xner.machine import describe_machine
from spacy_xner.tagger.crf import LinearChainCRF

TOLERANCE = 1e-5
# Seconds over which one time is averaged: single calls are shorter than what other work takes from them.
SAMPLE = 0.05


class Batch(NamedTuple):
    """Random documents. n_docs, n_tokens, longest, n_tags.

    flat: Scores of all tokens, documents one after the other. Shape: (n_tokens, n_tags).
    padded: Shape: (n_docs, longest, n_tags).
    gold, padded_gold: Tags in both layouts.
    mask: Where tokens are. Shape: (n_docs, longest).
    edges: Transitions, edges last. Shape: (n_tags + 1, n_tags + 1).
    """

    flat: Tensor
    padded: Tensor
    gold: Tensor
    padded_gold: Tensor
    lengths: Tensor
    mask: Tensor
    edges: Tensor


class System(NamedTuple):
    """One CRF on one batch.

    likelihood: Log-likelihood of the batch, summed over documents.
    per_document: The same per document. Shape: (n_docs,).
    best: Best paths as lists.
    scores: Leaf of the emissions in the system's layout.
    module: Holds the transitions.
    """

    likelihood: Callable[[], Tensor]
    per_document: Callable[[], Tensor]
    best: Callable[[], list[list[int]]]
    scores: Tensor
    module: nn.Module


def main(
    tags: Annotated[str, typer.Option(help="Numbers of tags, comma-separated.")] = "9,37",
    n_docs: Annotated[int, typer.Option(help="Documents a batch.")] = 32,
    n_tokens: Annotated[int, typer.Option(help="Tokens of the longest documents.")] = 40,
    repetitions: Annotated[int, typer.Option(help="Interleaved repetitions.")] = 20,
) -> None:
    """Check and measure, with equal lengths and with lengths drawn evenly from 5 to the longest."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    msg.info(str(describe_machine()))
    rows = []
    for n_tags in map(int, tags.split(",")):
        for kind, shortest in (("equal", n_tokens), (f"5-{n_tokens}", 5)):
            lengths = torch.randint(shortest, n_tokens + 1, (n_docs,))
            lengths[0] = n_tokens
            batch = make_batch(lengths, n_tags)
            check(batch)
            systems = build(batch)
            for name, work in (("likelihood + gradient", differentiate), ("best paths", decode)):
                seconds = measure(systems, work, repetitions)
                rows.append((name, n_tags, kind, *compare(seconds)))
    msg.table(rows, header=("ms (times own)", "tags", "tokens", *systems), divider=True)


def make_batch(lengths: Tensor, n_tags: int) -> Batch:
    """Draw scores and tags."""
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    padded = 2 * torch.randn(*mask.shape, n_tags)
    gold = torch.randint(n_tags, mask.shape)
    edges = torch.randn(n_tags + 1, n_tags + 1)
    return Batch(padded[mask], padded, gold[mask], gold, lengths, mask, edges)


def build(batch: Batch) -> dict[str, System]:
    """Give every system the same scores, in their precision."""
    return {"xner": own(batch), "pytorch-crf": pytorch_crf(batch), "TorchCRF": torch_crf(batch)}


def own(batch: Batch) -> System:
    """This package's, every transition allowed: a scheme only adds to the scores."""
    crf = LinearChainCRF(torch.ones_like(batch.edges, dtype=torch.bool))
    set_parameters({crf.transitions: batch.edges})
    scores = batch.flat.clone().requires_grad_()
    sizes = batch.lengths.tolist()
    bounds = [0, *itertools.accumulate(sizes)]

    def one_by_one() -> Tensor:
        docs = zip(scores.split(sizes), batch.gold.split(sizes), batch.lengths.split(1), strict=True)
        return torch.stack([crf.log_likelihood(*doc) for doc in docs])

    def best() -> list[list[int]]:
        # Lists, because the peers give lists.
        path = crf.best_tags(scores, batch.lengths).tolist()
        return [path[a:b] for a, b in itertools.pairwise(bounds)]

    return System(
        lambda: crf.log_likelihood(scores, batch.gold, batch.lengths), one_by_one, best, scores, crf
    )


def pytorch_crf(batch: Batch) -> System:
    """Module `torchcrf`."""
    from torchcrf import CRF

    crf = CRF(batch.padded.shape[2], batch_first=True)
    inner, starts, ends = batch.edges[:-1, :-1], batch.edges[-1, :-1], batch.edges[:-1, -1]
    set_parameters({crf.transitions: inner, crf.start_transitions: starts, crf.end_transitions: ends})
    scores = batch.padded.clone().requires_grad_()

    def likelihood(reduction: str) -> Tensor:
        return crf(scores, batch.padded_gold, batch.mask, reduction)

    return System(
        lambda: likelihood("sum"),
        lambda: likelihood("none"),
        lambda: crf.decode(scores, batch.mask),
        scores,
        crf,
    )


def torch_crf(batch: Batch) -> System:
    """Module `TorchCRF`."""
    from TorchCRF import CRF

    crf = CRF(batch.padded.shape[2], use_gpu=False)
    inner, starts, ends = batch.edges[:-1, :-1], batch.edges[-1, :-1], batch.edges[:-1, -1]
    set_parameters({crf.trans_matrix: inner, crf.start_trans: starts, crf.end_trans: ends})
    scores = batch.padded.clone().requires_grad_()

    def likelihood() -> Tensor:
        return crf(scores, batch.padded_gold, batch.mask)

    return System(
        lambda: likelihood().sum(),
        likelihood,
        lambda: crf.viterbi_decode(scores, batch.mask),
        scores,
        crf,
    )


def set_parameters(values: dict[nn.Parameter, Tensor]) -> None:
    """Copy scores into parameters, in the scores' precision."""
    for parameter, value in values.items():
        parameter.data = value.clone()


def check(batch: Batch) -> None:
    """Raise if results differ.

    Sums over documents are compared in single precision, relative to the largest. Values of documents and
    paths are compared in double precision: the peers' own rounding exceeds the tolerance in single.
    """
    single = build(batch)
    double = build(
        batch._replace(flat=batch.flat.double(), padded=batch.padded.double(), edges=batch.edges.double())
    )
    wanted = sums(single["xner"], batch)
    for name in ("pytorch-crf", "TorchCRF"):
        for value, other in zip(wanted, sums(single[name], batch), strict=True):
            scale = float(other.abs().max())
            torch.testing.assert_close(value, other, rtol=0, atol=TOLERANCE * scale)
        torch.testing.assert_close(
            double["xner"].per_document(), double[name].per_document(), rtol=0, atol=TOLERANCE
        )
        both = zip(gradients(double["xner"], batch), gradients(double[name], batch), strict=True)
        for value, other in both:
            torch.testing.assert_close(value, other, rtol=0, atol=TOLERANCE)
        if double["xner"].best() != double[name].best():
            raise AssertionError(f"Best paths differ from those of {name}.")


def sums(system: System, batch: Batch) -> list[Tensor]:
    """The numbers that are added up over documents: likelihood, gradients of transitions."""
    return [system.likelihood().detach(), *gradients(system, batch)[1:]]


def gradients(system: System, batch: Batch) -> list[Tensor]:
    """RETURNS: Gradients of emissions (n_tokens, n_tags), transitions, starts, ends."""
    differentiate(system)
    assert system.scores.grad is not None
    if isinstance(system.module, LinearChainCRF):
        every = system.module.transitions.grad
        assert every is not None
        return [system.scores.grad, every[:-1, :-1], every[-1, :-1], every[:-1, -1]]
    by_name = {name: p.grad for name, p in system.module.named_parameters()}
    order = ("trans", "start", "end")
    edges = [g for key in order for name, g in by_name.items() if name.startswith(key) and g is not None]
    return [system.scores.grad[batch.mask], *edges]


def differentiate(system: System) -> None:
    """Likelihood, and gradients of emissions and transitions."""
    system.scores.grad = None
    system.module.zero_grad()
    system.likelihood().backward()


def decode(system: System) -> None:
    """Best paths."""
    with torch.inference_mode():
        system.best()


def measure(
    systems: dict[str, System], work: Callable[[System], None], repetitions: int
) -> dict[str, list[float]]:
    """RETURNS: Seconds of every repetition, each a mean over SAMPLE seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(repetitions):
        for name, system in systems.items():
            work(system)
            start, n_runs, passed = time.process_time(), 0, 0.0
            while passed < SAMPLE:
                work(system)
                n_runs += 1
                passed = time.process_time() - start
            seconds[name].append(passed / n_runs)
    return seconds


def compare(seconds: dict[str, list[float]]) -> list[str]:
    """Cells of one row: median milliseconds, and the median ratio to this package's."""
    cells = []
    for values in seconds.values():
        ratio = statistics.median(a / b for a, b in zip(values, seconds["xner"], strict=True))
        cells.append(f"{1000 * statistics.median(values):.2f} ({ratio:.1f}x)")
    return cells


if __name__ == "__main__":
    typer.run(main)

"""A linear-chain conditional random field over documents of any lengths.

Documents are packed as torch packs sequences: sorted by length, position by position, so that position t
of all documents that are longer than t is one block. One pass over positions serves the whole batch and
nothing is padded.

SOURCE: Lafferty et al. 2001; the span marginal follows Culotta and McCallum 2004.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spacy_xner.tags import MISSING

# Added to scores of transitions that the scheme forbids: exp() of it is 0 in float32, and sums over
# documents of 100,000 tokens stay finite.
FORBIDDEN = -1e4


class Packing(NamedTuple):
    """How documents lie in position-major blocks.

    order: Place in the flat batch of every packed row. Shape: (n_tokens,).
    sizes: Documents that are longer than t, for every t. Length: longest document.
    """

    order: Tensor
    sizes: list[int]


def pack(lengths: Tensor) -> Packing:
    """Pack documents that lie one after the other.

    lengths: Tokens per document. Shape: (n_docs,).
    """
    lengths_sorted, docs = torch.sort(lengths, descending=True, stable=True)
    starts = (torch.cumsum(lengths, 0) - lengths)[docs]
    longest = int(lengths_sorted[0]) if len(lengths) else 0
    positions = torch.arange(longest, device=lengths.device)
    # Number of documents longer than each position, from the ascending lengths.
    ascending = lengths_sorted.flip(0).contiguous()
    sizes = len(lengths) - torch.searchsorted(ascending, positions, right=True)
    position_of_row = torch.repeat_interleave(positions, sizes)
    first_row = torch.repeat_interleave(torch.cumsum(sizes, 0) - sizes, sizes)
    rank = torch.arange(len(position_of_row), device=lengths.device) - first_row
    return Packing(starts[rank] + position_of_row, sizes.tolist())


class LinearChainCRF(nn.Module):
    """Transition scores between tags, and at the edges of a document.

    allowed: Which tag may follow which; the last index is the edge.
        Shape: (n_tags + 1, n_tags + 1), [from, to].
    """

    penalty: Tensor

    def __init__(self, allowed: Tensor) -> None:
        super().__init__()
        n_tags = len(allowed) - 1
        self.transitions = nn.Parameter(torch.zeros(n_tags + 1, n_tags + 1))
        penalty = torch.where(allowed, 0.0, FORBIDDEN)
        self.register_buffer("penalty", penalty, persistent=False)

    def scores(self) -> tuple[Tensor, Tensor, Tensor]:
        """RETURNS: Transitions (n_tags, n_tags), starts (n_tags,), ends (n_tags,)."""
        every = self.transitions + self.penalty
        return every[:-1, :-1], every[-1, :-1], every[:-1, -1]

    def log_likelihood(self, emissions: Tensor, gold: Tensor, lengths: Tensor) -> Tensor:
        """Log-probability of the annotated tags of every document that has any.

        Where annotation is missing, all tags are summed over (a partial CRF).

        emissions: Shape: (n_tokens, n_tags). gold: -1 = missing. Shape: (n_tokens,).
        RETURNS: Sum over documents. Shape: ().
        """
        packing = pack(lengths)
        packed = emissions[packing.order]
        gold = gold[packing.order]
        is_gold = torch.nn.functional.one_hot(gold.clamp(min=0), packed.shape[1]).bool()
        off_path = ~is_gold & (gold != MISSING)[:, None]
        on_path = packed.masked_fill(off_path, 2 * FORBIDDEN)
        return (self._log_z(on_path, packing.sizes) - self._log_z(packed, packing.sizes)).sum()

    def _log_z(self, packed: Tensor, sizes: list[int]) -> Tensor:
        """Shape: (n_docs,), in packed order."""
        _, _, ends = self.scores()
        alphas = self._forward_scores(packed, sizes)
        done = [a[n:] for a, n in zip(alphas, [*sizes[1:], 0], strict=True)]
        return torch.logsumexp(torch.cat(done[::-1]) + ends, dim=1)

    def _forward_scores(self, packed: Tensor, sizes: list[int]) -> list[Tensor]:
        transitions, starts, _ = self.scores()
        blocks = packed.split(sizes)
        alphas = [starts + blocks[0]] if blocks else []
        for block in blocks[1:]:
            before = alphas[-1][: len(block)]
            alphas.append(torch.logsumexp(before[:, :, None] + transitions, dim=1) + block)
        return alphas

    def _backward_scores(self, packed: Tensor, sizes: list[int]) -> list[Tensor]:
        transitions, _, ends = self.scores()
        blocks = packed.split(sizes)
        betas = [ends.expand(sizes[-1], -1)]
        for t in range(len(sizes) - 2, -1, -1):
            after = blocks[t + 1] + betas[-1]  # (sizes[t + 1], n_tags)
            inner = torch.logsumexp(transitions + after[:, None, :], dim=2)
            betas.append(torch.cat((inner, ends.expand(sizes[t] - sizes[t + 1], -1))))
        return betas[::-1]

    def best_tags(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Find the best path of every document (Viterbi). Shape: (n_tokens,)."""
        best = torch.zeros(len(emissions), dtype=torch.long, device=emissions.device)
        if len(emissions) == 0:
            return best
        packing = pack(lengths)
        transitions, starts, ends = self.scores()
        blocks = emissions[packing.order].split(packing.sizes)
        score = starts + blocks[0]
        scores, pointers = [score], []
        for block in blocks[1:]:
            score, pointer = (score[: len(block), :, None] + transitions).max(dim=1)
            score = score + block
            scores.append(score)
            pointers.append(pointer)
        path = []
        tag = best.new_zeros(0)
        for t in range(len(blocks) - 1, -1, -1):
            continuing = pointers[t].gather(1, tag[:, None])[:, 0] if len(tag) else tag
            ending = (scores[t][len(tag) :] + ends).argmax(dim=1)
            tag = torch.cat((continuing, ending))
            path.append(tag)
        best[packing.order] = torch.cat(path[::-1])
        return best

    def span_log_marginals(self, emissions: Tensor, lengths: Tensor, tags: Tensor, spans: Tensor) -> Tensor:
        """Log-probability that all tokens of a span have the given tags.

        tags: Tags of all tokens. Shape: (n_tokens,).
        spans: First and end token in the flat batch. Shape: (n_spans, 2).
        RETURNS: Shape: (n_spans,).
        """
        packing = pack(lengths)
        packed = emissions[packing.order]
        transitions, _, _ = self.scores()
        alphas = torch.empty_like(packed)
        betas = torch.empty_like(packed)
        alphas[packing.order] = torch.cat(self._forward_scores(packed, packing.sizes))
        betas[packing.order] = torch.cat(self._backward_scores(packed, packing.sizes))
        starts, lasts = spans[:, 0], spans[:, 1] - 1
        # Steps inside of the spans, as differences of a running sum over the flat batch. Double
        # precision: the sum runs over the whole batch.
        step = transitions[tags[:-1], tags[1:]] + emissions[1:].gather(1, tags[1:, None])[:, 0]
        running = torch.cat((step.new_zeros(1), step)).double().cumsum(0)
        inside = (running[lasts] - running[starts]).to(emissions.dtype)
        log_z = torch.logsumexp(alphas[lasts] + betas[lasts], dim=1)
        first = alphas[starts].gather(1, tags[starts, None])[:, 0]
        last = betas[lasts].gather(1, tags[lasts, None])[:, 0]
        return first + inside + last - log_z

"""A linear-chain conditional random field over documents of any lengths.

Documents are packed as torch packs sequences: sorted by length, position by position, so that position t
of all documents that are longer than t is one block. One pass over positions serves the whole batch and
nothing is padded.

SOURCE: Lafferty et al. 2001; the span marginal follows Culotta and McCallum 2004.
"""

from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spacy_xner.tags import MISSING

# Added to scores of transitions that the scheme forbids: exp() of it is 0 in float32, and sums over
# documents of 100,000 tokens stay finite.
FORBIDDEN = -1e4
# Nats between scores of one token up to which weights of paths are summed instead of their logarithms. Any
# tag of a scheme can follow any other within three tokens, and exp(-3 * 200) is a number in double precision.
WIDEST = 200
# Positions after which scores of best paths start from 0 again: sums over long documents would lose digits.
REBASE = 16


class Packing(NamedTuple):
    """How documents lie in position-major blocks.

    order: Place in the flat batch of every packed row. Shape: (n_tokens,).
    mirror: The same where documents are read from their ends. Shape: (n_tokens,).
    sizes: Documents that are longer than t, for every t. Length: longest document.
    """

    order: Tensor
    mirror: Tensor
    sizes: list[int]


def pack(lengths: Tensor) -> Packing:
    """Pack documents that lie one after the other.

    lengths: Tokens per document. Shape: (n_docs,).
    """
    # Arithmetic on a few numbers: NumPy's calls cost less than torch's, and a GPU waits once.
    n_tokens = lengths.numpy(force=True)
    docs = numpy.argsort(-n_tokens, kind="stable")
    ends = numpy.cumsum(n_tokens)
    positions = numpy.arange(n_tokens.max(initial=0))
    # Number of documents longer than each position, from the ascending lengths.
    sizes = len(n_tokens) - numpy.searchsorted(n_tokens[docs[::-1]], positions, side="right")
    position_of_row = numpy.repeat(positions, sizes)
    rank = numpy.arange(len(position_of_row)) - numpy.repeat(numpy.cumsum(sizes) - sizes, sizes)
    order = (ends - n_tokens)[docs][rank] + position_of_row
    mirror = ends[docs][rank] - 1 - position_of_row
    rows = torch.from_numpy(numpy.stack((order, mirror))).to(lengths.device)
    return Packing(rows[0], rows[1], sizes.tolist())


class PathSums(NamedTuple):
    """Sums over the paths of all documents.

    log_weight: Logarithm of the summed weights, added up over documents. Shape: ().
    tags: How often a token has a tag, as expected. Shape: (n_tokens, n_tags).
    moves: The same of transitions. Shape: (n_tags + 1, n_tags + 1), [from, to].
    """

    log_weight: Tensor
    tags: Tensor
    moves: Tensor


def follow_paths(emissions: Tensor, scores: Tensor, packing: Packing, tags: Tensor) -> PathSums:
    """Count and score one path of every document.

    emissions: Shape: (n_tokens, n_tags). scores: Shape: (n_tags + 1, n_tags + 1), [from, to].
    tags: Shape: (n_tokens,).
    """
    firsts, lasts = edges(packing)
    edge, n_states = len(scores) - 1, len(scores)
    before = tags.roll(1)
    before[firsts] = edge
    pairs = torch.cat((before * n_states + tags, tags[lasts] * n_states + edge))
    moves = torch.bincount(pairs, minlength=n_states**2).view(n_states, n_states)
    score = emissions.gather(1, tags[:, None]).double().sum() + (scores.double() * moves).sum()
    counts = torch.zeros_like(emissions, dtype=torch.double).scatter_(1, tags[:, None], 1.0)
    return PathSums(score, counts, moves)


def sum_paths(emissions: Tensor, scores: Tensor, packing: Packing) -> PathSums:
    """Sum weights exp(score) of all paths, scaled to sum to 1 at every token.

    Double precision, because weights at one token may differ by exp(3 * WIDEST).

    emissions: Shape: (n_tokens, n_tags). scores: Shape: (n_tags + 1, n_tags + 1), [from, to].
    SOURCE: Rabiner 1989, section V.A (scaling).
    """
    order, mirror, sizes = packing
    firsts, lasts = edges(packing)
    tokens = emissions.double()
    tops = tokens.amax(1, keepdim=True)
    tokens = (tokens - tops).exp()
    inner, starts, ends = split_edges(scores.double().exp())

    # A suffix is a prefix of the document read from its end: one product serves a prefix and a suffix.
    both = torch.block_diag(inner, inner.t())
    packed = torch.cat((tokens[order], tokens[mirror]), dim=1)
    packed[: sizes[0]] *= torch.cat((starts, ends))
    halves = packed.view(len(packed), 2, -1)
    totals = packed.new_empty(len(packed), 2, 1)
    blocks = packed.split(sizes)
    for t, (half, total) in enumerate(zip(halves.split(sizes), totals.split(sizes), strict=True)):
        if t > 0:
            blocks[t].mul_(blocks[t - 1][: len(half)] @ both)
        half.div_(torch.sum(half, 2, keepdim=True, out=total))
    prefixes, suffixes = torch.empty_like(tokens), torch.empty_like(tokens)
    prefixes[order], suffixes[mirror] = halves.unbind(1)
    log_weight = totals[:, 0].log().sum() + tops.sum() + (prefixes[lasts] @ ends).log().sum()

    before = torch.empty_like(tokens)  # Prefixes up to the token before, by the tag of the token.
    torch.mm(prefixes[:-1], inner, out=before[1:])
    before[firsts] = starts
    joint = before * suffixes
    scale = joint.sum(1, keepdim=True)
    tags = joint / scale
    moves = torch.zeros_like(scores, dtype=torch.double)
    moves[-1, :-1], moves[:-1, -1] = tags[firsts].sum(0), tags[lasts].sum(0)
    suffixes /= scale
    suffixes[firsts] = 0  # Another document precedes them.
    moves[:-1, :-1] = inner * (prefixes[:-1].t() @ suffixes[1:])
    return PathSums(log_weight, tags, moves)


def sum_log_paths(emissions: Tensor, scores: Tensor, packing: Packing) -> PathSums:
    """The same for scores of any size: slower, without underflow."""
    order, _, sizes = packing
    firsts, lasts = edges(packing)
    scores = scores.double()
    packed = emissions[order].double()
    alphas = forward_scores(packed, scores, sizes)
    betas = backward_scores(packed, scores, sizes)
    log_z = torch.logsumexp(alphas[0] + betas[0], dim=1)
    inner, _, _ = split_edges(scores)
    moves = torch.zeros_like(scores)
    for alpha, beta, block in zip(alphas, betas[1:], packed.split(sizes)[1:], strict=False):
        after = block + beta - log_z[: len(block), None]
        moves[:-1, :-1] += (alpha[: len(block), :, None] + inner + after[:, None]).exp().sum(0)
    log_z_of_row = torch.cat([log_z[:n] for n in sizes])
    tags = torch.empty_like(packed)
    tags[order] = (torch.cat(alphas) + torch.cat(betas) - log_z_of_row[:, None]).exp()
    moves[-1, :-1], moves[:-1, -1] = tags[firsts].sum(0), tags[lasts].sum(0)
    return PathSums(log_z.sum(), tags, moves)


def forward_scores(packed: Tensor, scores: Tensor, sizes: list[int]) -> list[Tensor]:
    """Log-sums over prefixes, in blocks. Shape of each: (n_docs longer than t, n_tags)."""
    transitions, starts, _ = split_edges(scores)
    blocks = packed.split(sizes)
    alphas = [starts + blocks[0]]
    for block in blocks[1:]:
        before = alphas[-1][: len(block)]
        alphas.append(torch.logsumexp(before[:, :, None] + transitions, dim=1) + block)
    return alphas


def backward_scores(packed: Tensor, scores: Tensor, sizes: list[int]) -> list[Tensor]:
    """Log-sums over what follows a token, in blocks of the same shapes."""
    transitions, _, ends = split_edges(scores)
    blocks = packed.split(sizes)
    betas = [ends.expand(sizes[-1], -1)]
    for t in range(len(sizes) - 2, -1, -1):
        after = blocks[t + 1] + betas[-1]  # (sizes[t + 1], n_tags)
        inner = torch.logsumexp(transitions + after[:, None, :], dim=2)
        betas.append(torch.cat((inner, ends.expand(sizes[t] - sizes[t + 1], -1))))
    return betas[::-1]


def edges(packing: Packing) -> tuple[Tensor, Tensor]:
    """RETURNS: Places of first and of last tokens, longest document first. Shape of both: (n_docs,)."""
    n_docs = packing.sizes[0]
    return packing.order[:n_docs], packing.mirror[:n_docs]


def split_edges(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """RETURNS: Transitions (n_tags, n_tags), starts (n_tags,), ends (n_tags,)."""
    return scores[:-1, :-1], scores[-1, :-1], scores[:-1, -1]


def sum_all_paths(emissions: Tensor, scores: Tensor, packing: Packing, is_narrow: bool) -> PathSums:
    """Sum over all paths in the faster way that gives a number.

    is_narrow: Scores differ by less than WIDEST, penalties and masks aside.
    """
    if is_narrow:
        sums = sum_paths(emissions, scores, packing)
        # Where only forbidden paths are left, weights are 0.
        if sums.log_weight.isfinite():
            return sums
    return sum_log_paths(emissions, scores, packing)


class LogWeight(torch.autograd.Function):
    """Logarithm of summed weights: its gradients are the expected counts that were found with it.

    One node instead of a few for every position.
    """

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, scores: Tensor, sums: PathSums) -> Tensor:
        ctx.save_for_backward(sums.tags.to(emissions.dtype), sums.moves.to(scores.dtype))
        return sums.log_weight.to(torch.result_type(emissions, scores))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        tags, moves = ctx.saved_tensors
        return grad * tags, grad * moves, None


def forbid(allowed: Tensor) -> Tensor:
    """Scores that keep paths to what is allowed: 0 for that, and FORBIDDEN. Shape: that of `allowed`."""
    return torch.where(allowed, 0.0, FORBIDDEN)


def find_best_paths(emissions: Tensor, moves: Tensor, lengths: Tensor) -> Tensor:
    """Find the path with the greatest sum of scores through every document (Viterbi).

    emissions: Shape: (n_tokens, n_tags).
    moves: Scores of a tag after a tag; the last index is the edge.
        Shape: (n_tags + 1, n_tags + 1), [from, to].
    lengths: Tokens per document. Shape: (n_docs,).
    RETURNS: Tag ids. Shape: (n_tokens,).
    """
    best = torch.zeros(len(emissions), dtype=torch.long, device=emissions.device)
    if len(emissions) == 0:
        return best
    order, _, sizes = pack(lengths)
    transitions, starts, ends = split_edges(moves)
    # Documents lie along memory: many maxima are found at once.
    steps = transitions[:, :, None]  # [from, to, document]
    blocks = emissions[order].t().contiguous().split(sizes, dim=1)
    score = starts[:, None] + blocks[0]
    scores = [score]
    for t in range(1, len(sizes)):
        if sizes[t] < sizes[t - 1]:
            score = score[:, : sizes[t]]
        if t % REBASE == 0:
            score = score - score.amax(0)
        score = (steps + score.unsqueeze(1)).amax(0).add_(blocks[t])
        scores.append(score)
    # Predecessors are looked for on the best paths only: maxima without their places are faster.
    into = transitions.t().contiguous()
    onward = ends.repeat(sizes[0], 1)  # Scores of moving on to the tag that was found.
    ahead = onward[:0]
    path = []
    for n, score in zip(sizes[::-1], scores[::-1], strict=True):
        if n > len(ahead):
            ahead = onward[:n]
        tag = (ahead + score.t()).argmax(1)
        torch.index_select(into, 0, tag, out=ahead)
        path.append(tag)
    best[order] = torch.cat(path[::-1])
    return best


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
        self.register_buffer("penalty", forbid(allowed), persistent=False)

    def scores(self) -> tuple[Tensor, Tensor, Tensor]:
        """RETURNS: Transitions (n_tags, n_tags), starts (n_tags,), ends (n_tags,)."""
        return split_edges(self.transitions + self.penalty)

    def log_likelihood(
        self, emissions: Tensor, gold: Tensor, lengths: Tensor, open_tags: Tensor | None = None
    ) -> Tensor:
        """Log-probability of the annotated tags of every document that has any.

        Where annotation is missing, all tags are summed over (a partial CRF); where a token is open, the gold
        tag and those that the token may have in its place.

        emissions: Shape: (n_tokens, n_tags). gold: -1 = missing. Shape: (n_tokens,).
        open_tags: Further tags that may be right; none by default. Shape: (n_tokens, n_tags).
        RETURNS: Sum over documents. Shape: ().
        SOURCE: Tsuboi et al. 2008, https://aclanthology.org/C08-1113/, marginal likelihood of partial labels.
        """
        if len(emissions) == 0:
            return emissions.sum()
        scores = self.transitions + self.penalty
        with torch.no_grad():
            packing = pack(lengths)
            is_missing = gold == MISSING
            is_partial = open_tags is not None or bool(is_missing.any())
            lowest, highest = emissions.aminmax()
            width = highest - lowest + 2 * self.transitions.abs().max()
            is_narrow = bool(width < WIDEST)
            if is_partial:
                is_gold = torch.nn.functional.one_hot(gold.clamp(min=0), emissions.shape[1]).bool()
                off_path = ~is_gold & ~is_missing[:, None]
                if open_tags is not None:
                    off_path &= ~open_tags
                masked = emissions.masked_fill(off_path, -torch.inf)
                on_path = sum_all_paths(masked, scores, packing, is_narrow)
            else:
                on_path = follow_paths(emissions, scores, packing, gold)
            every = sum_all_paths(emissions, scores, packing, is_narrow)
            difference = PathSums(*(a - b for a, b in zip(on_path, every, strict=True)))
        likelihood: Tensor = LogWeight.apply(emissions, scores, difference)
        return likelihood

    @torch.no_grad()
    def best_tags(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Find the best path of every document (Viterbi). Shape: (n_tokens,)."""
        return find_best_paths(emissions, self.transitions + self.penalty, lengths)

    def span_log_marginals(self, emissions: Tensor, lengths: Tensor, tags: Tensor, spans: Tensor) -> Tensor:
        """Log-probability that all tokens of a span have the given tags.

        tags: Tags of all tokens. Shape: (n_tokens,).
        spans: First and end token in the flat batch. Shape: (n_spans, 2).
        RETURNS: Shape: (n_spans,).
        """
        packing = pack(lengths)
        packed = emissions[packing.order]
        scores = (self.transitions + self.penalty).to(emissions.dtype)
        transitions, _, _ = split_edges(scores)
        alphas = torch.empty_like(packed)
        betas = torch.empty_like(packed)
        alphas[packing.order] = torch.cat(forward_scores(packed, scores, packing.sizes))
        betas[packing.order] = torch.cat(backward_scores(packed, scores, packing.sizes))
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

"""Token losses of the softmax head, in nats. They know torch and nothing of spaCy."""

from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from spacy_xner.tags import MISSING
from spacy_xner.types import Discount, Weight


# Older versions of thinc ask whether a value of the settings is an instance.
@runtime_checkable
class TokenLoss(Protocol):
    """A registered token loss."""

    def __call__(self, logits: Tensor, gold: Tensor, tag_weights: Tensor | None) -> Tensor:
        """Score a batch. RETURNS: Mean loss over annotated tokens. Shape: ().

        logits: -inf for tags that were joined with the gold one; see `join_tags`. Shape: (n_tokens, n_tags).
        gold: Tag ids, -1 where annotation is missing. Shape: (n_tokens,).
        tag_weights: Weight of each tag; the mean is weighted alike. Shape: (n_tags,).
        """


def create_cross_entropy(
    label_smoothing: Discount = 0.0,
) -> TokenLoss:
    """Create -log p of the gold tag.

    label_smoothing: Share of the probability that all tags are to have alike.
    """
    return partial(cross_entropy, label_smoothing=label_smoothing)


def create_focal(gamma: Weight = 2.0) -> TokenLoss:
    """Create (1 - p) ** gamma * -log p, which looks at what is still hard.

    gamma: The greater it is the less easy tokens count; 0 is the cross-entropy.
    SOURCE: Lin et al. 2017, https://arxiv.org/abs/1708.02002, equation 4
    """
    return partial(_weighted, weight=partial(_focus, gamma=gamma))


def create_reweighted(gamma: Weight = 4.0, *, detached: bool = True) -> TokenLoss:
    """Create (1 + p) ** gamma * -log p, which trusts what the model agrees with.

    The loss is made for silver data, whose wrong labels are those that the model finds improbable.
    gamma: The greater it is the more probable tags count; 0 is the cross-entropy.
    detached: Take the weight as a constant, so that no gradient goes through it. The paper does not say
        which it is. With a gradient through the weight and a gamma above 3.59 the loss has a minimum of its
        own: with 4 it falls towards p = 0.155 from every p below 0.445, and a fresh head never learns a tag.
    SOURCE: Li et al. 2021, "Cross-Lingual Named Entity Recognition Using Parallel Corpus", the re-weighted
        loss (1 + p) ** gamma.
    """
    return partial(_weighted, weight=partial(_trust, gamma=gamma, detached=detached))


def join_tags(logits: Tensor, gold: Tensor, open_tags: Tensor) -> Tensor:
    """Give the gold tag of a token the probability of all tags that it may have, and these none.

    So every token loss is one of "the gold tag or one of the open ones", by the sum of their probabilities.

    logits: Shape: (n_tokens, n_tags).
    gold: Tag ids, -1 where annotation is missing. Shape: (n_tokens,).
    open_tags: Tags that a token may have in the place of its gold tag. Shape: (n_tokens, n_tags).
    RETURNS: Shape: (n_tokens, n_tags).
    """
    is_gold = F.one_hot(gold.clamp(min=0), logits.shape[1]).bool()
    joined = logits.masked_fill(~(is_gold | open_tags), -torch.inf).logsumexp(1, keepdim=True)
    return torch.where(is_gold, joined, logits.masked_fill(open_tags, -torch.inf))


def cross_entropy(
    logits: Tensor, gold: Tensor, tag_weights: Tensor | None, *, label_smoothing: float
) -> Tensor:
    """See `TokenLoss`."""
    if label_smoothing:
        loss = _smoothed(logits, gold, tag_weights, label_smoothing)
    else:
        loss = F.cross_entropy(logits, gold, weight=tag_weights, ignore_index=MISSING, reduction="sum")
    return loss / _total_weight(gold, tag_weights)


def _smoothed(logits: Tensor, gold: Tensor, tag_weights: Tensor | None, share: float) -> Tensor:
    """Sum the losses of tokens; tags that have been joined with the gold one get no share of their own.

    torch's own smoothing is the same where nothing was joined, and infinite elsewhere.
    """
    known = gold != MISSING
    logits, gold = logits[known], gold[known]
    weights = logits.new_ones(logits.shape[1]) if tag_weights is None else tag_weights
    log_p = F.log_softmax(logits, dim=-1)
    is_alone = ~logits.isneginf()
    even = (weights * log_p.masked_fill(~is_alone, 0.0)).sum(1) / is_alone.sum(1)
    right = weights[gold] * log_p.gather(1, gold[:, None])[:, 0]
    return -((1 - share) * right + share * even).sum()


def _focus(p: Tensor, gamma: float) -> Tensor:
    # For a gamma below 1 the slope at p = 1 has no end.
    return (1 - p).clamp(min=1e-6) ** gamma


def _trust(p: Tensor, gamma: float, detached: bool) -> Tensor:
    return (1 + (p.detach() if detached else p)) ** gamma


def _weighted(
    logits: Tensor, gold: Tensor, tag_weights: Tensor | None, weight: Callable[[Tensor], Tensor]
) -> Tensor:
    """The cross entropy with a weight by the probability of the gold tag."""
    known = gold != MISSING
    log_p = F.log_softmax(logits[known], dim=-1)
    log_p = log_p.gather(1, gold[known, None])[:, 0]  # (n_known,)
    loss = -weight(log_p.exp()) * log_p
    if tag_weights is not None:
        loss = loss * tag_weights[gold[known]]
    return loss.sum() / _total_weight(gold, tag_weights)


def _total_weight(gold: Tensor, tag_weights: Tensor | None) -> Tensor:
    known = gold[gold != MISSING]
    total = (
        torch.tensor(float(len(known)), device=gold.device)
        if tag_weights is None
        else tag_weights[known].sum()
    )
    return total.clamp(min=1e-8)

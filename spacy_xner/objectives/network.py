"""Auxiliary objectives on unlabelled text: language identification and cloze. Torch only.

SOURCE: Moon et al. 2019, "Towards Lingua Franca Named Entity Recognition with BERT", LI, CL and PC;
masking of Devlin et al. 2019.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Masked(NamedTuple):
    """A batch of windows with some pieces hidden.

    ids: Pieces as the encoder reads them. Shape: (n_windows, longest).
    chosen: True where a piece is to be guessed. Shape: (n_windows, longest).
    """

    ids: Tensor
    chosen: Tensor


def mask_randomly(ids: Tensor, maskable: Tensor, rate: float, mask_id: int, n_vocab: int) -> Masked:
    """Choose pieces at random; 8 of 10 become the mask, 1 any other piece, 1 stays.

    ids, maskable: Shape: (n_windows, longest). rate: Probability of a maskable piece.
    """
    chosen = (torch.rand(ids.shape, device=ids.device) < rate) & maskable
    fate = torch.rand(ids.shape, device=ids.device)
    others = torch.randint_like(ids, n_vocab)
    hidden = torch.where(fate < 0.8, torch.full_like(ids, mask_id), torch.where(fate < 0.9, others, ids))
    return Masked(torch.where(chosen, hidden, ids), chosen)


def mask_all(ids: Tensor, chosen: Tensor, mask_id: int) -> Masked:
    """Replace exactly the chosen pieces by the mask: those of predicted entities."""
    return Masked(ids.masked_fill(chosen, mask_id), chosen)


class LanguageHead(nn.Module):
    """Say which language a window is in, by its first token."""

    def __init__(self, width: int, n_languages: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, n_languages)

    def forward(self, hidden: Tensor, languages: Tensor) -> Tensor:
        """Mean cross entropy in nats.

        hidden: Shape: (n_windows, longest, width). languages: Shape: (n_windows,).
        """
        return nn.functional.cross_entropy(self.project(hidden[:, 0].float()), languages)


class ClozeHead(nn.Module):
    """Guess hidden pieces, with the encoder's word embeddings as the output layer.

    The embeddings are a fixed table here: they learn as inputs only, if they are not frozen.

    n_sampled: Pieces that stand for all those that are not in the batch; 0 takes the whole vocabulary.
    norm_eps: The epsilon of the encoder's layer norms, which a pretrained head has too.
    """

    def __init__(self, width: int, n_vocab: int, n_sampled: int, norm_eps: float = 1e-5) -> None:
        super().__init__()
        norm = nn.LayerNorm(width, eps=norm_eps)
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), norm)
        self.bias = nn.Parameter(torch.zeros(n_vocab))
        self.n_sampled = n_sampled

    def forward(self, hidden: Tensor, targets: Tensor, embeddings: Tensor) -> Tensor:
        """Mean cross entropy in nats.

        hidden: Vectors of the hidden pieces. Shape: (n_hidden, width). targets: Shape: (n_hidden,).
        embeddings: Shape: (n_vocab, width).
        """
        vectors = self.transform(hidden.float())
        return sampled_cross_entropy(vectors, targets, embeddings.detach(), self.bias, self.n_sampled)


def sampled_cross_entropy(
    vectors: Tensor, targets: Tensor, weight: Tensor, bias: Tensor, n_sampled: int
) -> Tensor:
    """Cross entropy over the targets and a sample of the rest of the vocabulary.

    The sampled pieces count as many times as pieces they stand for, so that the sum in the softmax is
    right on average. With the whole vocabulary sampled (or `n_sampled` = 0) it is the exact loss.

    vectors: Shape: (n, width). weight: Shape: (n_vocab, width). bias: Shape: (n_vocab,).
    """
    n_vocab = len(weight)
    known, place = torch.unique(targets, return_inverse=True)
    is_rest = torch.ones(n_vocab, dtype=torch.bool, device=weight.device)
    is_rest[known] = False
    n_rest = n_vocab - len(known)
    if n_sampled == 0 or n_sampled >= n_rest:
        sample = is_rest.nonzero()[:, 0]
    else:
        sample = torch.randint(n_vocab, (n_sampled,), device=weight.device).unique()
        sample = sample[is_rest[sample]]
    candidates = torch.cat((known, sample))
    logits = vectors @ weight[candidates].float().T + bias[candidates]
    if len(sample):
        logits = torch.cat(
            (logits[:, : len(known)], logits[:, len(known) :] + math.log(n_rest / len(sample))), 1
        )
    return nn.functional.cross_entropy(logits, place)

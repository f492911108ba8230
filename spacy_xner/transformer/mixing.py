"""A learnt mean of the hidden states of several layers. It knows nothing of spaCy."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spacy_xner.errors import Errors, XnerError


class ScalarMix(nn.Module):
    """Weigh layers by one learnt number each, and all of them by another one.

    A fresh mix is the plain mean of the layers.

    SOURCE: Peters et al. 2018, https://arxiv.org/abs/1802.05365, equation 1.
    DIFFERS: Only layers that are trained are mixed; the frozen ones are what other networks share.
    """

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(n_layers))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Mix the highest layers' states. states: One a layer, the highest last, or more of them.

        Shape: (n_windows, longest, width) each, and of the result.
        """
        shares = torch.softmax(self.weights, dim=0)
        chosen = states[-len(shares) :]
        mixed = sum((share * state for share, state in zip(shares, chosen, strict=True)), torch.zeros(()))
        return self.scale * mixed


def make_mix(n_mixed: int, n_layers: int, n_frozen: int) -> ScalarMix | None:
    """Build the mix of the highest layers; none for 0.

    n_layers: Layers of the encoder.
    n_frozen: Layers that are frozen; -1 trains everything.
    RAISES: XNER655 for layers that are frozen, or are not there.
    """
    if n_mixed == 0:
        return None
    if not 1 <= n_mixed <= n_layers - max(0, n_frozen):
        raise XnerError(Errors.XNER655.format(n_mixed=n_mixed, n_layers=n_layers, n_frozen=max(0, n_frozen)))
    return ScalarMix(n_mixed)

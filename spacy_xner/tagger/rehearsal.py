"""Rehearsal: a tagger that learns something new is held to the tags that it gave before."""

from typing import Any

import torch
from spacy.tokens import Doc
from thinc.api import Model, torch2xp
from thinc.types import Floats2d

from spacy_xner.shim import trained_weights
from spacy_xner.tagger.model import Tagger, head_network, to_flat_torch


class Rehearsal:
    """The tagger as it was when it was first asked to rehearse, as a teacher of the tagger of today."""

    def __init__(self) -> None:
        self._teacher: dict[Any, Any] = {}

    def forget(self) -> None:
        """Take the tagger as it is at the next rehearsal: its output layer has changed."""
        self._teacher = {}

    def learn(self, model: Tagger, docs: list[Doc]) -> float:
        """Add the gradients of a batch. RETURNS: The loss in nats; 0 at the first rehearsal."""
        if not self._teacher:
            # It has nothing to learn from itself, and zero gradients would let momentum and decay go on.
            self._teacher = trained_weights(model)
            return 0.0
        with model.use_params(self._teacher):
            target = model.predict(docs)
        emissions, backprop = model.begin_update(docs)
        loss, gradient = divergence(model, target, emissions)
        backprop(gradient)
        return loss


def divergence(model: Model, target: list[Floats2d], scores: list[Floats2d]) -> tuple[float, list[Floats2d]]:
    """Compare two sets of tag scores token by token.

    A CRF's transitions take no part in it.
    RETURNS: Mean Kullback-Leibler divergence in nats; its gradient by `scores`. Shapes: (n_tokens, n_tags).
    """
    device = head_network(model).device
    wanted = torch.softmax(to_flat_torch(target, device).double(), dim=1)
    log_p = torch.log_softmax(to_flat_torch(scores, device).double(), dim=1)
    loss = float(torch.nn.functional.kl_div(log_p, wanted, reduction="batchmean"))
    gradient = (log_p.exp() - wanted).float() / len(wanted)
    return loss, model.ops.unflatten(torch2xp(gradient), [len(array) for array in scores])

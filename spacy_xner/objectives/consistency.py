"""Consistency: two readings of the same text shall give the same tags. No labels are needed."""

from collections.abc import Iterable
from typing import Any

import torch
from spacy.tokens import Doc
from thinc.api import Optimizer, torch2xp
from thinc.types import Floats2d

from spacy_xner.errors import Errors, XnerError
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.tagger.model import Tagger, encoder_network, head_network, to_flat_torch
from spacy_xner.transformer.network import TransformerNetwork
from spacy_xner.transformer.sampling import Sampler
from spacy_xner.types import Discount, Rate, Weight


def create_r_drop(weight: Weight = 0.5, labelled: bool = True) -> "RDrop":
    """Create the objective that two readings with dropout shall agree.

    The dropout is that of `[training]` and of the encoder. The tagger reads every document twice more.

    weight: Factor of the divergence in the sum of the losses.
    labelled: Read the labelled documents too, not those without labels alone.
    SOURCE: Liang et al. 2021, https://arxiv.org/abs/2106.14448, equation 2; weight of Zhou et al. 2022
        (ConNER), https://arxiv.org/abs/2211.09394.
    """
    return RDrop(weight, labelled=labelled)


def create_subword_consistency(
    weight: Weight = 5.0,
    ratio: Rate = 0.3,
    alpha: Discount = 0.3,
    labelled: bool = True,
    seed: int = 0,
) -> "SubwordConsistency":
    """Create the objective that a text shall have the same tags when its words are cut otherwise.

    weight: Factor of the divergence in the sum of the losses.
    ratio: Share of the words that are cut anew.
    alpha: Power of the pieces' probabilities; 0 draws evenly from all segmentations.
    labelled: Read the labelled documents too, not those without labels alone.
    seed: Random seed of the segmentations.
    SOURCE: Zheng et al. 2021 (xTune), https://arxiv.org/abs/2106.08226, example consistency with subword
        sampling. Each reading is a fixed teacher of the other one.
    """
    return SubwordConsistency(weight, ratio, alpha, seed, labelled=labelled)


class RDrop:
    """See `create_r_drop`."""

    def __init__(self, weight: float, *, labelled: bool, detached: bool = False) -> None:
        self.weight = weight
        self.reads_labelled = labelled
        self._detached = detached

    def start(self, tagger: EntityTagger, languages: Iterable[str | None], name: str) -> None:
        """Look at the encoder. RAISES: XNER314 for one that listens to another pipe."""
        if tagger.listens:
            raise XnerError(Errors.XNER314.format(name=name))

    def update(self, docs: list[Doc], tagger: EntityTagger) -> float:
        """Add the gradients of both readings. RETURNS: The weighted loss in nats."""
        first, back_first = tagger.model.begin_update(docs)
        second, back_second = self._read_again(docs, tagger)
        loss, gradients = symmetric_divergence(tagger.model, first, second, detached=self._detached)
        for backprop, gradient in zip((back_first, back_second), gradients, strict=True):
            backprop([self.weight * array for array in gradient])
        return self.weight * loss

    def _read_again(self, docs: list[Doc], tagger: EntityTagger) -> tuple[list[Floats2d], Any]:
        return tagger.model.begin_update(docs)

    def finish_update(self, optimizer: Optimizer) -> None:
        """There is nothing beside the tagger's own weights."""


class SubwordConsistency(RDrop):
    """See `create_subword_consistency`."""

    def __init__(self, weight: float, ratio: float, alpha: float, seed: int, *, labelled: bool) -> None:
        super().__init__(weight, labelled=labelled, detached=True)
        self.ratio = ratio
        self.alpha = alpha
        self.seed = seed

    def start(self, tagger: EntityTagger, languages: Iterable[str | None], name: str) -> None:
        """Read the vocabulary.

        RAISES: XNER314, XNER308 for an encoder that is not `spacy_xner.TransformerEncoder.v1`, XNER656 for a
            vocabulary that is not a unigram one.
        """
        super().start(tagger, languages, name)
        network = encoder_network(tagger.model)
        encoder = tagger.model.get_ref("tok2vec")
        if not isinstance(network, TransformerNetwork):
            raise XnerError(Errors.XNER308.format(name=name, found=encoder.name))
        stored = encoder.shims[0].cfg["tokenizer"]
        self._sampler = Sampler(stored, self.ratio, self.alpha, self.seed)

    def _read_again(self, docs: list[Doc], tagger: EntityTagger) -> tuple[list[Floats2d], Any]:
        network: Any = encoder_network(tagger.model)
        with network.sampling(self._sampler):
            return tagger.model.begin_update(docs)


def symmetric_divergence(
    model: Tagger, first: list[Floats2d], second: list[Floats2d], *, detached: bool
) -> tuple[float, tuple[list[Floats2d], list[Floats2d]]]:
    """Compare two sets of tag scores token by token, in both directions.

    A CRF's transitions take no part in it.

    detached: In each direction the first probabilities are constants, so that no gradient goes through them.
    RETURNS: Half the sum of both mean Kullback-Leibler divergences, in nats; its gradients by both sets.
        Shapes: (n_tokens, n_tags) a document.
    """
    device, sizes = head_network(model).device, [len(scores) for scores in first]
    with torch.enable_grad():
        leaves = [to_flat_torch(scores, device, requires_grad=True) for scores in (first, second)]
        log_a, log_b = (torch.log_softmax(leaf.double(), dim=1) for leaf in leaves)
        loss = (_divergence(log_a, log_b, detached) + _divergence(log_b, log_a, detached)) / 2
        gradients = torch.autograd.grad(loss, leaves)
    flat_a, flat_b = (model.ops.unflatten(torch2xp(gradient), sizes) for gradient in gradients)
    return float(loss.detach()), (flat_a, flat_b)


def _divergence(wanted: torch.Tensor, given: torch.Tensor, detached: bool) -> torch.Tensor:
    target = wanted.detach() if detached else wanted
    return (target.exp() * (target - given)).sum() / max(1, len(given))

"""The objectives CL and PC: guess hidden wordpieces of unlabelled text (paper 3)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from spacy.tokens import Doc

from spacy_xner.objectives.base import Batch, EncoderObjective
from spacy_xner.objectives.network import ClozeHead, Masked, mask_all, mask_randomly
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.transformer.checkpoint import load_cloze_head
from spacy_xner.types import Count, Rate, Weight
from spacy_xner.types import Window as WindowSize


def create_cloze(
    weight: Weight = 1.0,
    mask_rate: Rate = 0.15,
    n_sampled: Count = 2000,
    window: WindowSize = 64,
    overlap: Count = 8,
    head_steps: Count = 200,
) -> "Cloze":
    """Create the objective CL: guess wordpieces that are hidden at random.

    The head is the checkpoint's own where it has one (`BertForMaskedLM`, `XLMRobertaForMaskedLM`).

    mask_rate: Share of the wordpieces that are hidden.
    n_sampled: See `network.ClozeHead`.
    head_steps: Batches in which a head that begins with random weights learns alone, so that its first
        gradients do not spoil the encoder.
    The other settings: see `create_language_id`.
    """
    return Cloze(weight, window, overlap, n_sampled, mask_rate, head_steps)


def create_predictive_cloze(
    weight: Weight = 1.0,
    n_sampled: Count = 2000,
    window: WindowSize = 64,
    overlap: Count = 8,
    head_steps: Count = 200,
) -> "PredictiveCloze":
    """Create the objective PC: guess the wordpieces of the entities that the tagger finds.

    The settings: see `create_cloze`.
    """
    return PredictiveCloze(weight, window, overlap, n_sampled, head_steps)


class Cloze(EncoderObjective):
    """The objective CL."""

    def __init__(
        self, weight: float, window: int, overlap: int, n_sampled: int, mask_rate: float, head_steps: int
    ) -> None:
        super().__init__(weight, window, overlap)
        self.n_sampled = n_sampled
        self.mask_rate = mask_rate
        self.head_steps = head_steps

    def start(self, tagger: EntityTagger, languages: Iterable[str | None], name: str) -> None:
        """Build the head, with the checkpoint's own weights if it has any. RAISES: XNER308."""
        super().start(tagger, languages, name)
        weights = load_cloze_head(self._encoder.attrs["name"])
        if weights and weights["bias"].shape == self._head.network.bias.shape:
            self._head.network.load_state_dict(weights)
            self._n_alone = 0
        else:
            self._n_alone = self.head_steps

    def _build_head(self, cfg: dict[str, Any]) -> torch.nn.Module:
        eps = getattr(self._network.encoder.config, "layer_norm_eps", 1e-5)
        return ClozeHead(self._network.width, len(self._embeddings), self.n_sampled, eps)

    @property
    def _embeddings(self) -> torch.Tensor:
        return self._network.encoder.get_input_embeddings().weight

    def _mask(self, batch: Batch, docs: list[Doc], tagger: EntityTagger) -> Masked:
        """Hide what is to be guessed."""
        return mask_randomly(batch.ids, batch.maskable, self.mask_rate, self._mask_id, len(self._embeddings))

    @property
    def _mask_id(self) -> int:
        return self._network.special_ids["mask"]

    def _loss(
        self, batch: Batch, docs: list[Doc], tagger: EntityTagger
    ) -> tuple[Masked | None, Callable[[torch.Tensor], torch.Tensor]]:
        masked = self._mask(batch, docs, tagger)
        targets = batch.ids[masked.chosen]
        return masked, lambda hidden: self._head.network(hidden[masked.chosen], targets, self._embeddings)


class PredictiveCloze(Cloze):
    """The objective PC."""

    def __init__(self, weight: float, window: int, overlap: int, n_sampled: int, head_steps: int) -> None:
        super().__init__(weight, window, overlap, n_sampled, mask_rate=1.0, head_steps=head_steps)

    def _mask(self, batch: Batch, docs: list[Doc], tagger: EntityTagger) -> Masked:
        chosen = batch.mark(docs, tagger.find_entities(docs)) & batch.maskable
        return mask_all(batch.ids, chosen, self._mask_id)

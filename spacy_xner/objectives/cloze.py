"""The objectives CL and PC: guess hidden wordpieces of unlabelled text (paper 3)."""

from collections.abc import Callable
from typing import Any

import torch
from spacy.tokens import Doc

from spacy_xner.objectives.base import Batch, EncoderObjective
from spacy_xner.objectives.network import ClozeHead, Masked, mask_all, mask_randomly
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.types import Count, Rate, Weight
from spacy_xner.types import Window as WindowSize


def create_cloze(
    weight: Weight = 1.0,
    mask_rate: Rate = 0.15,
    n_sampled: Count = 2000,
    window: WindowSize = 64,
    overlap: Count = 8,
) -> "Cloze":
    """Create the objective CL: guess wordpieces that are hidden at random.

    n_sampled: See `objectives.ClozeHead`. The other settings: see `create_language_id`.
    """
    return Cloze(weight, window, overlap, n_sampled, mask_rate)


def create_predictive_cloze(
    weight: Weight = 1.0,
    n_sampled: Count = 2000,
    window: WindowSize = 64,
    overlap: Count = 8,
) -> "PredictiveCloze":
    """Create the objective PC: guess the wordpieces of the entities that the tagger finds.

    The settings: see `create_cloze`.
    """
    return PredictiveCloze(weight, window, overlap, n_sampled)


class Cloze(EncoderObjective):
    """The objective CL."""

    def __init__(self, weight: float, window: int, overlap: int, n_sampled: int, mask_rate: float) -> None:
        super().__init__(weight, window, overlap)
        self.n_sampled = n_sampled
        self.mask_rate = mask_rate

    def _build_head(self, cfg: dict[str, Any]) -> torch.nn.Module:
        return ClozeHead(self._network.width, len(self._embeddings), self.n_sampled)

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

    def __init__(self, weight: float, window: int, overlap: int, n_sampled: int) -> None:
        super().__init__(weight, window, overlap, n_sampled, mask_rate=1.0)

    def _mask(self, batch: Batch, docs: list[Doc], tagger: EntityTagger) -> Masked:
        chosen = batch.mark(docs, tagger.find_entities(docs)) & batch.maskable
        return mask_all(batch.ids, chosen, self._mask_id)

"""Auxiliary objectives of the entity tagger: wiring of `objectives.py` to documents and the encoder."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import numpy
import torch
from pydantic import Field
from spacy.tokens import Doc
from thinc.api import ArgsKwargs, Model, Optimizer

from spacy_xner.errors import Errors
from spacy_xner.shim import TorchShim
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.tagger.gold import token_boundaries
from spacy_xner.tagger.model import encoder_network
from spacy_xner.tags import TokenSpan
from spacy_xner.transformer.network import TransformerNetwork
from spacy_xner.transformer.objectives import ClozeHead, LanguageHead, Masked, mask_all, mask_randomly
from spacy_xner.transformer.wordpieces import Pieces, Window, align_tokens, cut_windows

Positive = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1)]


def create_language_id(
    weight: Positive = 1.0, window: Annotated[int, Field(ge=8)] = 64, overlap: Annotated[int, Field(ge=0)] = 8
) -> "LanguageId":
    """Create the objective LI: identify the language of unlabelled text.

    weight: Of this loss in the sum. window, overlap: Wordpieces; longer texts are cut, nothing is lost.
    """
    return LanguageId(weight, window, overlap)


def create_cloze(
    weight: Positive = 1.0,
    mask_rate: Rate = 0.15,
    n_sampled: Annotated[int, Field(ge=0)] = 2000,
    window: Annotated[int, Field(ge=8)] = 64,
    overlap: Annotated[int, Field(ge=0)] = 8,
) -> "Cloze":
    """Create the objective CL: guess wordpieces that are hidden at random.

    n_sampled: See `objectives.ClozeHead`. The other settings: see `create_language_id`.
    """
    return Cloze(weight, window, overlap, n_sampled, mask_rate)


def create_predictive_cloze(
    weight: Positive = 1.0,
    n_sampled: Annotated[int, Field(ge=0)] = 2000,
    window: Annotated[int, Field(ge=8)] = 64,
    overlap: Annotated[int, Field(ge=0)] = 8,
) -> "PredictiveCloze":
    """Create the objective PC: guess the wordpieces of the entities that the tagger finds.

    The settings: see `create_cloze`.
    """
    return PredictiveCloze(weight, window, overlap, n_sampled)


class EncoderObjective(ABC):
    """What the objectives have in common: windows of unlabelled text, a head, one backward pass.

    The head lives as long as the training; a saved pipeline does not have it.
    """

    def __init__(self, weight: float, window: int, overlap: int) -> None:
        self.weight = weight
        self.window = window
        self.overlap = overlap
        self.languages: list[str] = []

    def start(self, tagger: EntityTagger, languages: Iterable[str | None], name: str) -> None:
        """Build the head for the tagger's encoder and the languages of its unlabelled documents.

        RAISES: XNER308 for an encoder that is not `spacy_xner.TransformerEncoder.v1`.
        """
        encoder: Model = tagger.model.get_ref("tok2vec")
        network = encoder_network(tagger.model)
        if not isinstance(network, TransformerNetwork):
            raise ValueError(Errors.XNER308.format(name=name, found=encoder.name))
        self.languages = sorted(language for language in languages if language)
        self._encoder = encoder
        self._network = network
        self._head = TorchShim(self._build_head)
        self._head.start({})

    @abstractmethod
    def _build_head(self, cfg: dict[str, Any]) -> torch.nn.Module:
        """Build the network of this objective alone."""

    @abstractmethod
    def _loss(
        self, batch: "Batch", docs: list[Doc], tagger: EntityTagger
    ) -> tuple[Masked | None, Callable[[torch.Tensor], torch.Tensor]]:
        """RETURNS: Another input than the windows themselves, and the loss by the hidden states."""

    def update(self, docs: list[Doc], tagger: EntityTagger) -> float:
        """Add the gradients of one batch of unlabelled documents to encoder and head.

        RETURNS: The weighted loss in nats; 0 if there was nothing to learn.
        RAISES: XNER309 for a document without a declared language.
        """
        batch = Batch(self._network, docs, self.window, self.overlap)
        if not batch.windows:
            return 0.0
        masked, compute = self._loss(batch, docs, tagger)
        if masked is not None and not masked.chosen.any():
            return 0.0
        inputs = batch.ids if masked is None else masked.ids
        hidden, backprop = self._encoder.shims[0].begin_update(
            ArgsKwargs(args=(), kwargs={"ids": inputs, "mask": batch.mask})
        )
        self._head.network.train()
        with torch.enable_grad():
            leaf = hidden.detach().requires_grad_()
            loss = self.weight * compute(leaf)
            loss.backward()
        if hidden.requires_grad:
            backprop(ArgsKwargs(args=((hidden,),), kwargs={"grad_tensors": leaf.grad}))
        return float(loss.detach())

    def finish_update(self, optimizer: Optimizer) -> None:
        """Step the head."""
        self._head.finish_update(optimizer)


class Batch:
    """Windows of unlabelled documents as tensors.

    ids, mask: Shape: (n_windows, longest). maskable: False for special pieces, padding among them.
    """

    def __init__(self, network: TransformerNetwork, docs: list[Doc], window: int, overlap: int) -> None:
        self.network = network
        self.pieces: list[Pieces] = network.split([doc.text for doc in docs])
        size = min(window - 2, network.size)
        self.windows: list[Window] = [
            found
            for doc, pieces in enumerate(self.pieces)
            for found in cut_windows(len(pieces.ids), size, min(overlap, (size - 1) // 2), doc)
            if found.end > found.start
        ]
        if self.windows:
            self.ids, self.mask = network.pad_windows(self.pieces, self.windows)
            # Special pieces stand around a window, and inside where the text spells them out.
            special = [id_ for kind, id_ in network.special_ids.items() if kind != "unk"]
            self.maskable = ~torch.isin(self.ids, torch.tensor(special, device=self.ids.device))

    def mark(self, docs: list[Doc], entities: list[list[TokenSpan]]) -> torch.Tensor:
        """Find the wordpieces of entities. Shape: (n_windows, longest)."""
        marked = numpy.zeros(self.ids.shape, dtype=bool)
        inside = [
            _entity_pieces(doc, pieces, spans, self.network.space_id)
            for doc, pieces, spans in zip(docs, self.pieces, entities, strict=True)
        ]
        for row, found in enumerate(self.windows):
            own = inside[found.doc][found.start : found.end]
            marked[row, 1 : len(own) + 1] = own
        return torch.from_numpy(marked).to(self.ids.device)


def _entity_pieces(doc: Doc, pieces: Pieces, spans: list[TokenSpan], space_id: int) -> numpy.ndarray:
    """Which wordpieces of a document are in an entity. Shape: (n_pieces,)."""
    inside = numpy.zeros(len(pieces.ids), dtype=bool)
    tokens = align_tokens(pieces, *token_boundaries(doc), space_id)
    for span in spans:
        inside[tokens.first[span.start] : tokens.end[span.end - 1]] = True
    return inside


class LanguageId(EncoderObjective):
    """The objective LI."""

    def start(self, tagger: EntityTagger, languages: Iterable[str | None], name: str) -> None:
        """Build the head. RAISES: XNER308, XNER311 for fewer than two languages."""
        languages = sorted(language for language in languages if language)
        if len(languages) < 2:
            raise ValueError(Errors.XNER311.format(name=name, languages=", ".join(languages) or "none"))
        super().start(tagger, languages, name)

    def _build_head(self, cfg: dict[str, Any]) -> torch.nn.Module:
        return LanguageHead(self._network.width, max(1, len(self.languages)))

    def update(self, docs: list[Doc], tagger: EntityTagger) -> float:
        for doc in docs:
            if doc._.language not in self.languages:
                raise ValueError(
                    Errors.XNER309.format(
                        language=doc._.language, known=", ".join(self.languages), text=doc.text[:40]
                    )
                )
        return super().update(docs, tagger)

    def _loss(
        self, batch: Batch, docs: list[Doc], tagger: EntityTagger
    ) -> tuple[Masked | None, Callable[[torch.Tensor], torch.Tensor]]:
        index = {language: i for i, language in enumerate(self.languages)}
        gold = torch.tensor([index[docs[w.doc]._.language] for w in batch.windows], device=batch.ids.device)
        return None, lambda hidden: self._head.network(hidden, gold)


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

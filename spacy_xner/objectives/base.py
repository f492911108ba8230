"""The base of the objectives on a transformer: windows of unlabelled text, a head, a backward pass."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import numpy
import torch
from spacy.tokens import Doc
from thinc.api import ArgsKwargs, Model, Optimizer

from spacy_xner.errors import Errors, XnerError
from spacy_xner.objectives.network import Masked
from spacy_xner.shim import TorchShim
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.tagger.gold import token_boundaries
from spacy_xner.tagger.model import encoder_network
from spacy_xner.tags import TokenSpan
from spacy_xner.transformer.network import TransformerNetwork
from spacy_xner.transformer.wordpieces import Pieces, Window, align_tokens, cut_windows


class EncoderObjective(ABC):
    """The base of objectives: windows of unlabelled text, a head, one backward pass.

    The head lives as long as the training; a saved pipeline does not have it.
    """

    reads_labelled = False

    def __init__(self, weight: float, window: int, overlap: int) -> None:
        self.weight = weight
        self.window = window
        self.overlap = overlap
        self.languages: list[str] = []
        # Batches that are left in which the head learns alone and the encoder gets no gradient.
        self._n_alone = 0

    def start(self, tagger: EntityTagger, languages: Iterable[str | None], name: str) -> None:
        """Build the head for the tagger's encoder and the languages of its unlabelled documents.

        RAISES: XNER308 for an encoder that is not `spacy_xner.TransformerEncoder.v1`.
        """
        encoder: Model = tagger.model.get_ref("tok2vec")
        network = encoder_network(tagger.model)
        if not isinstance(network, TransformerNetwork):
            raise XnerError(Errors.XNER308.format(name=name, found=encoder.name))
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
            ArgsKwargs(args=(inputs, batch.mask), kwargs={}), "encode_windows"
        )
        with torch.enable_grad(), self._head.training_mode():
            leaf = hidden.detach().requires_grad_()
            loss = self.weight * compute(leaf)
            loss.backward()
        is_alone = self._n_alone > 0
        self._n_alone -= is_alone
        if hidden.requires_grad and not is_alone:
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
            piece_window
            for doc, pieces in enumerate(self.pieces)
            for piece_window in cut_windows(len(pieces.ids), size, min(overlap, (size - 1) // 2), doc)
            if piece_window.end > piece_window.start
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
        for row, window in enumerate(self.windows):
            of_window = inside[window.doc][window.start : window.end]
            marked[row, 1 : len(of_window) + 1] = of_window
        return torch.from_numpy(marked).to(self.ids.device)


def _entity_pieces(doc: Doc, pieces: Pieces, spans: list[TokenSpan], space_id: int) -> numpy.ndarray:
    """Which wordpieces of a document are in an entity. Shape: (n_pieces,)."""
    inside = numpy.zeros(len(pieces.ids), dtype=bool)
    tokens = align_tokens(pieces, *token_boundaries(doc), space_id)
    for span in spans:
        inside[tokens.first[span.start] : tokens.end[span.end - 1]] = True
    return inside

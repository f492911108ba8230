"""Heads: torch networks from token vectors to tags. They know nothing of spaCy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spacy_xner.errors import Errors, XnerError
from spacy_xner.tagger.crf import LinearChainCRF, find_best_paths, forbid
from spacy_xner.tagger.losses import TokenLoss, join_tags
from spacy_xner.tags import TagSet
from spacy_xner.types import Decoding

# Nats below O at which the tags of a new label begin: exp(-18) is 1.5e-8.
NEW_TAG = 18.0


class Head(nn.Module, ABC):
    """Project token vectors to tag scores. Subclasses have the losses and the decoding.

    width: Numbers in a token vector.
    tag_set: Labels and scheme.
    """

    def __init__(self, width: int, tag_set: TagSet) -> None:
        super().__init__()
        self.tag_set = tag_set
        self.dropout = nn.Dropout(0.0)
        self.project = nn.Linear(width, len(tag_set))

    @property
    def device(self) -> torch.device:
        """Where the head's weights are; a thread of a web server may compute elsewhere by default."""
        return self.project.weight.device

    def forward(self, vectors: Tensor) -> Tensor:
        """Shape: (n_tokens, width) to (n_tokens, n_tags)."""
        return self.project(self.dropout(vectors))

    @torch.no_grad()
    def inherit(self, other: "Head") -> None:
        """Begin with the weights of a head whose labels are the first ones of this head.

        The tags of a new label begin with the weights of O and NEW_TAG nats below it. So they change no
        probability by more than that leaves, on any text, and still get a full gradient where they are gold.
        """
        rows = self._sources(other)
        self.project.weight.copy_(other.project.weight[rows])
        self.project.bias.copy_(other.project.bias[rows])
        self.project.bias[len(other.tag_set) :] -= NEW_TAG

    def _sources(self, other: "Head") -> Tensor:
        """Choose the tag of the other head that each tag begins as; tag 0 is O. Shape: (n_tags,)."""
        rows = torch.arange(len(self.tag_set), device=self.project.bias.device)
        return rows.masked_fill(rows >= len(other.tag_set), 0)

    @abstractmethod
    def loss(
        self, emissions: Tensor, gold: Tensor, lengths: Tensor, open_tags: Tensor | None = None
    ) -> Tensor:
        """Mean loss over annotated tokens, in nats. Shape: ().

        gold: Tag ids, -1 where annotation is missing. Shape: (n_tokens,).
        lengths: Tokens per document. Shape: (n_docs,).
        open_tags: Tags that a token may have in the place of its gold tag: the loss is that of all of them
            together. None by default. Shape: (n_tokens, n_tags).
        """

    @abstractmethod
    def best_tags(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Tag ids. Shape: (n_tokens,)."""

    @abstractmethod
    def span_probabilities(self, emissions: Tensor, lengths: Tensor, tags: Tensor, spans: Tensor) -> Tensor:
        """Probability of every predicted span. Shape: (n_spans,).

        spans: First and end token in the flat batch. Shape: (n_spans, 2).
        """


class SoftmaxHead(Head):
    """Learn every token by itself.

    class_weights: Weights of the labels ("O" among them) in the loss, 1 where absent.
    decode: "argmax" decides every token by itself too, and stray tags are read by CoNLL's rule; "viterbi"
        takes the likeliest tags of a document that keep the scheme.
    RAISES: XNER306 for class weights of unknown labels.
    """

    tag_weights: Tensor | None
    penalty: Tensor | None

    def __init__(
        self,
        width: int,
        tag_set: TagSet,
        loss: TokenLoss,
        class_weights: dict[str, float],
        decode: Decoding = "argmax",
    ) -> None:
        super().__init__(width, tag_set)
        self._loss = loss
        weights = spread_weights(tag_set, class_weights) if class_weights else None
        self.register_buffer("tag_weights", weights, persistent=False)
        penalty = forbid(torch.from_numpy(tag_set.allowed)) if decode == "viterbi" else None
        self.register_buffer("penalty", penalty, persistent=False)

    def loss(
        self, emissions: Tensor, gold: Tensor, lengths: Tensor, open_tags: Tensor | None = None
    ) -> Tensor:
        if open_tags is not None:
            emissions = join_tags(emissions, gold, open_tags)
        return self._loss(emissions, gold, self.tag_weights)

    def best_tags(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        if self.penalty is None:
            return emissions.argmax(dim=1)
        # Logarithms of probabilities, so that scores of any size stay above what is forbidden.
        likelihoods = torch.log_softmax(emissions, dim=1)
        return find_best_paths(likelihoods, self.penalty, lengths[lengths > 0])

    def span_probabilities(self, emissions: Tensor, lengths: Tensor, tags: Tensor, spans: Tensor) -> Tensor:
        log_p = torch.log_softmax(emissions.double(), dim=1).gather(1, tags[:, None])[:, 0]
        running = torch.cat((log_p.new_zeros(1), log_p.cumsum(0)))
        return (running[spans[:, 1]] - running[spans[:, 0]]).exp()


class CrfHead(Head):
    """Decide whole documents, with transition scores and the scheme's constraints."""

    def __init__(self, width: int, tag_set: TagSet) -> None:
        super().__init__(width, tag_set)
        self.crf = LinearChainCRF(torch.from_numpy(tag_set.allowed))

    @torch.no_grad()
    def inherit(self, other: Head) -> None:
        """See `Head.inherit`. New tags move as O does, where the scheme allows it."""
        super().inherit(other)
        if isinstance(other, CrfHead):
            edge = torch.tensor([len(other.tag_set)], device=self.project.bias.device)
            rows = torch.cat((self._sources(other), edge))
            self.crf.transitions.copy_(other.crf.transitions[rows[:, None], rows])

    def loss(
        self, emissions: Tensor, gold: Tensor, lengths: Tensor, open_tags: Tensor | None = None
    ) -> Tensor:
        lengths = lengths[lengths > 0]
        likelihood = self.crf.log_likelihood(emissions, gold, lengths, open_tags)
        return -likelihood / (gold >= 0).sum().clamp(min=1)

    def best_tags(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        return self.crf.best_tags(emissions, lengths[lengths > 0])

    def span_probabilities(self, emissions: Tensor, lengths: Tensor, tags: Tensor, spans: Tensor) -> Tensor:
        # Sums over long documents are large numbers, of which float32 keeps no six digits behind the point.
        lengths, precise = lengths[lengths > 0], emissions.double()
        return self.crf.span_log_marginals(precise, lengths, tags, spans).exp()


def spread_weights(tag_set: TagSet, class_weights: dict[str, float]) -> Tensor:
    """Spread weights of labels over their tags. Shape: (n_tags,).

    RAISES: XNER306 for unknown labels.
    """
    unknown = sorted(set(class_weights) - {"O", *tag_set.labels})
    if unknown:
        raise XnerError(Errors.XNER306.format(unknown=unknown, labels=", ".join(tag_set.labels)))
    names: Sequence[str] = ["O" if tag == "O" else tag[2:] for tag in tag_set.tags]
    return torch.tensor([class_weights.get(name, 1.0) for name in names], dtype=torch.float32)


def tag_set_of(cfg: dict[str, Any]) -> TagSet:
    """Read the tag set from the settings of a head."""
    return TagSet(tuple(cfg["labels"]), cfg["scheme"])

"""Augmented fine-tuning: a tagger learns from its own labels of another language's text (paper 5)."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from spacy.tokens import Doc
from thinc.api import Model, Optimizer

from spacy_xner.bilstm.model import add_target_reader
from spacy_xner.bilstm.network import BiLSTMNetwork
from spacy_xner.errors import Errors, XnerError
from spacy_xner.shim import trained_weights
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.tagger.model import encoder_network
from spacy_xner.types import Count, Rate, Size, Weight


def create_augmented_tuning(
    weight: Weight = 1.0,
    target_reader: bool = True,
    start_after: Count = 0,
    refresh_every: Size = 150,
    min_length: Count = 5,
    max_length: Count = 0,
    max_quantile: Rate = 1.0,
    mean: bool = False,
) -> "AugmentedTuning":
    """Create the objective of augmented fine-tuning, or self-training where there is one reader.

    weight: Factor of these losses in the sum.
    target_reader: Give the unlabelled languages a reader of their own, helped by the first one; needs
        `spacy_xner.BiLSTMEncoder.v1`. Otherwise the tagger learns from its own labels as it is.
    start_after: Batches of unlabelled text to let pass while the tagger learns the labels; with a trained
        tagger to go on from there is nothing to wait for.
    refresh_every: Batches after which the tagger as it is becomes the teacher, and a new length is drawn.
    min_length, max_length: Limits of the drawn length, in tokens: longer documents are left out until the
        next draw. 0 stands for the shortest and the longest document so far, as in the paper.
    max_quantile: Quantile of the lengths so far that a maximum of 0 stands for. One long document makes most
        draws admit nearly all others; see `admitted_share`.
    mean: Learn the mean of the losses, that of the labels among them, rather than their sum.
    SOURCE: Bari et al. 2020, "Augmented Fine-tuning", Algorithm 1 and equation 7.
    """
    lengths = LengthRange(min_length, max_length, max_quantile)
    return AugmentedTuning(weight, target_reader, start_after, refresh_every, lengths, mean)


class LengthRange(NamedTuple):
    """Between which lengths one is drawn. Units: tokens; see `create_augmented_tuning`."""

    minimum: int = 5
    maximum: int = 0
    quantile: float = 1.0

    def ends(self, lengths: Counter[int]) -> tuple[int, int]:
        """The shortest and the longest length to draw. lengths: How many documents have each length."""
        longest = self.maximum or quantile_of(lengths, self.quantile)
        return min(self.minimum or min(lengths), longest), longest


def quantile_of(lengths: Counter[int], quantile: float) -> int:
    """The smallest length that no more than a share of 1 - quantile of the documents exceed."""
    n_within = 0
    for length in sorted(lengths):
        n_within += lengths[length]
        if n_within >= quantile * lengths.total():
            break
    return length


def admitted_share(lengths: Counter[int], limits: LengthRange) -> float:
    """The share of the documents that a drawn length admits on average.

    lengths: How many documents have each length.
    """
    shortest, longest = limits.ends(lengths)
    drawn = range(shortest, longest + 1)
    n_admitted = sum(n * sum(length <= limit for limit in drawn) for length, n in lengths.items())
    return n_admitted / (len(drawn) * lengths.total())


class AugmentedTuning:
    """See `create_augmented_tuning`.

    labelled_weight: Factor of the loss of the labels.
    """

    reads_labelled = False

    def __init__(
        self,
        weight: float,
        target_reader: bool,
        start_after: int,
        refresh_every: int,
        lengths: LengthRange,
        mean: bool,
    ) -> None:
        # The labels' loss is one of the losses, each reader has another.
        self.labelled_weight = 1 / (3 if target_reader else 2) if mean else 1.0
        self.weight = weight * self.labelled_weight
        self.target_reader = target_reader
        self.start_after = start_after
        self.refresh_every = refresh_every
        self.lengths = lengths

    def start(self, tagger: EntityTagger, languages: Iterable[str | None], name: str) -> None:
        """Add the second reader.

        RAISES: XNER312 without unlabelled text, XNER313 for an encoder that cannot have a second reader,
            XNER314 for one that listens to another pipe, XNER316 for a reader of unknown languages.
        """
        languages = list(languages)
        if not languages:
            raise XnerError(Errors.XNER312.format(name=name))
        known = sorted(language for language in languages if language)
        if self.target_reader and not known:
            raise XnerError(Errors.XNER316.format(name=name))
        if tagger.listens:
            raise XnerError(Errors.XNER314.format(name=name))
        self._n_seen = self._limit = self._batch_size = 0
        self._lengths: Counter[int] = Counter()
        self._waiting: list[Doc] = []
        self._teacher: dict[Any, Any] = {}
        if self.target_reader:
            encoder = tagger.model.get_ref("tok2vec")
            if not isinstance(encoder_network(tagger.model), BiLSTMNetwork):
                raise XnerError(Errors.XNER313.format(name=name, found=encoder.name))
            add_target_reader(encoder, known)
            # Until it learns, a tagger that is scored or kept had better read with the first one.
            encoder.attrs["reader"] = "source"

    def update(self, docs: list[Doc], tagger: EntityTagger) -> float:
        """Add the gradients of as many documents as there are in this batch, with the teacher's labels.

        Documents within the drawn length wait until there are enough of them: the loss is a mean, and a few
        short ones would weigh as much as a batch.

        RETURNS: The weighted loss in nats; 0 if there was nothing to learn.
        """
        self._lengths.update(map(len, docs))
        # The last batch of a corpus is a small one.
        self._batch_size = max(self._batch_size, len(docs))
        steps = self._n_seen - self.start_after
        self._n_seen += 1
        if steps < 0:
            return 0.0
        encoder = tagger.model.get_ref("tok2vec")
        if steps == 0 and self.target_reader:
            encoder_network(tagger.model).start_target()
            encoder.attrs["reader"] = ""
        if steps % self.refresh_every == 0:
            self._teacher = trained_weights(tagger.model)
            self._limit = random.randint(*self.lengths.ends(self._lengths))
        self._waiting = [doc for doc in [*self._waiting, *docs] if len(doc) <= self._limit]
        if len(self._waiting) < self._batch_size:
            return 0.0
        short, self._waiting = self._waiting[: self._batch_size], self._waiting[self._batch_size :]
        with tagger.model.use_params(self._teacher), _reading_with(encoder, "source"):
            entities = tagger.find_entities(short)
        loss = 0.0
        # The teacher is the tagger as it reads the labelled language; both readers learn what it found.
        for reader in ("source", "target") if self.target_reader else ("",):
            with _reading_with(encoder, reader):
                loss += tagger.learn(short, entities, weight=self.weight)
        return loss

    def finish_update(self, optimizer: Optimizer) -> None:
        """There is nothing beside the tagger's own weights."""


@contextmanager
def _reading_with(encoder: Model, reader: str) -> Iterator[None]:
    """Let one reader read all documents, whatever their language."""
    if "reader" not in encoder.attrs:
        yield
        return
    before, encoder.attrs["reader"] = encoder.attrs["reader"], reader
    try:
        yield
    finally:
        encoder.attrs["reader"] = before

"""The base of the trainable components: streams that lose no good document, labels, checked losses."""

import math
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.util import minibatch, raise_error
from thinc.api import Optimizer, set_dropout_rate

from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.storage import check_array
from spacy_xner.stored import StoredPipe, model_settings


class GuardedPipe(StoredPipe, TrainablePipe):
    """A component with a model: one bad document loses itself only.

    averages: Averages of the optimizer that stepped the model, if it has any: training scores and keeps them.
    """

    cfg: dict[str, Any]
    averages: dict[Any, Any] | None = None

    _has_moved = False
    _n_idle = 0

    def __call__(self, doc: Doc) -> Doc:
        """Annotate one document; it stays as it is if the error handler lets its error pass."""
        self._process_good([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate a stream of documents in batches, and keep their order.

        If a batch fails and there is an error handler (`nlp.set_error_handler`), the documents that fail by
        themselves are looked for. Each of them is given to the handler alone and dropped if the handler lets
        the error pass. spaCy drops the whole batch.

        RAISES: XNER351 for a batch size below 1, of which spaCy makes an empty stream.
        """
        if isinstance(batch_size, int) and batch_size < 1:
            raise XnerError(Errors.XNER351.format(name=self.name, batch_size=batch_size))
        for docs in minibatch(stream, batch_size):
            yield from self._process_good(docs)

    def process(self, docs: list[Doc]) -> None:
        """Annotate a batch of documents. RAISES: Any error of a document, for the whole batch."""
        self.set_annotations(docs, self.predict(docs))

    def _process_good(self, docs: list[Doc]) -> list[Doc]:
        """Annotate a batch, and report the documents that cannot be. RETURNS: The others, in order."""
        handle_error = self.get_error_handler()
        try:
            self.process(docs)
        except Exception as error:
            if handle_error is raise_error:
                raise
            if len(docs) == 1:
                handle_error(self.name, self, docs, error)
                return []
            half = len(docs) // 2
            return [*self._process_good(docs[:half]), *self._process_good(docs[half:])]
        return docs

    def save_cfg(self) -> dict[str, Any]:
        return self.cfg

    def load_cfg(self, cfg: dict[str, Any]) -> None:
        self.cfg.update(cfg)

    def save_part(self, part: str) -> bytes:
        return bytes(self.model.to_bytes())

    def load_part(self, part: str, content: bytes) -> None:
        stored = {id(node): node.attrs.get("settings") for node in self.model.walk()}
        self.model.from_bytes(content)
        for node in self.model.walk():
            # thinc takes over what is stored, but the network was built by the config.
            if stored[id(node)] is not None:
                node.attrs["settings"] = stored[id(node)]

    def check_loaded(self) -> None:
        """Look at the weights that are thinc's; those of torch looked at themselves.

        RAISES: XNER336, XNER337, XNER338.
        """
        for node in self.model.walk():
            for param in (p for p in node.param_names if node.has_param(p)):
                check_array(node.get_param(param), f"{node.name}.{param}", self.name)
            if node.has_param("W") and node.name.startswith("softmax"):
                expected, shape = (node.get_dim("nO"), node.get_dim("nI")), node.get_param("W").shape
                if shape != expected or node.get_param("b").shape != expected[:1]:
                    reason = f"{node.name}.W has the shape {list(shape)}, not {list(expected)}"
                    raise XnerError(Errors.XNER338.format(reason=reason))

    @property
    def reads_vectors(self) -> bool:
        """True if a layer of the model reads the vocabulary's vectors: the BiLSTM's, or spaCy's."""
        return any(
            node.attrs.get("use_vectors") or node.name == "static_vectors" for node in self.model.walk()
        )

    def settings(self) -> dict[str, Any]:
        """The settings of the component and of its model that change what is found."""
        return {**super().settings(), **model_settings(self.model)}

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch, and step the model if there is an optimizer. Frozen components have no loss.

        RAISES: XNER303 if a loss is not a number, before any weight is changed.
        """
        losses = {} if losses is None else losses
        if not self.is_trainable:
            return losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.update")
        set_dropout_rate(self.model, drop)
        if self.add_gradients(examples, losses) and sgd is not None:
            self.finish_update(sgd)
        return losses

    @abstractmethod
    def add_gradients(self, examples: list[Example], losses: dict[str, float]) -> bool:
        """Add the gradients of a batch to the model, and its losses to their sums by name.

        RETURNS: False if the batch has nothing to learn, so that no step follows.
        """

    def finish_update(self, sgd: Optimizer) -> None:
        """Step the model. Warns once if the learning rate stays at 0 (XNER-W352)."""
        super().finish_update(sgd)
        if sgd.learn_rate > 0:
            self._has_moved = True
        elif not self._has_moved:
            self._n_idle += 1
            if self._n_idle == 2:  # The first step of a warm-up is one of nothing.
                warnings.warn(Warnings.W352.format(name=self.name), stacklevel=2)
        # `nlp.rehearse` hands in a function that collects gradients, without averages.
        self.averages = getattr(sgd, "averages", self.averages)

    def check_loss(self, loss: float, docs: list[Doc]) -> float:
        """Give back the loss of a batch. RAISES: XNER303 if it is not a number."""
        if not math.isfinite(loss):
            raise XnerError(Errors.XNER303.format(name=self.name, loss=loss, text=docs[0].text[:60]))
        return loss


class LabelledPipe(GuardedPipe):
    """A trainable component whose output layer has one place a label.

    Subclasses set `cfg = {"labels": [], ...}`.
    """

    @property
    @abstractmethod
    def is_built(self) -> bool:
        """True once the output layer exists."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels: sorted, and behind them those that were added after training."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> tuple[str, ...]:
        """The labels in the form that `spacy init labels` stores."""
        return self.labels

    def load_cfg(self, cfg: dict[str, Any]) -> None:
        """Take over the labels. RAISES: XNER335 for what is no list of different labels."""
        labels = cfg["labels"]
        are_labels = isinstance(labels, list) and all(isinstance(label, str) and label for label in labels)
        if not are_labels or len(set(labels)) < len(labels):
            raise XnerError(Errors.XNER335.format(name=self.name, labels=labels))
        super().load_cfg(cfg)

    def add_label(self, label: str) -> int:
        """Add a label. RETURNS: 1 if it is new, else 0.

        RAISES: XNER305 once the output layer is built, if it cannot grow; XNER307 for no text.
        """
        if not isinstance(label, str) or not label:
            raise XnerError(Errors.XNER307.format(label=label))
        if label in self.labels:
            return 0
        if self.is_built:
            self._grow(label)
            self.cfg["labels"] = [*self.labels, label]
        else:
            # Sorted, so that the order of the examples does not show in the model.
            self.cfg["labels"] = sorted((*self.labels, label))
        self.vocab.strings.add(label)
        return 1

    def _grow(self, label: str) -> None:
        """Make place for one more label in the output layer. RAISES: XNER305 unless a subclass can."""
        labels = ", ".join(self.labels)
        raise XnerError(Errors.XNER305.format(label=label, name=self.name, labels=labels))

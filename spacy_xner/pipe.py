"""What the trainable components have alike: sorted labels, named damage, checked losses."""

import math
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from thinc.api import Optimizer

from spacy_xner.errors import Errors, XnerError, named_damage

Self = TypeVar("Self", bound="GuardedPipe")


class GuardedPipe(TrainablePipe):
    """A component with a model that names damaged files and bytes as such.

    averages: Those of the optimizer that stepped it, if it has any: what training scores and keeps.
    """

    averages: dict[Any, Any] | None = None

    def finish_update(self, sgd: Optimizer) -> None:
        """Step the model."""
        super().finish_update(sgd)
        self.averages = sgd.averages

    def from_disk(self: Self, path: str | Path, *, exclude: Iterable[str] = ()) -> Self:
        """Load the component. RAISES: XNER302 for missing, damaged or foreign files."""
        exclude = tuple(exclude)
        with named_damage(self.name):
            cfg = Path(path) / "cfg"
            # spaCy passes over it, and a tagger without its labels would load.
            if hasattr(self, "cfg") and "cfg" not in exclude and not cfg.is_file():
                raise FileNotFoundError(cfg)
            return super().from_disk(path, exclude=exclude)

    def from_bytes(self: Self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Self:
        """Load the component. RAISES: XNER302 for damaged bytes."""
        with named_damage(self.name):
            return super().from_bytes(bytes_data, exclude=tuple(exclude))

    def check_loss(self, loss: float, docs: list[Doc]) -> float:
        """Give back the loss of a batch. RAISES: XNER303 if it is not a number."""
        if not math.isfinite(loss):
            raise XnerError(Errors.XNER303.format(name=self.name, loss=loss, text=docs[0].text[:60]))
        return loss


class LabelledPipe(GuardedPipe):
    """A trainable component whose output layer has one place a label.

    Subclasses set `cfg = {"labels": [], ...}`.
    """

    cfg: dict[str, Any]

    @property
    @abstractmethod
    def is_built(self) -> bool:
        """True once the output layer exists."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, sorted."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> tuple[str, ...]:
        """What `spacy init labels` stores for this component."""
        return self.labels

    def add_label(self, label: str) -> int:
        """Add a label before initialization. RETURNS: 1 if it is new, else 0.

        RAISES: XNER305 once the output layer is built, XNER307 for no text.
        """
        if not isinstance(label, str) or not label:
            raise XnerError(Errors.XNER307.format(label=label))
        if label in self.labels:
            return 0
        if self.is_built:
            labels = ", ".join(self.labels)
            raise XnerError(Errors.XNER305.format(label=label, name=self.name, labels=labels))
        # Sorted, so that the order of the examples does not show in the model.
        self.cfg["labels"] = sorted((*self.labels, label))
        self.vocab.strings.add(label)
        return 1

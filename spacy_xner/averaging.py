"""The mean of the weights of several evaluations, kept beside any training and written at its end.

spaCy imports this module whenever a `Language` is made, as it does `logger`: nothing heavy stands among the
imports.

SOURCE: Schmidt et al. 2023, https://arxiv.org/abs/2305.16834 (the plain mean of the checkpoints of all epochs
in the place of a selection); Izmailov et al. 2018, https://arxiv.org/abs/1803.05407.
DIFFERS: The first epoch is left out by default: its head has hardly begun.
"""

import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.util import registry

from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.logger import Logger, Step
from spacy_xner.types import Size

if TYPE_CHECKING:
    from collections.abc import Callable


def create_mean_logger(logger: Logger, path: str, first: Size = 2) -> Logger:
    """Create a logger that also averages the weights, and writes a pipeline with their mean.

    It selects nothing: every evaluation from the first one on counts alike, whatever its score. With one
    evaluation an epoch (`spacy xner train --epochs`) the mean is that of the epochs. An optimizer's own
    averages (`use_averages`) take no part.

    logger: The logger that people see, `spacy_xner.CurveLogger.v1` for instance.
    path: Folder of the averaged pipeline.
    first: The evaluation that the mean begins with, counted from 1; the one before training is none.
    """

    def setup(nlp: Language, stdout: IO, stderr: IO) -> "tuple[Step, Callable[[], None]]":
        log, finish_log = logger(nlp, stdout, stderr)
        mean = WeightMean(nlp)
        n_evaluations = 0

        def log_step(info: dict[str, Any] | None) -> None:
            nonlocal n_evaluations
            log(info)
            if info is None or info["score"] is None or not info["step"]:
                return
            n_evaluations += 1
            if n_evaluations >= first:
                mean.add()

        def finish() -> None:
            finish_log()
            if mean.n:
                mean.write(Path(path))
            else:
                warnings.warn(Warnings.W650.format(first=first, n=n_evaluations, path=path), stacklevel=2)

        return log_step, finish

    return setup


class WeightMean:
    """The running mean of the weights that are trained in a pipeline.

    n: States in the mean.
    values: The mean in the form that `nlp.use_params` takes; as much memory as the weights.
    RAISES: XNER653 for a component whose weights cannot be seen.
    """

    def __init__(self, nlp: Language) -> None:
        self._nlp = nlp
        self.n = 0
        self.values: dict[Any, Any] = {}
        for name, pipe in nlp.pipeline:
            if isinstance(pipe, TrainablePipe) and (kind := _foreign_network(pipe)):
                raise XnerError(Errors.XNER653.format(name=name, kind=kind))

    def add(self) -> None:
        """Add the weights as they are now."""
        from spacy_xner.shim import trained_weights

        pipes = [pipe for _, pipe in self._nlp.pipeline if isinstance(pipe, TrainablePipe)]
        self.n += 1
        for pipe in pipes:
            for key, now in trained_weights(pipe.model).items():
                mean = self.values.setdefault(key, now)
                if mean is not now:
                    mean += (now - mean) / self.n

    def write(self, path: Path) -> None:
        """Write the pipeline with the mean in the place of its weights, which stay as they are."""
        training = self._nlp.config.interpolate()["training"]
        callback = {"before_to_disk": training.get("before_to_disk")}
        prepare = registry.resolve(callback)["before_to_disk"] if callback["before_to_disk"] else None
        with self._nlp.use_params(self.values):
            (prepare(self._nlp) if prepare else self._nlp).to_disk(path)


def _foreign_network(pipe: TrainablePipe) -> str:
    """The kind of a network that is not the package's; empty if all are."""
    from spacy_xner.shim import TorchShim

    shims = (shim for node in pipe.model.walk() for shim in node.shims)
    return next((type(shim).__name__ for shim in shims if not isinstance(shim, TorchShim)), "")

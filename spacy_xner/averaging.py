"""The mean of the weights of several evaluations, kept beside any training and written at its end.

spaCy imports this module whenever a `Language` is made, as it does `logger`: nothing heavy stands among the
imports.

SOURCE: Schmidt et al. 2023, https://arxiv.org/abs/2305.16834 (the plain mean of the checkpoints of all epochs
in the place of a selection); Izmailov et al. 2018, https://arxiv.org/abs/1803.05407.
DIFFERS: The first epoch is left out by default: its head has hardly begun.

`average_pipelines` averages trainings of several seeds (model soups, Wortsman et al. 2022,
https://arxiv.org/abs/2203.05482) that have one head, as the first paper does: heads of their own number their
inputs otherwise, and their mean is no head.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.util import registry

from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.files import fresh_folder
from spacy_xner.loading import load_pipeline
from spacy_xner.logger import Logger, Step
from spacy_xner.types import Size

if TYPE_CHECKING:
    from collections.abc import Callable

# The name of the node that is a tagger's head.
HEAD = "entity_head"


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


def average_pipelines(paths: Sequence[Path], out: Path) -> None:
    """Write the first pipeline with the mean of all pipelines' weights.

    paths: Pipelines of the same components, whose taggers have equal heads.
    RAISES: XNER358 for heads that differ, XNER359 for networks of other kinds or fewer than two pipelines,
        XNER420 for a folder without a pipeline, XNER653.
    """
    if len(paths) < 2:
        raise XnerError(Errors.XNER359.format(first=", ".join(map(str, paths)) or "none", path="nothing"))
    nlp = load_pipeline(paths[0])
    # Checks the components, too.
    WeightMean(nlp)
    mean = {name: tensor.clone() for name, tensor in _tensors(nlp)}
    for n, path in enumerate(paths[1:], start=2):
        _add(mean, load_pipeline(path), n, (paths[0], path))
    for name, tensor in _tensors(nlp):
        tensor.copy_(mean[name])
    with fresh_folder(out) as folder:
        nlp.to_disk(folder)


def _add(mean: dict[tuple[str, ...], Any], nlp: Language, n: int, paths: tuple[Path, Path]) -> None:
    """Add the n-th pipeline to a mean. RAISES: XNER358, XNER359."""
    first, path = paths
    now = dict(_tensors(nlp))
    shapes = [{name: (t.shape, t.dtype) for name, t in tensors.items()} for tensors in (mean, now)]
    if shapes[0] != shapes[1]:
        raise XnerError(Errors.XNER359.format(first=first, path=path))
    for name, tensor in now.items():
        is_equal = bool((mean[name] == tensor).all())
        if name[1] == HEAD and not is_equal:
            raise XnerError(Errors.XNER358.format(name=name[0], first=first, path=path))
        if not tensor.is_floating_point() and not is_equal:
            # Packed weights have codes, which have no mean.
            raise XnerError(Errors.XNER359.format(first=first, path=path))
        if not is_equal:
            mean[name] += (tensor - mean[name]) / n


def _tensors(nlp: Language) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All tensors of a pipeline's networks, by component, kind and place of the network, and name."""
    for name, pipe in nlp.pipeline:
        if isinstance(pipe, TrainablePipe):
            for place, node in enumerate(pipe.model.walk()):
                for shim in node.shims:
                    for key, tensor in shim.network.state_dict().items():
                        yield (name, node.name, str(place), key), tensor


def _foreign_network(pipe: TrainablePipe) -> str:
    """The kind of a network that is not the package's; empty if all are."""
    from spacy_xner.shim import TorchShim

    shims = (shim for node in pipe.model.walk() for shim in node.shims)
    return next((type(shim).__name__ for shim in shims if not isinstance(shim, TorchShim)), "")

"""The mean of the weights of trainings with several seeds.

They have one head: heads of their own number their inputs otherwise, and their mean is no head.

SOURCE: Wortsman et al. 2022, https://arxiv.org/abs/2203.05482 (model soups); Schmidt et al. 2023,
https://arxiv.org/abs/2305.16834 (one head for all seeds).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.pipeline import TrainablePipe
from thinc.api import xp2torch

from spacy_xner.averaging import WeightMean
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import fresh_folder
from spacy_xner.loading import load_pipeline

# The name of the node that is a tagger's head.
HEAD = "entity_head"


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
                for key in node.param_names:
                    if node.has_param(key):
                        # The tensor shares the memory of thinc's array.
                        yield (name, node.name, str(place), key), xp2torch(node.get_param(key))
                for shim in node.shims:
                    for key, tensor in shim.network.state_dict().items():
                        yield (name, node.name, str(place), key), tensor

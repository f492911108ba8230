"""Going on from the weights of a trained tagger, with other settings."""

from pathlib import Path
from typing import Any, TypeVar

from spacy.pipeline import TrainablePipe
from spacy.util import load_model
from thinc.api import Model

from spacy_xner.errors import Errors, XnerError
from spacy_xner.loading import load_pipeline
from spacy_xner.shim import TorchShim

TaggerT = TypeVar("TaggerT", bound=TrainablePipe)


def find_teacher(weights: str | Path, kind: type[TaggerT], name: str, scheme: str) -> TaggerT:
    """Load the one tagger of a pipeline.

    weights: Folder or name of the pipeline.
    kind: Class of the tagger.
    name: Name of the component that goes on from it.
    scheme: Its tag scheme.
    RAISES: XNER310 if there is not exactly one tagger, or if its scheme is another one.
    """
    taggers = [pipe for _, pipe in load_model(weights).pipeline if isinstance(pipe, kind)]
    if len(taggers) != 1:
        raise _error(name, weights, f"it has {len(taggers)} taggers, expected one")
    if taggers[0].cfg["scheme"] != scheme:
        raise _error(name, weights, f"its scheme is {taggers[0].cfg['scheme']}, not {scheme}")
    return taggers[0]


def take_weights(model: Model, teacher: Model, name: str, weights: str | Path) -> None:
    """Take over the weights of the teacher, not its settings: attributes of a model are settings.

    RAISES: XNER310 if the two networks are not built alike.
    """
    attributes = [dict(node.attrs) for node in model.walk()]
    if _structure(model) != _structure(teacher):
        raise _error(name, weights, "its network is another one")
    try:
        model.from_bytes(teacher.to_bytes())
    except ValueError as error:
        raise _error(name, weights, f"its network is another one ({error})") from error
    for node, settings in zip(model.walk(), attributes, strict=True):
        node.attrs.update(settings)


def take_head(
    model: Model, path: str | Path, name: str, cfg: dict[str, Any], kind: type[TrainablePipe]
) -> None:
    """Take over the head of the one tagger of a pipeline, which is not trained from then on.

    cfg: Labels and scheme that the head must have. kind: Class of the tagger.
    RAISES: XNER360 if there is another number of taggers, or if the head does not fit; XNER420.
    """

    def refusal(reason: str) -> XnerError:
        return XnerError(Errors.XNER360.format(name=name, head=path, reason=reason))

    taggers: list[Any] = [pipe for _, pipe in load_pipeline(path).pipeline if isinstance(pipe, kind)]
    if len(taggers) != 1:
        raise refusal(f"it has {len(taggers)} taggers, expected one")
    expected, stored_tags = ((list(c["labels"]), c["scheme"]) for c in (cfg, taggers[0].cfg))
    if expected != stored_tags:
        raise refusal(f"it tags {stored_tags}, not {expected}")
    shim, other = (m.get_ref("head").shims[0] for m in (model, taggers[0].model))
    tensors, stored = shim.network.state_dict(), other.network.state_dict()
    if {k: t.shape for k, t in tensors.items()} != {k: t.shape for k, t in stored.items()}:
        raise refusal("its weights are others")
    shim.network.load_state_dict(stored)
    shim.network.requires_grad_(False)


def _structure(model: Model) -> list[Any]:
    """Describe what each torch network of a model is built of."""
    shims = (shim for node in model.walk() for shim in node.shims)
    return [shim.structure if isinstance(shim, TorchShim) else shim.cfg for shim in shims]


def _error(name: str, weights: str | Path, reason: str) -> XnerError:
    return XnerError(Errors.XNER310.format(name=name, weights=weights, reason=reason))

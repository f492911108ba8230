"""Thinc wiring of the entity tagger: an encoder of tokens and a head."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy
import torch
from numpy.typing import NDArray
from spacy.tokens import Doc
from thinc.api import ArgsKwargs, Model, chain, torch2xp, xp2torch
from thinc.types import Floats2d

from spacy_xner.shim import TorchShim
from spacy_xner.tagger.losses import TokenLoss
from spacy_xner.tagger.network import CrfHead, Head, SoftmaxHead, tag_set_of
from spacy_xner.types import Decoding, Positive

# From documents to one vector a token: our encoders, a listener, or any spaCy tok2vec.
Encoder: TypeAlias = Model[list[Doc], list[Floats2d]]
# From token vectors to tag scores.
HeadModel: TypeAlias = Model[list[Floats2d], list[Floats2d]]
Tagger: TypeAlias = Model[list[Doc], list[Floats2d]]


def build_entity_tagger(tok2vec: Encoder, head: HeadModel) -> Tagger:
    """Build a tagger of an encoder and a head.

    tok2vec: Token vectors. Shape: (n_tokens, width) a document.
    head: Tag scores. Shape: (n_tokens, n_tags) a document.
    """
    model: Tagger = chain(tok2vec, head)
    model.init = init_tagger
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("head", head)
    return model


def build_softmax_head(
    loss: TokenLoss,
    class_weights: dict[str, float],
    learn_rate_factor: Positive = 1.0,
    decode: Decoding = "argmax",
) -> HeadModel:
    """Build a head that learns token by token; see `network.SoftmaxHead`.

    The head's input has the dropout of `[training]`.

    loss: The loss of a token, such as `spacy_xner.cross_entropy.v1`.
    learn_rate_factor: The head learns at the optimizer's rate times this factor. A fresh head is one linear
        layer and learns well at 10 to 100 times the rate that suits a pretrained encoder.
    decode: "argmax" decides token by token; "viterbi" takes the likeliest tags that keep the scheme. It may
        be changed when a trained pipeline is loaded.
    """
    make = partial(_make_softmax_head, loss=loss, class_weights=dict(class_weights), decode=decode)
    return _build_head(make, learn_rate_factor)


def build_crf_head(learn_rate_factor: Positive = 1.0) -> HeadModel:
    """Build a head that decides document by document; see `network.CrfHead` and `build_softmax_head`."""
    return _build_head(_make_crf_head, learn_rate_factor)


# Functions with names, as everything that a model keeps: processes that are spawned get it pickled.
def _make_softmax_head(
    cfg: dict[str, Any], loss: TokenLoss, class_weights: dict[str, float], decode: Decoding
) -> Head:
    return SoftmaxHead(cfg["width"], tag_set_of(cfg), loss, class_weights, decode)


def _make_crf_head(cfg: dict[str, Any]) -> Head:
    return CrfHead(cfg["width"], tag_set_of(cfg))


def _build_head(build: Callable[[dict[str, Any]], Head], learn_rate_factor: float) -> HeadModel:
    return Model(
        "entity_head",
        forward_head,
        shims=[TorchShim(build, learn_rate_factor=learn_rate_factor)],
        dims={"nI": None, "nO": None},
        attrs={"dropout_rate": 0.0},
    )


def head_network(model: Tagger) -> Head:
    """The torch network of a tagger's head. RAISES: XNER301 before it is built."""
    return model.get_ref("head").shims[0].network


def encoder_network(model: Tagger) -> Any:
    """The torch network of a tagger's encoder; None for encoders of other kinds and before it is built."""
    shims = [shim for shim in model.get_ref("tok2vec").shims if isinstance(shim, TorchShim) and shim.is_built]
    return shims[0].network if shims else None


def encoder_shims(model: Tagger) -> list[TorchShim]:
    """The built torch shims of a tagger's encoder, those of an encoder within another one too."""
    shims = (shim for node in model.get_ref("tok2vec").walk() for shim in node.shims)
    return [shim for shim in shims if isinstance(shim, TorchShim) and shim.is_built]


def forward_head(
    model: HeadModel, vectors: list[Floats2d], is_train: bool
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Floats2d]]]:
    """Project the token vectors of all documents at once."""
    shim: TorchShim = model.shims[0]
    lengths = [len(v) for v in vectors]
    flat = model.ops.flatten(vectors, dtype="float32") if vectors else model.ops.alloc2f(0, 0)
    if is_train:
        network: Head = model.shims[0].network
        network.dropout.p = model.attrs["dropout_rate"]
    # The device is named, for thinc's default is one of the thread, and a new thread's is the CPU.
    inputs = xp2torch(flat, requires_grad=is_train, device=shim.device)
    emissions, torch_backprop = shim(ArgsKwargs(args=(inputs,), kwargs={}), is_train)

    def backprop(d_emissions: list[Floats2d]) -> list[Floats2d]:
        d_flat = xp2torch(model.ops.flatten(d_emissions), device=shim.device)
        grads = ArgsKwargs(args=((emissions,),), kwargs={"grad_tensors": d_flat})
        d_inputs = torch_backprop(grads)
        return model.ops.unflatten(torch2xp(d_inputs.args[0]), lengths)

    return model.ops.unflatten(torch2xp(emissions.float()), lengths), backprop


def init_tagger(model: Tagger, X: list[Doc] | None = None, Y: Any = None) -> None:
    """Initialize the encoder, then the head by the encoder's width.

    The labels are in the head's `cfg` by then: see `EntityTagger.initialize`.
    """
    tok2vec, head = model.get_ref("tok2vec"), model.get_ref("head")
    tok2vec.initialize(X=X)
    width = tok2vec.maybe_get_dim("nO")
    if width is None and X:
        width = tok2vec.predict(X)[0].shape[1]
    shim: TorchShim = head.shims[0]
    shim.start({**shim.cfg, "width": width})
    head.set_dim("nI", width, force=True)
    head.set_dim("nO", len(tag_set_of(shim.cfg)), force=True)


def grow_head(model: Tagger, labels: list[str]) -> None:
    """Make place for new labels in a trained head; all else stays as it is.

    labels: The head's labels in their order, and the new ones behind them.
    """
    head = model.get_ref("head")
    shim: TorchShim = head.shims[0]
    before: Any = shim.network
    shim.restart({**shim.cfg, "labels": labels})
    network: Any = shim.network
    network.inherit(before)
    network.train(before.training)
    head.set_dim("nO", len(network.tag_set), force=True)


def raise_tags(model: Tagger, n_tags: int, nats: float) -> None:
    """Make the tags behind the first ones of a head likelier on any text, by the same for all of them."""
    with torch.no_grad():
        head_network(model).project.bias[n_tags:] += nats


def head_loss(
    model: Tagger,
    tags: list[NDArray[numpy.int64]],
    scores: list[Floats2d],
    weight: float = 1.0,
    open_tags: Sequence[NDArray[numpy.bool_]] | None = None,
) -> tuple[float, list[Floats2d]]:
    """Compute the head's loss. The parameters of a CRF get their gradients on the way.

    tags: Gold tag ids; 0 is O. Shape: (n_tokens,) a document.
    scores: Tag scores. Shape: (n_tokens, n_tags) a document.
    open_tags: Tags that tokens of a document may have in the place of O. Shape: (n_tags,) a document.
    RETURNS: The weighted loss in nats, and its gradient by the scores.
    """
    sizes = [len(s) for s in scores]
    with torch.enable_grad():
        flat = to_flat_torch(scores, head_network(model).device, requires_grad=True)
        gold = torch.cat([torch.from_numpy(ids) for ids in tags]).to(flat.device)
        lengths = torch.tensor(sizes, device=flat.device)
        further = None
        if open_tags is not None and any(row.any() for row in open_tags):
            by_doc = torch.from_numpy(numpy.stack(open_tags)).to(flat.device)
            further = by_doc.repeat_interleave(lengths, dim=0) & (gold == 0)[:, None]
        loss = weight * head_network(model).loss(flat, gold, lengths, further)
        value = float(loss.detach())
        if math.isfinite(value):
            loss.backward()
    gradient = torch.zeros_like(flat) if flat.grad is None else flat.grad
    return value, model.ops.unflatten(torch2xp(gradient), sizes)


def to_flat_torch(
    arrays: list[Floats2d], device: torch.device, *, requires_grad: bool = False
) -> torch.Tensor:
    """Join the arrays of a batch on a device. Shape: (n_tokens, n_columns)."""
    flat = torch.cat([xp2torch(array, device=device) for array in arrays])
    return flat.detach().requires_grad_(requires_grad)

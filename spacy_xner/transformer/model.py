"""Thinc wiring of the transformer encoder."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field
from spacy.tokens import Doc
from thinc.api import ArgsKwargs, Model, torch2xp, xp2torch
from thinc.types import Floats2d

from spacy_xner.shim import TorchShim
from spacy_xner.tagger.gold import token_boundaries
from spacy_xner.tagger.model import Encoder
from spacy_xner.transformer.checkpoint import describe, load_checkpoint
from spacy_xner.transformer.network import Pooling, TokenizedText, TransformerNetwork


def build_transformer_encoder(
    name: str,
    n_frozen_layers: Annotated[int, Field(ge=-1)] = 0,
    pooling: Pooling = "first",
    window: Annotated[int, Field(ge=8)] = 512,
    overlap: Annotated[int, Field(ge=0)] = 64,
    token_budget: Annotated[int, Field(ge=1)] = 512,
    mixed_precision: bool = False,
    grad_scaler_config: dict[str, Any] | None = None,
) -> Encoder:
    """Build an encoder on a pretrained transformer; weights are read at initialization.

    name: Checkpoint folder, hub name, or `multilingual-e5-small`. A saved pipeline does not need it.
    mixed_precision, grad_scaler_config: See `TorchShim`.
    The other settings: see `TransformerNetwork`.
    """
    settings: dict[str, Any] = {
        "n_frozen_layers": n_frozen_layers,
        "pooling": pooling,
        "window": window,
        "overlap": overlap,
        "budget": token_budget,
    }
    shim = TorchShim(
        lambda cfg: TransformerNetwork(cfg, **settings),
        mixed_precision=mixed_precision,
        grad_scaler_config=grad_scaler_config,
    )
    return Model(
        "transformer_encoder",
        forward_encoder,
        init=init_encoder,
        shims=[shim],
        dims={"nO": None},
        attrs={"name": name, "settings": settings},
    )


def forward_encoder(
    model: Encoder, docs: list[Doc], is_train: bool
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Doc]]]:
    """Compute token vectors. Shape: (n_tokens, width) a document."""
    shim: TorchShim = model.shims[0]
    lengths = [len(doc) for doc in docs]
    texts = [TokenizedText(doc.text, *token_boundaries(doc)) for doc in docs]
    vectors, torch_backprop = shim(ArgsKwargs(args=(texts,), kwargs={}), is_train)

    def backprop(d_vectors: list[Floats2d]) -> list[Doc]:
        if vectors.requires_grad:
            d_flat = xp2torch(model.ops.flatten(d_vectors))
            torch_backprop(ArgsKwargs(args=((vectors,),), kwargs={"grad_tensors": d_flat}))
        return docs

    return model.ops.unflatten(torch2xp(vectors.detach()), lengths), backprop


def init_encoder(model: Encoder, X: Any = None, Y: Any = None) -> None:
    """Read the pretrained weights. RAISES: XNER201, XNER202, XNER206."""
    encoder, tokenizer = load_checkpoint(model.attrs["name"])
    cfg = describe(encoder, tokenizer)
    network = TransformerNetwork(cfg, encoder=encoder, **model.attrs["settings"])
    model.shims[0].start(cfg, network)
    model.set_dim("nO", network.width, force=True)

"""Thinc wiring of the transformer encoder."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy
from spacy.tokens import Doc
from thinc.api import ArgsKwargs, Model, torch2xp, xp2torch
from thinc.types import Floats2d

from spacy_xner.attributes import count_unknown
from spacy_xner.precision import read_precision
from spacy_xner.shim import TorchShim
from spacy_xner.tagger.gold import token_boundaries
from spacy_xner.tagger.model import Encoder
from spacy_xner.transformer.checkpoint import describe, load_checkpoint, outline
from spacy_xner.transformer.freezing import keep_lowest
from spacy_xner.transformer.network import TokenizedText, TransformerNetwork
from spacy_xner.transformer.pooling import Pooling, TextPooling
from spacy_xner.transformer.wordpieces import Pieces, TokenPieces, align_tokens
from spacy_xner.types import Count, Frozen, Positive, Precision, Rate, Size, Window

# From documents to one vector a document.
SentenceEncoder: TypeAlias = Model[list[Doc], Floats2d]


class Query(NamedTuple):
    """A text and the document that is read in its light.

    by_piece: The document's wordpieces get vectors in the place of its tokens; see `pieces_of`.
    """

    text: str
    doc: Doc
    by_piece: bool = False


# From queries to one vector a token, or a wordpiece, of each document.
PairEncoder: TypeAlias = Model[list[Query], list[Floats2d]]


def build_transformer_encoder(
    name: str,
    n_frozen_layers: Frozen = 0,
    n_layers: Count = 0,
    pooling: Pooling = "first",
    window: Window = 128,
    overlap: Count = 16,
    token_budget: Size = 512,
    precision: Precision | None = None,
    grad_scaler_config: dict[str, Any] | None = None,
    max_learn_rate: Positive | None = 0.00005,
    mixed_precision: bool | None = None,
    layer_decay: Rate = 1.0,
    mix_layers: bool = False,
) -> Encoder:
    """Build an encoder of tokens on a pretrained transformer; weights are read at initialization.

    name: Checkpoint folder, hub name, or `multilingual-e5-small`. A saved pipeline does not need it.
    n_layers: Only the lowest so many layers; 0 for all.
    token_budget: Wordpieces, padding included, that go through the encoder at once.
    precision: See `TorchShim`; None is float32.
    grad_scaler_config: Settings of thinc's gradient scaler, which float16 needs.
    max_learn_rate: See `TorchShim`. The limit is that of this encoder alone: the head behind it learns with
        the optimizer's rate.
    layer_decay: See `TorchShim`; 0.9 or so keeps the lower layers nearer to the pretrained ones.
    mix_layers: Vectors are made of a learnt mean of all layers that are not frozen, not of the last one; see
        `mixing.ScalarMix`. Such an encoder cannot be exported.
    mixed_precision: The setting of earlier configs in place of `precision`; see `precision.read_precision`.
    The other settings are those of `TransformerNetwork`. Windows are about as long as the sentences that
    taggers are trained on: longer ones are slower and find less (see `benchmarks/windows.py`). Encoders that
    share their frozen layers share what these compute where their windows are alike. A stored pipeline names
    its windows.
    """
    return _build_encoder(
        "transformer_encoder", forward_encoder, name, n_layers, read_precision(precision, mixed_precision),
        grad_scaler_config, max_learn_rate, layer_decay, mix_layers,
        unit="token", n_frozen_layers=n_frozen_layers, pooling=pooling, window=window, overlap=overlap,
        budget=token_budget,
    )  # fmt: skip


def build_sentence_encoder(
    name: str,
    n_frozen_layers: Frozen = -1,
    n_layers: Count = 0,
    pooling: TextPooling = "first",
    window: Window = 128,
    overlap: Count = 16,
    token_budget: Size = 512,
    precision: Precision | None = None,
    grad_scaler_config: dict[str, Any] | None = None,
    max_learn_rate: Positive | None = 0.00005,
    mixed_precision: bool | None = None,
) -> SentenceEncoder:
    """Build an encoder of whole texts: one vector each. See `build_transformer_encoder` for the settings."""
    return _build_encoder(
        "sentence_encoder", forward_sentences, name, n_layers, read_precision(precision, mixed_precision),
        grad_scaler_config, max_learn_rate,
        unit="text", n_frozen_layers=n_frozen_layers, pooling=pooling, window=window, overlap=overlap,
        budget=token_budget,
    )  # fmt: skip


def build_pair_encoder(
    name: str,
    n_frozen_layers: Frozen = 0,
    n_layers: Count = 0,
    pooling: Pooling = "first",
    window: Window = 512,
    overlap: Count = 64,
    token_budget: Size = 512,
    precision: Precision | None = None,
    grad_scaler_config: dict[str, Any] | None = None,
    max_learn_rate: Positive | None = 0.00005,
    mixed_precision: bool | None = None,
) -> PairEncoder:
    """Build an encoder of tokens behind a query: query and document are the segments of a pair.

    Documents longer than the window are cut, and the query is repeated before every part. See
    `build_transformer_encoder` for the settings.
    """
    return _build_encoder(
        "pair_encoder", forward_pairs, name, n_layers, read_precision(precision, mixed_precision),
        grad_scaler_config, max_learn_rate,
        unit="token", n_frozen_layers=n_frozen_layers, pooling=pooling, window=window, overlap=overlap,
        budget=token_budget,
    )  # fmt: skip


def _build_encoder(
    kind: str,
    forward: Callable,
    name: str,
    n_layers: int,
    precision: Precision,
    grad_scaler_config: dict[str, Any] | None,
    max_learn_rate: float | None,
    layer_decay: float = 1.0,
    mix_layers: bool = False,
    **settings: Any,
) -> Model:
    """Build the model of an encoder. settings: Arguments of the `TransformerNetwork`."""
    shim = TorchShim(
        partial(TransformerNetwork, **settings),
        outline=outline,
        precision=precision,
        grad_scaler_config=grad_scaler_config,
        on_load=TransformerNetwork.share_frozen,
        max_learn_rate=max_learn_rate,
        layer_decay=layer_decay,
    )
    return Model(
        kind,
        forward,
        init=init_encoder,
        shims=[shim],
        dims={"nO": None},
        attrs={"name": name, "n_layers": n_layers, "mix_layers": mix_layers, "settings": settings},
    )


def forward_encoder(
    model: Encoder, docs: list[Doc], is_train: bool
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Doc]]]:
    """Compute token vectors. Shape: (n_tokens, width) a document."""
    texts = [
        TokenizedText(doc.text, *token_boundaries(doc), report=partial(count_unknown, doc)) for doc in docs
    ]
    vectors, backprop_flat = _forward(model, texts, is_train)

    def backprop(d_vectors: list[Floats2d]) -> list[Doc]:
        backprop_flat(model.ops.flatten(d_vectors))
        return docs

    return model.ops.unflatten(vectors, [len(doc) for doc in docs]), backprop


def forward_pairs(
    model: PairEncoder, queries: list[Query], is_train: bool
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Query]]]:
    """Compute vectors of the documents. Shape: (n_tokens, width) or (n_pieces, width) a query."""
    pieces = iter(_split(model, [query.doc for query in queries if query.by_piece]))
    texts = []
    for query in queries:
        piece_range = next(pieces) if query.by_piece else None
        places = (
            token_boundaries(query.doc) if piece_range is None else (piece_range.starts, piece_range.ends)
        )
        texts.append(TokenizedText(query.doc.text, *places, query.text))
    vectors, backprop_flat = _forward(model, texts, is_train)

    def backprop(d_vectors: list[Floats2d]) -> list[Query]:
        backprop_flat(model.ops.flatten(d_vectors))
        return queries

    return model.ops.unflatten(vectors, [len(text.starts) for text in texts]), backprop


def pieces_of(model: PairEncoder, docs: list[Doc]) -> list[TokenPieces]:
    """Find the wordpieces of every token of documents, counted from a document's first one."""
    space_id = model.shims[0].network.space_id
    return [
        align_tokens(pieces, *token_boundaries(doc), space_id)
        for doc, pieces in zip(docs, _split(model, docs), strict=True)
    ]


def _split(model: Model, docs: list[Doc]) -> list[Pieces]:
    split: list[Pieces] = model.shims[0].network.split([doc.text for doc in docs]) if docs else []
    return split


def forward_sentences(
    model: SentenceEncoder, docs: list[Doc], is_train: bool
) -> tuple[Floats2d, Callable[[Floats2d], list[Doc]]]:
    """Compute one vector a document. Shape: (n_docs, width)."""
    no_tokens = numpy.zeros(0, dtype="int64")
    texts = [
        TokenizedText(doc.text, no_tokens, no_tokens, report=partial(count_unknown, doc)) for doc in docs
    ]
    vectors, backprop_flat = _forward(model, texts, is_train)

    def backprop(d_vectors: Floats2d) -> list[Doc]:
        backprop_flat(d_vectors)
        return docs

    return vectors, backprop


def _forward(
    model: Model, texts: list[TokenizedText], is_train: bool
) -> tuple[Floats2d, Callable[[Floats2d], None]]:
    shim: TorchShim = model.shims[0]
    vectors, torch_backprop = shim(ArgsKwargs(args=(texts,), kwargs={}), is_train)

    def backprop(d_vectors: Floats2d) -> None:
        if vectors.requires_grad:
            gradients = {"grad_tensors": xp2torch(d_vectors, device=shim.device)}
            torch_backprop(ArgsKwargs(args=((vectors,),), kwargs=gradients))

    return torch2xp(vectors.detach()), backprop


def init_encoder(model: Model, X: Any = None, Y: Any = None) -> None:
    """Read the pretrained weights. RAISES: XNER201, XNER202, XNER206, XNER207, XNER655."""
    encoder, tokenizer = load_checkpoint(model.attrs["name"])
    keep_lowest(encoder, model.attrs["n_layers"])
    cfg = describe(encoder, tokenizer)
    if model.attrs["mix_layers"]:
        n_frozen = max(0, model.attrs["settings"]["n_frozen_layers"])
        cfg["mixed_layers"] = max(1, int(encoder.config.num_hidden_layers) - n_frozen)
    network = TransformerNetwork(cfg, encoder=encoder, **model.attrs["settings"])
    model.shims[0].start(cfg, network)
    model.set_dim("nO", network.width, force=True)

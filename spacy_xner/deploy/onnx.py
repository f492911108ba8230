"""Export of a pipeline's transformers to onnxruntime. Windows, heads and decoding stay as they are."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy
import torch
from spacy.language import Language
from thinc.api import Model

from spacy_xner.deploy.onnx_graph import GraphSettings, LayerShape, Peaks, write_layers
from spacy_xner.errors import Errors, XnerError, check_counts
from spacy_xner.machine import describe_machine
from spacy_xner.shim import TorchShim
from spacy_xner.transformer.exported import (
    VERSION,
    ExportedEncoder,
    ExportSettings,
    rebuild_exported,
)
from spacy_xner.transformer.freezing import encoder_layers
from spacy_xner.transformer.network import TransformerNetwork
from spacy_xner.transformer.wordpieces import batch_windows, cut_windows

# Kinds of encoders whose layers are those of BERT.
KINDS = ("bert", "camembert", "roberta", "xlm-roberta")


class Encoder(NamedTuple):
    """A transformer of a pipeline.

    component: Name of the component that it belongs to.
    node: The layer of the component's model that holds it.
    network: Its network; the node has another one once it is exported.
    """

    component: str
    node: Model
    network: TransformerNetwork

    @property
    def shim(self) -> TorchShim:
        """The shim that holds the network in the model."""
        return self.node.shims[0]


def find_encoders(nlp: Language) -> list[Encoder]:
    """Find the transformers of a pipeline's components that are not exported yet."""
    return [
        Encoder(name, node, shim.network)
        for name, pipe in nlp.pipeline
        for node in getattr(pipe, "model", Model("none", lambda *_: None)).walk()
        for shim in node.shims
        if isinstance(shim, TorchShim)
        and shim.is_built
        and isinstance(shim.network, TransformerNetwork)
        and not isinstance(shim.network.encoder, ExportedEncoder)
    ]


def choose_settings(*, int8: bool, n_float_layers: int = 0) -> GraphSettings:
    """Choose how to write the layers for this machine.

    Weights get a smaller range where this processor is without VNNI; the export runs on any.

    RAISES: XNER122 for a negative number.
    """
    check_counts(n_float_layers=n_float_layers)
    has_vnni = bool({"avx512_vnni", "avx_vnni", "i8mm"} & set(describe_machine().instruction_sets))
    return GraphSettings(int8=int8, reduced_range=int8 and not has_vnni, n_float_layers=n_float_layers)


def export_encoder(encoder: Encoder, settings: GraphSettings, texts: list[str]) -> None:
    """Put an exported network in the place of a component's own.

    texts: Texts by which the ranges of the layers' inputs are measured.
    RAISES: XNER160 without the packages, XNER162 for another kind of encoder.
    """
    network, source = encoder.network, encoder.network.encoder
    if network.mix is not None:
        reason = "it mixes its layers"
        raise XnerError(Errors.XNER162.format(name=encoder.component, reason=reason, kinds=", ".join(KINDS)))
    check_kind(encoder.component, source)
    parts = encoder_layers(source)
    assert parts is not None
    layers, config = list(parts[1]), source.config
    n_frozen = encoder.node.attrs["settings"]["n_frozen_layers"]
    shape = LayerShape(config.hidden_size, config.num_attention_heads, config.layer_norm_eps)
    peaks: list[Peaks | None] = [*measure_peaks(network, layers, texts)]
    n_rounded = max(0, len(layers) - settings.n_float_layers)
    peaks[n_rounded:] = [None] * (len(layers) - n_rounded)
    n_lower = max(0, n_frozen)
    graphs = [
        write_layers(layers[:n_lower], peaks[:n_lower], shape, settings),
        write_layers(layers[n_lower:], peaks[n_lower:], shape, settings),
    ]
    exported = ExportSettings(
        VERSION, "int8" if settings.int8 else "float32", n_frozen, (len(graphs[0]), len(graphs[1]))
    )
    description = {**encoder.shim.cfg, "exported": exported._asdict()}
    twin = rebuild_exported(description)
    _fill(twin, parts[0], graphs)
    exported_network = TransformerNetwork(description, encoder=twin, **encoder.node.attrs["settings"])
    exported_network.share_frozen()
    encoder.shim.start(description, exported_network)


def restore_encoder(encoder: Encoder) -> None:
    """Put the network that was exported back in its place."""
    description = {key: value for key, value in encoder.shim.cfg.items() if key != "exported"}
    encoder.shim.start(description, encoder.network)


def check_kind(name: str, encoder: Any) -> None:
    """Look whether the graph's layers are those of this encoder. RAISES: XNER162."""
    config = encoder.config
    reason = ""
    if config.model_type not in KINDS:
        reason = f"it is of the kind {config.model_type}"
    elif getattr(config, "position_embedding_type", None) not in (None, "absolute"):
        reason = f"its positions are {config.position_embedding_type}"
    elif config.hidden_act != "gelu":
        reason = f"its activation is {config.hidden_act}"
    if reason:
        raise XnerError(Errors.XNER162.format(name=name, reason=reason, kinds=", ".join(KINDS)))


@torch.inference_mode()
def measure_peaks(network: TransformerNetwork, layers: Iterable[Any], texts: list[str]) -> list[Peaks]:
    """Find the largest number of every column that the matrix products of the layers read on the texts."""
    places = [
        dense
        for layer in layers
        for dense in (
            layer.attention.self.query, layer.attention.output.dense,
            layer.intermediate.dense, layer.output.dense,
        )
    ]  # fmt: skip
    largest = [torch.zeros(place.in_features, device=place.weight.device) for place in places]

    def watch(i: int, _: Any, inputs: tuple[torch.Tensor]) -> None:
        columns = inputs[0].reshape(-1, inputs[0].shape[-1]).abs().amax(dim=0)
        largest[i] = torch.maximum(largest[i], columns)

    hooks = [place.register_forward_pre_hook(partial(watch, i)) for i, place in enumerate(places)]
    try:
        for ids, mask in _batches(network, texts):
            network.encode_windows(ids, mask)
    finally:
        for hook in hooks:
            hook.remove()
    rows = [peak.float().cpu().numpy().astype(numpy.float32) for peak in largest]
    return [Peaks(*rows[i : i + 4]) for i in range(0, len(rows), 4)]


def _batches(network: TransformerNetwork, texts: list[str]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Windows of the texts as the encoder reads them."""
    pieces = network.split(texts)
    windows = [
        window
        for doc, doc_pieces in enumerate(pieces)
        for window in cut_windows(len(doc_pieces.ids), network.size, network.overlap, doc)
        if window.end > window.start
    ]
    for batch in batch_windows([window.end - window.start + 2 for window in windows], network.budget):
        yield network.pad_windows(pieces, [windows[i] for i in batch])


@torch.no_grad()
def _fill(twin: ExportedEncoder, embeddings: Any, graphs: list[bytes]) -> None:
    """Give an exported encoder its numbers."""
    rows = embeddings.word_embeddings.weight
    if twin.settings.precision == "int8":
        twin.embeddings.word_embeddings.round_rows(rows.float().cpu())
    else:
        twin.embeddings.word_embeddings.weight.copy_(rows)
    state = twin.embeddings.state_dict()
    others = {name: value for name, value in embeddings.state_dict().items() if name in state}
    others.pop("word_embeddings.weight")
    twin.embeddings.load_state_dict(others, strict=False)
    for part, graph in zip((twin.lower, twin.upper), graphs, strict=True):
        part.graph.copy_(torch.frombuffer(bytearray(graph), dtype=torch.uint8) if graph else part.graph)

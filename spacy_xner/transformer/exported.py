"""An encoder that onnxruntime runs: embeddings in torch, the layers as two graphs. It cannot be trained."""

import copy
import hashlib
import os
import weakref
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModel, PretrainedConfig

from spacy_xner.errors import Errors, XnerError
from spacy_xner.locks import ForkableLock
from spacy_xner.transformer.versions import float32_option, no_init_weights

# Counts changes of what is stored and of the graphs' inputs and outputs.
VERSION = 1
# Names in the graphs.
HIDDEN, MASK, OUTPUT = "hidden", "mask", "output"

_sessions: "weakref.WeakValueDictionary[tuple[int, str], _Session]" = weakref.WeakValueDictionary()
_sessions_lock = ForkableLock()


class ExportSettings(NamedTuple):
    """The entry `exported` in the description of an encoder.

    version: See `VERSION`.
    precision: Numbers of weights and matrix products, "int8" or "float32".
    n_frozen_layers: The lower graph has so many layers; -1 if the encoder was not frozen at all.
    sizes: Bytes of the lower and of the upper graph; 0 for a graph without layers.
    """

    version: int
    precision: str
    n_frozen_layers: int
    sizes: tuple[int, int]

    @classmethod
    def read(cls, stored: dict[str, Any]) -> "ExportSettings":
        """Read the settings. RAISES: XNER161 for another version."""
        if stored.get("version") != VERSION:
            raise XnerError(Errors.XNER161.format(found=stored.get("version"), known=VERSION))
        sizes = tuple(int(size) for size in stored["sizes"])
        if len(sizes) != 2 or min(sizes) < 0:
            raise ValueError(f"the sizes of the graphs are {stored['sizes']}")
        return cls(VERSION, stored["precision"], int(stored["n_frozen_layers"]), (sizes[0], sizes[1]))


class RowEmbedding(nn.Module):
    """Embeddings as whole numbers of one byte and a scale for each row.

    weight: int8. Shape: (n_rows, width). scale: Shape: (n_rows,).
    """

    def __init__(self, n_rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_rows, width, dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(n_rows), requires_grad=False)

    @torch.no_grad()
    def round_rows(self, rows: Tensor) -> None:
        """Take the nearest numbers to these embeddings. Shape: (n_rows, width)."""
        self.scale.copy_(rows.abs().amax(dim=1).clamp(min=1e-12) / 127)
        self.weight.copy_(torch.round(rows / self.scale[:, None]))

    def forward(self, ids: Tensor) -> Tensor:
        """Shape: (...) to (..., width)."""
        return self.weight[ids].float() * self.scale[ids][..., None]


class GraphPart(nn.Module):
    """Layers of a transformer as an ONNX graph, whose bytes are saved like any other weights.

    graph: Shape: (n_bytes,); empty for no layers.
    """

    def __init__(self, n_bytes: int) -> None:
        super().__init__()
        self.graph = nn.Parameter(torch.zeros(n_bytes, dtype=torch.uint8), requires_grad=False)
        self._session: _Session | None = None

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Run the layers. Shape: (n_windows, longest, width), (n_windows, longest) to the first."""
        if not len(self.graph):
            return hidden
        session = self._session
        if session is None or session.process != os.getpid():
            session = self._session = _open(self.graph)
        return session.run(hidden, mask)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}


class ExportedEncoder(nn.Module):
    """Compute what a BERT-like encoder computes; without gradients.

    config: Configuration of the encoder.
    settings: The exported layers, and how they were made.
    """

    def __init__(self, config: PretrainedConfig, settings: ExportSettings) -> None:
        super().__init__()
        self.config = config
        self.settings = settings
        self.embeddings = _build_embeddings(config)
        if settings.precision == "int8":
            self.embeddings.word_embeddings = RowEmbedding(config.vocab_size, config.hidden_size)
        else:
            rows = torch.empty(config.vocab_size, config.hidden_size)
            self.embeddings.word_embeddings = nn.Embedding(0, 0)
            self.embeddings.word_embeddings.weight = nn.Parameter(rows)
        self.lower, self.upper = (GraphPart(size) for size in settings.sizes)
        self.requires_grad_(False)

    @property
    def frozen(self) -> list[nn.Module]:
        """Modules that equal encoders may share."""
        return [self.embeddings, self.lower] if self.settings.n_frozen_layers >= 0 else []

    @property
    def halves(self) -> tuple[Any, Any]:
        """Views, as `freezing.split_at` gives them."""
        return _Half(self, is_lower=True), _Half(self, is_lower=False)

    def get_input_embeddings(self) -> Any:
        """The embeddings of the wordpieces, as transformers calls them."""
        return self.embeddings.word_embeddings

    def requires_grad_(self, requires_grad: bool = True) -> "ExportedEncoder":
        """Stay without gradients: whole numbers have none."""
        return super().requires_grad_(False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor]:
        """Shape: (n_windows, longest) each, to (n_windows, longest, width).

        RAISES: XNER163 in training.
        """
        return self.run_upper(self.run_lower(input_ids, attention_mask), attention_mask)

    def run_lower(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """Embeddings and frozen layers. Shapes as in `forward`."""
        if self.training:
            raise XnerError(Errors.XNER163)
        return self.lower(self.embeddings(input_ids=input_ids), mask)

    def run_upper(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor]:
        """Run the other layers. Shapes as in `forward`."""
        return (self.upper(hidden, mask),)


class _Half:
    """Looks like one of the modules that `freezing.split_at` makes."""

    def __init__(self, encoder: ExportedEncoder, *, is_lower: bool) -> None:
        self._encoder = encoder
        self._is_lower = is_lower

    def __call__(
        self, *, attention_mask: Tensor, input_ids: Any = None, inputs_embeds: Any = None
    ) -> tuple[Tensor]:
        if self._is_lower:
            return (self._encoder.run_lower(input_ids, attention_mask),)
        return self._encoder.run_upper(inputs_embeds, attention_mask)


class _Session:
    """A session of onnxruntime, of the process that opened it: threads do not survive a fork."""

    def __init__(self, graph: bytes) -> None:
        runtime = import_onnxruntime()
        self.process = os.getpid()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        # Threads that wait busily take the cores from torch, which computes the heads between two runs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        # The package has a class of exceptions for each of its status codes, and no common one.
        except Exception as error:
            raise XnerError(Errors.XNER166.format(version=runtime.__version__, reason=error)) from error

    def run(self, hidden: Tensor, mask: Tensor) -> Tensor:
        inputs = {HIDDEN: hidden.float().cpu().numpy(), MASK: mask.cpu().numpy().astype(numpy.int32)}
        [output] = self._session.run([OUTPUT], inputs)
        return torch.from_numpy(output).to(hidden.device)


def rebuild_exported(description: dict[str, Any]) -> ExportedEncoder:
    """Build an exported encoder without its numbers yet. RAISES: XNER160 without onnxruntime, XNER161."""
    settings = ExportSettings.read(description["exported"])
    import_onnxruntime()
    config = dict(description["config"])
    return ExportedEncoder(CONFIG_MAPPING[config.pop("model_type")].from_dict(config), settings)


def import_onnxruntime() -> Any:
    """Import the package that runs the graphs. RAISES: XNER160."""
    try:
        import onnxruntime
    except ImportError as error:
        raise XnerError(Errors.XNER160.format(package="onnxruntime")) from error
    return onnxruntime


def _build_embeddings(config: PretrainedConfig) -> Any:
    """The embeddings of an encoder of this kind, without rows for wordpieces."""
    small = copy.deepcopy(config)
    small.num_hidden_layers = 0
    small.vocab_size = int(config.pad_token_id or 0) + 1
    with no_init_weights():
        return AutoModel.from_config(small, add_pooling_layer=False, **float32_option()).embeddings


def _open(graph: Tensor) -> _Session:
    """Open a session, or find the one that this process has of an equal graph."""
    content = graph.detach().cpu().numpy().tobytes()
    key = (os.getpid(), hashlib.sha256(content).hexdigest())
    with _sessions_lock:
        session = _sessions.get(key)
        if session is None:
            session = _sessions[key] = _Session(content)
    return session

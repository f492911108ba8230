"""The encoder network: windows of wordpieces in, token vectors out. It knows nothing of spaCy."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, cast

import numpy
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.packing import Blocks
from spacy_xner.transformer.checkpoint import check_ids, read_tokenizer, rebuild, structure_of
from spacy_xner.transformer.exported import ExportedEncoder
from spacy_xner.transformer.freezing import freeze, layer_depths, make_sparse, split_at
from spacy_xner.transformer.mixing import make_mix
from spacy_xner.transformer.pooling import Encoded, Ints, Pooling, TextPooling, pool_texts, pool_tokens
from spacy_xner.transformer.sampling import Sampler, resegment
from spacy_xner.transformer.sharing import FrozenStack, find_tokenizer, share_stack
from spacy_xner.transformer.wordpieces import (
    Pieces,
    Window,
    align_tokens,
    batch_windows,
    cut_windows,
    join_tokens,
    split_texts,
)

Unit = Literal["token", "text"]
# Fewer unknown characters, such as emojis, say nothing about a text's script.
MANY_UNKNOWN = 12


class TokenizedText(NamedTuple):
    """A text and where its tokens are. Units: characters.

    starts, ends: Shape: (n_tokens,).
    query: A text that is read before this one as the first segment of a pair, and gets no vectors.
    report: Called with the number of unknown wordpieces if there are any.
    """

    text: str
    starts: Ints
    ends: Ints
    query: str = ""
    report: Callable[[int], None] | None = None


class TransformerNetwork(nn.Module):
    """A pretrained transformer that gives one vector a token or a text, for texts of any length.

    description: The encoder without its weights; see `checkpoint.describe`.
    n_frozen_layers: -1 trains everything, 0 freezes the embeddings, n the lowest n layers too.
    unit: Tokens or texts get a vector.
    pooling: How wordpieces make the vector; see `pooling`.
    window: Wordpieces of a window; longer texts are cut.
    overlap: Wordpieces that neighbouring windows share; each is taken where it has most context.
    budget: Wordpieces, padding included, that go through the encoder at once.
    encoder: The encoder with its weights; without it, one with arbitrary weights is built.
    RAISES: XNER203, XNER204, XNER205, XNER339, XNER341.
    """

    def __init__(
        self,
        description: dict[str, Any],
        *,
        n_frozen_layers: int,
        pooling: Pooling | TextPooling,
        window: int,
        overlap: int,
        budget: int,
        unit: Unit = "token",
        encoder: PreTrainedModel | ExportedEncoder | None = None,
    ) -> None:
        super().__init__()
        self.encoder: PreTrainedModel | ExportedEncoder = rebuild(description) if encoder is None else encoder
        stored = description["tokenizer"]
        self.tokenizer = find_tokenizer(stored) or read_tokenizer(stored)
        self.special_ids: dict[str, int] = description["special_ids"]
        check_ids(self.encoder, self.tokenizer, self.special_ids)
        self.space_id = _id_or(-1, self.tokenizer.token_to_id("\u2581"))
        # RoBERTa writes two special tokens between the segments of a pair, BERT one.
        self._between = [self._last_id] * max(1, self.tokenizer.num_special_tokens_to_add(is_pair=True) - 2)
        self.unit = unit
        self.pooling = pooling
        self.budget = budget
        self._description = description
        self._stack: FrozenStack | None = None
        self._has_warned = False
        self._sampler: Sampler | None = None
        self.size, self.overlap = self._check_window(description["config"], window, overlap)
        n_layers = int(getattr(self.encoder.config, "num_hidden_layers", 0))
        self.mix = make_mix(int(description.get("mixed_layers", 0)), n_layers, n_frozen_layers)
        self.set_frozen(n_frozen_layers)

    @property
    def width(self) -> int:
        """Numbers in a token's vector."""
        return int(self.encoder.config.hidden_size)

    @property
    def _device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    @property
    def structure(self) -> dict[str, Any]:
        """The settings that the network is built from."""
        return structure_of(self._description)

    def _check_window(self, config: dict[str, Any], window: int, overlap: int) -> tuple[int, int]:
        limit = int(config.get("max_position_embeddings") or window)
        if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl"):
            # RoBERTa counts positions from the padding id on.
            limit -= int(config.get("pad_token_id") or 0) + 1
        size = min(window, limit)
        if window < 8 or not 0 <= overlap <= (size - 2) // 2:
            raise XnerError(Errors.XNER204.format(limit=limit, window=window, overlap=overlap))
        return size - 2, overlap  # Two special tokens stand around a window.

    def set_frozen(self, n_layers: int) -> None:
        """Freeze the lowest layers and no others. RAISES: XNER203, XNER205."""
        if self._stack is not None:
            # These weights may move from now on: leave the shared ones to the others.
            self._stack.users.discard(self)
            self._stack = None
            for parameter in self.encoder.parameters():
                parameter.data = parameter.data.clone()
        if isinstance(self.encoder, ExportedEncoder):
            self._frozen = self.encoder.frozen
            halves = [self.encoder.halves] if self._frozen else []
        else:
            if n_layers == -1:
                self._unpack_table()
            self._frozen = freeze(self.encoder, n_layers)
            make_sparse(self.encoder, n_layers == -1)
            halves = [split_at(self.encoder, n_layers)] if n_layers >= 0 else []
        # In a list, so that these views do not count as modules of their own.
        self._halves: list[tuple[Any, Any]] = halves

    def share_frozen(self) -> None:
        """Use the frozen layers, and their recent hidden states, together with equal networks."""
        if self._frozen:
            tokenizer_json = self._description["tokenizer"]
            self._stack = share_stack(self, self._frozen, tokenizer_json, self.tokenizer)
            self.tokenizer = self._stack.tokenizer
            self._description["tokenizer"] = self._stack.tokenizer_json

    def __getstate__(self) -> dict[str, Any]:
        # Other networks share the stack, and another process has other ones. See `TorchShim.__setstate__`.
        return {**self.__dict__, "_stack": None, "parts": ()}

    def frozen_names(self) -> list[list[str]]:
        """Names of the weights that are not trained, by module."""
        prefixes = {id(module): name for name, module in self.named_modules()}
        return [[f"{prefixes[id(module)]}.{name}" for name in module.state_dict()] for module in self._frozen]

    def depths(self) -> dict[str, int]:
        """Count the layers above each parameter, by its name. RAISES: XNER654."""
        depths = {f"encoder.{name}": depth for name, depth in layer_depths(self.encoder).items()}
        return {name: depths.get(name, 0) for name, _ in self.named_parameters()}

    @property
    def table_name(self) -> str:
        """Name of the weights that are the wordpieces' embeddings."""
        table = self.encoder.get_input_embeddings()
        return next(f"{name}.weight" for name, module in self.named_modules() if module is table)

    def keep_table(self, name: str, table: Blocks) -> bool:
        """Look embeddings up in blocks. RETURNS: False if these are others, or are to be trained."""
        if isinstance(self.encoder, ExportedEncoder) or name != self.table_name:
            return False
        if self.encoder.get_input_embeddings().weight.requires_grad:
            return False
        self.encoder.set_input_embeddings(table)
        return True

    def _unpack_table(self) -> None:
        table = self.encoder.get_input_embeddings()
        if isinstance(table, Blocks) and not isinstance(self.encoder, ExportedEncoder):
            padding = self.encoder.config.pad_token_id
            embedding = nn.Embedding.from_pretrained(table.weight, freeze=False, padding_idx=padding)
            self.encoder.set_input_embeddings(embedding)

    def train(self, mode: bool = True) -> "TransformerNetwork":
        """Set the mode of all layers but the frozen ones, whose dropout stays off."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def split(self, texts: Sequence[str]) -> list[Pieces]:
        """Tokenize texts into wordpieces in one call, without special tokens."""
        return split_texts(self.tokenizer, texts)

    @contextmanager
    def sampling(self, sampler: Sampler) -> Iterator[None]:
        """Cut words into other wordpieces in a block. Only for training: other threads would see it."""
        self._sampler = sampler
        try:
            yield
        finally:
            self._sampler = None

    def forward(self, texts: Sequence[TokenizedText]) -> Tensor:
        """Compute the vectors of all tokens of all texts, one after the other, or one a text.

        A token or text without wordpieces gets a zero vector.
        RETURNS: float32. Shape: (n_tokens, width) or (n_texts, width).
        """
        pieces = self.split([text.text for text in texts])
        self._report_unknown(texts, pieces)
        pieces = resegment(pieces, self._sampler)
        queries = self._split_queries(texts)
        windows = [
            window
            for doc, (doc_pieces, query) in enumerate(zip(pieces, queries, strict=True))
            for window in cut_windows(len(doc_pieces.ids), self.size - len(query), self.overlap, doc)
            if window.end > window.start
        ]
        if not windows:
            n_vectors = len(texts) if self.unit == "text" else sum(len(text.starts) for text in texts)
            return torch.zeros(n_vectors, self.width, device=self._device)
        encoded = self._encode(pieces, windows, queries)
        n_pieces = numpy.array([len(doc_pieces.ids) for doc_pieces in pieces], dtype="int64")
        if self.unit == "text":
            text_of_window = numpy.array([window.doc for window in windows], dtype="int64")
            return pool_texts(encoded, n_pieces, text_of_window, cast(TextPooling, self.pooling))
        tokens = [
            align_tokens(doc_pieces, text.starts, text.ends, self.space_id)
            for doc_pieces, text in zip(pieces, texts, strict=True)
        ]
        return pool_tokens(encoded, join_tokens(tokens, n_pieces), cast(Pooling, self.pooling))

    def _report_unknown(self, texts: Sequence[TokenizedText], pieces: list[Pieces]) -> None:
        """Tell who asked how many wordpieces are unknown. Warns once (W141) if they are most of a text."""
        unknown = self.special_ids.get("unk", -1)
        for text, (ids, starts, ends) in zip(texts, pieces, strict=True):
            is_unknown = ids == unknown
            n_unknown = int(is_unknown.sum())
            if not n_unknown or text.report is None:
                continue
            text.report(n_unknown)
            # A whole word, or a line of a script without spaces, is one unknown piece.
            n_characters = int((ends - starts)[is_unknown].sum())
            is_most = n_characters >= max(MANY_UNKNOWN, len(text.text) / 2)
            if is_most and not self._has_warned:
                self._has_warned = True
                # Without the text itself, which is a user's and has no place in a log.
                warnings.warn(Warnings.W141.format(n_unknown=n_unknown, n_pieces=len(ids)), stacklevel=2)

    def encode_windows(self, ids: Tensor, mask: Tensor, segments: Tensor | None = None) -> Tensor:
        """Compute the hidden states of windows of wordpieces, as `pad_windows` makes them.

        ids, mask, segments: Shape: (n_windows, longest).
        RETURNS: Shape: (n_windows, longest, width).
        """
        return self._hidden(self.encoder, input_ids=ids, attention_mask=mask, **_typed(segments))

    def _hidden(self, encoder: nn.Module, **inputs: Tensor) -> Tensor:
        """Run an encoder, or its upper half. RETURNS: The states of its last layer, or the mix of several."""
        if self.mix is None:
            return encoder(**inputs)[0]
        return self.mix(encoder(**inputs, output_hidden_states=True, return_dict=True).hidden_states)

    def _split_queries(self, texts: Sequence[TokenizedText]) -> list[Ints]:
        """Wordpieces of the queries with the special tokens behind them; empty where there is none.

        A query is cut off at half of the room that the overlap leaves in a window: the text behind it has
        to go on from window to window.
        """
        room = max(0, (self.size - self.overlap) // 2 - len(self._between))
        rows = [i for i, text in enumerate(texts) if text.query]
        queries = [numpy.zeros(0, dtype="int64") for _ in texts]
        for i, pieces in zip(rows, self.split([texts[i].query for i in rows]), strict=True):
            queries[i] = numpy.concatenate((pieces.ids[:room], self._between)).astype("int64")
        return queries

    def _encode(self, pieces: list[Pieces], windows: list[Window], queries: list[Ints]) -> Encoded:
        """Run the windows through the encoder, in batches of like lengths."""
        starts = numpy.cumsum([0, *(len(p.ids) for p in pieces)])
        row_of_piece = numpy.zeros(starts[-1], dtype="int64")
        row_of_window = numpy.zeros(len(windows), dtype="int64")
        ids = self._with_specials(pieces, windows, queries)
        # Pieces before the text: the special first one, and the query with what stands behind it.
        heads = [1 + len(queries[window.doc]) for window in windows]
        lengths = [len(window_ids) for window_ids in ids]
        shares = self._stack is not None and self._stack.is_shared and not torch.is_grad_enabled()
        states = self._frozen_states(ids, heads) if shares else None
        outputs = []
        n_rows = 0
        for batch in batch_windows(lengths, self.budget):
            longest = lengths[batch[0]]
            for row, i in enumerate(batch):
                window = windows[i]
                row_of_window[i] = n_rows + row * longest
                places = slice(starts[window.doc] + window.own_start, starts[window.doc] + window.own_end)
                first_row = row_of_window[i] + heads[i] + window.own_start - window.start
                row_of_piece[places] = first_row + numpy.arange(window.own_end - window.own_start)
            if states is None:
                segments = self._segments([heads[i] for i in batch], longest)
                hidden = self.encode_windows(*self._pad([ids[i] for i in batch]), segments)
            else:
                hidden = self._run_upper([states[i] for i in batch])
            outputs.append(hidden.reshape(-1, hidden.shape[-1]))
            n_rows += len(batch) * longest
        return Encoded(torch.cat(outputs), row_of_piece, row_of_window)

    def pad_windows(self, pieces: list[Pieces], windows: list[Window]) -> tuple[Tensor, Tensor]:
        """Wordpieces with special ones around, and attention mask. Shape: (n_windows, longest) each."""
        return self._pad(self._with_specials(pieces, windows))

    def _with_specials(
        self, pieces: list[Pieces], windows: list[Window], queries: list[Ints] | None = None
    ) -> list[Ints]:
        first, last = [self._first_id], [self._last_id]
        return [
            numpy.concatenate(
                (first, queries[w.doc] if queries else [], pieces[w.doc].ids[w.start : w.end], last)
            ).astype("int64")
            for w in windows
        ]

    def _segments(self, heads: list[int], longest: int) -> Tensor | None:
        """Types of wordpieces: 0 for a query with its special tokens, 1 for the text behind it.

        heads: Wordpieces before the text of every window; 1 where there is no query, and all is of type 0.
        RETURNS: Shape: (n_windows, longest); nothing where all is of type 0, or where the encoder has one
            type alone, as XLM-R has.
        """
        if int(getattr(self.encoder.config, "type_vocab_size", 1) or 1) < 2 or max(heads) == 1:
            return None
        starts = numpy.array([head if head > 1 else longest for head in heads])
        types = (numpy.arange(longest) >= starts[:, None]).astype("int64")
        return torch.from_numpy(types).to(self._device)

    def _frozen_states(self, ids: list[Ints], heads: list[int]) -> list[Tensor]:
        """Recall the hidden states behind the frozen layers, or compute them. Shape: (length, width) each."""
        lower, _ = self._halves[0]
        stack = self._stack
        assert stack is not None
        half = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
        # The names of states: the precision that they are computed in, the end of the query, wordpieces.
        named = [(numpy.array([half, head], dtype="int64").tobytes() + window_ids.tobytes(), window_ids, head)
                 for window_ids, head in zip(ids, heads, strict=True)]  # fmt: skip
        keys = [key for key, _, _ in named]
        states = stack.recall(keys)
        missing = {key: (window_ids, head) for key, window_ids, head in named if key not in states}
        names, windows = list(missing), list(missing.values())
        fresh = {}
        for batch in batch_windows([len(window_ids) for window_ids, _ in windows], self.budget):
            padded, mask = self._pad([windows[i][0] for i in batch])
            segments = self._segments([windows[i][1] for i in batch], padded.shape[1])
            hidden = lower(input_ids=padded, attention_mask=mask, **_typed(segments))[0]
            for row, i in enumerate(batch):
                # A copy, so that the padding does not stay in memory.
                fresh[names[i]] = hidden[row, : len(windows[i][0])].clone()
        stack.remember(fresh)
        states.update(fresh)
        return [states[key] for key in keys]

    def _run_upper(self, states: list[Tensor]) -> Tensor:
        """Run the layers that are not frozen. Shape: (n_windows, longest, width)."""
        _, upper = self._halves[0]
        hidden = nn.utils.rnn.pad_sequence(states, batch_first=True)
        lengths = torch.tensor([len(window) for window in states], device=hidden.device)
        mask = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
        return self._hidden(upper, inputs_embeds=hidden, attention_mask=mask.long())

    def _pad(self, ids: list[Ints]) -> tuple[Tensor, Tensor]:
        """Wordpieces and attention mask. Shape: (n_windows, longest) each."""
        padded = numpy.full((len(ids), max(map(len, ids))), self.special_ids["pad"], dtype="int64")
        mask = numpy.zeros_like(padded)
        for row, window_ids in enumerate(ids):
            padded[row, : len(window_ids)] = window_ids
            mask[row, : len(window_ids)] = 1
        return torch.from_numpy(padded).to(self._device), torch.from_numpy(mask).to(self._device)

    @property
    def _first_id(self) -> int:
        ids = self.special_ids
        return ids["cls"] if "cls" in ids else ids["bos"]

    @property
    def _last_id(self) -> int:
        ids = self.special_ids
        return ids["sep"] if "sep" in ids else ids["eos"]


def _typed(segments: Tensor | None) -> dict[str, Tensor]:
    """Types of wordpieces as an argument; encoders without types do not know the name."""
    return {} if segments is None else {"token_type_ids": segments}


def _id_or(default: int, id_: int | None) -> int:
    return default if id_ is None else id_

"""The encoder network: windows of wordpieces in, token vectors out. It knows nothing of spaCy."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from spacy_xner.errors import Errors
from spacy_xner.transformer.checkpoint import rebuild
from spacy_xner.transformer.freezing import freeze
from spacy_xner.transformer.wordpieces import (
    Pieces,
    TokenPieces,
    Window,
    align_tokens,
    batch_windows,
    cut_windows,
)

Pooling = Literal["first", "mean"]
Ints = NDArray[numpy.int64]


class TokenizedText(NamedTuple):
    """A text and where its tokens are. Units: characters.

    starts, ends: Shape: (n_tokens,).
    """

    text: str
    starts: Ints
    ends: Ints


class TransformerNetwork(nn.Module):
    """A pretrained transformer that gives one vector a token, for texts of any length.

    description: The encoder without its weights; see `checkpoint.describe`.
    n_frozen_layers: -1 trains everything, 0 freezes the embeddings, n the lowest n layers too.
    pooling: A token's vector is that of its first wordpiece, or the mean of its wordpieces.
    window, overlap: Wordpieces; longer texts are cut, and every piece is taken where it has most context.
    budget: Wordpieces, padding included, that go through the encoder at once.
    encoder: The encoder with its weights; without it, one with arbitrary weights is built.
    RAISES: XNER203, XNER204, XNER205.
    """

    def __init__(
        self,
        description: dict[str, Any],
        *,
        n_frozen_layers: int,
        pooling: Pooling,
        window: int,
        overlap: int,
        budget: int,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = rebuild(description) if encoder is None else encoder
        self.tokenizer = Tokenizer.from_str(description["tokenizer"])
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.special_ids: dict[str, int] = description["special_ids"]
        self.space_id = _id_or(-1, self.tokenizer.token_to_id("\u2581"))
        self.pooling = pooling
        self.budget = budget
        self.size, self.overlap = self._check_window(description["config"], window, overlap)
        self.set_frozen(n_frozen_layers)

    @property
    def width(self) -> int:
        """Numbers in a token's vector."""
        return int(self.encoder.config.hidden_size)  # type: ignore[union-attr,arg-type]

    def _check_window(self, config: dict[str, Any], window: int, overlap: int) -> tuple[int, int]:
        limit = int(config.get("max_position_embeddings") or window)
        if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl"):
            # RoBERTa counts positions from the padding id on.
            limit -= int(config.get("pad_token_id") or 0) + 1
        size = min(window, limit)
        if window < 8 or not 0 <= overlap <= (size - 2) // 2:
            raise ValueError(Errors.XNER204.format(limit=limit, window=window, overlap=overlap))
        return size - 2, overlap  # Two special tokens stand around a window.

    def set_frozen(self, n_layers: int) -> None:
        """Freeze the lowest layers and no others. RAISES: XNER203, XNER205."""
        self._frozen = freeze(self.encoder, n_layers)

    def train(self, mode: bool = True) -> "TransformerNetwork":
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def split(self, texts: Sequence[str]) -> list[Pieces]:
        """Tokenize texts into wordpieces in one call, without special tokens."""
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [_to_pieces(encoding) for encoding in encodings]

    def forward(self, texts: Sequence[TokenizedText]) -> Tensor:
        """Compute the vectors of all tokens of all texts, one after the other.

        A token without wordpieces gets a zero vector.
        RETURNS: float32. Shape: (n_tokens, width).
        """
        pieces = self.split([text.text for text in texts])
        windows = [
            window
            for doc, doc_pieces in enumerate(pieces)
            for window in cut_windows(len(doc_pieces.ids), self.size, self.overlap, doc)
            if window.end > window.start
        ]
        n_tokens = sum(len(text.starts) for text in texts)
        device = next(self.encoder.parameters()).device
        if not windows:
            return torch.zeros(n_tokens, self.width, device=device)
        vectors, row_of_piece = self._encode(pieces, windows, device)
        tokens = [
            align_tokens(doc_pieces, text.starts, text.ends, self.space_id)
            for doc_pieces, text in zip(pieces, texts, strict=True)
        ]
        offsets = numpy.cumsum([0, *(len(p.ids) for p in pieces)])
        first = numpy.concatenate([t.first + o for t, o in zip(tokens, offsets, strict=False)])
        end = numpy.concatenate([t.end + o for t, o in zip(tokens, offsets, strict=False)])
        return self._pool(vectors, row_of_piece, TokenPieces(first, end))

    def _encode(
        self, pieces: list[Pieces], windows: list[Window], device: torch.device
    ) -> tuple[Tensor, Ints]:
        """Run the windows through the encoder, in batches of like lengths.

        RETURNS: Vectors of all positions, and the row of every piece in them.
        """
        starts = numpy.cumsum([0, *(len(p.ids) for p in pieces)])
        row_of_piece = numpy.zeros(starts[-1], dtype="int64")
        outputs = []
        n_rows = 0
        lengths = [window.end - window.start for window in windows]
        for batch in batch_windows(lengths, self.budget):
            longest = lengths[batch[0]]
            ids = numpy.full((len(batch), longest + 2), self.special_ids["pad"], dtype="int64")
            ids[:, 0] = self._first_id
            for row, i in enumerate(batch):
                window = windows[i]
                n = lengths[i]
                ids[row, 1 : n + 1] = pieces[window.doc].ids[window.start : window.end]
                ids[row, n + 1] = self._last_id
                own = slice(starts[window.doc] + window.own_start, starts[window.doc] + window.own_end)
                first_row = n_rows + row * (longest + 2) + 1 + window.own_start - window.start
                row_of_piece[own] = first_row + numpy.arange(window.own_end - window.own_start)
            n_positions = torch.tensor([lengths[i] + 2 for i in batch])
            mask = torch.arange(longest + 2) < n_positions[:, None]
            hidden = self.encoder(
                input_ids=torch.from_numpy(ids).to(device), attention_mask=mask.long().to(device)
            )[0]
            outputs.append(hidden.reshape(-1, hidden.shape[-1]))
            n_rows += ids.size
        return torch.cat(outputs), row_of_piece

    def _pool(self, vectors: Tensor, row_of_piece: Ints, tokens: TokenPieces) -> Tensor:
        """Shape: (n_rows, width) to (n_tokens, width)."""
        counts = tokens.end - tokens.first
        if self.pooling == "first":
            last = max(len(row_of_piece) - 1, 0)
            rows = torch.from_numpy(row_of_piece[numpy.minimum(tokens.first, last)])
            pooled = vectors.index_select(0, rows.to(vectors.device)).float()
            if (counts == 0).any():
                has_pieces = torch.from_numpy(counts > 0).to(pooled.device)
                pooled = pooled * has_pieces[:, None]
            return pooled
        token_of_piece = numpy.repeat(numpy.arange(len(counts)), counts)
        place = numpy.arange(counts.sum()) - numpy.repeat(numpy.cumsum(counts) - counts, counts)
        chosen = row_of_piece[tokens.first[token_of_piece] + place]
        rows = torch.from_numpy(chosen).to(vectors.device)
        pooled = vectors.new_zeros(len(counts), vectors.shape[1], dtype=torch.float32)
        pooled = pooled.index_add(
            0,
            torch.from_numpy(token_of_piece).to(vectors.device),
            vectors.index_select(0, rows).float(),
        )
        divisor = torch.from_numpy(numpy.maximum(counts, 1)).to(pooled.device)
        return pooled / divisor[:, None]

    @property
    def _first_id(self) -> int:
        ids = self.special_ids
        return ids["cls"] if "cls" in ids else ids["bos"]

    @property
    def _last_id(self) -> int:
        ids = self.special_ids
        return ids["sep"] if "sep" in ids else ids["eos"]


def _to_pieces(encoding: Any) -> Pieces:
    offsets = numpy.array(encoding.offsets, dtype="int64").reshape(-1, 2)
    return Pieces(numpy.array(encoding.ids, dtype="int64"), offsets[:, 0], offsets[:, 1])


def _id_or(default: int, found: int | None) -> int:
    return default if found is None else found

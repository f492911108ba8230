"""Weights in fewer bytes: half precision, and 4-bit blocks for numbers that came out of such blocks.

Every tensor is float32 again when it is read. A block is 32 numbers of a row: a scale in half precision, then
16 bytes; byte j holds number j in its lower four bits and number j + 16 in its upper ones, each plus 8. The
default encoder comes in these blocks, so its frozen layers are stored in them without any loss.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from spacy_xner.errors import Errors, XnerError

Storage: TypeAlias = Literal["float32", "float16"]
STORAGES: tuple[Storage, ...] = ("float32", "float16")
BLOCK = 32
_BLOCK_BYTES = 2 + BLOCK // 2
# Rows of blocks that are worked on at once: they stay in the processor's cache.
_CHUNK = 2**14
# How the weights of wordpieces' embeddings are named.
_TABLE = ".word_embeddings.weight"


def pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Store matrices in 4-bit blocks where these are exact, else in half precision.

    Vectors, such as biases and norms, are few numbers and stay as they are.

    RETURNS: Tensors to store, and how each is stored that is not as it was: `blocks` or `float16`.
    RAISES: XNER140 for numbers that half precision cannot hold.
    """
    packed, kinds = dict(tensors), {}
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or tensor.dim() != 2:
            continue
        blocks = to_blocks(tensor)
        kinds[name] = "float16" if blocks is None else "blocks"
        packed[name] = _to_half(name, tensor) if blocks is None else blocks
    return packed, kinds


class Blocks(nn.Module):
    """A table of vectors that stays in 4-bit blocks: a seventh of the memory, for a vocabulary's embeddings.

    It looks rows up as `nn.Embedding` does, and is not trained.

    blocks: See `from_blocks`. Shape: (n_rows, n_blocks * 18).
    RAISES: ValueError for rows that are not whole blocks.
    """

    blocks: Tensor

    def __init__(self, blocks: Tensor) -> None:
        super().__init__()
        _check_rows(blocks)
        self.register_buffer("blocks", blocks, persistent=False)

    @property
    def shape(self) -> torch.Size:
        """Rows and numbers a row."""
        return torch.Size((len(self.blocks), self.blocks.shape[1] // _BLOCK_BYTES * BLOCK))

    @property
    def weight(self) -> Tensor:
        """The whole table, made anew. Shape: (n_rows, width)."""
        return from_blocks(self.blocks)

    @property
    def scales(self) -> Tensor:
        """The blocks' scales: what may be infinite in blocks that are damaged."""
        return self.blocks.reshape(-1, _BLOCK_BYTES)[:, :2].contiguous().view(torch.float16)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up rows. Shape: (...) to (..., width)."""
        return from_blocks(self.blocks[ids.reshape(-1)]).view(*ids.shape, -1)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        # In the state of a network it is what it stands for.
        destination[f"{prefix}weight"] = self.weight


def unpack(
    tensors: Mapping[str, Tensor], kinds: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Blocks]]:
    """Read what `pack` wrote.

    RETURNS: The tensors as they were, and those apart that may stay in blocks: embeddings of wordpieces.
    RAISES: KeyError, ValueError for what `pack` cannot have written.
    """
    unpacked, tables = dict(tensors), {}
    for name, kind in kinds.items():
        tensor = tensors[name]
        if kind == "blocks" and tensor.dtype == torch.uint8 and tensor.dim() == 2:
            if name.endswith(_TABLE):
                tables[name] = Blocks(unpacked.pop(name))
            else:
                unpacked[name] = from_blocks(tensor)
        elif kind == "float16" and tensor.dtype == torch.float16:
            unpacked[name] = tensor.float()
        else:
            raise ValueError(f"{name} is said to be stored as {kind!r}, and is {tensor.dtype}")
    return unpacked, tables


def to_blocks(matrix: Tensor) -> Tensor | None:
    """Write 4-bit blocks. None if they would not give back exactly these numbers.

    matrix: float32. Shape: (n_rows, n_columns).
    RETURNS: uint8. Shape: (n_rows, n_columns / 32 * 18).
    """
    n_rows, n_columns = matrix.shape
    if n_columns % BLOCK or not n_rows or not n_columns:
        return None
    blocks = matrix.detach().to("cpu").contiguous().view(-1, BLOCK)
    stored = torch.empty(len(blocks), _BLOCK_BYTES, dtype=torch.uint8)
    for start in range(0, len(blocks), _CHUNK):
        chunk = _chunk_to_blocks(blocks[start : start + _CHUNK])
        if chunk is None:
            return None
        stored[start : start + _CHUNK] = chunk
    return stored.view(n_rows, -1)


def _chunk_to_blocks(blocks: Tensor) -> Tensor | None:
    # The number farthest from zero stands at the end of the scale, which is -8.
    extremes = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    scales = (extremes / -8).half()
    steps = torch.where(scales == 0, torch.zeros_like(blocks), blocks / scales.float()).round()
    is_exact = torch.equal(steps * scales.float(), blocks) and bool(((steps >= -8) & (steps <= 7)).all())
    if not is_exact:
        return None
    nibbles = (steps + 8).to(torch.uint8)
    low, high = nibbles[:, : BLOCK // 2], nibbles[:, BLOCK // 2 :]
    return torch.cat((scales.contiguous().view(torch.uint8), low | (high << 4)), dim=1)


def from_blocks(stored: Tensor) -> Tensor:
    """Read 4-bit blocks. Shape: (n_rows, n_blocks * 18) to (n_rows, n_blocks * 32).

    RAISES: ValueError for rows that are not whole blocks.
    """
    _check_rows(stored)
    blocks = stored.contiguous().view(-1, _BLOCK_BYTES)
    matrix = torch.empty(len(blocks), BLOCK, device=stored.device)
    for start in range(0, len(blocks), _CHUNK):
        chunk = blocks[start : start + _CHUNK]
        scales = chunk[:, :2].contiguous().view(torch.float16).float()
        nibbles = chunk[:, 2:]
        place = matrix[start : start + _CHUNK]
        place[:, : BLOCK // 2] = nibbles & 15
        place[:, BLOCK // 2 :] = nibbles >> 4
        place.sub_(8).mul_(scales)
    return matrix.view(len(stored), -1)


def _check_rows(stored: Tensor) -> None:
    if stored.shape[1] % _BLOCK_BYTES:
        raise ValueError(f"rows of {stored.shape[1]} bytes are no blocks of {_BLOCK_BYTES}")


def _to_half(name: str, tensor: Tensor) -> Tensor:
    half = tensor.half()
    if torch.isinf(half).any() and not torch.isinf(tensor).any():
        value = float(tensor.abs().max())
        raise XnerError(Errors.XNER140.format(where=name, value=value))
    return half

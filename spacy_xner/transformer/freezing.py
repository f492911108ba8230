"""Freezing of the lowest layers, with dropout off there.

SOURCE: Moon et al. 2019, "Towards Lingua Franca Named Entity Recognition with BERT", partial updates.
"""

from torch import nn

from spacy_xner.errors import Errors


def encoder_layers(encoder: nn.Module) -> tuple[nn.Module, nn.ModuleList] | None:
    """Find the embeddings and the list of layers of a BERT-like encoder; None if it is not one."""
    embeddings = getattr(encoder, "embeddings", None)
    stack = getattr(encoder, "encoder", None) or getattr(encoder, "transformer", None)
    layers = getattr(stack, "layer", None)
    if not isinstance(embeddings, nn.Module) or not isinstance(layers, nn.ModuleList):
        return None
    return embeddings, layers


def frozen_modules(encoder: nn.Module, n_frozen: int) -> list[nn.Module]:
    """The embeddings and the lowest `n_frozen` layers; nothing for -1.

    RAISES: XNER203 for an impossible number, XNER205 for an encoder with other parts.
    """
    if n_frozen == -1:
        return []
    parts = encoder_layers(encoder)
    if parts is None:
        kind = type(encoder).__name__
        raise ValueError(Errors.XNER205.format(kind=kind, n_frozen=n_frozen))
    embeddings, layers = parts
    if not 0 <= n_frozen <= len(layers):
        raise ValueError(Errors.XNER203.format(n_layers=len(layers), n_frozen=n_frozen))
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

"""Frozen layers that several networks of a process have alike: one copy, computed once.

A routed pipeline has an identifier and a tagger per cluster on the same frozen layers. Each component
is whole by itself, on disk and in memory; equal frozen layers are found when weights are loaded.
"""

import weakref
from collections.abc import Iterable, Mapping

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from spacy_xner.cache import TensorCache
from spacy_xner.locks import ForkableLock

# Positions whose hidden states are kept for the next network: about two batches of long sentences.
CAPACITY = 2**16

_stacks: "weakref.WeakSet[FrozenStack]" = weakref.WeakSet()
# Two pipelines that load in two threads look for each other's layers.
_stacks_lock = ForkableLock()


class FrozenStack:
    """Frozen layers with their tokenizer, and the hidden states that one network leaves for the next.

    tokenizer_json: The text that the tokenizer was made from. A vocabulary of 250,000 pieces takes 150 MB.
    States are keyed by a window's wordpieces, so they are right whatever document the window is of, and
    whichever thread computed them.
    """

    def __init__(self, parameters: list[Tensor], tokenizer_json: str, tokenizer: Tokenizer) -> None:
        self.tensors = [parameter.data for parameter in parameters]
        self.tokenizer_json = tokenizer_json
        self.tokenizer = tokenizer
        self.users: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self.states: TensorCache[bytes] = TensorCache(CAPACITY)

    def equals(self, parameters: list[Tensor], tokenizer_json: str) -> bool:
        """True if these are the same numbers for the same wordpieces."""
        return (
            self.tokenizer_json == tokenizer_json
            and len(self.tensors) == len(parameters)
            and all(
                a.shape == b.shape
                and a.dtype == b.dtype
                and a.device == b.device
                and (a.data_ptr() == b.data_ptr() or torch.equal(a, b))
                for a, b in zip(self.tensors, parameters, strict=True)
            )
        )

    @property
    def is_shared(self) -> bool:
        """True if there is another network that the states of one could serve."""
        return len(self.users) > 1

    def recall(self, keys: Iterable[bytes]) -> dict[bytes, Tensor]:
        """Take out the states of windows that another network has left here.

        A tagger is the last to see a window, so that its states are forgotten.

        RETURNS: Shape: (length, width) a window.
        """
        return self.states.take(keys)

    def remember(self, states: Mapping[bytes, Tensor]) -> None:
        """Leave states for the next network, the oldest giving way. Shape: (length, width) a window."""
        self.states.keep(states)


def find_tokenizer(tokenizer_json: str) -> Tokenizer | None:
    """Find the tokenizer of a living stack: to make one of 250,000 pieces takes a second."""
    with _stacks_lock:
        return next((s.tokenizer for s in _stacks if s.tokenizer_json == tokenizer_json), None)


def share_stack(
    network: nn.Module, frozen: list[nn.Module], tokenizer_json: str, tokenizer: Tokenizer
) -> FrozenStack:
    """Find the stack with the same weights and use its memory, or found a new one.

    frozen: Modules of the network that are not trained.
    tokenizer: Makes their wordpieces.
    """
    # Buffers too: embeddings in blocks are no parameters.
    parameters = [tensor for module in frozen for tensor in (*module.parameters(), *module.buffers())]
    with _stacks_lock:
        for stack in _stacks:
            if stack.equals(parameters, tokenizer_json):
                for parameter, tensor in zip(parameters, stack.tensors, strict=True):
                    parameter.data = tensor
                break
        else:
            stack = FrozenStack(parameters, tokenizer_json, tokenizer)
            _stacks.add(stack)
        stack.users.add(network)
    return stack

"""A cache of tensors that many threads read and write."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from torch import Tensor

from spacy_xner.locks import ForkableLock

Key = TypeVar("Key")


class TensorCache(Generic[Key]):
    """Tensors by key, each computed once; the oldest give way to new ones.

    Whoever computes a tensor keeps a reference: it may be gone from the cache at once. A cache is empty in a
    pickle and in a forked child.

    capacity: Rows of all tensors together. A tensor's rows are its first dimension.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = ForkableLock()
        self._clear(0)

    @property
    def n_rows(self) -> int:
        """Rows of all tensors together."""
        with self._lock:
            return self._n_rows

    def __len__(self) -> int:
        with self._lock:
            return len(self._tensors)

    def find(self, keys: Iterable[Key], version: int = 0) -> dict[Key, Tensor]:
        """Look up those keys that are here.

        version: Number of the weights that compute the tensors. Tensors of other weights are dropped.
        """
        with self._lock:
            self._begin(version)
            return {key: self._tensors[key] for key in keys if key in self._tensors}

    def take(self, keys: Iterable[Key]) -> dict[Key, Tensor]:
        """Look up those keys that are here, and forget them."""
        with self._lock:
            self._begin(self._version)
            taken = {key: self._tensors.pop(key) for key in dict.fromkeys(keys) if key in self._tensors}
            self._n_rows -= sum(map(len, taken.values()))
            return taken

    def keep(self, tensors: Mapping[Key, Tensor], version: int = 0) -> None:
        """Add tensors. A thread that computed one that is here already replaces it.

        version: Number of the weights that computed them; see `find`.
        """
        with self._lock:
            self._begin(version)
            for key, tensor in tensors.items():
                replaced = self._tensors.pop(key, None)
                self._n_rows += len(tensor) - (0 if replaced is None else len(replaced))
                self._tensors[key] = tensor
            while self._n_rows > self._capacity:
                self._n_rows -= len(self._tensors.pop(next(iter(self._tensors))))

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._clear(self._version)

    def _begin(self, version: int) -> None:
        # A fork may have caught another thread between the tensors and their number.
        if version != self._version or self._process != os.getpid():
            self._clear(version)

    def _clear(self, version: int) -> None:
        self._tensors: dict[Key, Tensor] = {}
        self._n_rows = 0
        self._version = version
        self._process = os.getpid()

    def __reduce__(self) -> tuple[type["TensorCache[Any]"], tuple[int]]:
        return TensorCache, (self._capacity,)

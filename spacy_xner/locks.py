"""Locks of objects that are pickled, copied and forked."""

import os
import threading
import weakref
from types import TracebackType

_locks: "weakref.WeakSet[ForkableLock]" = weakref.WeakSet()


class ForkableLock:
    """A lock that is open in a forked child, and whose copies and pickles are locks of their own.

    An ordinary lock cannot be pickled, and one that another thread holds at the moment of a fork stays
    locked in the child for ever: the thread that would open it is not there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type["ForkableLock"], tuple[()]]:
        return ForkableLock, ()


def _open_all() -> None:
    for lock in list(_locks):
        lock._lock = threading.Lock()


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_all)

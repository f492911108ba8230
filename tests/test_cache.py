"""The cache of tensors and its lock: counts, versions, many threads, forks, pickles."""

import copy
import os
import pickle
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spacy_xner.cache import TensorCache
from spacy_xner.locks import ForkableLock

CAPACITY = 20
# Key and rows of tensors that are kept, or keys that are taken.
ACTIONS = st.lists(
    st.one_of(
        st.dictionaries(st.integers(0, 9), st.integers(1, 9), max_size=5),
        st.lists(st.integers(0, 9), max_size=5),
    )
)


def rows(n, value=0.0):
    return torch.full((n, 2), value)


@given(ACTIONS)
def test_a_cache_does_what_a_list_of_pairs_would(actions):
    cache = TensorCache(CAPACITY)
    expected = []
    for action in actions:
        if isinstance(action, dict):
            cache.keep({key: rows(n) for key, n in action.items()})
            expected = [pair for pair in expected if pair[0] not in action] + list(action.items())
            while sum(n for _, n in expected) > CAPACITY:
                expected.pop(0)
        else:
            taken = {key: len(tensor) for key, tensor in cache.take(action).items()}
            assert taken == {key: n for key, n in expected if key in action}
            expected = [pair for pair in expected if pair[0] not in action]
        found = {key: len(tensor) for key, tensor in cache.find(range(10)).items()}
        assert found == dict(expected)
        assert (len(cache), cache.n_rows) == (len(expected), sum(found.values()))


def test_tensors_of_other_weights_are_not_found():
    cache = TensorCache(CAPACITY)
    cache.keep({1: rows(3)}, version=5)
    assert cache.find([1], version=5)
    assert not cache.find([1], version=6)
    # A slow thread brings what it computed with the weights of before.
    cache.keep({1: rows(3)}, version=5)
    assert not cache.find([1], version=6)
    assert cache.n_rows == 0


def test_many_threads_that_miss_the_same_keys_are_counted_once():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    cache = TensorCache(CAPACITY)

    def work(seed):
        numbers = random.Random(seed)
        for _ in range(500):
            keys = [numbers.randrange(8) for _ in range(3)]
            known = cache.take(keys) if numbers.random() < 0.5 else cache.find(keys)
            assert all(len(tensor) == key + 1 and (tensor == key).all() for key, tensor in known.items())
            cache.keep({key: rows(key + 1, key) for key in keys if key not in known})

    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(before)
    left = cache.find(range(8))
    assert 0 < cache.n_rows <= CAPACITY
    assert cache.n_rows == sum(len(tensor) for tensor in left.values())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda cache: pickle.loads(pickle.dumps(cache))])
def test_copies_and_pickles_are_empty_and_work(duplicate):
    cache = TensorCache(CAPACITY)
    cache.keep({1: rows(3)})
    again = duplicate(cache)
    assert len(again) == 0
    again.keep({number: rows(CAPACITY - 1) for number in range(2)})
    assert (len(again), len(cache)) == (1, 1)


def ends_well(child):
    """Run a function in a forked child. RETURNS: True if it came to its end within a minute."""
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException:
            os._exit(1)
        os._exit(0)
    for _ in range(600):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_that_is_forked_while_a_thread_writes_can_go_on():
    cache = TensorCache(CAPACITY)
    cache.keep({1: rows(3)})

    def child():
        assert not cache.take([1])
        cache.keep({2: rows(4)})
        assert cache.n_rows == 4

    # As if another thread were writing at this very moment.
    with cache._lock:
        cache._n_rows += 1000
        assert ends_well(child)
        cache._n_rows -= 1000
    assert cache.n_rows == 3


def test_a_lock_keeps_others_out_until_it_is_left():
    lock = ForkableLock()
    with lock:
        assert not lock._lock.acquire(blocking=False)
    assert lock._lock.acquire(blocking=False)
    # A pickle is another lock, and open.
    with pickle.loads(pickle.dumps(lock)):
        pass

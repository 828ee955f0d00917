"""What was computed of viewports of slices, kept under a byte budget: the least recently used goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


T = TypeVar("T", bound=_Sized)


class FeatureCache:
    """A dictionary of `ImageFeatures` and the like that forgets. Safe to use from several threads.

    Args:
        budget_bytes: Most bytes kept; 0 keeps nothing.
    """

    def __init__(self, budget_bytes: int) -> None:
        if budget_bytes < 0:
            raise ValueError(f"A feature cache needs a budget of 0 bytes or more, not {budget_bytes}.")
        self.budget_bytes = budget_bytes
        self.nbytes = 0
        self._entries: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[FeatureCache], tuple[int]]:
        # What can be computed again is not pickled.
        return type(self), (self.budget_bytes,)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What is kept under a key, computed if it is not there."""
        with self._lock:
            found: T | None = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
                return found
        # Not under the lock: another thread may go on. At worst both compute the same.
        computed = compute()
        self.store(key, computed)
        return computed

    def store(self, key: Hashable, computed: _Sized) -> None:
        """Keep something, and forget the oldest beyond the budget. What alone exceeds the budget is not kept."""
        size = computed.nbytes
        with self._lock:
            if key in self._entries:
                self.nbytes -= self._entries.pop(key).nbytes
            if size > self.budget_bytes:
                return
            self._entries[key] = computed
            self.nbytes += size
            while self.nbytes > self.budget_bytes:
                _, oldest = self._entries.popitem(last=False)
                self.nbytes -= oldest.nbytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self.nbytes = 0

"""A second thread for a network's work: of two things that do not wait for each other, each has a core of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class SecondThread:
    """Does one thing after another, in a thread that begins with the first and ends with this object.

    Where the network computes with one thread, or says that it gains nothing (`works_ahead`), there is none: torch
    takes every core for each of its operations.

    Args:
        model: The network.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._pool: ThreadPoolExecutor | None = None
        self._last: Future[Any] | None = None
        self._own: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is such a thread."""
        return getattr(self._model, "works_ahead", False) and self._model.threads > 1

    @property
    def is_idle(self) -> bool:
        """Whether work would begin at once. Never in this thread itself, which would wait for itself."""
        if not self.is_there or threading.get_ident() == self._own:
            return False
        return self._last is None or self._last.done()

    def offer(self, work: Callable[[], T]) -> Callable[[], T]:
        """Have some work done there if it is idle, else by whoever asks for the result.

        Returns:
            Gives the result, or raises what the work raised.
        """
        return self.queue(work) if self.is_idle else work

    def queue(self, work: Callable[[], T]) -> Callable[[], T]:
        """Have some work done there as soon as it is idle. Returns as `offer`; may only be called if it is there."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="second-thread", initializer=self._begin)
        self._last = self._pool.submit(work)
        return self._last.result

    def _begin(self) -> None:
        self._own = threading.get_ident()

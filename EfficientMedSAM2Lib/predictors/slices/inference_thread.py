"""A worker thread for a network's work: of two things that do not wait for each other, each has a core of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from EfficientMedSAM2Lib.runtimes.network import Network

T = TypeVar("T")


class InferenceThread:
    """Does one thing after another in a thread that starts with the first, and ends with `close` or with this object.

    Single submitter: `submit` and `close` are for the one thread that uses the predictor. `is_idle` and `offer` may be
    asked from the worker thread as well.

    Where the network computes with one thread, or gains nothing from a second one (`runs_concurrently`), there is none:
    torch takes every core for each of its operations.

    Args:
        model: The network.
    """

    def __init__(self, model: Network) -> None:
        self._model = model
        self._pool: ThreadPoolExecutor | None = None
        self._last: Future[Any] | None = None
        self._ident: int | None = None

    @property
    def is_enabled(self) -> bool:
        """Whether there is such a thread."""
        return self._model.runs_concurrently and self._model.threads > 1

    @property
    def is_idle(self) -> bool:
        """Whether work would begin at once. Never in this thread itself, which would wait for itself."""
        if not self.is_enabled or threading.get_ident() == self._ident:
            return False
        return self._last is None or self._last.done()

    def offer(self, work: Callable[[], T]) -> Callable[[], T]:
        """Have some work done there if it is idle, else by whoever asks for the result.

        Returns:
            Gives the result, or raises what the work raised.
        """
        return self.submit(work) if self.is_idle else work

    def defer(self, work: Callable[[], T]) -> Callable[[], T]:
        """Have some work done there after what it has to do already; without such a thread as `offer`."""
        return self.submit(work) if self.is_enabled else work

    def submit(self, work: Callable[[], T]) -> Callable[[], T]:
        """Have some work done there as soon as it is idle. Returns as `offer`; only while `is_enabled`."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="inference", initializer=self._note_ident)
        self._last = self._pool.submit(work)
        return self._last.result

    def close(self) -> None:
        """Wait for what was submitted, and end the thread. The next `submit` starts another one."""
        pool, self._pool, self._last = self._pool, None, None
        if pool is not None:
            pool.shutdown()

    def _note_ident(self) -> None:
        self._ident = threading.get_ident()

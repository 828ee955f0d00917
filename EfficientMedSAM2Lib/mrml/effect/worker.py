"""One thread that runs the network. It never touches a GUI or MRML; the main thread polls for what it has done."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

#: The application's exit waits at most so long for the network.
EXIT_WAIT_S = 10.0


class LogRelay(logging.Filter):
    """Holds back what the engine logs outside of the main thread: Slicer's log handler may be called in there only.

    A filter of the root logger's handlers while a worker has its thread; loggers stay as they are.
    """

    def __init__(self) -> None:
        super().__init__("EfficientMedSAM2Lib")
        self._handlers: list[logging.Handler] = []
        self._records: deque[logging.LogRecord] = deque()

    def install(self) -> None:
        """Begin."""
        self._handlers = list(logging.getLogger().handlers)
        for handler in self._handlers:
            handler.addFilter(self)

    def remove(self) -> None:
        """End, and deliver what is left."""
        self.deliver()
        for handler in self._handlers:
            handler.removeFilter(self)
        self._handlers = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a handler may have a record now."""
        if threading.current_thread() is threading.main_thread() or not super().filter(record):
            return True
        if record not in self._records:  # each handler asks
            self._records.append(record)
        return False

    def deliver(self) -> None:
        """Called by the main thread."""
        while self._records:
            record = self._records.popleft()
            for handler in self._handlers:
                if record.levelno >= handler.level:
                    handler.handle(record)


class WorkerJob:
    """Work under way. ``done`` is set whatever happens, so that waiting for it always ends.

    Attributes:
        done: Set when the work has ended: finished, failed or dropped.
        cancel_requested: Set by the main thread; the work looks at it between slices.
        result: What the work returned.
        error: Exception that ended it, else None.
    """

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.work: Callable[[Any], Any] | None = work
        self.done = threading.Event()
        self.cancel_requested = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self._reports: deque[Any] = deque()
        self._news = threading.Event()

    def cancel(self) -> None:
        """Ask the work to end at the next slice."""
        self.cancel_requested.set()

    @property
    def cancelled(self) -> bool:
        """Whether the work was asked to end."""
        return self.cancel_requested.is_set()

    def report(self, item: Any) -> None:
        """Called by the work: something for the main thread to show."""
        self._reports.append(item)
        self._news.set()

    def take_reports(self) -> list[Any]:
        """Called by the main thread: what was reported since the last time, in order."""
        self._news.clear()
        items = []
        while self._reports:
            items.append(self._reports.popleft())
        return items

    def wait_for_news(self, seconds: float) -> bool:
        """Sleep until there is a report or the end, at most so long; returns whether there is."""
        return self._news.wait(seconds)

    def run(self) -> None:
        """Do the work, in the worker thread."""
        try:
            assert self.work is not None, "a job is done once"
            self.result = self.work(self)
        except BaseException as error:
            self.error = error
        finally:
            self.work = None  # what it refers to must not live on in this thread
            self.done.set()
            self._news.set()


class Worker:
    """Runs jobs one after the other in a thread of its own, which is started with the first job.

    Not a ThreadPoolExecutor: Python waits for its threads without end when the application exits.
    """

    def __init__(self) -> None:
        self._queue: queue.Queue[WorkerJob | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._current: WorkerJob | None = None
        self._log = LogRelay()

    def submit(self, work: Callable[[Any], Any]) -> WorkerJob:
        """Run ``work(job)`` in the thread; returns the job."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._loop, args=(self._queue,), name="EfficientMedSAM2", daemon=True
            )
            self._log.install()
            self._thread.start()
            atexit.register(_await_end, self._queue, self._thread)
        self._current = WorkerJob(work)
        self._queue.put(self._current)
        return self._current

    @property
    def idle(self) -> bool:
        """Whether all submitted work has ended."""
        return self._current is None or self._current.done.is_set()

    def yield_to_tasks(self, seconds: float) -> None:
        """Let the thread run, at most so long or until it has news.

        Slicer's main thread holds the interpreter's lock also while Qt waits for the user, so that other Python threads
        run only when it sleeps in Python, as here.
        """
        if self._current is not None and not self.idle:
            self._current.wait_for_news(seconds)
        self._log.deliver()

    def stop(self, timeout: float = 2.0) -> bool:
        """Cancel what runs, and end the thread; returns whether it ended in time."""
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        if self._current is not None:
            self._current.cancel()
        self._queue.put(None)
        self._queue = queue.Queue()
        thread.join(timeout)
        if thread.is_alive():  # and may still log
            self._log.deliver()
            logger.warning("The network is still busy; its thread ends as soon as it is done.")
            return False
        self._log.remove()
        return True

    @staticmethod
    def _loop(jobs: queue.Queue[WorkerJob | None]) -> None:
        while True:
            job = jobs.get()
            if job is None:
                return
            job.run()
            del job  # or the last result stays alive while the thread waits


def _await_end(jobs: queue.Queue[WorkerJob | None], thread: threading.Thread) -> None:
    """At Python's exit: a thread inside of torch or ONNX Runtime would be torn out of it, and abort the application."""
    jobs.put(None)
    thread.join(EXIT_WAIT_S)

"""Actions that wait for the one worker thread: prepared on the main thread, worked on in the other, finished here."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

logger = logging.getLogger(__name__)

#: The worker is given so much of each poll, in seconds; the rest of the time is the GUI's.
WORKER_SHARE_S = 0.02

Work = Callable[[Any], Any]


class Activity(Enum):
    """What is going on."""

    IDLE = "idle"
    LOADING = "loading"
    ANSWERING = "answering"
    PROPAGATING = "propagating"
    CANCELLING = "cancelling"
    SAVING = "saving"

    @property
    def is_propagation(self) -> bool:
        """Whether a structure is being propagated through the slices, or that is being cancelled."""
        return self in (Activity.PROPAGATING, Activity.CANCELLING)


@dataclass
class Action:
    """Something the user asked for.

    Attributes:
        activity: What to show while it runs or waits.
        prepare: Main thread: reads the scene and returns the work, which the worker thread does.
        finish: Main thread: gets the result of the work and writes it.
        requested: Time of the request.
    """

    activity: Activity
    prepare: Callable[[], Work]
    finish: Callable[[Any], None]
    requested: float


class Owner(Protocol):
    """What the queue calls, always on the main thread."""

    def allowed(self, action: Action) -> bool:
        """Whether an action can be started now; otherwise it is dropped."""

    def reported(self, item: Any) -> None:
        """The work under way has something to show."""

    def idle(self) -> None:
        """The worker is idle and no action waits: time to look at the scene."""

    def failed(self, action: Action, error: BaseException) -> None:
        """Preparing, working or finishing ended with an exception."""

    def ended(self, action: Action) -> None:
        """An action is over, whether it failed or not."""


class ActionQueue:
    """Runs actions in order. Work for idle times is dropped when an action comes.

    Args:
        worker: Runs work in one thread: ``submit``, ``idle``, ``yield_to_tasks``, as the effect's Worker.
        owner: Gets what happens.
        changed: Called whenever something to be shown has changed.
    """

    def __init__(self, worker: Any, owner: Owner, changed: Callable[[], None]) -> None:
        self.worker = worker
        self.owner = owner
        self.changed = changed
        self.idle_work: deque[Work] = deque()
        self.polling = False
        self._waiting: deque[Action] = deque()
        self._action: Action | None = None
        self._job: Any = None

    @property
    def activity(self) -> Activity:
        """What is going on, or will be next."""
        if self._action is None:
            return self._waiting[0].activity if self._waiting else Activity.IDLE
        if self._action.activity is Activity.PROPAGATING and self._job is not None and self._job.cancelled:
            return Activity.CANCELLING
        return self._action.activity

    @property
    def is_busy(self) -> bool:
        """Whether there is anything under way or waiting."""
        return bool(self._waiting or self._action or self.idle_work or self._job or not self.worker.idle)

    def is_under_way(self, activity: Activity) -> bool:
        """Whether such an action runs or waits."""
        return any(action.activity is activity for action in (self._action, *self._waiting) if action is not None)

    def request(self, activity: Activity, prepare: Callable[[], Work], finish: Callable[[Any], None]) -> None:
        """Add an action."""
        self._waiting.append(Action(activity, prepare, finish, time.perf_counter()))
        self.changed()

    def cancel(self, activity: Activity) -> None:
        """Ask such an action to end if it runs, drop it if it waits."""
        self._waiting = deque(action for action in self._waiting if action.activity is not activity)
        if self._action is not None and self._action.activity is activity and self._job is not None:
            self._job.cancel()
        self.changed()

    def drop_waiting(self) -> None:
        """Forget all that has not begun."""
        self._waiting.clear()
        self.idle_work.clear()

    def abandon(self) -> None:
        """Forget all; work under way is asked to end, and its result is not wanted."""
        self.drop_waiting()
        if self._job is not None:
            self._job.cancel()
        if self._action is not None and self._action.activity is not Activity.LOADING:
            self._action.finish = _ignore

    def drain(self, timeout_s: float) -> bool:
        """End what is under way, cancelling it; False when time ran out."""
        self.drop_waiting()
        if self._action is not None and self._action.activity is Activity.LOADING:
            return False
        end = time.perf_counter() + timeout_s
        if self._job is not None:
            self._job.cancel()
        while not self.worker.idle and time.perf_counter() < end:
            self.worker.yield_to_tasks(WORKER_SHARE_S)
        self.poll()
        return bool(self.worker.idle)

    def poll(self) -> bool:
        """Let the worker run a little, take what it has done, start what waits. Returns ``is_busy``."""
        if self.polling:  # a dialog inside runs the timer again
            return True
        self.polling = True
        try:
            self.worker.yield_to_tasks(WORKER_SHARE_S)
            self._take_reports()
            if self._job is not None and self._job.done.is_set():
                self._end_job()
            if self._job is None and not self._waiting:
                self.owner.idle()
            if self._job is None:
                self._start_next()
        finally:
            self.polling = False
        return self.is_busy

    def _take_reports(self) -> None:
        items = [] if self._job is None else self._job.take_reports()
        for item in items:
            self.owner.reported(item)
        if items:
            self.changed()

    def _end_job(self) -> None:
        self._take_reports()
        job, self._job = self._job, None
        action, self._action = self._action, None
        if action is None:
            if job.error is not None:
                logger.debug("Work for idle times failed: %s", job.error)
            return
        error = job.error
        if error is None:
            try:
                action.finish(job.result)
            except Exception as problem:
                error = problem
        if error is not None:
            self.owner.failed(action, error)
        self.owner.ended(action)
        self.changed()

    def _start_next(self) -> None:
        while self._waiting:
            action = self._waiting.popleft()
            self.idle_work.clear()
            if self.owner.allowed(action):
                try:
                    work = action.prepare()
                except Exception as error:
                    self.owner.failed(action, error)
                    self.owner.ended(action)
                else:
                    self._action, self._job = action, self.worker.submit(work)
            self.changed()
            if self._job is not None:
                return
        if self.idle_work:
            self._job = self.worker.submit(self.idle_work.popleft())


def _ignore(_result: Any) -> None:
    """A result that nobody wants any more."""

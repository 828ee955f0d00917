"""What the network has learnt of one structure: chosen on the page, and found without a prompt. As in the effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.pipeline.proposals import search_structure
from EfficientMedSAM2Lib.runtimes.tasks import read_task
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession


class TaskChoice:
    """The tasks that the server was started with, and the one that is used.

    Args:
        paths: Their files; the first is used at first.

    Attributes:
        texts: What the choices are called; the first is that of no task.
        number: Of the choice.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        tasks = [read_task(path) for path in paths]
        self.texts = ["any structure", *(f"{task.name} ({task.cases} cases)" for task in tasks)]
        self.number = 1 if tasks else 0
        self._paths = [None, *paths]

    @property
    def path(self) -> str | None:
        """File of the task that is used; None for any structure."""
        return self._paths[self.number]


class TaskCommands:
    """Commands on the task, and on the search for its structure.

    Args:
        viewer: The scene.
        choice: The tasks.
    """

    def __init__(self, viewer: ViewerSession, choice: TaskChoice) -> None:
        self.viewer, self.choice = viewer, choice
        self.viewer.controller.propose = search_structure

    @property
    def by_name(self) -> dict[str, Callable[..., None]]:
        """The commands."""
        return {"task": self.choose, "propose": self.viewer.controller.propose_structure}

    def choose(self, number: int) -> None:
        """Work with another task from now on."""
        if not 0 <= int(number) < len(self.choice.texts):
            raise UserError("There is no such task; load the page anew.")
        if int(number) != self.choice.number:
            self.choice.number = int(number)
            self.viewer.controller.reload()

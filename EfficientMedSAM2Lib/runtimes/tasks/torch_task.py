"""A task put into a torch network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.runtimes.tasks.task import Task

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.models import EfficientMedSAM2


def adapt_to(task: Task) -> Callable[[EfficientMedSAM2], None]:
    """What changes the weights of a network, in float32, as a task says, and lets it know the task."""

    def adapt(model: EfficientMedSAM2) -> None:
        parameters = dict(model.named_parameters())
        for name in task.additions:
            if name not in parameters:
                raise UserError(f"The task {task.name!r} does not fit these weights ({name}); learn it again.")
            value = parameters[name].data
            value.copy_(torch.from_numpy(task.added(name, value.numpy())))
        model.task = task
        model.heuristics = task.heuristics(model.heuristics)

    return adapt


__all__ = ["adapt_to"]

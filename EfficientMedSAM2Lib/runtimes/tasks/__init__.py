"""A task: what a network has learnt of one structure, as small additions to some weights."""

from EfficientMedSAM2Lib.runtimes.tasks.task import SMALLEST, Task
from EfficientMedSAM2Lib.runtimes.tasks.task_file import read_task, write_task

__all__ = ["SMALLEST", "Task", "read_task", "write_task"]

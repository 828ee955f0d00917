"""A task's file: `.safetensors` with what is added to the weights in FP16, and a description; at most 1.5 MB."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.runtimes.tasks.task import Addition, EarlierTask, LowRank, Task

SUFFIX = ".task"
MAX_BYTES = 1_500_000
FORMAT = 1
"""Number of the form of these files, one more whenever an older program could not read them."""
_DESCRIPTION, _LEFT, _RIGHT = "task", "|left", "|right"


def write_task(path: str | os.PathLike[str], task: Task) -> None:
    """Write a task under a temporary name first. The same task gives the same bytes.

    Raises:
        UserError: It cannot be written there, or it is larger than a task may be.
    """
    from safetensors.numpy import save

    tensors: dict[str, np.ndarray] = {}
    for name, addition in sorted(task.additions.items()):
        if isinstance(addition, LowRank):
            tensors[name + _LEFT], tensors[name + _RIGHT] = addition.left, addition.right
        else:
            tensors[name] = addition
    halved = {name: np.ascontiguousarray(value, np.float16) for name, value in tensors.items()}
    description = {"format": FORMAT, **task.describe()}
    content = save(halved, metadata={_DESCRIPTION: json.dumps(description, sort_keys=True)})
    if len(content) > MAX_BYTES:
        raise UserError(f"The task has {len(content)} bytes, and {MAX_BYTES} is the most; train fewer parts.")
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(content)


def read_task(path: str | os.PathLike[str]) -> Task:
    """Read a task.

    Raises:
        UserError: The file is missing, or is not a task of this version.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise UserError(f"There is no task {path}; `efficient-medsam2 learn` makes one from finished cases.")
    try:
        with safe_open(str(path), framework="numpy") as file:
            text = (file.metadata() or {}).get(_DESCRIPTION)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a task: {error}") from error
    if text is None:
        raise UserError(f"{path} is not a task; give a file that `efficient-medsam2 learn` wrote.")
    try:
        known: dict[str, Any] = json.loads(text)
        if known.pop("format") != FORMAT:
            raise UserError(f"The task {path} was made by another version; learn it again.")
        for key in ("window", "spacing_mm"):
            known[key] = None if known[key] is None else tuple(known[key])
        known["without"] = tuple(known["without"])
        known["results"] = _pairs(known["results"])
        earlier = [{**task, "results": _pairs(task["results"])} for task in known.get("earlier", ())]
        known["earlier"] = tuple(EarlierTask(**task) for task in earlier)
        return Task(**known, additions=_additions(tensors))
    except (KeyError, TypeError, IndexError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not a task of this version ({error}); learn it again.") from error


def _pairs(results: Mapping[str, list[float]]) -> dict[str, tuple[float, float]]:
    return {measure: (pair[0], pair[1]) for measure, pair in results.items()}


def _additions(tensors: Mapping[str, np.ndarray]) -> dict[str, Addition]:
    found: dict[str, Addition] = {}
    for name, value in tensors.items():
        if name.endswith(_LEFT):
            parameter = name[: -len(_LEFT)]
            found[parameter] = LowRank(value, tensors[parameter + _RIGHT])
        elif not name.endswith(_RIGHT):
            found[name] = value
    return found


__all__ = ["MAX_BYTES", "SUFFIX", "read_task", "write_task"]

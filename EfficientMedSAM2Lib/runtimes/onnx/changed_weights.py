"""A task put into exported graphs, without torch and without onnx.

A graph holds each parameter as it is in memory, a matrix product's weight transposed, so that a parameter is found by
its bytes, whatever the export has called it, and others of the same length take their place. ONNX Runtime's own
`add_initializer` comes too late: a weight that is reshaped has been folded into another by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.resources import shipped_weights
from EfficientMedSAM2Lib.runtimes.exported import weights_sha256
from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import Description
from EfficientMedSAM2Lib.runtimes.tasks.task import Task

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

Change: TypeAlias = "tuple[str, np.ndarray, np.ndarray]"
"""A parameter's name, what it is, and what it becomes; both float32 and of one shape."""

_GRAPH_OF_PART = {
    "image_encoder": "encode",
    "prompt_encoder": "prompt",
    "mask_decoder": "decode",
    "memory_attention": "attend",
    "memory_encoder": "memorise",
    "context": "context",
}


def changes_of(task: Task, description: Description, weights: Path | None = None) -> dict[str, list[Change]]:
    """What a task changes in each graph.

    Args:
        task: The task.
        description: Of the exported network.
        weights: The `.safetensors` file that it was exported from; None for the shipped one.

    Raises:
        UserError: The task belongs to other weights, or the network is not in float32.
    """
    from safetensors import SafetensorError, safe_open

    weights = weights or shipped_weights(description.config.encoder_type)
    task.check_weights(description.weights_sha256, str(weights))
    task.check_weights(weights_sha256(task.encoder, weights), str(weights))
    if description.precision != "fp32":
        raise UserError(f"A task computes in fp32, and this network was exported in {description.precision}.")
    changes: dict[str, list[Change]] = {}
    try:
        with safe_open(str(weights), framework="numpy") as file:
            known = set(file.keys())
            for name in task.additions:
                graph = _GRAPH_OF_PART.get(name.split(".")[0])
                if name not in known or graph is None:
                    raise UserError(f"The task {task.name!r} does not fit {weights} ({name}); learn it again.")
                base = np.asarray(file.get_tensor(name), np.float32)
                changes.setdefault(graph, []).append((name, base, task.added(name, base)))
    except SafetensorError as error:
        raise UserError(f"With a task ONNX Runtime takes .safetensors weights, not {weights}.") from error
    return changes


def changed(graph: bytes, changes: Sequence[Change]) -> bytes:
    """A serialised graph with other parameters.

    Raises:
        UserError: A parameter is not in it, or in more than one place.
    """
    content = bytearray(graph)
    for name, base, value in changes:
        for arrange in (np.array, np.transpose) if base.ndim == 2 else (np.array,):
            before = arrange(base).tobytes()
            place = graph.find(before)
            if place >= 0:
                break
        if place < 0 or graph.find(before, place + 1) >= 0:
            raise UserError(f"A task cannot be used with this exported network ({name}); take --runtime torch.")
        content[place : place + len(before)] = arrange(value).tobytes()
    return bytes(content)


__all__ = ["Change", "changed", "changes_of"]

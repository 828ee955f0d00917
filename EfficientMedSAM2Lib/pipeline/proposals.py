"""A case without prompts: a network that has learnt a task proposes its structure, marked as a proposal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import slice_axis, spacing_of
from EfficientMedSAM2Lib.core.windows import IntensityWindow, choose_window
from EfficientMedSAM2Lib.pipeline.prompts import SegmentPrompts, box_markup

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.imaging.volumes import Volume
    from EfficientMedSAM2Lib.interaction import InteractiveSession


def task_of(session: InteractiveSession) -> Any:
    """The `Task` of a session's network; None where it has learnt none."""
    return getattr(getattr(session.predictor, "model", None), "task", None)


def proposed_prompts(
    session: InteractiveSession,
    volume: Volume,
    name: str | None = None,
    window: IntensityWindow | None = None,
    modality: str | None = None,
) -> SegmentPrompts:
    """The box that a person would have drawn on the slice on which the structure shows best.

    Args:
        session: On a network with a task. What it holds stays.
        volume: The scan.
        name: Of the segment; None for that of the task.
        window: Intensity range; None chooses one by modality and intensities.
        modality: Overrides what the file says.

    Raises:
        UserError: The network has no task, or nothing in the scan looks like its structure.
    """
    task = task_of(session)
    if task is None:
        raise UserError("There are no prompts; give some, or a task with --task, which finds its structure by itself.")
    spacing = spacing_of(volume.ijk_to_ras)
    axis = slice_axis(spacing, volume.shape_kji)
    if window is None and volume.window is not None:
        window = IntensityWindow(*volume.window, "as in the file")
    chosen = window or choose_window(volume.array, modality or volume.modality)
    predictor: Any = session.predictor
    state = predictor.init_state(volume.array, spacing=tuple(map(float, spacing[::-1])), axis=axis, window=chosen)
    found = predictor.propose_object(state)
    if found is None:
        raise UserError(f"Nothing in {volume.name} looks like {task.name!r}; give a prompt.")
    x0, y0, x1, y1 = (int(edge) for edge in found.box)
    box_kji = [[y0, y1 + 1], [x0, x1 + 1]]
    box_kji.insert(axis, [found.frame_idx, found.frame_idx + 1])
    name = name or task.name
    note = f"Proposed by the task {task.name!r} with a score of {found.score:.2f}; look at it before it is used."
    return SegmentPrompts(name, (box_markup(box_kji, name, volume),), note=note)


__all__ = ["proposed_prompts", "task_of"]

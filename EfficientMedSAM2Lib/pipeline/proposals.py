"""A scan without prompts: a network that has learnt a task proposes its structure, marked as a proposal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import slice_axis, spacing_of
from EfficientMedSAM2Lib.core.windows import IntensityWindow, choose_window
from EfficientMedSAM2Lib.interaction.prompt_calls import numbered_name
from EfficientMedSAM2Lib.interaction.prompts import BoxPrompt
from EfficientMedSAM2Lib.pipeline.find_rest import Finding, SearchStep
from EfficientMedSAM2Lib.pipeline.prompts import SegmentPrompts, box_markup
from EfficientMedSAM2Lib.predictors.slices.proposals import Proposal

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.imaging.volumes import Volume
    from EfficientMedSAM2Lib.interaction import InteractiveSession

_Range = tuple[int, int]


def task_of(session: InteractiveSession) -> Any:
    """The `Task` of a session's network; None where it has learnt none."""
    return getattr(getattr(session.predictor, "model", None), "task", None)


class StructureSearch(NamedTuple):
    """A search for the structure of a task.

    Attributes:
        name: What it is called.
        terminology: Slicer's terminology entry for it, "" for the one that its name says.
        steps: One for each slice that is looked at; the last one has what was found, if anything.
    """

    name: str
    terminology: str
    steps: Iterator[SearchStep]


def search_structure(session: InteractiveSession) -> StructureSearch:
    """Look for the structure of the network's task on the session's image; no segment is changed.

    Raises:
        UserError: The network has no task.
    """
    task = task_of(session)
    if task is None:
        raise UserError("No task is chosen, so there is no structure to be proposed; choose a .task file first.")
    return StructureSearch(task.name, task.terminology, _searched(session))


def _searched(session: InteractiveSession) -> Iterator[SearchStep]:
    for step in session.search_object():
        finding = None if step.proposal is None else _finding(session, step.proposal)
        yield SearchStep(step.done, step.total, finding)


def _finding(session: InteractiveSession, proposal: Proposal) -> Finding | None:
    """What the box of a proposal holds; None where that is nothing."""
    axis = session.default_axis
    box = _box_kji(proposal, axis)
    mask, _score = session.try_prompt(BoxPrompt(box, True, axis), numbered_name("", session.segments))
    if not mask.any():
        return None
    k, j, i = ((low + high) // 2 for low, high in box)
    return Finding((k, j, i), axis, mask, proposal.score, box)


def _box_kji(proposal: Proposal, axis: int) -> tuple[_Range, _Range, _Range]:
    """The box of a proposal as half-open voxels, one slice deep."""
    x0, y0, x1, y1 = (int(edge) for edge in proposal.box)
    box = [(y0, y1 + 1), (x0, x1 + 1)]
    box.insert(axis, (proposal.frame_idx, proposal.frame_idx + 1))
    k, j, i = box
    return k, j, i


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
    chosen = window or volume.stated_window or choose_window(volume.array, modality or volume.modality)
    predictor: Any = session.predictor
    state = predictor.init_state(volume.array, spacing=tuple(map(float, spacing[::-1])), axis=axis, window=chosen)
    found = predictor.propose_object(state)
    if found is None:
        raise UserError(f"Nothing in {volume.name} looks like {task.name!r}; give a prompt.")
    name = name or task.name
    note = f"Proposed by the task {task.name!r} with a score of {found.score:.2f}; look at it before it is used."
    return SegmentPrompts(name, (box_markup(_box_kji(found, axis), name, volume),), note=note)


__all__ = ["StructureSearch", "proposed_prompts", "search_structure", "task_of"]

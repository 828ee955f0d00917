"""What a user does and sees beside the effect: where a voxel lies, Paint, a segment's size, the Undo button."""

from __future__ import annotations

from typing import Any

import numpy as np

from EfficientMedSAM2Lib.mrml.labelmaps import oriented_image
from EfficientMedSAM2Lib.mrml.ports.editor_port import ModificationMode
from EfficientMedSAM2Lib.mrml.volume_reader import local_to_world, volume_matrix

INSIDE, BESIDE = (4, 8, 6), (4, 15, 15)  # voxels k, j, i in the two tubes


def world(case: Any, index_kji: Any) -> list[float]:
    i, j, k = index_kji[2], index_kji[1], index_kji[0]
    local = volume_matrix(case.scene.volume) @ (i, j, k, 1)
    return local_to_world(local[:3], case.scene.volume)[0].tolist()


def paint(case: Any, segment_id: str, mask: np.ndarray, mode: str = "Add") -> None:
    """What Slicer's own Paint effect does."""
    selected = case.port.selected_segment_id()
    case.scene.select(segment_id)
    image = oriented_image(mask, (0, 0, 0), volume_matrix(case.scene.volume))
    case.scene.logic.SaveStateForUndo()
    case.port.modify_selected_segment(image, ModificationMode(mode), image.GetExtent())
    case.scene.select(selected)
    case.port.saves, case.port.modes = 0, []


def count(case: Any, segment_id: str = "A") -> int:
    return int(case.scene.masks()[segment_id].sum())


def undo_depth(case: Any) -> int:
    """How often the editor's own Undo can be pressed; presses Redo as often again."""
    n = 0
    while case.scene.logic.CanUndo():
        case.scene.logic.Undo()
        n += 1
    for _ in range(n):
        case.scene.logic.Redo()
    return n

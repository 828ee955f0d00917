"""Corrections by hand: brush and eraser, the largest island, smoothing; the editor's masking rules apply to each.

Islands and smoothing are those of the effects of 3D Slicer's Segment Editor, by the same filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import box_slices
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import nearest_index, spacing_of
from EfficientMedSAM2Lib.mrml.labelmaps import array_view, oriented_image
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.segment_voxels import Change, read_segment, segment_box
from EfficientMedSAM2Lib.mrml.volume_reader import volume_matrix, volume_shape, world_to_ijk


def brush_change(
    first_world: Sequence[float],
    second_world: Sequence[float],
    radius_mm: float,
    axis: int,
    volume_node: Any,
    paint: bool = True,
) -> Change | None:
    """What a round brush that moves from one place to another paints or erases on an image slice.

    Args:
        first_world: Where it was, world RAS in mm; the slice is the one through it.
        second_world: Where it is.
        radius_mm: Voxels whose middles are as near as this belong to it; the one below it always does.
        axis: Array axis of the slice.
        volume_node: The scan.
        paint: Erase instead, where it is false.

    Returns:
        The change of the segment; None beside the scan.
    """
    shape, matrix = volume_shape(volume_node), volume_matrix(volume_node)[:3, :3]
    ends = world_to_ijk([first_world, second_world], volume_node)[:, ::-1]
    index = int(nearest_index(ends[0, axis]))
    reach = radius_mm / spacing_of(volume_matrix(volume_node))[::-1] + 1.0
    box = [
        [
            max(int(np.floor(ends[:, n].min() - reach[n])), 0),
            min(int(np.ceil(ends[:, n].max() + reach[n])) + 1, shape[n]),
        ]
        for n in range(3)
    ]
    box[axis] = [max(index, 0), min(index + 1, shape[axis])]
    if any(low >= high for low, high in box):
        return None
    ends[:, axis] = index
    places = np.stack(np.meshgrid(*(np.arange(low, high) for low, high in box), indexing="ij"), axis=-1)
    steps = matrix[:, ::-1].T  # of k, j and i in mm, one in each row
    track = (ends[1] - ends[0]) @ steps
    away = (places - ends[0]) @ steps
    length = float(track @ track)
    along = np.clip(away @ track / length, 0.0, 1.0) if length > 0 else np.zeros(places.shape[:3])
    touched = np.linalg.norm(away - along[..., None] * track, axis=-1) <= radius_mm
    touched |= (places == np.asarray(nearest_index(ends[1]))).all(axis=-1)
    if not touched.any():
        return None
    start = (box[0][0], box[1][0], box[2][0])
    return Change(touched if paint else np.zeros_like(touched), touched, start)


def largest_island_change(port: EditorPort, volume_node: Any) -> Change:
    """Remove all parts of the selected segment but the largest; parts are connected by faces, as in Slicer's *Islands*.

    Raises:
        UserError: The segment is empty.
    """
    import slicer
    import vtk

    mask, start = _selected(port, volume_node, (0, 0, 0))
    cast = vtk.vtkImageCast()
    cast.SetInputData(oriented_image(mask, (0, 0, 0), np.eye(4)))
    cast.SetOutputScalarTypeToUnsignedInt()
    islands = slicer.vtkITKIslandMath()
    islands.SetInputConnection(cast.GetOutputPort())
    islands.SetFullyConnected(False)
    islands.SetMinimumSize(1)
    islands.Update()
    return Change(array_view(islands.GetOutput()) == 1, np.ones_like(mask), start)  # they are numbered by size


def smoothing_change(port: EditorPort, volume_node: Any, kernel_mm: float) -> Change:
    """The selected segment after a median filter, as Slicer's *Smoothing* has it: details smaller than a kernel go.

    Raises:
        UserError: The segment is empty, or the kernel is smaller than three voxels in every direction.
    """
    import vtk

    spacing = spacing_of(volume_matrix(volume_node))
    kernel = [max(1, round((kernel_mm / float(step) + 1) / 2) * 2 - 1) for step in spacing]  # the nearest odd number
    if max(kernel) == 1:
        least = 2.0 * float(spacing.min())
        raise UserError(f"Within {kernel_mm:g} mm there is one voxel only; smooth by {least:.2g} mm or more.")
    margin_kji = tuple(size // 2 + 1 for size in reversed(kernel))
    mask, start = _selected(port, volume_node, margin_kji)
    median = vtk.vtkImageMedian3D()
    median.SetInputData(oriented_image(mask, (0, 0, 0), np.eye(4)))
    median.SetKernelSize(*kernel)
    median.Update()
    return Change(array_view(median.GetOutput()) != 0, np.ones_like(mask), start)


def _selected(port: EditorPort, volume_node: Any, margin_kji: Sequence[int]) -> tuple[np.ndarray, tuple[int, int, int]]:
    """The selected segment in its box with a margin, and where that begins."""
    segment_id = port.selected_segment_id()
    box = segment_box(port.segmentation_node(), segment_id, volume_node)
    mask = None if box is None else read_segment(port.segmentation_node(), segment_id, volume_node)
    if box is None or mask is None or not mask.any():
        raise UserError("The segment is empty; there is nothing to change yet.")
    shape = volume_shape(volume_node)
    wide = [[max(low - by, 0), min(high + by, size)] for (low, high), by, size in zip(box, margin_kji, shape)]
    return np.ascontiguousarray(mask[box_slices(wide)]), (wide[0][0], wide[1][0], wide[2][0])

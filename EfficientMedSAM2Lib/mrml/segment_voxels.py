"""The one place that reads and changes voxels of a segment: its mask on the volume's grid; a changed patch -> a call.

Facts of Slicer's editor (5.6 ... 5.13, tested in Testing/Python/mrml) that decide the way taken:
    * ``Add`` and ``Remove`` with a small labelmap touch only its voxels, so they cost what the change costs.
    * ``Set`` erases the whole segment, whatever the extent, and writes the labelmap inside the extent. Its labelmap
      must hold the complete segment, old and new. It is taken when voxels come and go at the same time.
    * ``Set`` also writes voxels that did not change: a neighbour that overlaps them is erased there under the overwrite
      rules, even where the editable area protects it. And with the editable area inside one segment it cannot take back
      voxels that it had given, because these no longer belong to the mask segment; ``Remove`` can, and returns them.
      And of a segment that lies on another grid than the reference geometry, it erases the wrong voxels.
      In these three cases voxels are added first and removed second, in one undo step. (Erasing first and adding
      later fails when the segment is its own mask.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import (
    Box,
    bounding_box,
    box_shape,
    box_slices,
    box_start,
    intersection,
    moved,
    union,
    whole_box,
)
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.mrml.labelmaps import (
    box_of_extent,
    extent_of_box,
    grid_offset,
    image_matrix,
    mask_in_box,
    oriented_image,
    resample_mask,
    transform_between,
)
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort, ModificationMode
from EfficientMedSAM2Lib.mrml.scene.segment_lock import locked_losers, locked_segments, require_unlocked
from EfficientMedSAM2Lib.mrml.volume_reader import volume_matrix, volume_shape


@dataclass(frozen=True)
class Change:
    """Wanted change of a segment on the volume's grid.

    Attributes:
        after: (d, h, w) bool, the wanted segment inside the patch.
        changed: (d, h, w) bool, the voxels of the patch that are meant; the others stay as they are.
        start_kji: Index of the patch's first voxel.
    """

    after: np.ndarray
    changed: np.ndarray
    start_kji: tuple[int, int, int]


@dataclass(frozen=True)
class WriteReport:
    """What became of a change, in voxels of the segmentation's own grid.

    Attributes:
        box_kji: Half-open box that was written, None when nothing had to be.
        added: Voxels that should have been added.
        removed: Voxels that should have been removed.
        refused: Those of them that masking kept as they were.
        calls: Number of modify calls.
    """

    box_kji: Box | None = None
    added: int = 0
    removed: int = 0
    refused: int = 0
    calls: int = 0


def segment_layer(segmentation_node: Any, segment_id: str) -> tuple[Any, int]:
    """The (possibly shared) labelmap that holds a segment, not a copy, and the segment's value there."""
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        raise UserError(f"There is no segment '{segment_id}' in '{segmentation_node.GetName()}'.")
    labelmap = segment.GetRepresentation("Binary labelmap")
    if labelmap is None:
        raise UserError(f"Segment '{segment.GetName()}' has no binary labelmap; convert the segmentation to labelmaps.")
    return labelmap, int(segment.GetLabelValue())


def segment_box(segmentation_node: Any, segment_id: str, volume_node: Any) -> Box | None:
    """Half-open box of the volume that can hold voxels of a segment, None for an empty segment."""
    labelmap, _label = segment_layer(segmentation_node, segment_id)
    held = box_of_extent(labelmap.GetExtent())
    if held is None or labelmap.GetPointData().GetScalars() is None:
        return None
    shape = volume_shape(volume_node)
    whole = whole_box(shape)
    transform = transform_between(volume_node, segmentation_node)
    shift = grid_offset(volume_matrix(volume_node), image_matrix(labelmap), transform, shape)
    if shift is None:
        return whole
    return intersection(moved(held, [-by for by in shift]), whole)


def read_segment(segmentation_node: Any, segment_id: str, volume_node: Any, box_kji: Box | None = None) -> np.ndarray:
    """One segment on the volume's grid, bool (D, H, W), or a half-open box of it.

    Resampled (nearest neighbour) when the segment's own grid is another one.
    """
    labelmap, label = segment_layer(segmentation_node, segment_id)
    shape = volume_shape(volume_node)
    box = box_kji or whole_box(shape)
    affine, transform = volume_matrix(volume_node), transform_between(volume_node, segmentation_node)
    shift = grid_offset(affine, image_matrix(labelmap), transform, shape)
    if shift is not None:
        return mask_in_box(labelmap, moved(box, shift), label)
    return _resampled(labelmap, label, affine, box, transform_between(segmentation_node, volume_node))


def _resampled(labelmap: Any, label: int, affine: np.ndarray, box: Box, transform: Any) -> np.ndarray:
    """Voxels of a segment in a half-open box of another grid, bool; the transform is from the segment's frame to it."""
    held = box_of_extent(labelmap.GetExtent())
    if held is None or labelmap.GetPointData().GetScalars() is None:
        return np.zeros(box_shape(box), dtype=bool)
    alone = oriented_image(mask_in_box(labelmap, held, label), box_start(held), image_matrix(labelmap))
    return resample_mask(alone, affine, box, transform)


def segment_stamp(segmentation_node: Any, segment_id: str) -> tuple[int, int]:
    """Changes whenever the labelmap that holds the segment may have changed."""
    labelmap, label = segment_layer(segmentation_node, segment_id)
    return labelmap.GetMTime(), label


def write_change(port: EditorPort, change: Change) -> WriteReport:
    """Bring the selected segment to the wanted state under the user's masking rules.

    The caller has saved the state for undo. Nothing is called when no voxel differs. Locked segments stay as they are.

    Raises:
        UserError: The selected segment is locked.
    """
    require_unlocked(port.segmentation_node(), port.selected_segment_id())
    reference = port.reference_geometry_image()
    affine = image_matrix(reference)
    after, changed, box = _on_reference_grid(port, change, reference, affine)
    if box is None:
        return WriteReport()
    layer, label = _selected_layer(port, affine)
    before = mask_in_box(layer, box, label)
    added, removed = changed & after & ~before, changed & ~after & before
    _spare_locked(port, affine, box, added, removed)
    tight = bounding_box(added | removed)
    if tight is None:
        return WriteReport()
    inner = box_slices(tight)
    added, removed, before = added[inner], removed[inner], before[inner]
    box = moved(tight, box_start(box))
    calls = _plan(port, affine, box, added, removed)
    for mode, labelmap, extent in calls:
        port.modify_selected_segment(labelmap, mode, extent)
    layer, label = _selected_layer(port, affine)  # Slicer may have moved the segment to another layer
    got = mask_in_box(layer, box, label)
    refused = np.count_nonzero((added | removed) & (got == before))
    return WriteReport(box, int(added.sum()), int(removed.sum()), int(refused), len(calls))


def _spare_locked(port: EditorPort, affine: np.ndarray, box: Box, added: np.ndarray, removed: np.ndarray) -> None:
    """Leave out voxels that a locked segment would lose, or be given back, on the grid that is edited."""
    selected = port.selected_segment_id()
    for other in locked_losers(port, selected):
        added &= ~_on_grid(port, other, affine, box)
    if _must_return_voxels(port) and port.mask_segment_id() in locked_segments(port, selected):
        removed &= _on_grid(port, str(port.mask_segment_id()), affine, box)


def _on_grid(port: EditorPort, segment_id: str, affine: np.ndarray, box: Box) -> np.ndarray:
    """Voxels of a segment in a half-open box of the grid that is edited, bool."""
    node = port.segmentation_node()
    labelmap, label = segment_layer(node, segment_id)
    if np.allclose(image_matrix(labelmap), affine, atol=1e-4):
        return mask_in_box(labelmap, box, label)
    return _resampled(labelmap, label, affine, box, transform_between(node, node))


Call = tuple[ModificationMode, Any, tuple[int, ...]]


def _plan(port: EditorPort, affine: np.ndarray, box: Box, added: np.ndarray, removed: np.ndarray) -> list[Call]:
    """The modify calls that make this change: one, but for the three cases above."""
    start, extent = box_start(box), extent_of_box(box)
    calls: list[Call] = []
    layer, label = _selected_layer(port, affine)
    set_fails = label is None or _must_return_voxels(port) or _overlaps_overwritable(port)
    if added.any() and removed.any() and not set_fails:
        # Voxels of the other segments of the layer may make this larger than need be, never smaller.
        whole = union(box_of_extent(layer.GetExtent()), box)
        assert whole is not None  # box is not empty
        mask = mask_in_box(layer, whole, label)
        part = mask[box_slices(box, whole)]
        part |= added
        part &= ~removed
        image = oriented_image(mask, box_start(whole), affine)
        return [(ModificationMode.SET, image, extent_of_box(whole))]
    if added.any():
        calls.append((ModificationMode.ADD, oriented_image(added, start, affine), extent))
    if removed.any():
        calls.append((ModificationMode.REMOVE, oriented_image(removed, start, affine), extent))
    return calls


def _selected_layer(port: EditorPort, affine: np.ndarray) -> tuple[Any, int | None]:
    """Labelmap on the reference grid that holds the selected segment, and its value there (None: all but zero).

    It is read where it lies, unless that is on another grid: the host's own ``selected_segment_labelmap`` resamples
    the whole volume (80 ms at 512 x 512 x 200).
    """
    labelmap, label = segment_layer(port.segmentation_node(), port.selected_segment_id())
    if np.allclose(image_matrix(labelmap), affine, atol=1e-4):
        return labelmap, label
    return port.selected_segment_labelmap(), None


def _must_return_voxels(port: EditorPort) -> bool:
    """Whether removed voxels go back to another segment, inside of which the user draws."""
    inside_single = port.segmentation_node().EditAllowedInsideSingleSegment
    return port.mask_mode() == inside_single and port.mask_segment_id() != port.selected_segment_id()


def _overlaps_overwritable(port: EditorPort) -> bool:
    """Whether another segment that may be overwritten overlaps the selected one. Segments of one layer never do."""
    node, selected = port.segmentation_node(), port.selected_segment_id()
    own, own_label = segment_layer(node, selected)
    own_box, own_matrix = box_of_extent(own.GetExtent()), image_matrix(own)
    for other_id in port.overwritable_segments(selected):
        labelmap, label = segment_layer(node, other_id)
        if labelmap is own:
            continue
        other_box = box_of_extent(labelmap.GetExtent())
        if own_box is None or other_box is None:
            continue
        if not np.allclose(image_matrix(labelmap), own_matrix, atol=1e-4):
            return True  # cannot be known cheaply: take the way that is always right
        common = intersection(own_box, other_box)
        if common is None:
            continue
        if (mask_in_box(own, common, own_label) & mask_in_box(labelmap, common, label)).any():
            return True
    return False


def _on_reference_grid(
    port: EditorPort, change: Change, reference: Any, affine: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Box | None]:
    """(after, changed, box) of the change on the grid that the editor edits on, clipped to it."""
    volume, segmentation = port.source_volume_node(), port.segmentation_node()
    volume_affine = volume_matrix(volume)
    patch = [[start, start + size] for start, size in zip(change.start_kji, change.after.shape)]
    limits = box_of_extent(reference.GetExtent())
    transform = transform_between(volume, segmentation)
    shift = grid_offset(volume_affine, affine, transform, volume_shape(volume))
    if shift is not None:
        there = moved(patch, shift)
        box = intersection(there, limits)
        if box is None:
            return change.after, change.changed, None
        inner = box_slices(box, there)
        return change.after[inner], change.changed[inner], box
    box = intersection(_mapped_extent(change, volume_affine, affine, transform), limits)
    if box is None:
        return change.after, change.changed, None
    # A patch on a single slice would be too thin to be sampled where the other grid is finer or tilted, so the grid's
    # neighbouring voxels are there, too, and are empty.
    start = [low - 1 for low in change.start_kji]
    after, changed = (
        resample_mask(oriented_image(np.pad(mask, 1), start, volume_affine), affine, box, transform)
        for mask in (change.after & change.changed, change.changed)
    )
    return after, changed, box


def _mapped_extent(change: Change, volume_affine: np.ndarray, affine: np.ndarray, transform: Any) -> Box:
    """Box on the other grid around everything that the patch can reach there, a voxel wider on each side."""
    import slicer
    import vtk

    from EfficientMedSAM2Lib.mrml.labelmaps import to_vtk_matrix

    image = slicer.vtkOrientedImageData()
    size = change.after.shape
    image.SetExtent(*extent_of_box([[start, start + n] for start, n in zip(change.start_kji, size)]))
    to_index = vtk.vtkGeneralTransform()
    to_index.PostMultiply()
    to_index.Concatenate(to_vtk_matrix(volume_affine))
    to_index.Concatenate(transform)
    to_index.Concatenate(to_vtk_matrix(np.linalg.inv(affine)))
    extent = [0, -1, 0, -1, 0, -1]
    slicer.vtkOrientedImageDataResample.TransformExtent(image.GetExtent(), to_index, extent)
    return [[extent[2 * axis] - 1, extent[2 * axis + 1] + 2] for axis in (2, 1, 0)]

"""What is drawn over a slice view: outline of a mask, lines under the mouse; and the mask of a running propagation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, bounding_box, box_shape, box_slices, box_start, union
from EfficientMedSAM2Lib.core.geometry import transform_points
from EfficientMedSAM2Lib.mrml.labelmaps import (
    box_of_extent,
    from_vtk_matrix,
    image_matrix,
    linear_matrix,
    oriented_image,
    to_vtk_matrix,
)
from EfficientMedSAM2Lib.mrml.labelmaps import transform_between as _transform_between
from EfficientMedSAM2Lib.mrml.scene import prompt_store

PREVIEW_COLOR, EXCLUDE_COLOR = prompt_store.INCLUDE_COLOR, prompt_store.EXCLUDE_COLOR
LINE_WIDTH = 2.0
#: VTK's class of what Slicer draws for markups in slice views.
MARKUPS_CLASS = "vtkSlicerMarkupsWidgetRepresentation2D"
#: Pixels around the mask that are looked at, so that the outline closes.
MARGIN = 3


def outline_polydata(image: Any, volume_node: Any, slice_node: Any) -> Any:
    """Contour lines (vtkPolyData, pixels of the view) where the viewed plane cuts a mask.

    Args:
        image: vtkOrientedImageData (0 and 1) in the volume's local frame; its extent may be a part of the grid.
        volume_node: The volume, for its transform.
        slice_node: vtkMRMLSliceNode of the view, oblique or not.
    """
    import vtk

    ijk = vtk.vtkImageData()  # the same voxels, with indices for coordinates
    ijk.ShallowCopy(image)
    ijk.SetOrigin(0.0, 0.0, 0.0)
    ijk.SetSpacing(1.0, 1.0, 1.0)
    ijk.SetDirectionMatrix(1, 0, 0, 0, 1, 0, 0, 0, 1)
    width, height = slice_node.GetDimensions()[:2]
    x0, x1, y0, y1 = _seen_extent(image, volume_node, slice_node, int(width), int(height))
    if x0 >= x1 or y0 >= y1:
        return vtk.vtkPolyData()
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(ijk)
    reslice.SetResliceTransform(_view_to_voxels(image, volume_node, slice_node))
    reslice.SetNumberOfThreads(1)  # small pictures; and general transforms are not made for several threads
    reslice.SetInterpolationModeToLinear()
    reslice.SetOutputScalarType(vtk.VTK_FLOAT)
    reslice.SetBackgroundLevel(0.0)
    reslice.SetOutputOrigin(x0, y0, 0.0)
    reslice.SetOutputSpacing(1.0, 1.0, 1.0)
    reslice.SetOutputExtent(0, x1 - x0, 0, y1 - y0, 0, 0)  # contour filters want extents that begin at 0
    contour = vtk.vtkFlyingEdges2D()
    contour.SetInputConnection(reslice.GetOutputPort())
    contour.SetValue(0, 0.5)
    contour.ComputeScalarsOff()  # or the lines take their colour from them
    contour.Update()
    result = vtk.vtkPolyData()
    result.ShallowCopy(contour.GetOutput())
    return result


def _view_to_voxels(image: Any, volume_node: Any, slice_node: Any) -> Any:
    """vtkAbstractTransform from pixels of the view to voxel indices; a plain matrix unless it has to be more."""
    import vtk

    to_local = _transform_between(None, volume_node)
    local_to_ijk, frames = np.linalg.inv(image_matrix(image)), linear_matrix(to_local)
    if frames is not None:
        linear = vtk.vtkTransform()
        linear.SetMatrix(to_vtk_matrix(local_to_ijk @ frames @ from_vtk_matrix(slice_node.GetXYToRAS())))
        return linear
    general = vtk.vtkGeneralTransform()
    general.PostMultiply()
    general.Concatenate(slice_node.GetXYToRAS())
    general.Concatenate(to_local)
    general.Concatenate(to_vtk_matrix(local_to_ijk))
    return general


def _seen_extent(image: Any, volume_node: Any, slice_node: Any, width: int, height: int) -> tuple[int, int, int, int]:
    """Pixels of the view in which the image can be seen; all of them under a nonlinear transform."""
    box, frames = box_of_extent(image.GetExtent()), linear_matrix(_transform_between(volume_node, None))
    if box is None:
        return 0, 0, 0, 0
    if frames is None:
        return -MARGIN, width + MARGIN, -MARGIN, height + MARGIN
    corners_ijk = np.array([[i - 0.5, j - 0.5, k - 0.5] for k in box[0] for j in box[1] for i in box[2]])
    world = transform_points(corners_ijk, frames @ image_matrix(image))
    xy = transform_points(world, np.linalg.inv(from_vtk_matrix(slice_node.GetXYToRAS())))[:, :2]
    low, high = np.floor(xy.min(axis=0)) - MARGIN, np.ceil(xy.max(axis=0)) + MARGIN
    x0, y0 = (int(max(value, -MARGIN)) for value in low)
    x1, y1 = int(min(high[0], width + MARGIN)), int(min(high[1], height + MARGIN))
    return x0, x1, y0, y1


def _polyline(points_xy: Sequence[Sequence[float]], closed: bool) -> Any:
    """A polygon or a line (vtkPolyData) in pixels of a view."""
    import vtk

    points, lines = vtk.vtkPoints(), vtk.vtkCellArray()
    for x, y in points_xy:
        points.InsertNextPoint(x, y, 0.0)
    numbers = [*range(len(points_xy)), 0] if closed else list(range(len(points_xy)))
    lines.InsertNextCell(len(numbers))
    for number in numbers:
        lines.InsertCellPoint(number)
    data = vtk.vtkPolyData()
    data.SetPoints(points)
    data.SetLines(lines)
    return data


class SliceLines:
    """The two 2D actors of one slice view, for a front end to add to it; its methods say if it has to be drawn anew.

    Attributes:
        outline: vtkActor2D of the outline of a pending mask.
        band: That of the box or line under the mouse.
    """

    def __init__(self) -> None:
        self.outline, self.band = _line_actor(), _line_actor()
        self.actors = (self.outline, self.band)

    def show_mask(self, image: Any, volume_node: Any, slice_node: Any) -> bool:
        """Outline a mask, as `outline_polydata`; None hides the outline."""
        return _show_lines(self.outline, None if image is None else outline_polydata(image, volume_node, slice_node))

    def show_band(self, points_xy: Sequence[Sequence[float]], closed: bool, include: bool) -> bool:
        """Show a polygon or a line in pixels of the view; no points hide it."""
        self.band.GetProperty().SetColor(*(PREVIEW_COLOR if include else EXCLUDE_COLOR))
        return _show_lines(self.band, _polyline(points_xy, closed) if points_xy else None)


def _line_actor() -> Any:
    """A vtkActor2D for lines in pixels of a view; nothing is shown yet."""
    import vtk

    mapper, actor = vtk.vtkPolyDataMapper2D(), vtk.vtkActor2D()
    mapper.SetInputData(vtk.vtkPolyData())
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*PREVIEW_COLOR)
    actor.GetProperty().SetLineWidth(LINE_WIDTH)
    actor.VisibilityOff()
    return actor


def _show_lines(actor: Any, data: Any) -> bool:
    """Show lines (vtkPolyData or None) with such an actor."""
    import vtk

    was_visible, visible = bool(actor.GetVisibility()), data is not None and data.GetNumberOfPoints() > 0
    actor.GetMapper().SetInputData(data if visible else vtk.vtkPolyData())
    actor.SetVisibility(visible)
    return was_visible or visible


def raise_markups(renderer: Any) -> bool:
    """Draw markups of a slice view over all else; returns whether the view has to be drawn anew.

    What was added to a renderer last is on top. Slicer draws a segment's mask anew after undo, redo and loading, over
    markers that are there already, which then look dim.
    """
    props = [renderer.GetViewProps().GetItemAsObject(n) for n in range(renderer.GetViewProps().GetNumberOfItems())]
    markups = [prop for prop in props if prop.IsA(MARKUPS_CLASS)]
    if not markups or props[-len(markups) :] == markups:
        return False
    for prop in markups:
        renderer.RemoveViewProp(prop)
        renderer.AddViewProp(prop)
    return True


@dataclass(frozen=True)
class HoverMask:
    """What a click under the mouse would make of its slice.

    Attributes:
        axis: Slicing axis.
        index: Number of the slice.
        mask: bool (rows, columns).
    """

    axis: int
    index: int
    mask: np.ndarray

    def image(self, ijk_to_ras: np.ndarray) -> Any:
        """vtkOrientedImageData in the frame of the matrix; None when there is nothing to show."""
        grown = GrowingMask()
        grown.put_slice(self.axis, self.index, self.mask)
        return grown.image(ijk_to_ras)


class GrowingMask:
    """Slices that arrive one after the other; keeps the box around what they show, not the whole volume."""

    def __init__(self) -> None:
        self.box: Box | None = None
        self._mask: np.ndarray = np.zeros((0, 0, 0), dtype=bool)

    def put_slice(self, axis: int, index: int, mask: np.ndarray) -> None:
        """Show a slice mask, bool (rows, columns), in place of what was shown there."""
        seen = bounding_box(np.expand_dims(mask, axis))
        if seen is not None:
            seen[axis] = [index, index + 1]
            self._grow(union(self.box, seen))
        if self.box is None or not self.box[axis][0] <= index < self.box[axis][1]:
            return
        plane = [slice(low, high) for n, (low, high) in enumerate(self.box) if n != axis]
        target = [slice(None)] * 3
        target[axis] = slice(index - self.box[axis][0], index - self.box[axis][0] + 1)
        self._mask[tuple(target)] = np.expand_dims(mask[tuple(plane)], axis)

    def image(self, ijk_to_ras: np.ndarray) -> Any:
        """vtkOrientedImageData in the frame of the matrix; None when nothing was shown yet."""
        if self.box is None:
            return None
        return oriented_image(self._mask, box_start(self.box), ijk_to_ras)

    def _grow(self, box: Box | None) -> None:
        if box is None or box == self.box:
            return
        larger = np.zeros(box_shape(box), dtype=bool)
        if self.box is not None:
            larger[box_slices(self.box, box)] = self._mask
        self.box, self._mask = box, larger

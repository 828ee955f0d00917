"""From a slice view's pixels to the volume's voxels and back. Views may be oblique, volumes may be transformed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import nearest_index, transform_points
from EfficientMedSAM2Lib.mrml.labelmaps import from_vtk_matrix, linear_matrix, transform_between
from EfficientMedSAM2Lib.mrml.volume_reader import (
    axis_of_direction,
    ijk_to_world,
    volume_matrix,
    volume_shape,
    world_to_ijk,
)

#: Views that are tilted by more degrees than this against the image's slices are called oblique.
OBLIQUE_DEGREES = 5.0
#: Points that are no farther than this from a view's plane were drawn in it.
IN_PLANE_MM = 0.01


def xy_to_world(points_xy: Any, slice_node: Any) -> np.ndarray:
    """Pixels (N, 2) of a slice view -> world RAS (N, 3) mm."""
    xy = np.asarray(points_xy, dtype=np.float64).reshape(-1, 2)
    return transform_points(np.column_stack([xy, np.zeros(len(xy))]), from_vtk_matrix(slice_node.GetXYToRAS()))


def view_normal(slice_node: Any) -> np.ndarray:
    """Unit normal of the viewed plane, world RAS."""
    normal = from_vtk_matrix(slice_node.GetSliceToRAS())[:3, 2]
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)


def view_axis(slice_node: Any, volume_node: Any) -> int:
    """Array axis (0 = k, 1 = j, 2 = i) whose slices the view shows, or comes nearest to."""
    return axis_of_direction(view_normal(slice_node).tolist(), volume_node)


def tilt_degrees(slice_node: Any, volume_node: Any) -> float:
    """Angle between the viewed plane and the image slices nearest to it; 0 under a nonlinear transform."""
    frames = linear_matrix(transform_between(volume_node, None))
    if frames is None:
        return 0.0
    axes = frames[:3, :3] @ volume_matrix(volume_node)[:3, :3]
    n = 2 - view_axis(slice_node, volume_node)
    normal = np.cross(axes[:, (n + 1) % 3], axes[:, (n + 2) % 3])
    cosine = abs(float(normal @ view_normal(slice_node))) / float(np.linalg.norm(normal))
    return float(np.degrees(np.arccos(min(cosine, 1.0))))


def view_slice(slice_node: Any, volume_node: Any) -> tuple[int, int]:
    """(axis, index) of the image slice in the middle of the view; the index may lie outside of the volume."""
    axis = view_axis(slice_node, volume_node)
    width, height = slice_node.GetDimensions()[:2]
    middle = world_to_ijk(xy_to_world([[width / 2, height / 2]], slice_node), volume_node)[0]
    return axis, int(nearest_index(middle[2 - axis]))


def rectangle_box(corner_xy: Sequence[float], opposite_xy: Sequence[float], slice_node: Any, volume_node: Any) -> Box:
    """Half-open voxel box, one slice thick, of a rectangle dragged in a view.

    In an oblique view it lies on the image slice through the rectangle's middle, and encloses the rectangle as seen
    along that slice's normal.

    Raises:
        UserError: the rectangle does not touch the volume.
    """
    (x0, y0), (x1, y1) = corner_xy, opposite_xy
    corners_ijk = world_to_ijk(xy_to_world([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], slice_node), volume_node)
    axis, shape = view_axis(slice_node, volume_node), volume_shape(volume_node)
    corners_kji = corners_ijk[:, ::-1]
    box: Box = []
    for n in range(3):
        low, high = corners_kji[:, n].min(), corners_kji[:, n].max()
        if n == axis:
            low = high = (low + high) / 2
        start, stop = max(int(nearest_index(low)), 0), min(int(nearest_index(high)) + 1, shape[n])
        if start >= stop:
            raise UserError("The box is outside of the volume; drag it over the image.")
        box.append([start, stop])
    return box


def lasso_on_slice(points_xy: Any, slice_node: Any, volume_node: Any) -> np.ndarray:
    """World RAS (N, 3) mm of a closed line drawn in a view, moved onto the image slice through its middle.

    Where the view shows the image's own slices, that is where it was drawn.
    """
    drawn_ijk, column = (
        world_to_ijk(xy_to_world(points_xy, slice_node), volume_node),
        2 - view_axis(slice_node, volume_node),
    )
    drawn_ijk[:, column] = (drawn_ijk[:, column].min() + drawn_ijk[:, column].max()) / 2
    return ijk_to_world(drawn_ijk, volume_node)


def slice_center_world(axis: int, index: int, volume_node: Any, near_kji: Sequence[float] | None = None) -> np.ndarray:
    """World RAS of a point on an image slice: its middle, or below ``near_kji``."""
    kji = [(size - 1) / 2 for size in volume_shape(volume_node)] if near_kji is None else [float(v) for v in near_kji]
    kji[axis] = float(index)
    return np.asarray(ijk_to_world([kji[::-1]], volume_node)[0], dtype=np.float64)


@dataclass(frozen=True)
class SlicePositions:
    """Where the slices of a volume are, as slice views show it: the coordinate along the axis that they are nearest to.

    Attributes:
        letters: R, A or S, for each array axis.
        starts: Coordinate of its slice 0, mm.
        steps: mm from a slice to the next.
    """

    letters: tuple[str, ...]
    starts: tuple[float, ...]
    steps: tuple[float, ...]

    def text(self, axis: int, index: int) -> str:
        """Such as "S -12.5 mm"."""
        return f"{self.letters[axis]} {self.starts[axis] + self.steps[axis] * index:.1f} mm"


def slice_positions(volume_node: Any) -> SlicePositions:
    """Positions of the slices of all axes; under a nonlinear transform, of their middles near the first slice."""
    letters, starts, steps = [], [], []
    for axis in range(3):
        first, second = (slice_center_world(axis, index, volume_node) for index in (0, 1))
        along = int(np.abs(second - first).argmax())
        letters.append("RAS"[along])
        starts.append(float(first[along]))
        steps.append(float(second[along] - first[along]))
    return SlicePositions(tuple(letters), tuple(starts), tuple(steps))


def show_slice(axis: int, index: int, volume_node: Any, slice_nodes: Sequence[Any]) -> int:
    """Bring the views along an axis to an image slice; returns how many views were moved."""
    moved = 0
    for node in slice_nodes:
        if view_axis(node, volume_node) == axis:
            node.JumpSliceByOffsetting(*slice_center_world(axis, index, volume_node).tolist())
            moved += 1
    return moved


def axis_of_markups(node: Any, volume_node: Any, slice_nodes: Sequence[Any]) -> int | None:
    """Array axis of the views in whose plane all control points of a markups node lie, where it was drawn.

    None where no view shows them, or views along several axes do: a point alone lies in every view that it was centred
    in.
    """
    if node is None or volume_node is None:
        return None
    count = node.GetNumberOfControlPoints()
    world = np.array([node.GetNthControlPointPositionWorld(n) for n in range(count)]).reshape(-1, 3)
    if len(world) == 0:
        return None
    axes = set()
    for slice_node in slice_nodes:
        origin, normal = from_vtk_matrix(slice_node.GetSliceToRAS())[:3, 3], view_normal(slice_node)
        if np.abs((world - origin) @ normal).max() <= IN_PLANE_MM:
            axes.add(view_axis(slice_node, volume_node))
    return axes.pop() if len(axes) == 1 else None


def tilt_hint(slice_nodes: Sequence[Any], volume_node: Any) -> str:
    """What the user should know of prompts in oblique views; nothing where none of these is."""
    degrees = max((tilt_degrees(node, volume_node) for node in slice_nodes), default=0.0)
    if degrees <= OBLIQUE_DEGREES:
        return ""
    return f"The view is tilted by {degrees:.0f}\N{DEGREE SIGN}: a mask lies on one image slice, a stripe here."


def rotate_to_image(slice_nodes: Sequence[Any], volume_node: Any, through_ras: Sequence[float] | None = None) -> None:
    """Rotate views into the planes of the image, each into the nearest, with the middle of an image slice on view.

    Args:
        slice_nodes: vtkMRMLSliceNode of each view.
        volume_node: The image. Under a nonlinear transform its slices are no planes, and nothing is rotated.
        through_ras: World RAS in mm of a point on the slices to be shown; by default, each view's middle.
    """
    if linear_matrix(transform_between(volume_node, None)) is None:
        return
    for node in slice_nodes:
        node.RotateToVolumePlane(volume_node)
        axis, index = view_slice(node, volume_node)
        if through_ras is not None:
            index = int(nearest_index(world_to_ijk([through_ras], volume_node)[0][2 - axis]))
        show_slice(axis, index, volume_node, [node])

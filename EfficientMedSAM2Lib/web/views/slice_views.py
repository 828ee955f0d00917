"""The slice views together: linked crosshair, slices by number, letters of the patient's directions, enlarging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.geometry import nearest_index, transform_points
from EfficientMedSAM2Lib.mrml.effect.view_geometry import show_slice, slice_positions, view_axis, view_slice
from EfficientMedSAM2Lib.mrml.labelmaps import from_vtk_matrix
from EfficientMedSAM2Lib.mrml.volume_reader import ijk_to_world, volume_matrix, volume_shape, world_to_ijk
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession

#: Singleton tag of each slice view, as in 3D Slicer, and its orientation.
ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
THREE_D = "ThreeD"
#: Of the 3D view, in degrees; and how much nearer to the volume it is than needed for the volume's corners.
VIEW_ANGLE, CLOSER = 30.0, 1.5
#: From where it is seen, RAS: in front of the patient, from the left and above, so that no slice is seen from its edge.
FROM = (-0.3, 1.0, 0.25)
#: Longest scale bar, as a part of the view's width.
LONGEST_BAR = 0.25


class SliceViews:
    """What the user can do with views, by their tags."""

    def __init__(self, viewer: ViewerSession) -> None:
        self.viewer = viewer
        self._crosshair = viewer.scene.GetNthNodeByClass(0, "vtkMRMLCrosshairNode")
        self._crosshair.SetCrosshairMode(self._crosshair.ShowBasic)
        self._crosshair.SetCrosshairThickness(self._crosshair.Fine)
        self._sizes: dict[str, tuple[int, ...]] = {}  # of views that are shown whole once they have another size

    def view(self, tag: str) -> Any:
        """The trame-slicer view."""
        return self.viewer.app.view_manager.get_view(tag)

    def node(self, tag: str) -> Any:
        """The vtkMRMLSliceNode."""
        return self.view(tag).get_view_node()

    @property
    def nodes(self) -> dict[str, Any]:
        """vtkMRMLSliceNode of every slice view that exists, by tag."""
        views = {tag: self.view(tag) for tag in ORIENTATIONS}
        return {tag: view.get_view_node() for tag, view in views.items() if view is not None}

    @property
    def world(self) -> np.ndarray:
        """Where the crosshair is, RAS mm."""
        return np.array(self._crosshair.GetCrosshairRAS())

    def show(self) -> None:
        """Show a volume that was opened, the crosshair in its middle."""
        node = self.viewer.volume_node
        self.viewer.app.display_manager.show_volume_in_slice_background(node)
        self._mark_orientation()
        self._reset()
        middle = [(size - 1) // 2 for size in volume_shape(node)[::-1]]
        self.point_at(self._world_of(middle))

    def fit(self) -> None:
        """Show the whole volume in all views, with the slices and the crosshair where they are."""
        offsets = {tag: node.GetSliceOffset() for tag, node in self.nodes.items()}
        self._reset()
        for tag, offset in offsets.items():
            self.node(tag).SetSliceOffset(offset)

    def expect_other_sizes(self) -> None:
        """Views are laid out anew: each is to show all of its slice once the browser has told its size."""
        self._sizes = {tag: tuple(node.GetDimensions()[:2]) for tag, node in self.nodes.items()}

    def update_sizes(self) -> None:
        """Show the slices whole whose views have got another size since they were laid out."""
        for tag, size in list(self._sizes.items()):
            node = self.node(tag)
            if tuple(node.GetDimensions()[:2]) != size:
                del self._sizes[tag]
                offset = node.GetSliceOffset()
                self.view(tag).reset_view()
                node.SetSliceOffset(offset)

    def _reset(self) -> None:
        for view in self.viewer.app.view_manager.get_views():
            view.reset_view()
        self._fit_3d()

    def _mark_orientation(self) -> None:
        """A cube with the patient's sides turns with the 3D view."""
        view = self.view(THREE_D)
        if view is not None:
            node = view.get_view_node()
            kind = node.OrientationMarkerTypeNone if self.viewer.is_picture else node.OrientationMarkerTypeCube
            view.set_orientation_marker(kind, node.OrientationMarkerSizeMedium)

    def _fit_3d(self) -> None:
        """By the volume's bounds; the view's own reset goes by what was drawn last, and leaves too much room."""
        view, bounds = self.view(THREE_D), [0.0] * 6
        if view is None:
            return
        self.viewer.volume_node.GetRASBounds(bounds)
        renderer = view.first_renderer()
        camera = renderer.GetActiveCamera()
        camera.SetViewAngle(VIEW_ANGLE)
        camera.SetFocalPoint(0.0, 0.0, 0.0)
        camera.SetPosition(*FROM)
        camera.SetViewUp(0.0, 0.0, 1.0)
        renderer.ResetCamera(bounds)
        camera.Dolly(CLOSER)
        renderer.ResetCameraClippingRange()
        view.schedule_render()

    def point_at(self, world_ras: Sequence[float], source: Any = None) -> None:
        """Move the crosshair; all views but the one pointed in go to its slice."""
        self._crosshair.SetCrosshairRAS(*(float(value) for value in world_ras))
        for node in self.nodes.values():
            if source is None or node != source:
                node.JumpSliceByOffsetting(*(float(value) for value in world_ras))

    def point_at_voxel(self, index_kji: Sequence[int]) -> None:
        """Show a voxel of the image in all views, with the crosshair on it."""
        self.point_at(self._world_of(index_kji[::-1]))

    def step(self, tag: str, right: int, up: int, slices: int) -> None:
        """Move the crosshair by voxels in a view's own directions: right, up, and through the slices."""
        node, volume_node = self.node(tag), self.viewer.volume_node
        directions = from_vtk_matrix(node.GetSliceToRAS())[:3, :3]
        ijk = self._voxel()
        axes = volume_matrix(volume_node)[:3, :3]
        axes = axes / np.linalg.norm(axes, axis=0)
        for count, direction in zip((right, up, slices), directions.T):
            along = axes.T @ direction
            axis = int(np.argmax(np.abs(along)))
            ijk[axis] += count if along[axis] > 0 else -count
        self.point_at(self._world_of(self._inside(ijk)))

    def pixel(self, tag: str) -> tuple[float, float]:
        """Where the crosshair is in a view, in its pixels."""
        xy = transform_points(self.world.reshape(1, 3), np.linalg.inv(from_vtk_matrix(self.node(tag).GetXYToRAS())))[0]
        return float(xy[0]), float(xy[1])

    def go_to_slice(self, tag: str, index: int) -> None:
        """Show an image slice in one view."""
        axis = view_axis(self.node(tag), self.viewer.volume_node)
        show_slice(axis, int(index), self.viewer.volume_node, [self.node(tag)])

    def jump(self, axis: int, index: int) -> bool:
        """Show an image slice in the views along an axis, with the crosshair; returns whether there is such a view."""
        volume_node = self.viewer.volume_node
        ijk = self._voxel()
        ijk[2 - axis] = index
        self._crosshair.SetCrosshairRAS(*self._world_of(ijk))
        return show_slice(axis, index, volume_node, list(self.nodes.values())) > 0

    def describe(self, tag: str) -> dict[str, Any]:
        """Slice number, number of slices and letters of the sides, for the page."""
        node, volume_node = self.node(tag), self.viewer.volume_node
        axis, index = view_slice(node, volume_node)
        count = volume_shape(volume_node)[axis]
        index = min(max(index, 0), count - 1)
        directions = from_vtk_matrix(node.GetSliceToRAS())[:3, :3]
        right, up = side(directions[:, 0]), side(directions[:, 1])
        letters = {"right": right, "left": side(-directions[:, 0]), "top": up, "bottom": side(-directions[:, 1])}
        if self.viewer.is_picture:  # of no patient: no file says where its left or right is
            letters = dict.fromkeys(letters, "")
        text = f"{index + 1} / {count}"
        if self.viewer.unit == "mm":
            text = f"{self.position(axis, index)} \N{MIDDLE DOT} {text}"
        numbers = {"axis": axis, "index": index, "last": count - 1, "text": text}
        return {**numbers, **letters, **self._scale(node)}

    def position(self, axis: int, index: int) -> str:
        """Where a slice is, as Slicer's views say it, "S -12.5 mm"; without mm which one it is, counted from 1."""
        if self.viewer.unit != "mm":
            return f"slice {index + 1}"
        return slice_positions(self.viewer.volume_node).text(axis, index)

    def _scale(self, node: Any) -> dict[str, Any]:
        """A bar of a round length: its part of the view's width in percent, and its text; none without mm."""
        width_mm = float(node.GetFieldOfView()[0])
        if self.viewer.unit != "mm" or not width_mm > 0:
            return {"bar": 0, "bar_text": ""}
        length = round_length(width_mm * LONGEST_BAR)
        return {"bar": round(100 * length / width_mm, 2), "bar_text": f"{length:g} mm"}

    def readout(self) -> str:
        """Position and value under the crosshair."""
        volume = self.viewer.volume
        if volume is None:
            return ""
        shape = volume.shape_kji
        i, j, k = nearest_index(world_to_ijk([self.world], self.viewer.volume_node)[0])
        if not all(0 <= n < size for n, size in zip((k, j, i), shape)):
            return ""
        value = np.asarray(volume.array[k, j, i])
        text = " ".join(f"{v:g}" for v in value.ravel())
        unit = " HU" if self.viewer.is_ct else ""
        if not volume.spacing_known:
            place = f"{i} {j}" if self.viewer.is_picture else f"{i} {j} {k}"
            return f"{self.viewer.unit[:-1]} {place}   value {text}{unit}"
        r, a, s = self.world
        position = (
            f"{'R' if r >= 0 else 'L'} {abs(r):.0f}",
            f"{'A' if a >= 0 else 'P'} {abs(a):.0f}",
            f"{'S' if s >= 0 else 'I'} {abs(s):.0f}",
        )
        return f"{'  '.join(position)} mm   value {text}{unit}"

    def _voxel(self) -> np.ndarray:
        """(i, j, k) under the crosshair, or nearest to it."""
        return self._inside(nearest_index(world_to_ijk([self.world], self.viewer.volume_node)[0]))

    def _inside(self, ijk: np.ndarray) -> np.ndarray:
        return np.clip(ijk, 0, np.array(volume_shape(self.viewer.volume_node)[::-1]) - 1)

    def _world_of(self, ijk: Any) -> list[float]:
        world: list[float] = ijk_to_world([ijk], self.viewer.volume_node)[0].tolist()
        return world


def round_length(most: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not more than this."""
    power = 10.0 ** np.floor(np.log10(most))
    return float(next(step for step in (5 * power, 2 * power, power) if step <= most * 1.000001))


def side(direction_ras: np.ndarray) -> str:
    """Letter of the patient's side that a direction points to most nearly."""
    axis = int(np.argmax(np.abs(direction_ras)))
    return ("RL", "AP", "SI")[axis][int(direction_ras[axis] < 0)]

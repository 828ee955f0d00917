"""Slice views and voxels: boxes, slices, outlines, in oblique views and on transformed volumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from EfficientMedSAM2Lib.core.geometry import ras_to_ijk
from EfficientMedSAM2Lib.mrml.effect.outline import GrowingMask, outline_polydata, raise_markups
from EfficientMedSAM2Lib.mrml.effect.view_geometry import (
    axis_of_markups,
    rectangle_box,
    rotate_to_image,
    show_slice,
    slice_center_world,
    tilt_degrees,
    tilt_hint,
    view_axis,
    view_slice,
)
from EfficientMedSAM2Lib.mrml.labelmaps import from_vtk_matrix, oriented_image
from EfficientMedSAM2Lib.mrml.markups_reader import line_between, point_at, read_markups
from EfficientMedSAM2Lib.mrml.volume_reader import local_to_world, volume_matrix

NORMALS = {0: (0, 0, 1), 1: (0, 1, 0), 2: (1, 0, 0)}
ACROSS = {0: (1, 0, 0), 1: (1, 0, 0), 2: (0, 1, 0)}


def world(volume: Any, index_kji: Any) -> np.ndarray:
    return local_to_world((volume_matrix(volume) @ [*np.asarray(index_kji, float)[::-1], 1.0])[:3], volume)[0]


def view(scene: Any, axis: int, index_kji: Any, turn: Any = None) -> Any:
    """A slice node whose middle shows a voxel; turned by a 3x3 matrix."""
    node = scene.mrml.AddNewNodeByClass("vtkMRMLSliceNode")
    node.SetDimensions(400, 300, 1)
    node.SetFieldOfView(40.0, 30.0, 1.0)
    turn = np.eye(3) if turn is None else turn
    normal, across = turn @ NORMALS[axis], turn @ ACROSS[axis]
    node.SetSliceToRASByNTP(*normal.tolist(), *across.tolist(), *world(scene.volume, index_kji).tolist(), 0)
    return node


def xy(node: Any, point_world: Any) -> np.ndarray:
    return (np.linalg.inv(from_vtk_matrix(node.GetXYToRAS())) @ [*point_world, 1.0])[:2]


def rotation(degrees: float, axis: int = 0) -> np.ndarray:
    angle = np.radians(degrees)
    matrix, (a, b) = np.eye(4), [n for n in range(3) if n != axis]
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [0, 25])
def test_view_knows_its_slice(build_scene: Any, axis: int, degrees: float) -> None:
    moved = rotation(degrees, 2) @ rotation(degrees, 0)
    moved[:3, 3] = (30, -10, 5)
    scene = build_scene(volume_transform=moved, segmentation_transform=moved)
    node = view(scene, axis, (4, 7, 9), moved[:3, :3])
    assert view_axis(node, scene.volume) == axis
    assert view_slice(node, scene.volume) == (axis, (4, 7, 9)[axis])
    assert tilt_degrees(node, scene.volume) < 0.01
    tilted = view(scene, axis, (4, 7, 9), moved[:3, :3] @ rotation(20, 2 if axis == 2 else 0)[:3, :3])
    assert view_axis(tilted, scene.volume) == axis
    assert tilt_degrees(tilted, scene.volume) == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("has_point", [False, True])
@pytest.mark.parametrize("degrees", [0, 25, -35])
def test_views_are_turned_to_the_image(build_scene: Any, degrees: float, has_point: bool) -> None:
    """As for a volume that is oblique to the patient, under a transform that turns it further."""
    moved = rotation(degrees, 2) @ rotation(degrees / 2, 0)
    scene = build_scene(volume_transform=moved, segmentation_transform=moved)
    nodes = [view(scene, axis, (4, 7, 9)) for axis in (0, 1, 2)]
    assert ("tilted" in tilt_hint(nodes, scene.volume)) == (degrees != 0)
    shown = (2, 5, 6) if has_point else (4, 7, 9)
    rotate_to_image(nodes, scene.volume, world(scene.volume, shown) if has_point else None)
    assert tilt_hint(nodes, scene.volume) == ""
    for axis, node in enumerate(nodes):
        assert tilt_degrees(node, scene.volume) < 0.01
        assert view_slice(node, scene.volume) == (axis, shown[axis])
        origin = from_vtk_matrix(node.GetSliceToRAS())[:3, 3]
        middle = from_vtk_matrix(node.GetSliceToRAS())[:3, 2] @ (world(scene.volume, shown) - origin)
        assert middle == pytest.approx(0.0, abs=1e-6)  # the slice's own middle, not between two of them


def test_views_of_a_bent_image_are_not_turned(scene: Any) -> None:
    import slicer

    node = view(scene, 0, (4, 7, 9), rotation(20)[:3, :3])
    before = from_vtk_matrix(node.GetSliceToRAS())
    grid = scene.mrml.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    assert isinstance(grid, slicer.vtkMRMLBSplineTransformNode)
    scene.volume.SetAndObserveTransformNodeID(grid.GetID())
    assert tilt_hint([node], scene.volume) == ""
    rotate_to_image([node], scene.volume)
    np.testing.assert_array_equal(from_vtk_matrix(node.GetSliceToRAS()), before)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2), st.data(), st.floats(-40, 40))
def test_dragged_rectangle_holds_the_voxels_under_it(build_scene: Any, axis: int, data: Any, degrees: float) -> None:
    moved = rotation(degrees, 1) @ rotation(degrees / 2, 0)
    scene = build_scene(volume_transform=moved, segmentation_transform=moved)
    shape = (8, 14, 16)
    low = [data.draw(st.integers(0, size - 2)) for size in shape]
    high = [data.draw(st.integers(start + 1, size - 1)) for start, size in zip(low, shape)]
    high[axis] = low[axis]
    node = view(scene, axis, [(a + b) / 2 for a, b in zip(low, high)], moved[:3, :3])
    box = rectangle_box(xy(node, world(scene.volume, low)), xy(node, world(scene.volume, high)), node, scene.volume)
    assert box == [[a, b + 1] for a, b in zip(low, high)]


def test_rectangle_in_an_oblique_view_lies_on_one_slice(scene: Any) -> None:
    node = view(scene, 0, (4, 7, 8), rotation(30, 0)[:3, :3])
    box = rectangle_box((150, 90), (250, 210), node, scene.volume)
    assert box[0] == [4, 5]
    assert box[1][1] - box[1][0] > 5


def test_rectangle_outside_is_refused(scene: Any) -> None:
    with pytest.raises(ValueError, match="outside"):
        rectangle_box((0, 0), (20, 20), view(scene, 0, (4, 7, 8)), scene.volume)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("below", [3, 4])
def test_between_two_slices_view_click_box_and_line_are_on_the_same(scene: Any, axis: int, below: int) -> None:
    index = [4.0, 7.0, 8.0]
    index[axis] = below + 0.5
    node = view(scene, axis, index)
    middle, other = world(scene.volume, index), world(scene.volume, [v + 2 * (n != axis) for n, v in enumerate(index)])
    assert view_slice(node, scene.volume) == (axis, below + 1)
    assert point_at(middle, scene.volume, True, axis).index == below + 1
    assert rectangle_box(xy(node, middle), xy(node, other), node, scene.volume)[axis] == [below + 1, below + 2]
    assert line_between(middle, other, scene.volume, axis).index == below + 1


@pytest.mark.parametrize("degrees", [3, 10])
def test_a_line_of_a_tilted_view_is_on_the_slice_through_its_middle(scene: Any, degrees: float) -> None:
    node = view(scene, 0, (4, 7, 8), rotation(degrees, 0)[:3, :3])
    to_world = from_vtk_matrix(node.GetXYToRAS())
    start, end = ((to_world @ [200, y, 0, 1])[:3] for y in (110, 190))
    prompt = line_between(start, end, scene.volume, view_axis(node, scene.volume))
    assert [prompt.start_kji[0], prompt.end_kji[0]] == [4, 4]
    drawn = ras_to_ijk(np.array([start, end]), volume_matrix(scene.volume))[:, ::-1]
    np.testing.assert_allclose(np.array([prompt.start_kji, prompt.end_kji])[:, 1:], drawn[:, 1:], atol=0.51)
    crossed = np.ptp(np.floor(drawn[:, 0] + 0.5)) > 0
    assert ("slice 4, through its middle" in prompt.origin.warning) == crossed
    # the same line as a markup: it lies in the plane of the view that it was drawn in
    line = scene.line(start, end)
    views = [node, view(scene, 1, (4, 2, 8)), view(scene, 2, (4, 7, 3))]
    assert axis_of_markups(line, scene.volume, views) == 0
    (used,) = read_markups(line, scene.volume, 0)
    assert used == prompt


def test_markups_that_no_view_or_several_show_leave_the_axis_open(scene: Any) -> None:
    views = [view(scene, axis, (4, 7, 8)) for axis in range(3)]
    assert axis_of_markups(scene.points([world(scene.volume, (4, 7, 8))]), scene.volume, views) is None
    assert axis_of_markups(scene.points([world(scene.volume, (2, 3, 5))]), scene.volume, views) is None
    assert axis_of_markups(scene.points([world(scene.volume, (2, 7, 5))]), scene.volume, views) == 1
    assert axis_of_markups(None, scene.volume, views) is None


def test_views_along_the_axis_are_moved(scene: Any) -> None:
    nodes = [view(scene, axis, (4, 7, 8)) for axis in range(3)]
    assert show_slice(1, 3, scene.volume, nodes) == 1
    assert [view_slice(node, scene.volume) for node in nodes] == [(0, 4), (1, 3), (2, 8)]
    np.testing.assert_allclose(slice_center_world(0, 2, scene.volume), world(scene.volume, (2, 6.5, 7.5)))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [0, 30])
def test_outline_is_where_the_mask_is(build_scene: Any, axis: int, degrees: float) -> None:
    moved = rotation(degrees, 2)
    moved[:3, 3] = (3, 4, 5)
    scene = build_scene(volume_transform=moved, segmentation_transform=moved)
    low, high = np.array([2, 4, 5]), np.array([6, 9, 11])
    image = oriented_image(np.ones(high - low + 1, bool), low, volume_matrix(scene.volume))
    node = view(scene, axis, (low + high) / 2, moved[:3, :3])
    for _ in range(5):
        lines = outline_polydata(image, scene.volume, node)
        corners = np.array([xy(node, world(scene.volume, corner)) for corner in (low - 0.5, high + 0.5)])
        bounds = np.reshape(lines.GetBounds(), (3, 2))[:2].T
        np.testing.assert_allclose(bounds, [corners.min(axis=0), corners.max(axis=0)], atol=1.5)
        assert lines.GetNumberOfLines() == lines.GetNumberOfPoints()  # closed


def test_no_outline_beside_the_mask(scene: Any) -> None:
    image = oriented_image(np.ones((1, 3, 3), bool), (2, 4, 5), volume_matrix(scene.volume))
    assert outline_polydata(image, scene.volume, view(scene, 0, (6, 5, 6))).GetNumberOfPoints() == 0


def test_outline_under_a_bending_transform(scene: Any) -> None:
    import slicer
    import vtk

    bend = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for corner in np.ndindex(2, 2, 2):
        point = world(scene.volume, np.multiply(corner, (7, 13, 15)))
        source.InsertNextPoint(point)
        target.InsertNextPoint(point + np.array([0.0, 2.0 * corner[2], 0.0]) + 1e-3 * np.array(corner))
    bend.SetSourceLandmarks(source)
    bend.SetTargetLandmarks(target)
    bend.SetBasisToR()
    node = scene.mrml.AddNewNodeByClass("vtkMRMLTransformNode")
    node.SetAndObserveTransformToParent(bend)
    scene.volume.SetAndObserveTransformNodeID(node.GetID())
    assert isinstance(node, slicer.vtkMRMLTransformNode)
    image = oriented_image(np.ones((3, 3, 3), bool), (3, 5, 6), volume_matrix(scene.volume))
    slice_node = view(scene, 0, (4, 6, 7))
    assert tilt_degrees(slice_node, scene.volume) == 0
    lines = outline_polydata(image, scene.volume, slice_node)
    assert lines.GetNumberOfPoints() > 4
    assert abs(np.array(lines.GetCenter())[:2] - (200, 150)).max() < 12


def test_markups_are_drawn_over_masks() -> None:
    import slicer
    import vtk

    renderer = vtk.vtkRenderer()
    below, above, outline = vtk.vtkActor2D(), vtk.vtkActor2D(), vtk.vtkActor2D()
    marker, other = (slicer.vtkSlicerPointsRepresentation2D() for _ in range(2))
    for prop in (below, marker, other):
        renderer.AddViewProp(prop)
    assert not raise_markups(renderer)
    renderer.AddViewProp(above)  # a mask that is drawn anew
    renderer.AddViewProp(outline)
    assert raise_markups(renderer)
    props = renderer.GetViewProps()
    drawn = [props.GetItemAsObject(n) for n in range(props.GetNumberOfItems())]
    assert drawn == [below, above, outline, marker, other]
    assert not raise_markups(renderer)
    assert not raise_markups(vtk.vtkRenderer())


def test_growing_mask_keeps_what_it_was_shown(scene: Any) -> None:
    rng = np.random.default_rng(0)
    shown, expected = GrowingMask(), np.zeros((8, 14, 16), bool)
    assert shown.image(np.eye(4)) is None
    for _ in range(40):
        axis = int(rng.integers(3))
        index = int(rng.integers(expected.shape[axis]))
        mask = rng.random([n for a, n in enumerate(expected.shape) if a != axis]) > 0.97
        shown.put_slice(axis, index, mask)
        np.moveaxis(expected, axis, 0)[index] = mask
    from EfficientMedSAM2Lib.mrml.labelmaps import mask_in_box

    image = shown.image(volume_matrix(scene.volume))
    np.testing.assert_array_equal(mask_in_box(image, [[0, n] for n in expected.shape]), expected)

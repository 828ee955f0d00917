"""Property tests: every volume matrix there can be (oblique, left-handed, anisotropic, sheared) goes there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from EfficientMedSAM2Lib.core import geometry as g
from EfficientMedSAM2Lib.core.boxes import bounding_box, box_slices, union

finite = st.floats(-1.0, 1.0, allow_nan=False)


def rotation(axis_angle) -> np.ndarray:
    """Rotation matrix (3, 3) of a rotation vector, by Rodrigues' formula."""
    vector = np.asarray(axis_angle, dtype=float) * np.pi
    angle = np.linalg.norm(vector)
    if angle < 1e-9:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@st.composite
def volume_matrices(draw, shear: bool = False) -> np.ndarray:
    """ijk_to_ras of any direction, handedness, axis order and spacing from 0.05 to 12 mm."""
    spacing = np.array(draw(st.tuples(*[st.floats(0.05, 12.0)] * 3)))
    signs = np.array(draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3)))
    order = draw(st.permutations(range(3)))
    axes = rotation(draw(st.tuples(finite, finite, finite)))[:, order] * signs
    if shear:  # gantry tilt: slices shifted against each other
        axes[:, 2] += axes[:, 1] * draw(st.floats(-0.5, 0.5))
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing
    matrix[:3, 3] = draw(st.tuples(*[st.floats(-500.0, 500.0)] * 3))
    return matrix


shapes = st.tuples(*[st.integers(1, 40)] * 3)


@st.composite
def boxes(draw):
    """A volume shape (k, j, i) and a box inside it."""
    shape = draw(shapes)
    box = []
    for size in shape:
        start = draw(st.integers(0, size - 1))
        box.append([start, draw(st.integers(start + 1, size))])
    return shape, box


@given(volume_matrices(shear=True), st.lists(st.tuples(*[st.floats(-600, 600)] * 3), min_size=1, max_size=5))
def test_points_go_there_and_back(matrix, points):
    there = g.ijk_to_ras_points(g.ras_to_ijk(points, matrix), matrix)
    np.testing.assert_allclose(there, points, atol=1e-6)


@given(volume_matrices(shear=True))
def test_columns_are_voxel_steps(matrix):
    steps = g.ijk_to_ras_points(np.eye(3), matrix) - matrix[:3, 3]
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), g.spacing_of(matrix), rtol=1e-6)


@given(volume_matrices(), boxes())
def test_box_as_roi_gives_the_same_box(matrix, shape_and_box):
    shape, box = shape_and_box
    object_to_world, size = g.box_to_roi(box, matrix)
    assert np.linalg.det(object_to_world) > 0, "Slicer's ROI must not be mirrored"
    corners_ijk = g.ras_to_ijk(g.roi_corners_ras(object_to_world, size), matrix)
    assert g.ijk_box_from_corners(corners_ijk, shape) == box
    assert not g.is_rotated_against_grid(object_to_world, matrix)


@given(volume_matrices(), boxes(), st.tuples(finite, finite, finite))
def test_rotated_roi_box_holds_every_voxel_inside_the_roi(matrix, shape_and_box, turn):
    shape, box = shape_and_box
    object_to_world, size = g.box_to_roi(box, matrix)
    object_to_world[:3, :3] = object_to_world[:3, :3] @ rotation(turn)
    found = g.ijk_box_from_corners(g.ras_to_ijk(g.roi_corners_ras(object_to_world, size), matrix), shape)
    kji = np.argwhere(np.ones(shape, dtype=bool))
    in_roi = g.ras_to_ijk(g.ijk_to_ras_points(kji[:, ::-1], matrix), object_to_world)
    inside = kji[(np.abs(in_roi) < size / 2).all(axis=1)]
    bounds = np.array(found)
    assert (inside >= bounds[:, 0]).all()
    assert (inside < bounds[:, 1]).all()
    assert (bounds[:, 0] >= 0).all()
    assert (bounds[:, 1] <= shape).all()
    assert (bounds[:, 0] < bounds[:, 1]).all()


@given(volume_matrices(shear=True), boxes(), st.tuples(*[st.floats(-0.45, 0.45)] * 3))
def test_nearest_voxel_of_a_point_inside_a_voxel(matrix, shape_and_box, offset):
    shape, box = shape_and_box
    index_kji = tuple(low for low, _ in box)
    point_ras = g.ijk_to_ras_points(np.array(index_kji[::-1]) + offset, matrix)
    assert g.nearest_voxel(g.ras_to_ijk(point_ras, matrix), shape) == index_kji


@given(volume_matrices(), st.floats(2.0, 45.0))
def test_rotation_of_an_roi_is_noticed(matrix, degrees):
    object_to_world, _ = g.box_to_roi([[0, 2], [0, 2], [0, 2]], matrix)
    turned = object_to_world.copy()
    turned[:3, :3] = turned[:3, :3] @ rotation((0, np.deg2rad(degrees) / np.pi, 0))
    assert g.is_rotated_against_grid(turned, matrix)
    exchanged = object_to_world[:, [1, 2, 0, 3]]
    assert not g.is_rotated_against_grid(exchanged, matrix), "axes in another order are still parallel"


@given(boxes(), boxes())
def test_bounding_box_and_union(first, second):
    (shape, box), (_, other) = first, second
    mask = np.zeros(shape, dtype=bool)
    assert bounding_box(mask) is None
    mask[box_slices(box)] = True
    assert bounding_box(mask) == box
    both = union(box, other)
    assert all(low == min(a[0], b[0]) and high == max(a[1], b[1]) for (low, high), a, b in zip(both, box, other))
    assert union(None, box) == union(box, None) == box
    assert union(None, None) is None


def test_bounding_box_of_scattered_voxels():
    mask = np.zeros((9, 8, 7), dtype=bool)
    mask[2, 5, 1] = mask[6, 3, 4] = True
    assert bounding_box(mask) == [[2, 7], [3, 6], [1, 5]]


def test_voxel_edges_and_ties():
    # edges of voxels 2..4; a box from centre to centre keeps both; a thin box keeps the voxel it lies in
    corners = [[1.5, 0, 0], [4.5, 3, 3]]
    assert g.ijk_box_from_corners(corners, (10, 10, 10)) == [[0, 4], [0, 4], [2, 5]]
    assert g.ijk_box_from_corners([[0, 0, 2.6], [5, 5, 2.9]], (10, 10, 10))[0] == [3, 4]
    assert g.ijk_box_from_corners([[0, 0, 2.4], [5, 5, 2.4]], (10, 10, 10))[0] == [2, 3]


def test_box_is_clipped_to_the_volume():
    assert g.ijk_box_from_corners([[-5, 2, -9], [3, 100, 1]], (4, 5, 6)) == [[0, 2], [2, 5], [0, 4]]


@pytest.mark.parametrize("corners", [[[-9, 0, 0], [-2, 3, 3]], [[0, 0, 10.2], [3, 3, 12]]])
def test_box_outside_the_volume(corners):
    with pytest.raises(ValueError, match="outside the volume of 10 x 10 x 10 voxels; move it"):
        g.ijk_box_from_corners(corners, (10, 10, 10))


@pytest.mark.parametrize("size", [(0, 0, 0), (0, 20, 0)])
def test_roi_of_zero_size(size):
    with pytest.raises(ValueError, match="zero size"):
        g.roi_corners_ras(np.eye(4), size)
    with pytest.raises(ValueError, match="zero size"):
        g.ijk_box_from_corners([[1, 1, 1], np.add(1, size)], (30, 30, 30))


def test_flat_roi_selects_the_slice_it_lies_on():
    object_to_world = np.eye(4)
    object_to_world[:3, 3] = (5, 5, 3.2)
    corners = g.roi_corners_ras(object_to_world, (4, 6, 0))
    assert g.ijk_box_from_corners(corners, (9, 9, 9)) == [[3, 4], [2, 9], [3, 8]]


@pytest.mark.parametrize("size", [(1, 2), (-1, 2, 3), (np.nan, 2, 3)])
def test_roi_size_that_is_no_size(size):
    with pytest.raises(ValueError, match="three lengths in mm"):
        g.roi_corners_ras(np.eye(4), size)


@pytest.mark.parametrize("point", [(-0.6, 0, 0), (0, 0, 3.6), (np.nan, 0, 0)])
def test_point_outside_the_volume(point):
    with pytest.raises(ValueError, match="outside the volume of 6 x 5 x 4 voxels"):
        g.nearest_voxel(point, (4, 5, 6))


def test_point_on_the_outer_edge_belongs_to_the_border_voxel():
    assert g.nearest_voxel((-0.5, 4.5, 3.5), (4, 5, 6)) == (3, 4, 0)


def test_lps_to_ras_of_points_and_matrices():
    np.testing.assert_array_equal(g.lps_to_ras([1.0, 2.0, 3.0]), [-1, -2, 3])
    matrix = np.arange(16.0).reshape(4, 4)
    point = np.array([1.0, 2.0, 3.0, 1.0])
    np.testing.assert_allclose((g.lps_to_ras(matrix) @ point)[:3], g.lps_to_ras((matrix @ point)[:3]))
    np.testing.assert_array_equal(g.lps_to_ras(g.lps_to_ras(matrix)), matrix)


def test_slice_axis():
    assert g.slice_axis((0.7, 0.7, 5.0)) == 0
    assert g.slice_axis((4.0, 1.0, 1.0)) == 2
    assert g.slice_axis((1.0, 3.0, 1.0)) == 1
    assert g.slice_axis((1.0, 1.0000001, 1.0)) == 0, "rounding noise does not decide"
    assert g.slice_axis((2.0, 2.0, 1.0), shape_kji=(1, 64, 64)) == 0, "a single image is one slice"


@pytest.mark.parametrize(
    "matrix", [np.eye(3), np.zeros((4, 4)), np.diag([1, 1, 0, 1]), np.full((4, 4), np.nan), np.diag([1, 1, 1, 2])]
)
def test_matrices_that_are_no_geometry(matrix):
    with pytest.raises(ValueError, match="ijk_to_ras"):
        g.ras_to_ijk([0, 0, 0], matrix)


def test_index_order():
    np.testing.assert_array_equal(g.kji_from_ijk([[1, 2, 3]]), [[3, 2, 1]])
    np.testing.assert_array_equal(g.ijk_from_kji(g.kji_from_ijk((4, 5, 6))), (4, 5, 6))


def test_slices_have_the_name_of_the_plane_that_they_follow_most():
    oblique = np.eye(4)
    cosine = np.sqrt(0.5)
    oblique[:3, :3] = [[0, cosine, -cosine], [0, cosine, cosine], [-1, 0, 0]]  # i runs down; j and k between R and A
    named = [g.plane_of_axis(axis, oblique) for axis in range(3)]
    assert named[2] == "axial"
    assert sorted(named) == ["axial", "coronal", "sagittal"]  # no name twice, even at 45 degrees
    assert [g.axis_of_plane(plane, oblique) for plane in named] == [0, 1, 2]
    assert [g.plane_of_axis(axis, np.diag([-1.0, -1, 5, 1])) for axis in range(3)] == [
        "axial",
        "coronal",
        "sagittal",
    ]

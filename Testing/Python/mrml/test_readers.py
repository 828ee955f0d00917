"""Nodes of the scene -> voxels of the volume, under any transform, on any grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from EfficientMedSAM2Lib.mrml.labelmaps import array_view
from EfficientMedSAM2Lib.mrml.markups_reader import (
    box_of,
    is_negative,
    prompts_of_file,
    read_line,
    read_markups,
    read_points,
    read_roi,
)
from EfficientMedSAM2Lib.mrml.volume_reader import (
    axis_of_direction,
    fingerprint,
    local_to_world,
    volume_from_node,
    volume_matrix,
    world_to_ijk,
)

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def affines(draw: Any) -> np.ndarray:
    """Oblique, left- or right-handed, anisotropic, far from the origin."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.3, 6.0, size=3)
    affine[:3, 3] = rng.uniform(-300, 300, size=3)
    return affine


def world_of(scene: Any, index_kji: Any) -> list[float]:
    local = volume_matrix(scene.volume) @ (*reversed(index_kji), 1)
    return local_to_world(local[:3], scene.volume)[0].tolist()


# --- volumes


def test_voxels_are_shared_and_read_only(scene: Any) -> None:
    volume = volume_from_node(scene.volume)
    assert volume.shape_kji == (8, 14, 16)
    with pytest.raises(ValueError, match="read-only"):
        volume.array[0, 0, 0] = 1
    array_view(scene.volume.GetImageData())[1, 2, 3] = 77
    assert volume.array[1, 2, 3] == 77


@pytest.mark.parametrize("components", [3, 4])
def test_colour_volume(scene: Any, components: int) -> None:
    array = np.arange(2 * 3 * 4 * components, dtype=np.uint8).reshape(2, 3, 4, components)
    volume = volume_from_node(scene.add_volume(array, np.eye(4)))
    np.testing.assert_array_equal(volume.array, array[..., :3])


def test_volume_that_cannot_be_read(scene: Any) -> None:
    with pytest.raises(ValueError, match="has 2 components"):
        volume_from_node(scene.add_volume(np.zeros((2, 3, 4, 2), np.float32), np.eye(4)))
    empty = scene.mrml.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    with pytest.raises(ValueError, match="'nothing' has no image"):
        volume_from_node(empty)


def test_modality_is_read_when_known(scene: Any) -> None:
    assert volume_from_node(scene.volume).modality is None
    import slicer

    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    scene.volume.SetVoxelValueUnits(units)
    assert volume_from_node(scene.volume).modality == "CT"
    scene.volume.SetAttribute("DICOM.Modality", "MR")
    assert volume_from_node(scene.volume).modality == "MR"


def test_fingerprint(scene: Any) -> None:
    image, placement = fingerprint(scene.volume)
    assert fingerprint(scene.volume) == (image, placement)
    transform = scene.transform(np.eye(4))
    scene.volume.SetAndObserveTransformNodeID(transform.GetID())
    moved = fingerprint(scene.volume)
    assert (moved[0] == image, moved[1] == placement) == (True, False)
    scene.move(transform, [[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert fingerprint(scene.volume)[1] != moved[1]
    scene.volume.SetSpacing(1, 2, 3)
    assert fingerprint(scene.volume)[0] != image
    twin = scene.add_volume(np.array(volume_from_node(scene.volume).array), volume_matrix(scene.volume))
    assert fingerprint(twin)[0] != fingerprint(scene.volume)[0]


@quick
@given(affines(), affines(), st.integers(0, 2))
def test_axis_of_a_view(build_scene: Any, affine: np.ndarray, move: np.ndarray, axis: int) -> None:
    scene = build_scene(ijk_to_ras=affine, volume_transform=move)
    origin, one, other = (np.array(world_of(scene, p)) for p in ([0] * 3, *np.delete(np.eye(3), axis, axis=0)))
    normal = np.cross(one - origin, other - origin)
    assert axis_of_direction(normal / np.linalg.norm(normal), scene.volume) == axis


# --- points and lines


@quick
@given(affines(), affines(), affines(), st.data())
def test_points_under_transforms(
    build_scene: Any, affine: np.ndarray, move: np.ndarray, other: np.ndarray, data: st.DataObject
) -> None:
    """Volume and markups each under a transform of their own: the clicked voxel is the one that was meant."""
    scene = build_scene(ijk_to_ras=affine, volume_transform=move)
    index = tuple(data.draw(st.integers(0, n - 1)) for n in (8, 14, 16))
    offset = np.array(data.draw(st.tuples(*[st.floats(-0.45, 0.45)] * 3)))
    node = scene.mrml.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F")
    node.SetAndObserveTransformNodeID(scene.transform(other, "TF").GetID())
    node.AddControlPointWorld(*world_of(scene, np.array(index) + offset))
    (prompt,) = read_points(node, scene.volume, axis=1)
    assert (prompt.index_kji, prompt.axis, prompt.positive, prompt.origin.node_id) == (index, 1, True, node.GetID())
    local = volume_matrix(scene.volume) @ (*reversed(np.array(index) + offset), 1)
    np.testing.assert_allclose(prompt.origin.points_ras[0], local[:3], atol=1e-3)


def bend(scene: Any) -> Any:
    """A thin-plate spline that moves one corner of space by some mm and leaves five landmarks where they are."""
    import vtk

    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for point in ([0, 0, 0], [50, 0, 0], [0, 50, 0], [0, 0, 50], [-50, -50, -50], [20, -30, 40]):
        source.InsertNextPoint(point)
        target.InsertNextPoint(point)
    target.SetPoint(5, 26, -25, 37)
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    node = scene.mrml.AddNewNodeByClass("vtkMRMLTransformNode", "bend")
    node.SetAndObserveTransformToParent(spline)
    scene.keep.append(spline)
    return node


def test_points_and_roi_under_a_nonlinear_transform(scene: Any) -> None:
    index = (5, 6, 7)
    flat = world_of(scene, index)
    scene.volume.SetAndObserveTransformNodeID(bend(scene).GetID())
    bent = world_of(scene, index)
    assert np.linalg.norm(np.subtract(bent, flat)) > 2.0
    assert read_points(scene.points([bent]), scene.volume)[0].index_kji == index
    np.testing.assert_allclose(world_to_ijk([bent], scene.volume)[0], (7, 6, 5), atol=0.05)
    center = np.eye(4)
    center[:3, 3] = bent
    prompt = read_roi(scene.roi(center, [3, 3, 6]), scene.volume)
    assert "nonlinear" in prompt.origin.warning
    assert all(low <= at < high for (low, high), at in zip(prompt.box_kji, index))


@pytest.mark.parametrize(
    ("label", "negative"),
    [("F-1", False), ("-1", True), (" - no", True), ("Negative", True), ("BG_2", True), ("", False), ("+neg", False)],
)
def test_polarity_by_label_or_description(scene: Any, label: str, negative: bool) -> None:
    assert is_negative(label) is is_negative("x", label) is negative
    node = scene.points([world_of(scene, (1, 2, 3))] * 2, [label, "x"])
    node.SetNthControlPointDescription(1, label)
    assert [p.positive for p in read_points(node, scene.volume)] == [not negative] * 2


def test_points_not_yet_placed_are_skipped(scene: Any) -> None:
    node = scene.points([world_of(scene, (1, 2, 3)), world_of(scene, (1, 2, 4))])
    node.UnsetNthControlPointPosition(0)
    assert [p.index_kji for p in read_points(node, scene.volume)] == [(1, 2, 4)]
    node.UnsetNthControlPointPosition(1)
    with pytest.raises(ValueError, match="'F' has no points"):
        read_points(node, scene.volume)


def test_line(scene: Any) -> None:
    node = scene.line(world_of(scene, (3, 2, 4)), world_of(scene, (3, 9, 12)))
    prompt = read_line(node, scene.volume)
    assert (prompt.kind, prompt.start_kji, prompt.end_kji) == ("line", (3, 2, 4), (3, 9, 12))
    node.UnsetNthControlPointPosition(1)
    with pytest.raises(ValueError, match="not finished"):
        read_line(node, scene.volume)


def test_other_markups_are_refused(scene: Any) -> None:
    plane = scene.mrml.AddNewNodeByClass("vtkMRMLMarkupsPlaneNode", "P")
    with pytest.raises(ValueError, match="'P' cannot be a prompt"):
        read_markups(plane, scene.volume)
    with pytest.raises(ValueError, match="No markups node"):
        read_markups(None, scene.volume)


def test_files_that_slicer_writes_give_the_prompts_of_their_nodes(scene: Any, tmp_path: Any) -> None:
    """Slicer's own storage nodes; the volume lies under a transform, and points come in any order."""
    from EfficientMedSAM2Lib.imaging import markups

    rotation = np.eye(4)
    rotation[:2, :2] = [[0.0, -1.0], [1.0, 0.0]]
    rotation[:3, 3] = 5.0, -30.0, 12.0
    scene.volume.SetAndObserveTransformNodeID(scene.transform(rotation).GetID())
    places = [world_of(scene, index) for index in ((1, 2, 3), (1, 2, 8), (3, 4, 5), (3, 9, 12))]
    middle = rotation.copy()
    middle[:3, 3] = world_of(scene, (4, 6, 7))
    nodes = [scene.points(places[:2], ["-1", "2"]), scene.line(*places[2:]), scene.roi(middle, [4.0, 5.0, 7.0])]
    read: list[Any] = []
    for node in nodes:
        node.AddDefaultStorageNode()
        assert node.GetStorageNode().IsA("vtkMRMLMarkupsJsonStorageNode")
        node.GetStorageNode().SetFileName(str(tmp_path / f"{node.GetName()}.mrk.json"))
        assert node.GetStorageNode().WriteData(node)
        read += markups.read_markups(tmp_path / f"{node.GetName()}.mrk.json")
    prompts = prompts_of_file(read, scene.volume)
    known = [prompt for node in nodes for prompt in read_markups(node, scene.volume)]
    from_files, from_nodes = ({(p, p.origin.warning) for p in listed} for listed in (prompts, known))
    assert from_files == from_nodes
    assert [(p.kind, p.positive) for p in prompts[2:]] == [("point", True), ("point", False)]
    assert all(prompt.origin.node_id is None for prompt in prompts)

    outside = markups.Markup("point", "heart", np.array([[900.0, 0.0, 0.0]]))
    with pytest.raises(ValueError, match=r"Point of 'heart': .*outside"):
        prompts_of_file([outside], scene.volume)


# --- ROI boxes


@pytest.mark.slow
@quick
@given(affines(), affines(), affines(), st.data())
def test_roi_along_the_grid(
    build_scene: Any, affine: np.ndarray, move: np.ndarray, other: np.ndarray, data: st.DataObject
) -> None:
    """An ROI drawn around a box of voxels gives that box, whatever transforms it and the volume are under."""
    rigid = move.copy()
    rigid[:3, :3] /= np.linalg.norm(rigid[:3, :3], axis=0)
    scene = build_scene(ijk_to_ras=affine, volume_transform=rigid)
    box = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in (8, 14, 16)]
    ijk_to_world = rigid @ affine
    bounds = np.array(box[::-1], dtype=float)
    spacing = np.linalg.norm(ijk_to_world[:3, :3], axis=0)
    object_to_world = ijk_to_world / np.append(spacing, 1.0)
    object_to_world[:3, 3] = (ijk_to_world @ (*(bounds.mean(axis=1) - 0.5), 1))[:3]
    if np.linalg.det(object_to_world[:3, :3]) < 0:
        object_to_world[:3, 0] *= -1
    node = scene.mrml.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    node.SetSize(*((bounds[:, 1] - bounds[:, 0]) * spacing * 0.98))
    other[:3, :3] /= np.linalg.norm(other[:3, :3], axis=0)
    if np.linalg.det(other[:3, :3]) < 0:
        other[:3, 0] *= -1
    scene_roi = scene.roi(np.linalg.inv(other) @ object_to_world, node.GetSize())
    scene_roi.SetAndObserveTransformNodeID(scene.transform(other, "TR").GetID())
    prompt = read_roi(scene_roi, scene.volume)
    assert (np.array(prompt.box_kji).tolist(), prompt.origin.warning) == (box, "")
    assert box_of(box, scene.volume).box_kji == prompt.box_kji


def test_rotated_roi_is_enclosed_and_flagged(scene: Any) -> None:
    angle = np.deg2rad(30)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = world_of(scene, (4, 7, 8))
    prompt = read_roi(scene.roi(matrix, [6, 3, 5]), scene.volume)
    assert "rotated" in prompt.origin.warning
    half = [6 / 2 * np.cos(angle) + 3 / 2 * np.sin(angle), 6 / 2 * np.sin(angle) + 3 / 2 * np.cos(angle)]
    (_k, (j0, j1), (i0, i1)) = prompt.box_kji
    assert (i1 - i0, j1 - j0) == (2 * int(half[0] / 0.7) + 1, 2 * int(half[1] / 0.8) + 1)


def test_thin_roi_is_one_slice(scene: Any) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = world_of(scene, (4.3, 7, 8))
    assert read_roi(scene.roi(matrix, [4, 4, 0]), scene.volume).box_kji[0] == (4, 5)


def test_roi_of_no_use(scene: Any) -> None:
    with pytest.raises(ValueError, match=r"ROI 'R'.*outside"):
        read_roi(scene.roi(np.diag([1.0, 1, 1, 1]), [1, 1, 1]), scene.volume)
    with pytest.raises(ValueError, match=r"ROI 'R'.*zero size"):
        read_roi(scene.roi(np.eye(4), [0, 0, 0]), scene.volume)

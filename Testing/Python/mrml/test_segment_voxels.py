"""Voxels go through Slicer's own editor: what it makes of our calls, against a model written in numpy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from EfficientMedSAM2Lib.mrml.labelmaps import extent_of_box, oriented_image
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort, ModificationMode
from EfficientMedSAM2Lib.mrml.segment_voxels import Change, write_change
from EfficientMedSAM2Lib.mrml.volume_reader import volume_from_node, volume_matrix

EVERYWHERE, INSIDE_ALL, INSIDE_VISIBLE, OUTSIDE_ALL, OUTSIDE_VISIBLE, INSIDE_SINGLE = range(6)
OVERWRITE_ALL, OVERWRITE_VISIBLE, OVERWRITE_NONE = range(3)


def write(scene: Any, after: np.ndarray, changed: np.ndarray | None = None, start: tuple = (0, 0, 0)) -> Any:
    changed = np.ones(after.shape, bool) if changed is None else changed
    return write_change(scene.port, Change(after, changed, start))


def fill(scene: Any, masks: dict[str, np.ndarray], layered: bool = True) -> None:
    """Give the segments these masks, overlapping where the masks do."""
    scene.editor_node.SetOverwriteMode(OVERWRITE_NONE if layered else OVERWRITE_ALL)
    affine = volume_matrix(scene.volume)
    for segment_id, mask in masks.items():
        scene.select(segment_id)
        image = oriented_image(mask, (0, 0, 0), affine)
        scene.port.modify_selected_segment(image, ModificationMode.ADD, image.GetExtent())
    scene.select("A")
    scene.port.modes.clear()


def cuboid(shape: tuple[int, int, int], *box: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*pair) for pair in box)] = True
    return mask


def shape_of(scene: Any) -> tuple[int, int, int]:
    return volume_from_node(scene.volume).shape_kji


def test_the_adapter_is_an_editor_port(scene: Any) -> None:
    assert isinstance(scene.port, EditorPort)
    assert scene.port.segment_ids() == ["A", "B", "C"]


def test_set_with_an_extent_erases_the_rest_of_the_segment(scene: Any) -> None:
    # The fact about Slicer that forbids "Set, limited to the slice".
    shape = shape_of(scene)
    fill(scene, {"A": cuboid(shape, (1, 7), (2, 9), (3, 9))})
    one_slice = cuboid((1, 7, 6), (0, 1), (0, 3), (0, 6))
    box = [[4, 5], [2, 9], [3, 9]]
    image = oriented_image(one_slice, (4, 2, 3), volume_matrix(scene.volume))
    scene.port.modify_selected_segment(image, ModificationMode.SET, extent_of_box(box))
    assert scene.masks()["A"].sum() == one_slice.sum()


def test_one_slice_replaced_leaves_the_other_slices(scene: Any) -> None:
    shape = shape_of(scene)
    before = cuboid(shape, (1, 7), (2, 9), (3, 9))
    fill(scene, {"A": before})
    after_slice = cuboid((1, *shape[1:]), (0, 1), (4, 12), (1, 8))
    report = write(scene, after_slice, start=(4, 0, 0))
    expected = before.copy()
    expected[4] = after_slice[0]
    np.testing.assert_array_equal(scene.masks()["A"], expected)
    assert scene.port.modes == ["Set"]
    assert report.calls == 1
    assert report.box_kji == [[4, 5], [2, 12], [1, 9]]
    old, new = before[4], after_slice[0]
    assert (report.added, report.removed, report.refused) == ((new & ~old).sum(), (old & ~new).sum(), 0)


@pytest.mark.parametrize(("grow", "mode"), [(True, "Add"), (False, "Remove")])
def test_change_of_one_kind_takes_the_cheap_call(scene: Any, grow: bool, mode: str) -> None:
    shape = shape_of(scene)
    small, large = cuboid(shape, (2, 4), (3, 6), (3, 6)), cuboid(shape, (2, 4), (2, 9), (2, 9))
    fill(scene, {"A": small if grow else large})
    report = write(scene, large if grow else small)
    np.testing.assert_array_equal(scene.masks()["A"], large if grow else small)
    assert scene.port.modes == [mode]
    assert report.box_kji == [[2, 4], [2, 9], [2, 9]]


def test_nothing_to_change_calls_nothing(scene: Any) -> None:
    mask = cuboid(shape_of(scene), (2, 4), (3, 6), (3, 6))
    fill(scene, {"A": mask})
    assert write(scene, mask).box_kji is None
    assert write(scene, ~mask, np.zeros(mask.shape, bool)).calls == 0
    assert scene.port.modes == []


def editable(masks: dict[str, np.ndarray], mode: int, visible: tuple[str, ...], mask_segment: str) -> np.ndarray:
    everywhere = np.ones_like(masks["A"])

    def any_of(names: Any) -> np.ndarray:
        return np.any([masks[n] for n in names] or [~everywhere], axis=0)

    return {
        EVERYWHERE: lambda: everywhere,
        INSIDE_ALL: lambda: any_of("ABC"),
        INSIDE_VISIBLE: lambda: any_of(visible),
        OUTSIDE_ALL: lambda: ~any_of("BC"),
        OUTSIDE_VISIBLE: lambda: ~any_of([n for n in visible if n != "A"]),
        INSIDE_SINGLE: lambda: masks[mask_segment],
    }[mode]()


def model(
    masks: dict[str, np.ndarray],
    after: np.ndarray,
    mode: int,
    overwrite: int,
    visible: tuple[str, ...],
    mask_segment: str,
    in_range: np.ndarray,
) -> dict[str, np.ndarray]:
    """What the user may expect: only editable voxels change, neighbours lose only voxels that were really added."""
    area = editable(masks, mode, visible, mask_segment) & in_range
    added = after & ~masks["A"] & area
    removed = ~after & masks["A"] & area
    result = dict(masks)
    if mode == INSIDE_SINGLE and mask_segment != "A":
        removed = ~after & masks["A"]  # Slicer: own voxels can always be taken back ...
        result[mask_segment] = masks[mask_segment] | removed  # ... and return to the segment that was drawn inside of
    result["A"] = (masks["A"] | added) & ~removed
    for other in "BC":
        if overwrite == OVERWRITE_ALL or (overwrite == OVERWRITE_VISIBLE and other in visible):
            result[other] = result[other] & ~added
    return result


SETTINGS = list(itertools.product(range(6), range(3), ["A", "B"], [False, True]))


@pytest.mark.parametrize("layered", [True, False], ids=["overlapping", "disjoint"])
@pytest.mark.parametrize(("mode", "overwrite", "mask_segment", "hide_c"), SETTINGS)
def test_neighbours_and_editable_area(
    scene: Any, mode: int, overwrite: int, mask_segment: str, hide_c: bool, layered: bool
) -> None:
    shape = shape_of(scene)
    rng = np.random.default_rng(mode * 100 + overwrite * 10 + hide_c)
    masks = {s: cuboid(shape, (1, 7), (1 + n, 10 + n), (n, 9 + 2 * n)) for n, s in enumerate("ABC")}
    masks = {s: m & (rng.random(shape) < 0.7) for s, m in masks.items()}
    fill(scene, masks, layered)
    masks = scene.masks()
    if hide_c:
        scene.segmentation.GetDisplayNode().SetSegmentVisibility("C", False)
    scene.editor_node.SetMaskMode(mode)
    scene.editor_node.SetMaskSegmentID(mask_segment)
    scene.editor_node.SetOverwriteMode(overwrite)
    after = np.roll(masks["A"], 3, axis=2)  # comes and goes
    for wanted in (masks["A"] | after, after, np.zeros_like(after)):
        masks = scene.masks()
        everywhere = np.ones(shape, bool)
        visible = ("A", "B") if hide_c else ("A", "B", "C")
        expected = model(masks, wanted, mode, overwrite, visible, mask_segment, everywhere)
        report = write(scene, wanted)
        for name, mask in scene.masks().items():
            np.testing.assert_array_equal(mask, expected[name], err_msg=f"{name} after {scene.port.modes}")
        assert report.refused == np.count_nonzero((wanted != masks["A"]) & (expected["A"] == masks["A"]))
        # Two calls only where one would be wrong: see the facts in segment_voxels.
        assert report.calls <= (2 if layered or overwrite == OVERWRITE_NONE or mode == INSIDE_SINGLE else 1)


def test_intensity_range_is_respected(scene: Any) -> None:
    array = volume_from_node(scene.volume).array
    shape = array.shape
    before = cuboid(shape, (1, 7), (2, 9), (3, 9))
    fill(scene, {"A": before})
    scene.editor_node.SetSourceVolumeIntensityMask(True)
    scene.editor_node.SetSourceVolumeIntensityMaskRange(0, 120)
    after = np.roll(before, 2, axis=1)
    report = write(scene, after)
    allowed = (array >= 0) & (array <= 120)
    np.testing.assert_array_equal(scene.masks()["A"], np.where(allowed, after, before))
    assert report.refused == np.count_nonzero((after != before) & ~allowed) > 0


def test_segment_of_another_grid(scene: Any) -> None:
    # The segmentation lives on a grid twice as fine, shifted by a transform: written there, read back on the volume's.
    shape = shape_of(scene)
    fine = volume_matrix(scene.volume) @ np.diag([0.5, 0.5, 0.5, 1.0])
    fine[:3, 3] -= 0.25 * volume_matrix(scene.volume)[:3, :3].sum(axis=1)
    other = scene.add_volume(np.zeros([2 * n for n in shape], np.uint8), fine)
    scene.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(other)
    move = np.eye(4)
    move[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    move[:3, 3] = (3, 4, 5)
    transform = scene.transform(move)
    scene.volume.SetAndObserveTransformNodeID(transform.GetID())
    scene.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    after = cuboid(shape, (3, 4), (4, 9), (5, 12))
    report = write(scene, after[3:4], start=(3, 0, 0))
    assert report.added == 8 * after.sum()
    np.testing.assert_array_equal(scene.masks()["A"], after)
    smaller = after & cuboid(shape, (0, 8), (0, 7), (0, 16))
    write(scene, smaller[3:4], start=(3, 0, 0))
    np.testing.assert_array_equal(scene.masks()["A"], smaller)


def test_clipped_to_the_reference_geometry(scene: Any) -> None:
    shape = shape_of(scene)
    assert write(scene, np.ones((2, 3, 3), bool), start=(shape[0] - 1, shape[1] - 1, -2)).added == 1
    assert write(scene, np.ones((2, 3, 3), bool), start=(50, 0, 0)).box_kji is None


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_on_any_oblique_grid(build_scene: Any, data: st.DataObject) -> None:
    """Written and read back exactly, on random oblique, left-handed, anisotropic grids under a linear transform."""
    affine, move = data.draw(affines()), data.draw(affines())
    scene = build_scene(ijk_to_ras=affine, volume_transform=move, segmentation_transform=move)
    shape = shape_of(scene)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    expected = np.zeros(shape, bool)
    for _step in range(3):
        start = [int(rng.integers(0, n - 1)) for n in shape]
        size = [int(rng.integers(1, n - s + 1)) for n, s in zip(shape, start)]
        after, changed = rng.random(size) < 0.5, rng.random(size) < 0.6
        write(scene, after, changed, tuple(start))
        inner = tuple(slice(s, s + n) for s, n in zip(start, size))
        expected[inner] = np.where(changed, after, expected[inner])
        np.testing.assert_array_equal(scene.masks()["A"], expected)


@st.composite
def affines(draw: Any) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]  # either handedness
    affine = np.eye(4)
    affine[:3, :3] = rotation * rng.uniform(0.4, 5.0, size=3)
    affine[:3, 3] = rng.uniform(-200, 200, size=3)
    return affine


def test_segment_on_another_grid_than_the_reference(scene: Any) -> None:
    # Imported segments keep the grid they came with until they are edited.
    shape = shape_of(scene)
    coarse = volume_matrix(scene.volume) @ np.diag([2.0, 2.0, 1.0, 1.0])
    coarse[:3, 3] += 0.5 * volume_matrix(scene.volume)[:3, :2].sum(axis=1)
    mask = cuboid((shape[0], shape[1] // 2, shape[2] // 2), (2, 6), (1, 5), (2, 6))
    segmentation = scene.segmentation.GetSegmentation()
    segmentation.GetSegment("A").AddRepresentation("Binary labelmap", oriented_image(mask, (0, 0, 0), coarse))
    segmentation.GetSegment("A").SetLabelValue(1)
    expected = np.zeros(shape, bool)
    expected[2:6, 2:10, 4:12] = True
    np.testing.assert_array_equal(scene.masks()["A"], expected)
    after = np.roll(expected[4:5], 2, axis=2)
    assert write(scene, after, start=(4, 0, 0)).calls == 2  # Set would erase the wrong voxels here
    expected[4] = after[0]
    np.testing.assert_array_equal(scene.masks()["A"], expected)

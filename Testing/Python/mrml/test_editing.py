"""Brush, islands and smoothing on Slicer's own editor: what they change, and what the editor's rules keep."""

from __future__ import annotations

import numpy as np
import pytest

from EfficientMedSAM2Lib.mrml.editing import brush_change, largest_island_change, smoothing_change
from EfficientMedSAM2Lib.mrml.segment_voxels import Change, write_change
from EfficientMedSAM2Lib.mrml.volume_reader import local_to_world, volume_matrix

SHAPE = (8, 14, 16)


def world(scene, kji):
    local = volume_matrix(scene.volume) @ [*kji[::-1], 1.0]
    return local_to_world([local[:3]], scene.volume)[0].tolist()


def put(scene, mask):
    write_change(scene.port, Change(mask, np.ones_like(mask), (0, 0, 0)))


def selected(scene):
    return scene.masks()[scene.port.selected_segment_id()]


def distance_mm(scene, first, second):
    steps = volume_matrix(scene.volume)[:3, :3]
    places = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    a, b = (np.array(end, float) for end in (first, second))
    best = np.full(SHAPE, np.inf)
    for part in np.linspace(0, 1, 201):
        away = (places - (a + part * (b - a)))[..., ::-1] @ steps.T
        best = np.minimum(best, np.linalg.norm(away, axis=-1))
    return best


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_stroke_is_as_wide_as_the_brush_and_stays_on_its_slice(scene, axis):
    first, second = [3, 5, 4], [3, 9, 12]
    first[axis] = second[axis] = 4
    radius = 2.2 * float(np.linalg.norm(volume_matrix(scene.volume)[:3, 0]))
    write_change(scene.port, brush_change(world(scene, first), world(scene, second), radius, axis, scene.volume))
    on_slice = np.zeros(SHAPE, bool)
    np.moveaxis(on_slice, axis, 0)[4] = True
    near = distance_mm(scene, first, second)
    mask = selected(scene)
    assert mask[(near < 0.95 * radius) & on_slice].all()
    assert not mask[(near > 1.05 * radius) | ~on_slice].any()
    write_change(scene.port, brush_change(world(scene, first), world(scene, first), 0.01, axis, scene.volume, False))
    assert np.argwhere(mask & ~selected(scene)).tolist() == [first]  # the voxel below a tiny eraser
    assert brush_change([9e5, 9e5, 9e5], [9e5, 9e5, 9e5], radius, axis, scene.volume) is None


def test_only_the_largest_part_is_left(scene):
    mask = np.zeros(SHAPE, bool)
    mask[1:4, 2:6, 2:6] = True
    mask[4, 6, 6] = True  # touches by a corner only
    mask[6, 10:12, 10:12] = True
    put(scene, mask)
    write_change(scene.port, largest_island_change(scene.port, scene.volume))
    mask[4, 6, 6] = mask[6] = False
    assert np.array_equal(selected(scene), mask)


def test_smoothing_fills_gaps_and_takes_spikes_away(scene):
    mask = np.zeros(SHAPE, bool)
    mask[1:7, 2:11, 2:11] = True
    mask[4, 6, 6] = False
    mask[4, 6, 11:15] = True
    put(scene, mask)
    step = float(np.linalg.norm(volume_matrix(scene.volume)[:3, :3], axis=0).max())
    write_change(scene.port, smoothing_change(scene.port, scene.volume, 3 * step))
    smooth = selected(scene)
    assert smooth[4, 6, 6]
    assert not smooth[4, 6, 12:15].any()
    assert smooth[2:6, 4:9, 4:9].all()


def test_what_cannot_be_done_is_said(scene):
    with pytest.raises(ValueError, match="segment is empty"):
        largest_island_change(scene.port, scene.volume)
    put(scene, np.ones(SHAPE, bool))
    with pytest.raises(ValueError, match="one voxel only"):
        smoothing_change(scene.port, scene.volume, 0.01)

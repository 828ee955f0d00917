"""Diameters of shapes whose diameters are known, wherever and however they lie in the scan."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.pipeline.measurements import MEASURES, diameters_in_slice, measure_mask


def ellipse(shape, spacing, radii, degrees):
    """(rows, columns) bool: an ellipse in the middle, its radii in mm."""
    middle = (np.array(shape) - 1) / 2
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) - middle
    y, x = np.moveaxis(places * spacing, -1, 0)
    angle = np.radians(degrees)
    u, v = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    return (u / radii[0]) ** 2 + (v / radii[1]) ** 2 <= 1


def distance_mm(ends_kji, ijk_to_ras):
    return float(np.linalg.norm(ijk_to_ras[:3, :3] @ (ends_kji[1] - ends_kji[0])[::-1]))


@pytest.mark.parametrize("degrees", [0, 25, 90, 140])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_both_diameters_of_an_ellipse(axis, degrees):
    spacing_kji = np.array([0.6, 0.9, 0.7])
    plane = np.delete(spacing_kji, axis)
    planes = np.stack([ellipse((90, 91), plane, radii, degrees) for radii in ((9, 5), (20, 8), (14, 13), (3, 3))])
    mask = np.moveaxis(planes, 0, axis)
    matrix = np.diag([*spacing_kji[::-1], 1.0])
    found = diameters_in_slice(mask, matrix, axis)
    assert found.index == 1
    assert found.longest_mm == pytest.approx(40, abs=1.0)
    assert found.short_mm == pytest.approx(16, abs=1.0)
    assert distance_mm(found.ends_kji, matrix) == pytest.approx(found.longest_mm)
    assert distance_mm(found.short_ends_kji, matrix) == pytest.approx(found.short_mm)
    assert (found.ends_kji[:, axis] == 1).all()
    long, short = (
        np.diff(ends[:, ::-1], axis=0)[0] @ matrix[:3, :3].T for ends in (found.ends_kji, found.short_ends_kji)
    )
    assert long @ short == pytest.approx(0, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 2), st.floats(-0.4, 0.4), st.floats(0.3, 4.0))
def test_no_slice_has_a_longer_diameter_and_none_is_wider_across(seed, axis, lean, step):
    """Against all pairs of voxel faces, also where axes of the grid are not at right angles."""
    generator = np.random.default_rng(seed)
    mask = generator.random((4, 5, 6)) < 0.3
    mask[2, 2, 2] = True
    matrix = np.eye(4)
    matrix[:3, :3] = [[1.0, lean, 0.0], [0.0, step, lean], [lean, 0.0, 2.0]]
    found = diameters_in_slice(mask, matrix, axis)
    lengths = []
    for index in np.flatnonzero(np.moveaxis(mask, axis, 0).any(axis=(1, 2))):
        voxels = np.argwhere(mask & (np.indices(mask.shape)[axis] == index))
        faces = [voxels + sign * np.eye(3)[n] / 2 for n in range(3) if n != axis for sign in (-1, 1)]
        lengths.append(pdist(np.vstack(faces)[:, ::-1] @ matrix[:3, :3].T).max())
    assert found.longest_mm == pytest.approx(max(lengths))
    assert distance_mm(found.ends_kji, matrix) == pytest.approx(found.longest_mm)
    along = np.diff(found.ends_kji[:, ::-1], axis=0)[0] @ matrix[:3, :3].T
    across = np.diff(found.short_ends_kji[:, ::-1], axis=0)[0] @ matrix[:3, :3].T
    assert along @ across == pytest.approx(0, abs=1e-6)
    assert 0 < found.short_mm <= found.longest_mm * 1.00001


def test_a_part_of_the_grid_that_holds_the_segment_is_enough():
    array = np.arange(6 * 7 * 8, dtype=np.int16).reshape(6, 7, 8)
    matrix = np.diag([2.0, 3.0, 5.0, 1.0])
    mask = np.zeros(array.shape, dtype=bool)
    mask[2:4, 1:6, 3:7] = True
    volume = Volume(array, matrix)
    whole = measure_mask(mask, volume)
    assert tuple(whole) == MEASURES
    assert whole["slice_of_diameters"] == 2
    assert measure_mask(mask[1:5, 1:6, 2:8], volume, corner=(1, 1, 2)) == whole


def test_no_millimetres_where_the_scan_does_not_say_how_large_a_voxel_is():
    array = np.ones((1, 4, 5), np.uint8)
    found = measure_mask(array.astype(bool), Volume(array, np.eye(4), spacing_known=False))
    assert (found["voxels"], found["intensity_mean"]) == (20, 1.0)
    assert [name for name in MEASURES if name.endswith(("_mm", "_ml", "_mm2")) and found[name] is not None] == []

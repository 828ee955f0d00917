"""Measurements against shapes whose measures are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from EfficientMedSAM2Lib.cohort.results.measurements import COLUMNS, measure
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.pipeline.case import SegmentResult
from EfficientMedSAM2Lib.pipeline.measurements import longest_diameter


def affine(spacing_ijk, rotation=None, origin=(0.0, 0.0, 0.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if rotation is None else rotation) * np.array(spacing_ijk)
    matrix[:3, 3] = origin
    return matrix


def ball(radius_mm, spacing_ijk):
    spacing_kji = np.array(spacing_ijk[::-1])
    shape = np.ceil(2 * radius_mm / spacing_kji).astype(int) + 3
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1) * spacing_kji
    return ((places - (shape - 1) / 2 * spacing_kji) ** 2).sum(axis=-1) <= radius_mm**2


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5)])
def test_a_ball(spacing):
    radius = 15.0
    mask = ball(radius, spacing)
    found = measure(SegmentResult("ball", mask, {}, 0), Volume(mask.astype(np.int16), affine(spacing)))
    assert found["volume_ml"] == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.02)
    assert found["surface_mm2"] == pytest.approx(4 * np.pi * radius**2, rel=0.06)
    assert found["longest_diameter_mm"] == pytest.approx(2 * radius, abs=max(spacing))
    assert found["longest_diameter_in_slice_mm"] == pytest.approx(2 * radius, abs=1.0)


def test_a_block_in_numbers_that_can_be_checked_by_hand():
    array = np.arange(6 * 7 * 8, dtype=np.float32).reshape(6, 7, 8)
    mask = np.zeros(array.shape, dtype=bool)
    mask[1:3, 2:5, 4:8] = True
    array[1, 2, 4] = np.nan
    scores = {0: 0.1, 1: 0.9, 2: 0.6, 3: 0.2}
    found = measure(SegmentResult("b", mask, scores, 0), Volume(array, affine((2.0, 3.0, 5.0), origin=(10, 20, 30))))
    assert set(found) == set(COLUMNS)
    assert (found["voxels"], found["volume_ml"], found["empty"]) == (24, 24 * 30 / 1000, False)
    bounds = [found[f"{axis}_{end}_mm"] for axis in "ras" for end in ("min", "max")]
    assert bounds == [10 + 7, 10 + 15, 20 + 4.5, 20 + 13.5, 30 + 2.5, 30 + 12.5]
    values = array[mask][~np.isnan(array[mask])]
    assert found["intensity_mean"] == pytest.approx(values.mean(), rel=1e-5)
    assert found["intensity_max"] == values.max()
    assert found["intensity_p50"] == pytest.approx(np.median(values), rel=1e-5)
    assert (found["slices"], found["score_lowest"], found["slice_lowest"]) == (2, 0.6, 2)
    assert found["score_mean"] == pytest.approx(0.75)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.floats(0.3, 4.0)] * 3),
    st.tuples(*[st.floats(-3.0, 3.0)] * 3),
    st.tuples(*[st.integers(1, 5)] * 3),
)
def test_the_diameter_of_a_box_is_known_wherever_it_lies(spacing, angles, size):
    """Between faces: at least the longest edge, at most the diagonal of the whole box."""
    mask = np.zeros((7, 7, 7), dtype=bool)
    mask[1 : 1 + size[0], 1 : 1 + size[1], 1 : 1 + size[2]] = True
    matrix = affine(spacing, Rotation.from_euler("xyz", angles).as_matrix())
    found = measure(SegmentResult("b", mask, {}, 0), Volume(mask.astype(np.uint8), matrix))
    edges = np.array(size) * spacing[::-1]
    assert edges.max() * 0.99999 <= found["longest_diameter_mm"] <= np.linalg.norm(edges) * 1.00001
    assert found["longest_diameter_in_slice_mm"] <= found["longest_diameter_mm"] * 1.00001
    low, high = ([found[f"{axis}_{end}_mm"] for axis in "ras"] for end in ("min", "max"))
    assert np.prod(np.subtract(high, low)) >= np.prod(edges) * 0.999


def test_one_voxel_and_a_line_of_voxels():
    mask = np.zeros((3, 3, 9), dtype=bool)
    mask[1, 1, 4] = True
    assert longest_diameter(mask, np.array([5.0, 1.0, 2.0])) == 5.0
    mask[1, 1, :] = True
    assert longest_diameter(mask, np.array([1.0, 1.0, 2.0])) == 18.0


def test_an_empty_segment_has_no_measures_and_no_confidence():
    mask = np.zeros((2, 3, 4), dtype=bool)
    found = measure(SegmentResult("none", mask, {0: 0.3}, 0), Volume(mask.astype(np.int16), np.eye(4)))
    assert (found["empty"], found["volume_ml"], found["score_lowest"]) == (True, 0.0, 0.0)
    assert found["longest_diameter_mm"] is None
    assert found["intensity_mean"] is None


def test_colours_are_averaged():
    array = np.zeros((2, 3, 4, 3), dtype=np.uint8)
    array[..., 0] = 30
    found = measure(SegmentResult("all", np.ones((2, 3, 4), dtype=bool), {}, 0), Volume(array, np.eye(4)))
    assert found["intensity_mean"] == 10

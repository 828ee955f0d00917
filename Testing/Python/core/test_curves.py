"""Curves: which voxels lie under a line, and which a closed one encloses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from EfficientMedSAM2Lib.core.geometry import curve_points, distance_from_slice
from EfficientMedSAM2Lib.core.masks import enclosed_pixels, voxels_under


def circle(radius, count, centre=(20.0, 30.0)):
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)], axis=1)


def test_a_closed_line_encloses_the_pixels_whose_centres_are_in_it():
    j, i = np.mgrid[:40, :50]
    expected = np.hypot(j - 20, i - 30) < 12.3
    line = circle(12.3, 2000)
    assert np.array_equal(enclosed_pixels(line, (40, 50)), expected)
    assert np.array_equal(enclosed_pixels(line[::-1], (40, 50)), expected), "drawn the other way round"
    overlapping = np.concatenate([line, line[:300]])
    assert np.array_equal(enclosed_pixels(overlapping, (40, 50)), expected), "its ends overlap"


def test_both_loops_of_an_eight_count():
    eight = np.array([[2.5, 2.5], [12.5, 12.5], [2.5, 12.5], [12.5, 2.5]])
    within = enclosed_pixels(eight, (16, 16))
    assert within[4, 8 - 1 : 8 + 1].tolist() == [False, False]
    assert within[8, 4]
    assert within[8, 11]
    assert ndimage.label(within)[1] == 2


def test_what_lies_beside_the_picture_is_cut_off():
    far = np.array([[-1e9, -1e9], [-1e9, 4.5], [1e9, 4.5], [1e9, -1e9]])
    assert np.array_equal(enclosed_pixels(far, (6, 9)), np.arange(9) < 4.5 * np.ones((6, 1)))
    assert not enclosed_pixels(circle(5, 50, (100.0, 100.0)), (6, 9)).any()
    assert not enclosed_pixels(np.array([[1.2, 1.2], [1.4, 1.2], [1.4, 1.4]]), (6, 9)).any(), "between the centres"


@pytest.mark.parametrize("closed", [True, False])
def test_a_line_has_no_gap_and_stays_on_its_slice(closed):
    control = np.array([[7.0, 13.0, 14.0], [7.0, 30.0, 19.0], [7.0, 33.0, 40.0], [7.0, 15.0, 44.0]])
    points = curve_points(control, closed)
    assert np.abs(points - control[1]).sum(axis=1).min() < 1e-9, "through its control points"
    assert np.allclose(points[0], points[-1]) is closed
    assert distance_from_slice(points)[0] == 0
    drawn = np.zeros((9, 50, 60), dtype=bool)
    drawn[tuple(voxels_under(points, drawn.shape).T)] = True
    assert np.flatnonzero(drawn.any(axis=(1, 2))).tolist() == [7]
    assert ndimage.label(drawn[7], np.ones((3, 3)))[1] == 1


def test_two_points_are_joined_by_a_straight_line():
    voxels = voxels_under(curve_points([[0, 0, 0], [0, 0, 5]], False), (1, 1, 4))
    assert sorted(set(voxels[:, 2].tolist())) == [0, 1, 2, 3], "what is outside is left out"

"""A cube of a volume: placed right, sampled right, and the network told what is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from EfficientMedSAM2Lib.core.context_cube import (
    CUBE_CHANNELS,
    Cube,
    KnownSlice,
    connected_part,
    network_input,
    sample,
    sample_plane,
    slab,
)


def same(values):
    return values


def test_a_linear_volume_is_interpolated_exactly():
    k, j, i = np.mgrid[0:20, 0:40, 0:50].astype(np.float32)
    cube = Cube((9.3, 20.1, 24.7), (2.0, 1.0, 0.8), 16.0, 16)
    found = sample(10 * k + 2 * j - i, cube, same)
    places = [cube.places(axis) for axis in range(3)]
    expected = 10 * places[0][:, None, None] + 2 * places[1][:, None] - places[2]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(np.ptp(places[0]) * 2.0, 15.0)
    np.testing.assert_allclose(np.ptp(places[2]) * 0.8, 15.0)


def test_large_cells_are_means_and_keep_the_volume_of_a_mask():
    k, j, i = np.mgrid[0:60, 0:100, 0:100]
    ball = (k - 30) ** 2 + (j - 50) ** 2 + (i - 50) ** 2 < 24**2
    cube = Cube((30, 50, 50), (1, 1, 1), 96.0, 32)
    share = sample(ball, cube, same)
    assert 0 <= share.min() < share.max() <= 1
    assert share.sum() * 27 == pytest.approx(ball.sum(), rel=0.03)
    np.testing.assert_allclose(sample_plane(ball[30], cube, 0).sum() * 9, ball[30].sum(), rtol=0.03)


def test_beyond_the_volume_edges_are_repeated_and_not_valid():
    volume = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((1, 10, 10), np.float32)
    cube = Cube((0, 5, 5), (1, 1, 1), 8.0, 8)
    valid = cube.validity(volume.shape)
    assert valid[:, 4, 4].tolist() == [False] * 4 + [True] * 3 + [False]
    np.testing.assert_allclose(sample(volume, cube, same)[:, 4, 4], [0, 0, 0, 0, 0.5, 1.5, 2.5, 3])


@pytest.mark.parametrize(
    ("position", "thickness", "cells"),
    [(3, 1, [3]), (3.4, 0.2, [3]), (3.5, 2, [3, 4]), (3, 4, [1, 2, 3, 4, 5]), (-9, 1, [])],
)
def test_a_slice_lies_in_the_cells_it_is_thick_and_in_one_at_least(position, thickness, cells):
    assert np.flatnonzero(slab(8, position, thickness)).tolist() == cells


def test_a_cube_knows_where_slices_of_a_thick_volume_are():
    cube = Cube((10, 20, 20), (4.0, 1.0, 1.0), 64.0)
    assert np.flatnonzero(cube.slab(0, 10)).tolist() == [30, 31, 32, 33]
    assert np.flatnonzero(cube.slab(0, 11)).tolist() == [34, 35, 36, 37]


def test_what_the_network_is_told():
    """Two bright balls, one of them known on a slice: both look like the object, only one is told to be it."""
    k, j, i = np.mgrid[0:32, 0:32, 0:32]
    left, right = ((k - 16) ** 2 + (j - 16) ** 2 + (i - x) ** 2 < 36 for x in (9, 23))
    image = np.where(left | right, 0.8, 0.2).astype(np.float32)
    valid = np.ones(image.shape, bool)
    valid[:4] = False
    known = [KnownSlice(0, slab(32, 16, 1), left[16].astype(np.float32))]
    standard, told, validity, fine, joint = network_input(image, valid, known)
    assert CUBE_CHANNELS == 5
    assert standard[valid].mean() == pytest.approx(0, abs=1e-3)
    assert standard[valid].std() == pytest.approx(1, abs=1e-3)
    assert np.array_equal(told[16], 2.0 * left[16] - 1)
    assert not told[np.arange(32) != 16].any()
    assert np.array_equal(validity, valid)
    for likeness in (fine, joint):
        assert likeness[ndimage.binary_erosion(left, iterations=2)].min() > 0
        assert likeness[~ndimage.binary_dilation(left | right, iterations=3) & valid].max() < 0
        assert not likeness[~valid].any()
    # The other ball is as bright, but was outside on the known slice: it is less like the object than the first.
    assert fine[right].mean() <= fine[left].mean()


def test_slices_in_other_planes_and_empty_ones():
    image, valid = np.random.default_rng(0).random((16, 16, 16)).astype(np.float32), np.ones((16, 16, 16), bool)
    share = np.zeros((16, 16), np.float32)
    share[4:9, 5:11] = 1
    known = [KnownSlice(2, slab(16, 3, 1), share), KnownSlice(0, slab(16, 7, 1), np.zeros_like(share))]
    told = network_input(image, valid, known)[1]
    assert (told[7] == -1).all(), "where slices cross, the later counts"
    away = np.arange(16) != 7
    assert np.array_equal(told[away, :, 3], (2 * share - 1)[away])
    nothing = network_input(image, valid, [])
    assert not nothing[1].any()
    assert not nothing[3:].any(), "nothing is known of how the object looks"


def test_connected_part_is_that_of_scipy():
    rng = np.random.default_rng(3)
    mask = ndimage.gaussian_filter(rng.normal(size=(24, 24, 24)), 1.2) > 0.02
    labels, _ = ndimage.label(mask)
    seeds = np.zeros_like(mask)
    seeds[12, 8:16, 8:16] = True
    expected = np.isin(labels, np.setdiff1d(labels[seeds], [0]))
    before = mask.copy()
    assert np.array_equal(connected_part(mask, seeds), expected)
    assert expected.any()
    assert not np.array_equal(expected, mask)
    assert np.array_equal(mask, before)

"""Masks kept as bits, of slices and of volumes."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest

from EfficientMedSAM2Lib.core.masks import PackedMask


@pytest.mark.parametrize("shape", [(7, 9), (5, 7, 9)])
def test_a_mask_comes_back_where_it_was(shape):
    mask = np.random.default_rng(0).random(shape) > 0.9
    packed = PackedMask.pack(mask, [3] * len(shape))
    whole = packed.full([size + 3 for size in shape])
    assert np.array_equal(whole[(slice(3, None),) * len(shape)], mask)
    assert packed.area == whole.sum() == mask.sum()
    assert packed == PackedMask.pack(whole)


@pytest.mark.parametrize("axes", [2, 3])
def test_nothing_is_nowhere(axes):
    packed = PackedMask.pack(np.zeros((4,) * axes, bool), [2] * axes)
    assert packed == PackedMask.empty(axes)
    assert packed.is_empty
    assert packed.box is None
    assert packed.area == 0
    assert packed.unpack().shape == (0,) * axes
    assert not packed.full((4,) * axes).any()


def test_the_box_of_a_slice_is_of_first_and_last_pixels():
    mask = np.zeros((8, 9), bool)
    mask[2:5, 3:8] = True
    assert PackedMask.pack(mask).box_xyxy == (3, 2, 7, 4)
    assert PackedMask.empty(2).box_xyxy is None


@pytest.mark.parametrize("box", [[[0, 7], [0, 9]], [[4, 20], [5, 6]], [[5, 6], [8, 30]], [[2, 3], [2, 3]]])
def test_any_window_of_a_mask(box):
    mask = np.zeros((30, 30), bool)
    mask[2:9, 3:8] = np.random.default_rng(1).random((7, 5)) > 0.4
    (row0, row1), (column0, column1) = box
    assert np.array_equal(PackedMask.pack(mask).window(box), mask[row0:row1, column0:column1])
    assert not PackedMask.empty(2).window(box).any()


def test_no_more_is_unpacked_than_the_box_holds():
    """What a file says of a mask may be hostile: four kilobytes that unpack to four megabytes."""
    bomb = PackedMask(((0, 4), (0, 4)), zlib.compress(bytes(4 * 2**20)))
    tracemalloc.start()
    mask = bomb.unpack()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mask.shape == (4, 4)
    assert peak < 2**18

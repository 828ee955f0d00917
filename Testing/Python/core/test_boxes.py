"""Boxes: measured, moved, united, and cut out of arrays that hold a part of the whole."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from EfficientMedSAM2Lib.core.boxes import box_shape, box_slices, box_start, intersection, moved, slice_box, union
from EfficientMedSAM2Lib.core.masks import PackedMask

SHAPE = (6, 7, 8)


@st.composite
def boxes(draw: st.DrawFn) -> list[list[int]]:
    starts = [draw(st.integers(0, size - 1)) for size in SHAPE]
    return [[low, draw(st.integers(low + 1, size))] for low, size in zip(starts, SHAPE)]


@given(boxes(), boxes())
def test_a_part_is_cut_out_of_an_array_that_holds_another_part(box, held):
    whole = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    common = intersection(box, held)
    if common is not None:
        part = whole[box_slices(held)][box_slices(common, held)]
        assert part.shape == box_shape(common)
        assert np.array_equal(part, whole[box_slices(common)])


@given(boxes(), boxes(), boxes())
def test_a_union_holds_all_boxes_and_touches_them(first, second, third):
    found = union(first, None, second, third)
    assert found is not None
    assert all(intersection(found, box) == box for box in (first, second, third))
    assert box_start(found) == [min(lows) for lows in zip(*map(box_start, (first, second, third)))]
    assert union() is union(None) is None
    assert union(first) == union(first, None) == first


def test_a_moved_box_keeps_its_shape():
    box = slice_box(SHAPE, 1, 3)
    assert moved(box, (1, 2, -3)) == [[1, 7], [5, 6], [-3, 5]]
    assert box_shape(moved(box, (1, 2, -3))) == box_shape(box) == (6, 1, 8)


@given(st.lists(boxes(), max_size=3))
def test_masks_are_united_voxel_by_voxel(parts):
    masks = []
    for box in parts:
        mask = np.zeros(SHAPE, dtype=bool)
        mask[box_slices(box)] = True
        masks.append(mask)
    found = PackedMask.any_of([PackedMask.pack(mask) for mask in masks])
    assert np.array_equal(found.full(SHAPE), np.any([np.zeros(SHAPE, dtype=bool), *masks], axis=0))

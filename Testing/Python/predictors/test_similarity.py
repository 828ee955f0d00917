"""What tells an object from its surroundings, on features made by hand."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.predictors.slices.similarity import SliceFeatures, join_features, likeness_of


def features(objects: np.ndarray) -> SliceFeatures:
    """Cells of 4 pixels, the first two features of which say object or tissue; the third is the same everywhere."""
    cells = np.stack([objects, ~objects, np.ones_like(objects)]).astype(np.float32)
    middles = 4 * np.arange(objects.shape[0]) + 1.5
    return SliceFeatures(cells, middles, middles)


def test_an_object_is_one_its_surroundings_are_zero_and_another_object_is_one():
    objects = np.zeros((16, 16), bool)
    objects[3:5, 3:5] = objects[10:12, 11] = True
    seen = features(objects)
    mask = np.zeros((64, 64), bool)
    mask[12:20, 12:20] = True
    likeness = likeness_of(seen, mask).of(seen)
    np.testing.assert_allclose(likeness[objects], 1, atol=1e-6)
    np.testing.assert_allclose(likeness[~objects], 0, atol=1e-6)


def test_an_object_smaller_than_a_cell_is_the_cell_that_it_is_in():
    objects = np.zeros((16, 16), bool)
    objects[5, 9] = True
    mask = np.zeros((64, 64), bool)
    mask[20, 36] = True  # in the corner of the cell, whose middle it leaves out
    likeness = likeness_of(features(objects), mask).of(features(objects))
    assert likeness[5, 9] == likeness.max() == np.float32(1)


def test_cells_beyond_the_slice_are_no_place():
    seen = features(np.zeros((16, 16), bool))
    inside = seen.is_inside((30, 64))
    assert inside[:7].all()
    assert not inside[8:].any()


def test_features_of_several_strides_count_alike():
    coarse, fine = np.full((2, 2, 2), 5.0), np.full((3, 4, 4), 0.1)
    joined = join_features([coarse, fine])
    assert joined.shape == (5, 4, 4)
    np.testing.assert_allclose(np.linalg.norm(joined[:2], axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(joined[2:], axis=0), 1, rtol=1e-5)

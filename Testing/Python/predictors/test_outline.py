"""The convex outline is scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, QhullError

from EfficientMedSAM2Lib.predictors.volume.outline import ConvexOutline

points_xy = st.lists(st.tuples(st.integers(-30, 30), st.integers(-30, 30)), max_size=14)


@given(points_xy, st.floats(0.25, 3))
def test_area_and_depth_are_those_of_scipy(points, scale):
    points = np.array(points, float).reshape(-1, 2) * scale
    outline = ConvexOutline.around(points)
    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError):
        assert outline is None, "points on a line"
        return
    assert outline.area == pytest.approx(hull.volume)
    x, y = np.linspace(-40, 40, 9), np.linspace(-35, 35, 7)
    a, b, c = hull.equations.T[:, :, None, None]
    assert np.allclose(outline.depth(x, y), -(a * x[None, None, :] + b * y[None, :, None] + c).max(axis=0))


def test_nothing_has_no_outline():
    assert ConvexOutline.around(np.zeros((0, 2))) is None
    assert ConvexOutline.around(np.array([[1.0, 2.0]])) is None

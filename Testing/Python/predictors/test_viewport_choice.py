"""The policy of viewports: promises that hold for any slice, spacing and prompt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from EfficientMedSAM2Lib.models import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import viewport_choice
from EfficientMedSAM2Lib.predictors.viewport import Viewport

HEURISTICS = HeuristicsConfig()
shapes = st.tuples(st.integers(40, 600), st.integers(40, 600))
spacings = st.tuples(st.floats(0.3, 5.0), st.floats(0.3, 5.0))
unit = st.floats(0.0, 1.0)


@st.composite
def boxes(draw):
    shape, spacing = draw(shapes), draw(spacings)
    x = sorted((draw(unit) * (shape[1] - 1), draw(unit) * (shape[1] - 1)))
    y = sorted((draw(unit) * (shape[0] - 1), draw(unit) * (shape[0] - 1)))
    assume(x[1] - x[0] > 2 and y[1] - y[0] > 2)
    return shape, spacing, (x[0], y[0], x[1], y[1])


@given(boxes())
def test_box_view_is_square_and_about_twice_the_box(case):
    shape, spacing, box = case
    viewport = viewport_choice.viewport_for_box(box, np.zeros((0, 2)), shape, spacing, HEURISTICS)
    width_mm, height_mm = viewport.width * spacing[1], viewport.height * spacing[0]
    assert abs(width_mm - height_mm) <= max(spacing)
    longest = max((box[2] - box[0] + 1) * spacing[1], (box[3] - box[1] + 1) * spacing[0])
    largest = HEURISTICS.zoom_largest * viewport_choice.longest_side(shape, spacing)
    assert width_mm <= max(largest, HEURISTICS.zoom_smallest_px * min(spacing)) + max(spacing)
    if HEURISTICS.zoom_smallest_px * min(spacing) < 2 * longest < largest:
        step = HEURISTICS.viewport_grid_side_ratio**0.5
        assert 2 * longest / step - max(spacing) <= max(width_mm, height_mm) <= 2 * longest * step + max(spacing)


@given(boxes(), st.lists(st.tuples(unit, unit), min_size=1, max_size=4))
def test_box_view_shows_all_clicks(case, clicks):
    shape, spacing, box = case
    points = np.array(clicks) * (shape[1] - 1, shape[0] - 1)
    viewport = viewport_choice.viewport_for_box(box, points, shape, spacing, HEURISTICS)
    reach = np.concatenate([points, np.array(box).reshape(2, 2)])
    extent = (np.ptp(reach, axis=0) * (spacing[1], spacing[0])).max()
    assume(1.4 * extent < viewport_choice.longest_side(shape, spacing))  # else the viewport is bounded by the slice
    assert viewport_choice.shows(viewport, points)


@given(boxes(), st.floats(-0.6, 0.6), st.floats(-0.6, 0.6))
def test_nearly_the_same_box_has_the_same_view_more_often_than_not(case, dx, dy):
    shape, spacing, box = case
    near = (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)
    a, b = (viewport_choice.viewport_for_box(x, np.zeros((0, 2)), shape, spacing, HEURISTICS) for x in (box, near))
    assert a.width == b.width or abs(np.log(a.width / b.width)) < 0.3
    assert abs(a.x0 - b.x0) <= a.width / 8 + 2


def test_hysteresis_keeps_the_view_of_a_mask_that_drifts_and_drops_it_at_the_border():
    viewport = Viewport(100, 100, 100, 100)
    assert viewport_choice.keeps_viewport(viewport, (125, 125, 174, 174), (400, 400), HEURISTICS)
    assert viewport_choice.keeps_viewport(viewport, (110, 125, 159, 174), (400, 400), HEURISTICS)
    assert not viewport_choice.keeps_viewport(viewport, (103, 125, 152, 174), (400, 400), HEURISTICS)
    assert not viewport_choice.keeps_viewport(viewport, (140, 140, 160, 160), (400, 400), HEURISTICS)
    assert not viewport_choice.keeps_viewport(viewport, (110, 110, 190, 190), (400, 400), HEURISTICS)
    # At the border of the slice there is nowhere to move to.
    assert viewport_choice.keeps_viewport(Viewport(-20, 100, 100, 100), (0, 125, 30, 174), (400, 400), HEURISTICS)


def test_click_views_narrow_around_the_positive_clicks():
    viewports = viewport_choice.viewports_for_clicks(
        np.array([[300.0, 200.0]]), np.array([1]), (400, 500), (1.0, 1.0), HEURISTICS
    )
    assert len(viewports) == 3
    assert viewports[0].width >= 480
    assert all(a.width > 1.5 * b.width for a, b in zip(viewports, viewports[1:]))
    assert all(viewport_choice.shows(viewport, np.array([[300.0, 200.0]])) for viewport in viewports)
    # Clicks inside the object that are far apart are all shown; one outside of it need not be.
    points = np.array([[10.0, 200.0], [450.0, 210.0]])
    assert len(viewport_choice.viewports_for_clicks(points, np.array([1, 1]), (400, 500), (1.0, 1.0), HEURISTICS)) == 1
    narrow = viewport_choice.viewports_for_clicks(points, np.array([1, 0]), (400, 500), (1.0, 1.0), HEURISTICS)[-1]
    assert viewport_choice.shown(narrow, points).tolist() == [True, False]


def test_a_structure_of_known_size_is_seen_in_one_view_that_suits_it():
    def views(points, labels, size_mm):
        return viewport_choice.viewports_for_clicks(
            np.array(points, float), np.array(labels), (400, 500), (1.0, 2.0), HEURISTICS, size_mm
        )

    (viewport,) = views([[300, 200]], [1], 80.0)
    side = HEURISTICS.task_view_zoom * 80
    assert viewport.height == pytest.approx(side, rel=0.1)
    assert viewport.width == pytest.approx(side / 2, rel=0.1)
    assert viewport.x0 + viewport.width / 2 == pytest.approx(300, abs=5)
    # Clicks further apart are all shown; no view is wider than the slice; without a click there is no place for one.
    far = np.array([[200.0, 100.0], [300.0, 300.0]])
    (viewport,) = views(far, [1, 1], 80.0)
    assert viewport_choice.shows(viewport, far)
    assert views([[300, 200]], [1], 5000.0)[0] == views([[300, 200]], [1], 0.0)[0]
    assert views([[300, 200]], [0], 80.0) == views([[300, 200]], [0], 0.0)


def test_candidates_cut_off_or_absent_lose():
    viewports = [Viewport(0, 0, 64, 64), Viewport(16, 16, 32, 32)]
    logits = np.full((2, 2, 16, 16), -5.0)
    logits[0, 0, 4:12, 4:12] = 5  # well within the first viewport
    logits[1, 0, :, 3:] = 5  # cut off by the second viewport
    iou, present = np.array([[0.8, 0.9], [0.81, 0.9]]), np.array([0.9, 0.9])
    assert viewport_choice.choose_candidate(viewports, logits, iou, present, (64, 64), HEURISTICS) == (
        0,
        0,
        pytest.approx(0.72),
    )
    logits[1, 1, 4:12, 4:12] = 5
    assert viewport_choice.choose_candidate(viewports, logits, iou, present, (64, 64), HEURISTICS) == (
        1,
        1,
        pytest.approx(0.81),
    )
    assert viewport_choice.choose_candidate(viewports, logits, iou, np.array([0.9, 0.1]), (64, 64), HEURISTICS)[:2] == (
        0,
        0,
    )

"""Voxels painted or erased by hand survive clicks and propagation; only a click on them takes them back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from editor_actions import BESIDE, INSIDE, count, paint, world


def region(case: Any, k: Any, j: slice, i: slice) -> np.ndarray:
    mask = np.zeros(case.tube.shape, bool)
    mask[k, j, i] = True
    return mask


def edited(case: Any) -> tuple[np.ndarray, np.ndarray]:
    """Painted outside of the structure, and erased inside of it, on the prompted slice."""
    painted = region(case, 4, slice(0, 3), slice(0, 8))
    erased = region(case, 4, slice(5, 7), slice(4, 10))
    paint(case, "A", painted)
    paint(case, "A", erased, "Remove")
    return painted, erased


def check_kept(case: Any, painted: np.ndarray, erased: np.ndarray) -> None:
    mask = case.scene.masks()["A"]
    assert (mask[painted].mean(), mask[erased].mean()) == (1.0, 0.0)


def test_clicks_elsewhere_on_the_slice_keep_a_manual_edit(case: Any) -> None:
    case.click(world(case, INSIDE))
    painted, erased = edited(case)
    for at, include in (((4, 9, 7), True), (BESIDE, True), ((4, 10, 9), False), ((4, 15, 14), False)):
        case.click(world(case, at), include=include)
        check_kept(case, painted, erased)
    np.testing.assert_array_equal(case.scene.masks()["A"], case.engine.mask("A"))
    list(case.propagate())
    check_kept(case, painted, erased)
    case.click(world(case, (9, 8, 6)), include=False)
    case.click(world(case, (4, 8, 6)))
    check_kept(case, painted, erased)


def test_a_box_keeps_a_manual_edit(case: Any) -> None:
    from EfficientMedSAM2Lib.mrml.markups_reader import box_of

    case.click(world(case, INSIDE))
    painted, erased = edited(case)
    case.act([box_of([[4, 5], [4, 18], [3, 19]], case.scene.volume, True, 0)])
    check_kept(case, painted, erased)
    assert count(case) == 24 + 24 + 15


def test_a_click_on_a_manual_edit_takes_back_that_stroke_alone_and_says_so(case: Any) -> None:
    case.click(world(case, INSIDE))
    painted, erased = edited(case)
    case.click(world(case, (4, 1, 4)), include=False)
    mask = case.scene.masks()["A"]
    assert not mask[4, 1, 4]
    assert mask[erased].sum() == 0
    assert "takes back a manual edit (24 voxels)" in case.session.last_message
    case.click(world(case, (4, 6, 6)))
    assert case.scene.masks()["A"][4, 6, 6]
    assert "(12 voxels)" in case.session.last_message
    case.undo()
    case.undo()
    check_kept(case, painted, erased)
    case.click(world(case, BESIDE))  # and hold again
    check_kept(case, painted, erased)


def test_a_large_manual_edit_survives_clicks_on_any_of_its_slices(case: Any) -> None:
    case.click(world(case, INSIDE))
    first, erased = edited(case)
    painted = region(case, slice(6, 16), slice(12, 14), slice(2, 20))
    paint(case, "A", painted)
    for k in (8, 4, 12):
        case.click(world(case, (k, 8, 6)))
        case.click(world(case, (k, 15, 15)))
        check_kept(case, painted | first, erased)


def test_what_was_painted_before_the_first_click_stays(case: Any) -> None:
    painted = region(case, 4, slice(1, 4), slice(1, 9))
    paint(case, "A", painted)
    case.click(world(case, INSIDE))
    assert case.scene.masks()["A"][painted].all()
    assert count(case) == 24 + 36


def test_a_segment_that_was_made_by_prompts_before_is_no_manual_edit(case: Any) -> None:
    """A scene loaded again: the next box may start its slice anew."""
    from EfficientMedSAM2Lib.interaction import InteractiveSession
    from EfficientMedSAM2Lib.mrml.markups_reader import box_of
    from EfficientMedSAM2Lib.mrml.segment_editor_session import SegmentEditorSession

    case.click(world(case, INSIDE))
    case.session = SegmentEditorSession(case.port, InteractiveSession(case.predictor))
    case.act([box_of([[4, 5], [13, 18], [12, 19]], case.scene.volume, True, 0)])
    assert count(case) == 15


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_random_clicks_beside_manual_edits_change_none_of_their_voxels(case: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    case.click(world(case, INSIDE))
    painted, erased = (np.zeros(case.tube.shape, bool) for _ in range(2))
    for n in range(60):
        at = [int(v) for v in rng.integers([0, 0, 0], case.tube.shape)]
        if n % 10 == 0:
            k, j, i = at
            stroke, remove = region(case, k, slice(j, j + 3), slice(i, i + 4)), bool(rng.integers(2))
            before = case.scene.masks()["A"]
            paint(case, "A", stroke, "Remove" if remove else "Add")
            changed = before ^ case.scene.masks()["A"]
            painted, erased = (painted & ~changed) | (changed & (not remove)), (erased & ~changed) | (changed & remove)
        elif n % 10 == 7 and case.scene.masks()["A"].any():
            list(case.propagate())
        elif not (painted | erased)[tuple(at)]:
            case.click(world(case, at), include=bool(rng.integers(3)))
        if painted.any() or erased.any():
            mask = case.scene.masks()["A"]
            assert mask[painted].all()
            assert not mask[erased].any()

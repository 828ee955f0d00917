"""Propagate, cancel, progress, confidence strip, stale slices, ranges: through the panel's buttons."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from effect_user import BESIDE, INSIDE, tube, tube_slice


def slow(user, seconds=0.03):
    """Each slice takes its time, as with a network."""
    user.predictor._maybe_fail = lambda _frame: time.sleep(seconds)


def test_propagate_fills_the_structure_as_one_undo_step(user):
    user.click(INSIDE)
    user.press(user.panel.propagateButton)
    np.testing.assert_array_equal(user.editor.mask(), tube())
    assert user.panel.propagateButton.text == "Propagate (M)"
    assert not user.panel.progressBar.visible
    user.undo()
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))
    user.redo()
    np.testing.assert_array_equal(user.editor.mask(), tube())


def test_button_cancels_and_finished_slices_are_one_step(user):
    user.click(INSIDE)
    user.jump_to((5, 8, 6), "Yellow")
    slow(user)
    user.press(user.panel.propagateButton, wait=False)
    seen = []

    def some_are_done():
        progress = user.controller.progress
        seen.append((user.panel.propagateButton.text, user.panel.progressBar.format))
        return progress is not None and progress.done >= 3

    assert user.host.process_events(5000, until=some_are_done)
    assert user.count() == 36  # nothing is written on the way
    assert user.outline("Yellow").GetVisibility()  # but shown, in views across the slices, too
    user.press(user.panel.propagateButton)
    assert "Cancel (Esc)" in {text for text, _format in seen}
    assert any(re.fullmatch(r"\d+ of \d+ slices, [\d.]+/s, \d+ s left", text) for _button, text in seen)
    mask = user.editor.mask()
    done = np.flatnonzero(mask.any(axis=(1, 2)))
    assert 3 < len(done) < 14
    np.testing.assert_array_equal(mask[done], tube()[done])
    assert not user.outline("Yellow").GetVisibility()
    user.undo()
    assert user.count() == 36


def test_the_window_stays_responsive(user):
    user.click(INSIDE)
    slow(user, 0.02)
    gaps, last = [], time.perf_counter()
    user.press(user.panel.propagateButton, wait=False)
    while user.controller.is_busy:
        user.host.process_events(0)
        gaps.append(time.perf_counter() - last)
        last = time.perf_counter()
    assert max(gaps) < 0.5
    np.testing.assert_array_equal(user.editor.mask(), tube())


def shown_slice(user):
    """Number of the slice in the axial view."""
    from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_slice

    return view_slice(user.mouse.node, user.volume)[1]


@pytest.fixture
def scored(user, tmp_path):
    """A propagated segment with two slices of low confidence, the strip laid out."""
    user.click(INSIDE)
    user.predictor.low_scores = {12, 9}
    user.parameter("StopWhenLost", "0")
    user.press(user.panel.propagateButton)
    user.host.grab(user.editor.scripted_effect.optionsFrame(), tmp_path / "effect-strip.png")
    return user


def test_a_click_on_a_bar_of_the_strip_goes_to_that_slice(scored):
    strip = scored.panel.strip
    for index in (15, 6, 9):
        scored.press_at(strip.label, strip.xOf(index) + 1)
        assert shown_slice(scored) == strip.current == index


def test_the_button_goes_to_the_weakest_slice_and_then_to_the_next(scored):
    scores, strip = scored.controller.scores, scored.panel.strip
    assert scores.prompted == {4}
    assert scores.filled == set(range(4, 18))
    assert scores.weakest == 9
    scored.press(scored.panel.weakestButton)
    assert shown_slice(scored) == strip.current == 9
    scored.press(scored.panel.weakestButton)
    assert shown_slice(scored) == 12
    scored.press(scored.panel.weakestButton)
    assert shown_slice(scored) == 5  # the first of the sure ones
    scored.jump_to((16, 8, 6))
    scored.press(scored.panel.weakestButton)  # somebody who has gone elsewhere begins anew
    assert shown_slice(scored) == 9


def test_the_weakest_slices_are_gone_through_in_a_circle_and_prompted_ones_come_last(scored):
    seen = []
    for _ in range(15):
        scored.press(scored.panel.weakestButton)
        seen.append(shown_slice(scored))
    assert seen == [9, 12, 5, 6, 7, 8, 10, 11, 13, 14, 15, 16, 17, 4, 9]


def test_prompted_slices_are_the_last_to_doubt_however_low_their_score():
    from EfficientMedSAM2Lib.mrml.effect.slice_scores import SliceScores

    filled = frozenset({1, 2, 3})
    scores = SliceScores(0, 9, {1: 0.9, 2: 0.1, 3: 0.5, 4: 0.0}, prompted=frozenset({2}), filled=filled)
    assert scores.by_uncertainty == [3, 1, 2]  # slice 4 was looked at, and holds nothing
    assert SliceScores(0, 9, {2: 0.1}, prompted=frozenset({2}), filled=filled).weakest == 2
    assert SliceScores().weakest is None


def test_the_strip_is_dark_in_a_dark_window(scored):
    from host.pythonqt import unwrap
    from PySide6 import QtGui

    label = unwrap(scored.panel.strip.label)

    def ground():
        return label.pixmap().toImage().pixelColor(label.width() // 2, 2).lightness()

    assert ground() > 200
    palette = QtGui.QPalette(label.palette())
    palette.setColor(QtGui.QPalette.Window, QtGui.QColor(50, 50, 50))
    label.setPalette(palette)  # as when Slicer's style is changed
    scored.host.process_events(20)
    assert ground() < 60


def test_dragging_on_the_strip_goes_through_the_slices(scored):
    from host.pythonqt import unwrap
    from PySide6 import QtCore, QtTest

    strip = scored.panel.strip
    native, button = unwrap(strip.label), QtCore.Qt.LeftButton
    QtTest.QTest.mousePress(native, button, QtCore.Qt.NoModifier, QtCore.QPoint(strip.xOf(5) + 1, 10))
    for index in (6, 7, 14):
        QtTest.QTest.mouseMove(native, QtCore.QPoint(strip.xOf(index) + 1, 10))
        scored.wait()
        assert shown_slice(scored) == strip.current == index
    QtTest.QTest.mouseRelease(native, button, QtCore.Qt.NoModifier, QtCore.QPoint(strip.xOf(14) + 1, 10))
    scored.wait()
    assert shown_slice(scored) == 14
    QtTest.QTest.mouseMove(native, QtCore.QPoint(strip.xOf(7) + 1, 10))
    scored.wait()
    assert shown_slice(scored) == 14
    assert "confidence 80 %" in strip.label.toolTip


def test_correction_marks_slices_stale_and_propagation_refreshes_them(user):
    user.click(INSIDE)
    user.press(user.panel.propagateButton)
    user.press(user.panel.excludeButton)
    user.click((10, 7, 6))
    stale = user.controller.scores.stale
    assert stale == set(range(5, 18)) | set(range(4)) - {4} or stale >= set(range(5, 10)) | set(range(11, 18))
    assert "out of date" in user.controller.scores.describe(12)
    assert user.panel.staleLabel.text == f"{len(stale)} slices out of date"
    user.press(user.panel.propagateButton)
    assert user.panel.staleLabel.text == ""
    assert user.controller.scores.stale == frozenset()
    assert user.editor.mask()[10].sum() == 36 - 9


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [("slices", "2", range(6, 11)), ("mm", "5", range(6, 11)), ("slices", "1", range(7, 10))],
)
def test_range(user, kind, value, expected):
    user.click((8, 8, 6))
    user.parameter("RangeValue", value)
    user.parameter("Range", kind)
    user.press(user.panel.propagateButton)
    assert np.flatnonzero(user.editor.mask().any(axis=(1, 2))).tolist() == list(expected)


def test_direction(user):
    user.click((8, 8, 6))
    user.panel.directionCombo.currentIndex = 1
    user.press(user.panel.propagateButton)
    assert np.flatnonzero(user.editor.mask().any(axis=(1, 2))).tolist() == list(range(8, 18))


def test_stop_where_the_structure_ends(user):
    user.click((8, 8, 6))
    user.press(user.panel.propagateButton)
    assert set(user.predictor.propagated) <= set(range(22))
    assert "Stopped at slice" in user.panel.messageLabel.text
    assert user.panel.stopCheck.checked


def test_propagation_without_prompt_is_explained(user):
    user.press(user.panel.propagateButton)
    assert "add a prompt" in user.panel.messageLabel.text or "no prompted slice" in user.panel.messageLabel.text
    assert user.count() == 0


def test_propagation_in_preview_mode(user):
    user.press(user.panel.autoCommitCheck)
    user.jump_to((5, 8, 6), "Yellow")
    user.click(INSIDE)
    user.press(user.panel.propagateButton)
    assert user.count() == 36  # to propagate is to accept the preview
    assert user.outline("Yellow").GetVisibility()
    user.press(user.panel.rejectButton)
    assert user.count() == 36
    user.press(user.panel.propagateButton)
    user.press(user.panel.commitButton)
    np.testing.assert_array_equal(user.editor.mask(), tube())


@pytest.mark.slow
@pytest.mark.parametrize("slices", [-1, 2])  # before the first one, and after three
@pytest.mark.parametrize("at_once", [True, False])
def test_undo_while_propagating_takes_back_the_propagation_only(user, slices, at_once):
    user.click(INSIDE)
    if not at_once:
        user.press(user.panel.autoCommitCheck)
    slow(user)
    user.press(user.panel.propagateButton, wait=False)
    assert user.propagated(slices)
    user.undo()
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))
    assert user.prompt_count() == 1
    assert not user.controller.has_preview
    assert "cancelled the propagation" in user.panel.messageLabel.text
    user.undo()
    assert user.count() == 0
    assert user.prompt_count() == 0
    user.redo()
    assert user.count() == 36
    user.press(user.panel.propagateButton)
    if not at_once:
        user.press(user.panel.commitButton)
    np.testing.assert_array_equal(user.editor.mask(), tube())
    user.undo()
    assert user.count() == 36


def test_undo_while_a_painted_slice_is_propagated_keeps_the_paint(user):
    user.click(INSIDE)
    user.paint("A", tube_slice(9))
    slow(user)
    user.press(user.panel.propagateButton, wait=False)
    assert user.propagated(2)
    user.undo()
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4) | tube_slice(9))
    assert user.session.engine.mask("A").sum() == 72  # the engine has not started anew
    user.undo()
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))


def test_a_propagation_is_one_undo_step_whatever_happens_meanwhile(user):
    user.click(INSIDE)
    user.press(user.panel.propagateButton)
    user.press(user.panel.propagateButton)  # all is up to date: nothing to take back
    assert "up to date" in user.panel.messageLabel.text
    user.undo()
    assert user.count() == 36
    slow(user)
    user.press(user.panel.propagateButton, wait=False)
    assert user.propagated(2)
    user.paint("B", tube_slice(9))  # by a script: a step of its own
    np.testing.assert_array_equal(user.editor.mask("B")[9], tube()[9])
    user.undo()
    assert (user.count("A"), user.count("B")) == (36, 36)
    user.undo()
    assert (user.count("A"), user.count("B")) == (36, 0)


@pytest.mark.slow
def test_escape_while_propagating_cancels_it_and_keeps_the_effect(user):
    user.click(INSIDE)
    slow(user)
    user.press(user.panel.propagateButton, wait=False)
    assert user.propagated(2)
    user.mouse.key("Escape")
    user.wait()
    assert user.editor.widget.activeEffect() is not None
    done = np.flatnonzero(user.editor.mask().any(axis=(1, 2)))
    assert 3 <= len(done) < 14
    user.press(user.panel.propagateButton)
    np.testing.assert_array_equal(user.editor.mask(), tube())


def test_a_segment_removed_while_propagating_ends_it_at_once(user):
    user.click(INSIDE)
    user.jump_to((5, 8, 6), "Yellow")
    slow(user)
    user.press(user.panel.propagateButton, wait=False)
    assert user.propagated(3)
    assert user.outline("Yellow").GetVisibility()
    before = len(user.predictor.propagated)
    user.editor.segmentation.GetSegmentation().RemoveSegment("A")
    user.host.process_events(0)
    assert user.controller.preview_image() is None
    user.wait()
    assert len(user.predictor.propagated) <= before + 2  # the slice under way, and one more at most
    assert not user.outline("Yellow").GetVisibility()
    assert "was removed" in user.controller.message
    assert user.count("B") == 0


def test_failure_keeps_what_was_done(user):
    user.click(INSIDE)
    user.predictor.fail_at = 8
    user.press(user.panel.propagateButton)
    assert np.flatnonzero(user.editor.mask().any(axis=(1, 2))).tolist()[:4] == [4, 5, 6, 7]
    assert user.panel.messageLabel.text
    user.predictor.fail_at = None
    user.press(user.panel.propagateButton)
    np.testing.assert_array_equal(user.editor.mask(), tube())


def test_painted_segment_is_a_prompt(user):
    user.paint("A", tube_slice(9))
    user.press(user.panel.useSegmentButton)
    assert "starting point" in user.panel.messageLabel.text
    user.press(user.panel.propagateButton)
    np.testing.assert_array_equal(user.editor.mask(), tube())


def test_propagated_segment_becomes_the_prompt_on_request(user):
    user.click(INSIDE)
    user.press(user.panel.propagateButton)
    user.press(user.panel.useSegmentButton)
    (prompt,) = user.session.engine.prompts("A")
    assert type(prompt).__name__ == "MaskPrompt"
    assert user.controller.scores.scores == {}  # nobody has judged them
    assert user.controller.scores.filled == set(range(4, 18))
    user.select("B")
    user.press(user.panel.useSegmentButton)
    assert "empty" in user.panel.messageLabel.text


def test_neighbour_slices_are_prefetched(user):
    user.click((8, 8, 6))
    assert set(user.predictor.prefetched) == {5, 6, 7, 9, 10, 11}


def test_several_segments(user):
    user.click(INSIDE)
    user.press(user.panel.propagateButton)
    user.select("B")
    user.click(BESIDE)
    user.press(user.panel.propagateButton)
    assert (user.count("A"), user.count("B"), user.count("C")) == (14 * 36, 24 * 15, 0)
    assert user.controller.scores.filled == set(range(24))
    user.select("A")
    assert user.controller.scores.filled == set(range(4, 18))
    user.undo()
    assert (user.count("A"), user.count("B")) == (14 * 36, 15)

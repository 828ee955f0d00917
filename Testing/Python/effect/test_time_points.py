"""The effect on a sequence: it shows the time point that the browser shows, whatever it is doing."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicer
from effect_user import BESIDE, INSIDE, truth, tube_slice
from host.pythonqt import unwrap
from time_series import play

from EfficientMedSAM2Lib.mrml.scene.prompt_store import prompt_nodes


@pytest.fixture
def moving(user):
    """The two tubes at three time points; their brightness tells which."""
    images = [np.where(truth(), 60 + n, -80).astype(np.int16) for n in range(3)]
    user.browser = play(slicer.mrmlScene, user.volume, images)
    user.wait()
    return user


def go_to(user, item):
    user.browser.SetSelectedItemNumber(item)
    user.wait()


def prompted(user):
    return [prompt.index_kji for prompt in user.session.prompts("A")]


def markers(user):
    return sum(node.GetNumberOfControlPoints() for node in prompt_nodes(user.editor.segmentation))


def test_click_propagate_and_undo_on_each_time_point(moving):
    moving.click(INSIDE)
    go_to(moving, 2)
    assert moving.predictor.states[-1]["volume"][4, 8, 6] == 60  # read when it is needed, so that it can be played
    assert (prompted(moving), markers(moving)) == ([], 0)
    moving.click(BESIDE)
    assert moving.predictor.states[-1]["volume"][4, 8, 6] == 62
    assert prompted(moving) == [BESIDE]
    moving.press(moving.panel.propagateButton)
    assert moving.count() == 14 * 36 + 24 * 15  # the segment as it was is a start, too
    go_to(moving, 0)
    assert (prompted(moving), markers(moving)) == ([INSIDE], 1)
    moving.undo()
    moving.undo()
    np.testing.assert_array_equal(moving.editor.mask(), tube_slice(4))
    moving.undo()
    assert (moving.count(), prompted(moving), markers(moving)) == (0, [], 0)


def test_what_is_not_written_yet_ends_with_its_time_point(moving):
    moving.press(moving.panel.autoCommitCheck)
    moving.click(INSIDE)
    assert moving.outline("Red").GetVisibility()
    go_to(moving, 1)
    assert not moving.outline("Red").GetVisibility()
    assert not moving.controller.has_preview
    assert "preview was dropped" in moving.panel.messageLabel.text
    assert moving.count() == 0


def test_a_propagation_is_cancelled_by_the_next_time_point(moving):
    moving.click(INSIDE)
    moving.predictor._maybe_fail = lambda _frame: time.sleep(0.03)
    moving.press(moving.panel.propagateButton, wait=False)
    assert moving.propagated(2)
    go_to(moving, 1)
    assert moving.count() == 36
    assert len(moving.predictor.propagated) < 14
    assert moving.controller.scores.scores == {4: 0.9}  # the click's: saved with the segment, whose mask it is about
    moving.predictor._maybe_fail = lambda _frame: None
    moving.click(BESIDE)
    assert moving.count() == 36 + 15


def test_a_sequence_can_be_played(moving):
    moving.click(INSIDE)
    states = len(moving.predictor.states)
    for item in (1, 2, 0, 1, 2, 0):
        moving.browser.SetSelectedItemNumber(item)
        moving.host.process_events(10)
    moving.wait()
    assert len(moving.predictor.states) == states
    assert (prompted(moving), markers(moving), moving.count()) == ([INSIDE], 1, 36)


@pytest.mark.slow
def test_the_panel_tells_the_time_point_and_offers_segments_for_each(moving):
    panel = moving.panel
    assert panel.sequenceLabel.text == "Time point 1 of 3 (0.0 s)"
    moving.click(INSIDE)
    moving.press(panel.perTimePointButton)
    assert unwrap(panel.perTimePointButton).isHidden()
    assert "own segments" in panel.messageLabel.text
    go_to(moving, 1)
    assert panel.sequenceLabel.text == "Time point 2 of 3 (0.5 s)"
    moving.click(BESIDE)
    assert (moving.count(), prompted(moving)) == (36 + 15, [BESIDE])
    go_to(moving, 0)
    assert (moving.count(), prompted(moving), markers(moving)) == (36, [INSIDE], 1)
    go_to(moving, 1)
    assert (moving.count(), prompted(moving), markers(moving)) == (36 + 15, [BESIDE], 1)


def test_an_ordinary_volume_has_no_time_points(user):
    user.click(INSIDE)
    assert unwrap(user.panel.sequenceFrame).isHidden()


def test_prompts_that_came_with_the_scene_change_with_time_from_the_beginning(moving):
    moving.click(INSIDE)
    moving.editor.widget.setActiveEffectByName("")
    moving.controller.unload()  # as in a Slicer that has just loaded the scene
    moving.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    moving.wait()
    assert markers(moving) == 1
    go_to(moving, 1)
    assert markers(moving) == 0

"""Prompts are listed, gone to, moved and deleted one by one; a slice is cleared, a segment started over."""

from __future__ import annotations

import numpy as np
from effect_user import BESIDE, INSIDE, SHAPE, truth, tube, tube_slice


def texts(user):
    return [user.panel.promptList.item(n).text() for n in range(user.panel.promptList.count)]


def choose(user, number):
    """Click on a row of the list."""
    from host.pythonqt import unwrap
    from PySide6 import QtCore, QtTest

    native = unwrap(user.panel.promptList)
    user.panel.moreSection.collapsed = False
    user.host.process_events(0)
    middle = native.visualItemRect(native.item(number)).center()
    QtTest.QTest.mouseClick(native.viewport(), QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, middle)
    user.wait()


def test_prompts_are_listed_with_positions_as_the_view_shows_them(user):
    user.click(INSIDE)
    user.press(user.panel.excludeButton)
    user.click((4, 10, 9))
    user.click((10, 8, 6), "Yellow")
    assert texts(user) == ["+ point, S 40.0 mm", "\N{MINUS SIGN} point, S 40.0 mm", "\N{MINUS SIGN} point, R 5.8 mm"]
    user.select("B")
    assert texts(user) == []
    user.select("A")
    user.undo()
    assert len(texts(user)) == 2


def test_a_chosen_prompt_is_shown_and_deleted_and_the_others_stay(user):
    user.click(INSIDE)
    user.click((4, 15, 15))  # by mistake: the other tube
    user.click((9, 8, 6))
    both = tube_slice(4) | (truth() & ~tube())[4:5].repeat(24, 0) * (np.arange(24) == 4)[:, None, None]
    np.testing.assert_array_equal(user.editor.mask(), both | tube_slice(9))
    choose(user, 1)
    assert user.panel.strip.current == 4
    user.press(user.panel.deleteButton)
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4) | tube_slice(9))
    assert texts(user) == ["+ point, S 40.0 mm", "+ point, S 52.5 mm"]
    assert user.prompt_count() == 2
    user.undo()  # one step
    np.testing.assert_array_equal(user.editor.mask(), both | tube_slice(9))
    assert user.prompt_count() == 3
    user.redo()
    assert user.prompt_count() == 2
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4) | tube_slice(9))


def test_the_only_prompt_of_a_slice_is_deleted_and_the_slice_is_propagated_anew(user):
    user.click(INSIDE)
    user.click((9, 8, 6))
    user.press(user.panel.propagateButton)
    np.testing.assert_array_equal(user.editor.mask(), tube())
    choose(user, 1)
    user.press(user.panel.deleteButton)
    assert not user.editor.mask()[9].any()
    assert "out of date" in user.panel.staleLabel.text
    assert 9 in user.controller.scores.stale
    user.press(user.panel.propagateButton)
    np.testing.assert_array_equal(user.editor.mask(), tube())
    assert user.session.engine.conditioning_slices("A") == [4]


def test_the_last_prompt_is_deleted(user):
    user.click(INSIDE)
    user.press(user.panel.deleteButton)  # there is but one: it need not be chosen
    assert user.count() == 0
    assert texts(user) == []
    user.press(user.panel.propagateButton)
    assert "prompted slice" in user.panel.messageLabel.text
    user.click(INSIDE)
    assert user.count() == 36


def test_a_prompt_is_moved(user):
    user.click((4, 15, 15))
    user.press(user.panel.moveButton)
    user.click(INSIDE)
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))
    (prompt,) = user.session.prompts("A")
    assert prompt.index_kji == INSIDE
    assert not user.panel.moveButton.checked
    user.press(user.panel.moveButton)
    user.click((9, 8, 6))
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(9))
    user.undo()
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))


def test_a_box_is_moved_and_not_out_of_the_volume(user):
    user.press(user.panel.toolButtons["box"])
    user.jump_to((6, 6, 5)).drag(user.world((6, 6, 5)), user.world((6, 9, 8)))
    user.wait()
    user.press(user.panel.moveButton)
    user.jump_to((6, 15, 15)).click(user.world((6, 15, 15)))
    user.wait()
    (prompt,) = user.session.prompts("A")
    assert prompt.box_kji == ((6, 7), (13, 17), (13, 17))
    np.testing.assert_array_equal(user.editor.mask()[6], (truth() & ~tube())[6] & user.editor.mask()[6])
    user.press(user.panel.moveButton)
    user.jump_to((6, 1, 1)).click(user.world((6, 1, 1)))
    user.wait()
    assert "out of the volume" in user.panel.messageLabel.text
    assert user.session.prompts("A") == [prompt]


def test_a_slice_is_cleared_but_for_what_was_edited_by_hand(user):
    stroke = np.zeros(SHAPE, dtype=bool)
    stroke[9, 17:19, 17:19] = True
    user.click(INSIDE)
    user.click((9, 8, 6))
    user.paint("A", stroke)
    user.click((9, 8, 7))
    user.jump_to((9, 8, 6))
    user.press(user.panel.clearSliceButton)
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4) | stroke)
    assert texts(user) == ["+ point, S 40.0 mm"]
    user.undo()
    assert user.count() == 36 + 36 + 4


def test_start_over(user):
    user.click(INSIDE)
    user.press(user.panel.propagateButton)
    user.press(user.panel.startOverButton)
    assert user.count() == 0
    assert texts(user) == []
    assert "empty again" in user.panel.messageLabel.text
    user.click(BESIDE)
    assert user.count() == 15
    user.undo()
    user.undo()
    np.testing.assert_array_equal(user.editor.mask(), tube())
    assert texts(user) == ["+ point, S 40.0 mm"]


def test_next_segment_by_a_key_and_a_new_one_after_the_last(user):
    names = []
    for _press in range(3):
        user.press(user.panel.nextButton)
        names.append(user.editor.widget.currentSegmentID())
    assert names[:2] == ["B", "C"]
    assert len(user.editor.segmentation.GetSegmentation().GetSegmentIDs()) == 4
    user.click(INSIDE)
    assert user.count(names[2]) == 36


def test_a_message_belongs_to_its_segment(user):
    user.click(INSIDE)
    user.press(user.panel.startOverButton)
    assert user.panel.messageLabel.text
    user.select("B")
    assert user.panel.messageLabel.text == ""
    user.select("A")
    assert "empty again" in user.panel.messageLabel.text

"""A locked segment stays as it is, and so do voxels edited by hand, whatever is done."""

from __future__ import annotations

import time

import numpy as np
import pytest
from effect_user import BESIDE, INSIDE, SHAPE, tube, tube_slice


def block(k0, k1, j0, j1, i0, i1):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[k0:k1, j0:j1, i0:i1] = True
    return mask


def test_nothing_changes_a_locked_segment_until_it_is_unlocked(user):
    user.click(INSIDE)
    user.press(user.panel.lockButton)
    assert user.panel.lockButton.checked
    assert user.panel.lockButton.text == "Locked"
    prompted = list(user.predictor.prompted)
    user.click(BESIDE)
    assert "'A' is locked" in user.panel.messageLabel.text
    user.press(user.panel.toolButtons["box"])
    user.jump_to((6, 6, 5)).drag(user.world((6, 6, 5)), user.world((6, 9, 8)))
    user.wait()
    user.press(user.panel.propagateButton)
    user.press(user.panel.useSegmentButton)
    assert "'A' is locked" in user.panel.messageLabel.text
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))
    assert user.predictor.prompted == prompted
    assert user.prompt_count() == 1
    user.select("B")
    assert not user.panel.lockButton.checked
    user.select("A")
    assert user.panel.lockButton.checked
    user.press(user.panel.lockButton)
    user.press(user.panel.propagateButton)
    np.testing.assert_array_equal(user.editor.mask(), tube())


@pytest.mark.parametrize("mode", ["OverwriteAllSegments", "OverwriteVisibleSegments", "OverwriteNone"])
def test_another_segment_takes_nothing_from_a_locked_one(user, mode):
    blocked = block(4, 9, 5, 8, 4, 10)
    user.paint("B", blocked)
    user.select("B")
    user.press(user.panel.lockButton)
    user.select("A")
    node = user.editor.widget.mrmlSegmentEditorNode()
    node.SetOverwriteMode(getattr(node, mode))
    user.press(user.panel.keepOutCheck)  # others may be entered, but not a locked one that would lose voxels
    user.click((4, 9, 6))
    user.press(user.panel.propagateButton)
    expected = tube() if mode == "OverwriteNone" else tube() & ~blocked
    np.testing.assert_array_equal(user.editor.mask("A"), expected)
    np.testing.assert_array_equal(user.editor.mask("B"), blocked)


def test_a_locked_segment_is_given_nothing_back(user):
    """With the editable area inside one segment, what is taken away again goes back to that segment."""
    user.paint("B", tube_slice(4))
    node = user.editor.widget.mrmlSegmentEditorNode()
    node.SetMaskMode(user.editor.segmentation.EditAllowedInsideSingleSegment)
    node.SetMaskSegmentID("B")
    user.press(user.panel.keepOutCheck)
    user.click(INSIDE)
    assert (user.count("A"), user.count("B")) == (36, 0)
    user.select("B")
    user.press(user.panel.lockButton)
    user.select("A")
    user.press(user.panel.excludeButton)
    user.click(INSIDE)
    assert user.count("B") == 0


def test_lock_is_an_undo_step_and_comes_back_with_the_scene(user):
    import slicer

    from EfficientMedSAM2Lib.mrml.scene.segment_lock import is_locked

    user.click(INSIDE)
    user.press(user.panel.lockButton)
    assert is_locked(user.editor.segmentation, "A")
    user.undo()
    assert user.count() == 36  # the lock is taken off, and no voxel
    assert not user.panel.lockButton.checked
    user.redo()
    assert user.panel.lockButton.checked
    xml = slicer.mrmlScene
    copy = xml.AddNewNodeByClass("vtkMRMLSegmentationNode")
    copy.GetSegmentation().DeepCopy(user.editor.segmentation.GetSegmentation())
    assert is_locked(copy, "A")


def test_a_lock_during_propagation_comes_after_it(user):
    import time

    user.click(INSIDE)
    user.predictor._maybe_fail = lambda _frame: time.sleep(0.03)
    user.press(user.panel.propagateButton, wait=False)
    assert user.propagated(1)
    user.press(user.panel.lockButton)
    np.testing.assert_array_equal(user.editor.mask(), tube())
    assert user.panel.lockButton.checked


def test_a_lock_set_by_a_script_meanwhile_keeps_the_segment(user):
    from EfficientMedSAM2Lib.mrml.scene.segment_lock import set_locked

    user.press(user.panel.autoCommitCheck)
    user.click(INSIDE)
    set_locked(user.controller.port, "A", True)
    user.press(user.panel.commitButton)
    assert user.count() == 0
    assert "locked" in user.panel.messageLabel.text


def test_the_one_place_that_writes_voxels_refuses_a_locked_segment(user):
    """Brush, largest island and smoothing of the page go through it as well."""
    from EfficientMedSAM2Lib.core.errors import UserError
    from EfficientMedSAM2Lib.mrml.segment_voxels import Change, write_change

    user.paint("B", tube_slice(4))
    user.select("B")
    user.press(user.panel.lockButton)
    everything = Change(np.ones(SHAPE, bool), np.ones(SHAPE, bool), (0, 0, 0))
    with pytest.raises(UserError, match="'B' is locked"):
        write_change(user.controller.port, everything)
    user.select("A")
    node = user.editor.widget.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteAllSegments)
    write_change(user.controller.port, everything)
    np.testing.assert_array_equal(user.editor.mask("B"), tube_slice(4))
    np.testing.assert_array_equal(user.editor.mask("A"), ~tube_slice(4))


def test_a_segment_is_locked_without_a_network(user):
    user.controller.unload()
    user.press(user.panel.lockButton)
    assert user.panel.lockButton.checked


@pytest.mark.slow
@pytest.mark.parametrize("is_propagating", [False, True])
def test_an_edit_is_kept_though_something_is_written_before_it_is_looked_at(user, is_propagating):
    """Erase on A, and click on B before A is prompted again; or erase by a script while A is propagated."""

    def draw_box(first_row):
        user.press(user.panel.toolButtons["box"])
        user.jump_to((4, 8, 6)).drag(user.world((4, first_row, 4)), user.world((4, 10, 9)))
        user.wait()

    draw_box(5)
    erased = block(4, 5, 5, 7, 5, 7)
    if is_propagating:
        user.predictor._maybe_fail = lambda _frame: time.sleep(0.03)
        user.press(user.panel.propagateButton, wait=False)
        assert user.propagated(1)
        user.erase("A", erased)
    else:
        user.select("B")
        user.press(user.panel.toolButtons["point"])
        user.click(BESIDE)
        user.select("A")
        user.erase("A", erased)
        user.select("B")
        user.click((6, 15, 15))
        user.select("A")
    draw_box(8)  # without what was erased,
    draw_box(5)  # and with it
    mask = user.editor.mask("A")
    assert not mask[erased].any()
    np.testing.assert_array_equal(mask[4], (tube() & ~erased)[4])


class Protected:
    """What must not change: locked segments, and voxels of A and B that were edited by hand, with their values."""

    def __init__(self, user):
        self.user = user
        self.locked = {}
        self.edits = {name: np.zeros(SHAPE, dtype=bool) for name in "AB"}
        self.values = {name: np.zeros(SHAPE, dtype=bool) for name in "AB"}
        self.may_enter = False

    def paint(self, name, rng):
        """A small stroke by another effect, on voxels that nobody has edited nor owns."""
        user = self.user
        k, j, i = (int(rng.integers(0, size - 2)) for size in SHAPE)
        stroke = block(k, k + 1, j, j + 2, i, i + 2)
        taken = self.edits["A"] | self.edits["B"]
        for other in "ABC":
            taken |= user.editor.mask(other)
        stroke &= ~taken
        if name in self.locked or not stroke.any():
            return
        user.paint(name, stroke)
        user.select(name)
        user.wait()
        self.edits[name] |= stroke
        self.values[name][stroke] = True

    def lift(self, name, voxel, positive):
        """A click that contradicts an edit takes back the stroke under it, which is what it is for."""
        from scipy import ndimage

        if not self.edits[name][voxel] or self.values[name][voxel] == positive:
            return
        strokes, _count = ndimage.label(self.edits[name])
        self.edits[name] &= strokes != strokes[voxel]

    def toggle(self, name):
        user = self.user
        user.wait()
        user.select(name)
        user.press(user.panel.lockButton)
        if user.panel.lockButton.checked:
            self.locked[name] = user.editor.mask(name)
        else:
            self.locked.pop(name, None)

    def check(self):
        for name, mask in self.locked.items():
            np.testing.assert_array_equal(self.user.editor.mask(name), mask)
        for name, other in ("AB", "BA"):
            if self.may_enter:  # what the user has allowed: another segment has taken some, and was told to
                self.edits[name] &= ~self.user.editor.mask(other)
        self.may_enter = not self.user.panel.keepOutCheck.checked
        for name, edits in self.edits.items():
            np.testing.assert_array_equal(self.user.editor.mask(name)[edits], self.values[name][edits])


def interact(user, protected, rng):
    """One random interaction."""
    panel = user.panel
    voxel = tuple(int(rng.integers(1, size - 1)) for size in SHAPE)
    view = ("Red", "Green", "Yellow")[rng.integers(3)]
    what = rng.integers(20)
    selected = user.editor.widget.currentSegmentID()
    if what < 8:
        positive = user.editor.scripted_effect.parameter("Include") == "1"
        if selected in protected.edits and selected not in protected.locked:
            protected.lift(selected, voxel, positive)
        user.parameter("Tool", "point")
        user.click(voxel, view)
    elif what < 10:
        user.parameter("Tool", "box")
        user.parameter("Include", "1")  # a box that excludes is meant to take away what lies in it
        mouse = user.jump_to(voxel, view)
        mouse.drag([int(v) for v in rng.integers(120, 280, 2)], [int(v) for v in rng.integers(120, 280, 2)], 3)
        user.wait()
    elif what < 13:
        user.press(panel.propagateButton, wait=bool(rng.integers(2)))
    elif what == 13:
        user.parameter("Include", str(rng.integers(2)))
    elif what == 14:
        user.select("ABC"[rng.integers(3)])
    elif what == 15:
        protected.toggle("ABC"[rng.integers(3)])
    elif what < 18:
        protected.paint("AB"[rng.integers(2)], rng)
    elif what == 18:
        node = user.editor.widget.mrmlSegmentEditorNode()
        node.SetOverwriteMode(int(rng.integers(3)))
    else:
        user.press(panel.keepOutCheck)
        protected.may_enter = True
    user.host.process_events(0)
    assert not user.host.errors


def run(user, steps, seed):
    rng = np.random.default_rng(seed)
    neighbour = block(0, 24, 4, 8, 8, 15)  # reaches into the first tube
    user.paint("C", neighbour)
    protected = Protected(user)
    protected.toggle("C")
    assert "C" in protected.locked
    for number in range(steps):
        interact(user, protected, rng)
        if number % 5 == 0:
            user.wait()
            protected.check()
    user.wait()
    protected.check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_random_interactions_change_no_locked_and_no_edited_voxel(user, seed):
    run(user, 150, seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_random_interactions(user, seed):
    run(user, 1000, seed)

"""A click gives a mask on the clicked slice; undo takes it away, redo brings it back; the scan is not changed."""

import numpy as np
import slicer
from slicer_case import ONE_CLICK_DICE, Editor, ball, check, dice, make_volume, run, wait_until


def click_undo_redo():
    """Click on the large ball, undo, redo."""
    volume = make_volume()
    before = slicer.util.arrayFromVolume(volume).copy()
    editor = Editor(volume)
    editor.click((12, 48, 36))
    wait_until(lambda: editor.mask().any(), "a click makes a mask")
    count = editor.settle()
    mask = editor.mask()
    check(np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [12], "it is on the clicked slice alone")
    overlap = dice(mask[12], ball("A")[12])
    check(overlap > ONE_CLICK_DICE, f"{count} voxels, Dice {overlap:.3f} with the ball")
    editor.widget.undo()
    wait_until(lambda: not editor.mask().any(), "undo takes it away")
    editor.widget.redo()
    wait_until(lambda: np.array_equal(editor.mask(), mask), "redo brings it back exactly")
    check(np.array_equal(before, slicer.util.arrayFromVolume(volume)), "the scan's voxels are the same as before")


run(click_undo_redo)

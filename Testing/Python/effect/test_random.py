"""Random interactions leave no exception, no changed neighbour, an untouched volume, and a history to the start."""

from __future__ import annotations

import numpy as np
import pytest
from effect_user import truth


def interact(user, rng, steps):
    """So many random interactions; the neighbour C must stay as it is."""
    panel, shape = user.panel, truth().shape
    for _ in range(steps):
        what = rng.integers(20)
        voxel = tuple(int(rng.integers(1, size - 1)) for size in shape)
        view = ("Red", "Green", "Yellow")[rng.integers(3)]
        if what < 6:
            user.click(voxel, view, wait=bool(rng.integers(4)))
        elif what < 8:
            mouse = user.jump_to(voxel, view)
            mouse.drag([int(v) for v in rng.integers(120, 280, 2)], [int(v) for v in rng.integers(120, 280, 2)], 3)
        elif what == 8:
            user.parameter("Tool", ("point", "box", "line")[rng.integers(3)])
        elif what == 9:
            user.parameter("Include", str(rng.integers(2)))
        elif what < 12:
            user.press(panel.propagateButton, wait=bool(rng.integers(2)))
        elif what == 12:
            user.editor.widget.setCurrentSegmentID("AB"[rng.integers(2)])
        elif what < 15:
            user.editor.widget.undo()
        elif what == 15:
            user.editor.widget.redo()
        elif what == 16:
            user.press(panel.autoCommitCheck, wait=bool(rng.integers(2)))
        elif what == 17:
            user.mouse.key(("Return", "Escape")[rng.integers(2)])
        elif what == 18:
            user.editor.widget.setActiveEffectByName("")
            user.editor.widget.setActiveEffectByName("EfficientMedSAM2")
        else:
            user.parameter("Direction", ("both", "forward", "backward")[rng.integers(3)])
        user.host.process_events(0)
        assert not user.host.errors


def check(user, steps, seed=0):
    rng = np.random.default_rng(seed)
    neighbour = np.zeros_like(truth())
    neighbour[:, 4:8, 8:15] = True  # reaches into the first tube
    node = user.editor.widget.mrmlSegmentEditorNode()
    user.paint("C", neighbour)
    node.SetOverwriteMode(node.OverwriteNone)
    node.SetMaskMode(user.editor.segmentation.EditAllowedOutsideAllSegments)
    user.editor.logic.SetMaximumNumberOfUndoStates(steps + 10)
    source = user.voxels()
    for _ in range(max(steps // 100, 1)):
        interact(user, rng, min(steps, 100))
        user.wait()
        np.testing.assert_array_equal(user.editor.mask("C") if user.count("C") else neighbour, neighbour)
        assert user.voxels() == source
    user.press(user.panel.autoCommitCheck)
    if user.controller.has_preview:
        user.mouse.key("Escape")
        user.wait()
    while user.editor.logic.CanUndo():
        user.undo()
        assert not user.host.errors
    assert [user.count(name) for name in "ABC"] == [0, 0, 0]
    assert [user.prompt_count(name) for name in "AB"] == [0, 0]
    assert user.voxels() == source


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_hundred_random_interactions(user, seed):
    check(user, 100, seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(20))  # ten thousand in all
def test_five_hundred_random_interactions(user, seed):
    check(user, 500, seed)

"""Random interactions leave no exception, no changed neighbour, an untouched volume, and a history to the start."""

from __future__ import annotations

import numpy as np
import pytest
from desk import truth


def interact(desk, rng, steps):
    """So many random interactions; the neighbour C must stay as it is."""
    panel, shape = desk.panel, truth().shape
    for _ in range(steps):
        what = rng.integers(20)
        voxel = tuple(int(rng.integers(1, size - 1)) for size in shape)
        view = ("Red", "Green", "Yellow")[rng.integers(3)]
        if what < 6:
            desk.click(voxel, view, wait=bool(rng.integers(4)))
        elif what < 8:
            mouse = desk.look_at(voxel, view)
            mouse.drag([int(v) for v in rng.integers(120, 280, 2)], [int(v) for v in rng.integers(120, 280, 2)], 3)
        elif what == 8:
            desk.parameter("Tool", ("point", "box", "line")[rng.integers(3)])
        elif what == 9:
            desk.parameter("Include", str(rng.integers(2)))
        elif what < 12:
            desk.press(panel.propagateButton, wait=bool(rng.integers(2)))
        elif what == 12:
            desk.editor.widget.setCurrentSegmentID("AB"[rng.integers(2)])
        elif what < 15:
            desk.editor.widget.undo()
        elif what == 15:
            desk.editor.widget.redo()
        elif what == 16:
            desk.press(panel.autoCommitCheck, wait=bool(rng.integers(2)))
        elif what == 17:
            desk.mouse.key(("Return", "Escape")[rng.integers(2)])
        elif what == 18:
            desk.editor.widget.setActiveEffectByName("")
            desk.editor.widget.setActiveEffectByName("EfficientMedSAM2")
        else:
            desk.parameter("Direction", ("both", "forward", "backward")[rng.integers(3)])
        desk.host.process_events(0)
        assert not desk.host.errors


def check(desk, steps, seed=0):
    rng = np.random.default_rng(seed)
    neighbour = np.zeros_like(truth())
    neighbour[:, 4:8, 8:15] = True  # reaches into the first tube
    node = desk.editor.widget.mrmlSegmentEditorNode()
    desk.paint("C", neighbour)
    node.SetOverwriteMode(node.OverwriteNone)
    node.SetMaskMode(desk.editor.segmentation.EditAllowedOutsideAllSegments)
    desk.editor.logic.SetMaximumNumberOfUndoStates(steps + 10)
    source = desk.voxels()
    for _ in range(max(steps // 100, 1)):
        interact(desk, rng, min(steps, 100))
        desk.wait()
        np.testing.assert_array_equal(desk.editor.mask("C") if desk.count("C") else neighbour, neighbour)
        assert desk.voxels() == source
    desk.press(desk.panel.autoCommitCheck)
    if desk.controller.has_preview:
        desk.mouse.key("Escape")
        desk.wait()
    while desk.editor.logic.CanUndo():
        desk.undo()
        assert not desk.host.errors
    assert [desk.count(name) for name in "ABC"] == [0, 0, 0]
    assert [desk.prompt_count(name) for name in "AB"] == [0, 0]
    assert desk.voxels() == source


@pytest.mark.parametrize("seed", [1, 2])
def test_a_hundred_random_interactions(desk, seed):
    check(desk, 100, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))  # ten thousand in all
def test_five_hundred_random_interactions(desk, seed):
    check(desk, 500, seed)

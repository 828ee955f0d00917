"""What a reader has made or finished stays, and what is said of it is true: edits, neighbours, scores, prompts."""

from __future__ import annotations

import numpy as np
import slicer
from slicer_case import BALLS, Editor, ball, check, clicked, let_work, make_volume, run, wait_until

A, B = BALLS["A"][0], BALLS["B"][0]


def edits_by_hand_stay():
    """Paint beside a mask and erase a part of it, then click elsewhere on the slice, and propagate."""
    editor = clicked()
    painted, erased = np.zeros((2, *editor.mask().shape), bool)
    painted[12, 5:11, 5:11] = True
    erased[12, 44:47, 33:36] = True
    edited = (editor.mask() | painted) & ~erased
    slicer.util.updateSegmentBinaryLabelmapFromArray(edited.astype(np.uint8), editor.segmentation, "A", editor.volume)
    let_work(0.5)
    editor.click((12, 48, 28), jump=False)
    editor.settle()
    mask = editor.mask()
    check(mask[painted].all() and not mask[erased].any(), "a click changes no voxel that was edited by hand")
    editor.press("Propagate")
    editor.finish()
    mask = editor.mask()
    check(mask[painted].all() and not mask[erased].any(), "nor does propagation")


def finished_segments_are_not_entered():
    """By default a prompt takes nothing from another segment."""
    editor = Editor(make_volume())
    half = ball("A")
    half[:, :, 36:] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(half.astype(np.uint8), editor.segmentation, "B", editor.volume)
    editor.click((12, 48, 44))
    wait_until(lambda: editor.mask().any(), "a click makes a mask")
    editor.settle()
    editor.press("Propagate")
    editor.finish()
    check(np.array_equal(editor.mask("B"), half), "the neighbour is the same as before")


def scores_and_prompts_come_back_with_the_scene():
    """Propagate, save, close, load: scores, marks and prompts are those of before, and none is made up."""
    editor = clicked()
    editor.press("Propagate")
    editor.finish()
    panel = editor.effect.self().panel
    before, prompts = panel.strip.scores, [panel.promptList.item(0).text()]
    check(len(before.scores) > 3, f"{len(before.scores)} slices have a score")
    editor.save_and_load()
    editor.activate()
    panel = editor.effect.self().panel
    wait_until(lambda: panel.strip.scores.scores, "there are scores")
    after = panel.strip.scores
    same = before.scores.keys() == after.scores.keys()
    same = same and all(abs(after.scores[index] - score) < 0.01 for index, score in before.scores.items())
    check(same, "scores are those of before")
    check(after.prompted == before.prompted == {12}, "the mark is on the prompted slice")
    shown = [panel.promptList.item(n).text() for n in range(panel.promptList.count)]
    check(shown == prompts, f"prompts are listed: {shown}")


def cancelled_and_resumed_is_as_one_run():
    """Cancel a propagation and resume it: the mask is that of one run."""
    editor = clicked()
    editor.press("Propagate")
    editor.finish()
    whole = editor.mask()
    editor.widget.undo()
    wait_until(lambda: editor.mask().sum() < whole.sum(), "undo takes it away")
    editor.press("Propagate")
    slicer.app.processEvents()
    print(f"    cancelled before the end: {editor.press('Cancel')}")
    editor.finish()
    if editor.mask().sum() < whole.sum():
        editor.press("Propagate")
        editor.finish()
    check(np.array_equal(editor.mask(), whole), f"{int(whole.sum())} voxels both times")


def undo_while_propagating_takes_back_the_propagation():
    """The prompt before it stays, and the message says what was done."""
    editor = clicked()
    count = int(editor.mask().sum())
    controller = editor.effect.self().controller
    editor.press("Propagate")
    wait_until(lambda: controller.progress is not None or not controller.is_busy, "it has begun")
    editor.widget.undo()
    check(editor.finish() == count, f"{count} voxels, as before")
    check(editor.effect.self().panel.promptList.count == 1, "the prompt is there")


def a_segment_that_is_removed_ends_its_propagation():
    """Nothing goes on for a segment that is no more."""
    editor = clicked()
    editor.press("Propagate")
    slicer.app.processEvents()
    editor.segmentation.GetSegmentation().RemoveSegment("A")
    controller = editor.effect.self().controller
    wait_until(lambda: not controller.is_busy, "the work has ended")
    check(controller.preview_image() is None, "nothing is outlined")
    check(not editor.mask("B").any(), "the other segment is empty")


run(
    edits_by_hand_stay,
    finished_segments_are_not_entered,
    scores_and_prompts_come_back_with_the_scene,
    cancelled_and_resumed_is_as_one_run,
    undo_while_propagating_takes_back_the_propagation,
    a_segment_that_is_removed_ends_its_propagation,
)

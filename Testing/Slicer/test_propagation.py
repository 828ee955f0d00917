"""A 3D ROI, propagated, gives the ball; a cancelled propagation keeps what it has, as one undo step."""

import slicer
from slicer_case import BALLS, SPACING, Editor, ball, check, dice, make_volume, run, wait_until


def roi_becomes_a_segment():
    """Place an ROI around the large ball, use it as prompt, propagate."""
    editor = Editor(make_volume())
    center, radius = BALLS["A"]
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "ROI")
    roi.SetCenter(*editor.world(center))
    roi.SetSize(*[2.0 * (radius + spacing) for spacing in SPACING])
    editor.effect.setNodeReference("Markups", roi)
    check(editor.press("Use"), "the markups are used")
    wait_until(lambda: editor.mask().any(), "the ROI makes a mask on its middle slice")
    editor.settle()
    check(editor.press("Propagate"), "propagation is started")
    count = editor.finish()
    slices = int(editor.mask().any(axis=(1, 2)).sum())
    overlap = dice(editor.mask(), ball("A"))
    check(slices >= 9, f"{count} voxels on {slices} slices")
    check(overlap > 0.6, f"Dice {overlap:.3f} with the ball")


def propagation_can_be_cancelled():
    """Cancel at once; what was found stays, and one undo takes it away."""
    editor = Editor(make_volume())
    editor.click((12, 48, 36))
    wait_until(lambda: editor.mask().any(), "a click makes a mask")
    count = editor.settle()
    check(editor.press("Propagate"), "propagation is started")
    slicer.app.processEvents()
    print(f"    cancelled before the end: {editor.press('Cancel')}")
    after = editor.finish()
    check(after >= count, f"{count} voxels before, {after} after")
    if after > count:
        editor.widget.undo()
        check(editor.settle() == count, "one undo takes all of it away")


run(roi_becomes_a_segment, propagation_can_be_cancelled)

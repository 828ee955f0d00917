"""A scan that is moved and turned, by a transform or by its own axes, is segmented where it is shown."""

import numpy as np
import slicer
import vtk
from slicer_case import ONE_CLICK_DICE, Editor, ball, check, dice, let_work, make_volume, run, wait_until

from EfficientMedSAM2Lib.mrml.effect.view_geometry import tilt_degrees


def transformed_volume():
    """The scan is under a linear transform; the click lands where the ball is shown."""
    volume = make_volume()
    transform = vtk.vtkTransform()
    transform.Translate(12.0, -7.0, 9.0)
    transform.RotateZ(25.0)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    node.SetMatrixTransformToParent(transform.GetMatrix())
    volume.SetAndObserveTransformNodeID(node.GetID())
    editor = Editor(volume)
    editor.segmentation.SetAndObserveTransformNodeID(node.GetID())
    editor.click((12, 48, 36))
    wait_until(lambda: editor.mask().any(), "a click makes a mask")
    count = editor.settle()
    mask = editor.mask()
    check(np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [12], "it is on the clicked slice alone")
    overlap = dice(mask[12], ball("A")[12])
    check(overlap > ONE_CLICK_DICE, f"{count} voxels, Dice {overlap:.3f} with the ball")


def tilted_scan_is_turned():
    """The views are oblique to a scan: the panel says so before and after a click, and one button turns them."""
    volume = make_volume()
    turn = vtk.vtkTransform()
    turn.RotateX(20.0)
    turn.RotateZ(8.0)
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    vtk.vtkMatrix4x4.Multiply4x4(turn.GetMatrix(), matrix, matrix)
    volume.SetIJKToRASMatrix(matrix)
    editor = Editor(volume)
    panel = editor.effect.self().panel
    slicer.util.resetSliceViews()
    wait_until(lambda: "tilted" in panel.messageLabel.text, f"'{panel.messageLabel.text}'")
    check(panel.rotateButton.visible or slicer.util.mainWindow() is None, "the button is seen")
    editor.click((14, 48, 30))
    wait_until(lambda: editor.mask().any(), "a click makes a mask")
    editor.settle()
    check("tilted" in panel.messageLabel.text, f"'{panel.messageLabel.text}'")
    count = int(editor.mask().sum())
    editor.press("Rotate views")
    let_work(0.5)
    check(editor.shown_slice() == 14, "the slice of the click is on view")
    check(panel.messageLabel.text == "" and not panel.rotateButton.visible, "nothing is tilted any more")
    for name in slicer.app.layoutManager().sliceViewNames():
        node = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()
        check(tilt_degrees(node, volume) < 0.01, f"the {name} view lies in the scan's plane")
    editor.click((14, 48, 40), jump=False)
    check(editor.settle() > 0.5 * count, "a click there is answered on the same slice")
    check(np.flatnonzero(editor.mask().any(axis=(1, 2))).tolist() == [14], "which is one slice of the scan")


run(transformed_volume, tilted_scan_is_turned)

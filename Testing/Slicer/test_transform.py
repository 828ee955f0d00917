"""A scan that is moved and turned by a transform is segmented where it is shown."""

import numpy as np
import slicer
import vtk
from slicer_case import ONE_CLICK_DICE, Editor, ball, check, dice, make_volume, run, wait_until


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


run(transformed_volume)

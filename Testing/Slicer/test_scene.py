"""A scene is saved, closed and loaded: segment and prompts are back, and work goes on."""

import os

import numpy as np
import slicer
from slicer_case import Editor, check, make_volume, run, wait_until


def balls_of_class(name):
    """The scan and its segmentation have the same name; the module may have made a segmentation of its own."""
    return next(node for node in slicer.util.getNodesByClass(name) if node.GetName() == "Balls")


def scene_is_saved_and_loaded():
    """Click, save, close, load, click again."""
    editor = Editor(make_volume())
    editor.click((12, 48, 36))
    wait_until(lambda: editor.mask().any(), "a click makes a mask")
    editor.settle()
    mask = editor.mask()
    path = os.path.join(slicer.util.tempDirectory(), "scene.mrb")
    check(slicer.util.saveScene(path), f"saved as {path}")
    slicer.mrmlScene.Clear()
    slicer.util.loadScene(path)
    editor.volume = balls_of_class("vtkMRMLScalarVolumeNode")
    editor.segmentation = balls_of_class("vtkMRMLSegmentationNode")
    check(np.array_equal(editor.mask(), mask), "the segment is back")
    editor.activate()
    editor.click((14, 48, 36))
    wait_until(lambda: editor.mask()[14].any(), "a click on another slice makes a mask there")
    check(np.array_equal(editor.mask()[12], mask[12]), "the first slice is the same as before")


run(scene_is_saved_and_loaded)

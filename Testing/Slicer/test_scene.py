"""A scene is saved, closed and loaded: segment and prompts are back, and work goes on."""

import numpy as np
import slicer
import vtk
from slicer_case import Editor, check, let_work, make_volume, run, wait_until
from vtk.util import numpy_support

from EfficientMedSAM2Lib.mrml.effect.outline import MARKUPS_CLASS
from EfficientMedSAM2Lib.mrml.scene.prompt_store import INCLUDE_COLOR


def scene_is_saved_and_loaded():
    """Click, save, close, load, click again."""
    editor = Editor(make_volume())
    editor.click((12, 48, 36))
    wait_until(lambda: editor.mask().any(), "a click makes a mask")
    editor.settle()
    mask = editor.mask()
    editor.save_and_load()
    check(np.array_equal(editor.mask(), mask), "the segment is back")
    editor.activate()
    editor.click((14, 48, 36))
    wait_until(lambda: editor.mask()[14].any(), "a click on another slice makes a mask there")
    check(np.array_equal(editor.mask()[12], mask[12]), "the first slice is the same as before")


def markers_look_as_first_drawn():
    """A point, a line and a box: after undo, redo, saving and loading they have the same colours, names and labels."""
    editor = Editor(make_volume())
    red = slicer.app.layoutManager().sliceWidget("Red")
    editor.click((12, 48, 36))
    editor.settle()
    point = looks(red)
    editor.effect.setParameter("Tool", "line")
    editor.drag((12, 48, 24), (12, 48, 48), jump=False)
    editor.settle()
    editor.effect.setParameter("Tool", "box")
    editor.drag((12, 34, 22), (12, 62, 50), jump=False)
    editor.settle()
    first = looks(red)
    check(first[1] == ["A box", "A line", "A point"], f"{first[1]}")
    check(first[0] > point[0] > 0 or not is_drawn(red), f"{point[0]} and {first[0]} pixels have the markers' colour")
    check(not any(labels_of(kind) for kind in ("Line", "ROI")), "no label of the line or the box covers anatomy")
    for _ in range(2):
        editor.widget.undo()
        editor.settle()
    check(looks(red) == point, "after undo the point looks as it did")
    for _ in range(2):
        editor.widget.redo()
        editor.settle()
    check(looks(red) == first, "after redo all look as they did")
    editor.save_and_load()
    editor.activate()
    controller = editor.effect.self().controller
    wait_until(lambda: controller.is_ready and not controller.is_busy, "the effect is ready")
    red.mrmlSliceNode().JumpSliceByCentering(*editor.world((12, 48, 36)))
    check(looks(red) == first, "after loading, too")
    check(not any(labels_of(kind) for kind in ("Line", "ROI")), "and no label has come")


def looks(widget):
    """Pixels of a view in the colour of what includes, and names of the markers."""
    let_work(0.5)
    view = widget.sliceView()
    view.forceRender()
    picture = vtk.vtkWindowToImageFilter()
    picture.SetInput(view.renderWindow())
    picture.ReadFrontBufferOff()
    picture.Update()
    pixels = numpy_support.vtk_to_numpy(picture.GetOutput().GetPointData().GetScalars()).astype(int)
    is_marker = np.abs(pixels[:, :3] - np.round(np.array(INCLUDE_COLOR) * 255)).max(axis=1) < 12
    names = sorted(node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLMarkupsNode"))
    return int(is_marker.sum()), names


def is_drawn(widget):
    """Whether this Slicer draws markups at all."""
    props = widget.sliceView().renderWindow().GetRenderers().GetFirstRenderer().GetViewProps()
    return any(props.GetItemAsObject(n).IsA(MARKUPS_CLASS) for n in range(props.GetNumberOfItems()))


def labels_of(kind):
    """Markups of a kind that show a label."""
    nodes = slicer.util.getNodesByClass(f"vtkMRMLMarkups{kind}Node")
    displays = [node.GetDisplayNode() for node in nodes]
    return [d.GetID() for d in displays if d.GetPropertiesLabelVisibility() or d.GetPointLabelsVisibility()]


run(scene_is_saved_and_loaded, markers_look_as_first_drawn)

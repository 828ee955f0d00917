"""A volume of a sequence: prompts belong to the time point that the browser shows."""

import slicer
from slicer_case import Editor, check, make_volume, run, wait_until


def markers():
    """Points of the effect's own markups in the scene."""
    nodes = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
    own = [node for node in nodes if node.GetAttribute("EfficientMedSAM2.Prompt")]
    return sum(node.GetNumberOfControlPoints() for node in own)


def prompts_belong_to_their_time_point():
    """Click at the first time point, go to the second and click, and come back."""
    volume = make_volume()
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Balls in time")
    for value in ("0", "1"):
        sequence.SetDataNodeAtValue(volume, value)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(volume, sequence, False)
    browser.SetSelectedItemNumber(0)
    editor = Editor(volume)
    editor.click((12, 48, 36))
    wait_until(lambda: editor.mask().any(), "a click makes a mask")
    wait_until(lambda: markers() == 1, "one prompt is shown")
    browser.SetSelectedItemNumber(1)
    wait_until(lambda: markers() == 0, "none at the next time point")
    check(editor.mask().any(), "the segment is the same at all time points")
    editor.click((14, 48, 36))
    wait_until(lambda: editor.mask()[14].any() and markers() == 1, "a click there makes a mask, too")
    browser.SetSelectedItemNumber(0)
    wait_until(lambda: markers() == 1, "the first prompt is back")
    panel = editor.effect.self().panel
    panel.perTimePointButton.click()
    wait_until(lambda: "own segments" in panel.messageLabel.text, "each time point has segments of its own")
    check(editor.widget.activeEffect() is not None, "the effect stays")
    browser.SetSelectedItemNumber(1)
    wait_until(lambda: markers() == 1, "the second prompt is back")
    check(editor.widget.currentSegmentID() == "A", "the segment stays selected")


run(prompts_belong_to_their_time_point)

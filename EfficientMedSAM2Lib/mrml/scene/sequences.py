"""Time points: a volume that a sequence browser shows is another image at each of them, under one node.

Slicer copies the chosen item of a sequence into a *proxy* node that lives in the scene. A volume's proxy keeps its ID,
so that only the browser knows which time point it shows. A segmentation stays the same while time goes on, unless it
has a sequence of its own in that browser.
"""

from __future__ import annotations

from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError


def browser_of(node: Any) -> Any:
    """The vtkMRMLSequenceBrowserNode that a node is the proxy of, None for an ordinary node."""
    scene = node.GetScene() if node is not None else None
    if scene is None:
        return None
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = scene.GetNthNodeByClass(n, "vtkMRMLSequenceBrowserNode")
        if browser.IsProxyNodeID(node.GetID()):
            return browser
    return None


def time_point(node: Any) -> str:
    """Which time point a node shows: the index value of its sequence, such as "0.5"; "" for an ordinary node."""
    browser = browser_of(node)
    sequence = browser.GetMasterSequenceNode() if browser is not None else None
    number = browser.GetSelectedItemNumber() if browser is not None else -1
    return str(sequence.GetNthIndexValue(number)) if sequence is not None and number >= 0 else ""


def time_point_label(node: Any) -> str:
    """The same for people: "time point 3 of 10 (0.5 s)"."""
    browser = browser_of(node)
    if browser is None or not time_point(node):
        return ""
    sequence, number = browser.GetMasterSequenceNode(), browser.GetSelectedItemNumber()
    value = f"{time_point(node)} {sequence.GetIndexUnit() or ''}".strip()
    return f"time point {number + 1} of {sequence.GetNumberOfDataNodes()} ({value})"


def is_shared_by_time_points(segmentation_node: Any, volume_node: Any) -> bool:
    """Whether the volume changes with time and the segmentation does not; False without one of them."""
    browser = browser_of(volume_node) if segmentation_node is not None else None
    return browser is not None and not browser.IsProxyNodeID(segmentation_node.GetID())


def keep_one_per_time_point(segmentation_node: Any, volume_node: Any, sequences_logic: Any) -> None:
    """Give the segmentation a sequence of its own, so that each time point of the volume has its own segments.

    A time point that is visited for the first time gets the segments of the one before, to be corrected: Slicer's way
    to fill items that are missing. What is changed is saved into the sequence by Slicer.

    Args:
        segmentation_node: Its segments become those of the present time point.
        volume_node: Proxy of a sequence.
        sequences_logic: vtkSlicerSequencesLogic.

    Raises:
        UserError: the volume does not belong to a sequence.
    """
    browser = browser_of(volume_node)
    if browser is None:
        raise UserError("The volume is not shown by a sequence browser; there is only one time point.")
    if browser.IsProxyNodeID(segmentation_node.GetID()):
        return
    sequence = sequences_logic.AddSynchronizedNode(None, segmentation_node, browser)
    sequence.SetDataNodeAtValue(segmentation_node, time_point(volume_node))
    browser.SetSaveChanges(sequence, True)

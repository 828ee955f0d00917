"""Brings the effect into the Segment Editor."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

EFFECT_PACKAGE = "SegmentEditorEfficientMedSAM2Lib"
EFFECT_NAME = "EfficientMedSAM2"


def register_effect(module_folder: Path) -> None:
    """Register the effect; Slicer ignores a second registration of the same name."""
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    # Without this Slicer would load the one file as if it were the package, and its neighbours could not be imported.
    importlib.import_module(EFFECT_PACKAGE)
    instance = effects.qSlicerSegmentEditorScriptedEffect(None)
    instance.setPythonSource((module_folder / EFFECT_PACKAGE / "SegmentEditorEffect.py").as_posix())
    instance.self().register()


def segment_editor() -> Any:
    """The qMRMLSegmentEditorWidget of the Segment Editor module."""
    import slicer

    return slicer.modules.segmenteditor.widgetRepresentation().self().editor


def volume_on_view() -> Any:
    """The scan that is shown, else the one loaded last, None without any."""
    import slicer

    selection = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLSelectionNode")
    shown = selection.GetActiveVolumeID() if selection is not None else None
    node = slicer.mrmlScene.GetNodeByID(shown) if shown else None
    scans = [
        n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if not n.IsA("vtkMRMLLabelMapVolumeNode")
    ]
    return node if node in scans else scans[-1] if scans else None


def open_segment_editor(segmentation: Any = None, volume: Any = None, segment_name: str = "") -> None:
    """Show the Segment Editor module with the effect selected, ready for the first click.

    Args:
        segmentation: Segmentation node to edit; None leaves it to the module.
        volume: Source volume node; None keeps the one chosen, or else takes the one on view.
        segment_name: Segment to select.

    Raises:
        RuntimeError: The effect is not registered.
    """
    import slicer

    slicer.util.selectModule("SegmentEditor")
    editor = segment_editor()
    if EFFECT_NAME not in editor.availableEffectNames():
        raise RuntimeError("The EfficientMedSAM2 effect was not loaded; see the error log, and restart Slicer.")
    if segmentation is not None:
        editor.setSegmentationNode(segmentation)
    # The module chooses a volume with a new segmentation alone, which there may have been before any scan.
    volume = volume or editor.sourceVolumeNode() or volume_on_view()
    if volume is not None:
        editor.setSourceVolumeNode(volume)
    if editor.segmentationNode() is None or editor.sourceVolumeNode() is None:
        return  # the user chooses a volume first, and the effects are disabled until then
    segments = editor.segmentationNode().GetSegmentation()
    if segments.GetNumberOfSegments() == 0:
        segments.AddEmptySegment()  # effects need one to work on
    segment_id = segments.GetSegmentIdBySegmentName(segment_name) or editor.currentSegmentID()
    editor.setCurrentSegmentID(segment_id or segments.GetNthSegmentID(0))
    editor.setActiveEffectByName(EFFECT_NAME)

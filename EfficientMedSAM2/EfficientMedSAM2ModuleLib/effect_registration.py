"""Brings the effect into the Segment Editor."""

from __future__ import annotations

import importlib
from pathlib import Path

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


def open_segment_editor() -> None:
    """Show the Segment Editor module with the effect selected.

    Raises:
        RuntimeError: The effect is not registered.
    """
    import slicer

    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    if EFFECT_NAME not in editor.availableEffectNames():
        message = "The EfficientMedSAM2 effect was not loaded; see the error log, and restart Slicer."
        raise RuntimeError(message)
    if editor.segmentationNode() is None or editor.sourceVolumeNode() is None:
        return  # the user chooses a volume first, and the effects are disabled until then
    editor.setActiveEffectByName(EFFECT_NAME)

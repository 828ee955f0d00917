"""A segment editor with an active effect, as the fixtures ``slicer_host`` and ``segment_editor`` give it to tests.

Example:
    >>> def test_a_click(slicer_host, segment_editor):
    ...     editor = segment_editor(slicer_host, slicer_host.volume(array, ijk_to_ras))
    ...     editor.mouse.click((10, 20, 30))
    ...     assert slicer_host.process_events(2000, until=lambda: editor.mask().any())
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from .slicer_host import EFFECT_SOURCE, SlicerHost


def checked_host() -> Iterator[SlicerHost]:
    """A running host with an empty scene; errors in callbacks are raised at its end."""
    with SlicerHost() as host:
        yield host
        host.process_events(0)
    assert not host.errors, "\n".join(text for _error, text in host.errors)  # those of the end, too


@dataclass
class RunningEditor:
    """A segment editor with an active effect.

    Attributes:
        widget: The qMRMLSegmentEditorWidget, as PythonQt shows it.
        effect: The Python object of the active effect.
        scripted_effect: Its C++ half.
        mouse: Mouse and keyboard on the axial view.
    """

    host: SlicerHost
    widget: Any
    effect: Any
    scripted_effect: Any
    segmentation: Any
    volume: Any
    mouse: Any

    @property
    def logic(self) -> Any:
        """vtkSlicerSegmentEditorLogic."""
        return self.host.editors[-1].logic

    def mask(self, segment_id: str | None = None) -> np.ndarray:
        """A segment on the volume's grid, bool (D, H, W); the selected one by default."""
        name = segment_id or self.widget.currentSegmentID()
        return slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, name, self.volume).astype(bool)


def start_editor(
    host: SlicerHost, volume: Any, segments: Any = ("A", "B", "C"), source: Path = EFFECT_SOURCE, name: str = ""
) -> RunningEditor:
    """The project's effect, or another one, registered and active on a new segmentation of a volume."""
    register_effect(source)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for segment in segments:
        segmentation.GetSegmentation().AddEmptySegment(segment, segment)
    widget = host.editor_widget()
    widget.setSegmentationNode(segmentation)
    widget.setSourceVolumeNode(volume)
    if segments:
        widget.setCurrentSegmentID(segments[0])
    names = widget.availableEffectNames()
    widget.setActiveEffectByName(name or names[-1])
    scripted = widget.activeEffect()
    assert scripted is not None, f"Effect {name!r} did not start; registered: {names}."
    mouse = host.mouse("Red")
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    for view in ("Red", "Yellow", "Green"):
        host.mouse(view).jump_to([(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2])])
    return RunningEditor(host, widget, scripted.self(), scripted, segmentation, volume, mouse)


def register_effect(source: Path) -> None:
    """Register an effect by its file, as a module does after start-up: package first, then setPythonSource."""
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    folder = str(source.parents[1])
    if folder not in sys.path:
        sys.path.append(folder)
    if (source.parent / "__init__.py").is_file():
        importlib.import_module(source.parent.name)
    instance = effects.qSlicerSegmentEditorScriptedEffect(None)
    assert instance.setPythonSource(str(source).replace("\\", "/"))
    instance.self().register()

"""One user's scene: a volume, its segmentation, Slicer's editor on both, and the controller that answers prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.windows import IntensityWindow, choose_window
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.mrml.effect.controller import EffectController
from EfficientMedSAM2Lib.mrml.effect.worker import Worker
from EfficientMedSAM2Lib.mrml.labelmaps import array_view, to_vtk_matrix
from EfficientMedSAM2Lib.mrml.ports.segment_editor_logic_port import SegmentEditorLogicPort
from EfficientMedSAM2Lib.mrml.scene.prompt_store import nodes_of_class

UNDO_STATES = 50


class LoopWorker(Worker):
    """A worker for an event loop, which waits in the loop and never here."""

    def yield_to_tasks(self, seconds: float) -> None:  # noqa: ARG002
        """The interpreter's lock is free while the loop waits; only the log is delivered."""
        self._log.deliver()


class SelectionPort(SegmentEditorLogicPort):
    """The editor, whose undo and redo bring back the selection where the segment that was edited comes or goes."""

    def __init__(self, logic: Any) -> None:
        super().__init__(logic)
        self._undo: list[str] = []  # segment that was selected at each saved state
        self._redo: list[str] = []

    @property
    def _selected(self) -> str:
        return self.editor_node.GetSelectedSegmentID() or ""

    def save_state_for_undo(self) -> None:
        """Remember the segmentation and the selection."""
        super().save_state_for_undo()
        self._undo, self._redo = [*self._undo, self._selected][-UNDO_STATES:], []

    def clear(self) -> None:
        """Forget all states."""
        self.logic.ClearUndoState()
        self._undo, self._redo = [], []

    def undo(self) -> None:
        """Restore the state before the last action."""
        self._step(super().undo, self._undo, self._redo)

    def redo(self) -> None:
        """Repeat the action that was undone last."""
        self._step(super().redo, self._redo, self._undo)

    def _step(self, step: Callable[[], None], source: list[str], target: list[str]) -> None:
        before, selected = self.segment_ids(), self._selected
        then = source.pop() if source else ""
        target.append(selected)
        step()
        ids = self.segment_ids()
        if then in ids and (then not in before or selected not in ids):
            selected = then  # it has come back, or what was selected has gone
        elif selected not in ids:
            selected = ids[min(max(before.index(selected) - 1, 0), len(ids) - 1)] if selected in before and ids else ""
        self.editor_node.SetSelectedSegmentID(selected)


class ViewerSession:
    """Slicer's application core with one volume at a time.

    Args:
        load: Returns the volume predictor; called in the worker thread.
        changed: Called whenever something to be shown has changed.

    Attributes:
        volume: What was opened last, as it was read; None before.
        volume_node: Its vtkMRMLScalarVolumeNode or vtkMRMLVectorVolumeNode.
        segmentation_node: The vtkMRMLSegmentationNode on it.
        from_files: Fingerprint of the voxels of each segment that was made of a file of prompts alone, as it was then.
    """

    def __init__(self, load: Callable[[], Any], changed: Callable[[], None]) -> None:
        import slicer
        from trame_slicer.core import SlicerApp

        self.app = SlicerApp()
        self.scene = self.app.scene
        self.volume: Volume | None = None
        self.volume_node: Any = None
        self.segmentation_node: Any = None
        self.from_files: dict[str, Any] = {}
        self.display_window = IntensityWindow(0.0, 1.0)
        # trame-slicer takes the editor's own history away to replace it by one of its effects; ours is Slicer's.
        self._history = slicer.vtkSegmentationHistory()
        self.logic = self.app.segmentation_editor.editor_logic
        self.logic.SetSegmentationHistory(self._history)
        self.logic.SetMaximumNumberOfUndoStates(UNDO_STATES)
        self.port = SelectionPort(self.logic)
        self.controller = EffectController(self.port, LoopWorker(), load, changed)

    @property
    def editor_node(self) -> Any:
        """The vtkMRMLSegmentEditorNode."""
        return self.app.segmentation_editor.editor_node

    def open(self, volume: Volume) -> None:
        """Show another volume; segments, prompts and history of the one before are gone."""
        self.close_volume()
        self.volume = volume
        self.volume_node = add_volume(self.scene, volume)
        self.display_window = choose_window(volume.array, volume.modality)
        self.set_display_window(volume.file_windows[0] if volume.file_windows else self.display_window)
        editor = self.app.segmentation_editor
        node = editor.create_empty_segmentation_node()
        node.SetName(f"{volume.name} segmentation")
        self.segmentation_node = node
        tree = next(iter(nodes_of_class(self.scene, "vtkMRMLSubjectHierarchyNode")), None)
        if tree is not None:  # only Slicer's own GUI makes items by itself; prompts are filed beside this one
            tree.CreateItem(tree.GetSceneItemID(), node)
        editor.set_active_segmentation(node, self.volume_node)
        display = node.GetDisplayNode()
        display.SetOpacity2DFill(0.3)
        display.SetOpacity2DOutline(1.0)
        display.SetSliceIntersectionThickness(2)
        self.port.clear()

    def close_volume(self) -> None:
        """Remove all that belongs to the volume from the scene."""
        self.controller.forget()
        self.from_files = {}
        if self.volume_node is None:
            return
        self.editor_node.SetSelectedSegmentID("")
        kinds = ("vtkMRMLMarkupsNode", "vtkMRMLModelNode")
        for node in [node for kind in kinds for node in nodes_of_class(self.scene, kind)]:
            if node.GetSaveWithScene() and not node.GetSingletonTag() and not node.GetHideFromEditors():
                self.scene.RemoveNode(node)
        self.port.clear()
        self.scene.RemoveNode(self.segmentation_node)
        self.scene.RemoveNode(self.volume_node)
        self.volume = self.volume_node = self.segmentation_node = None

    def set_display_window(self, window: IntensityWindow) -> None:
        """Grey values on the screen; the network's own window is the controller's."""
        node = self.volume_node.GetDisplayNode() if self.volume_node is not None else None
        if node is not None and hasattr(node, "SetWindowLevel"):
            node.AutoWindowLevelOff()
            node.SetWindowLevel(window.width, window.level)

    @property
    def unit(self) -> str:
        """What lengths are told in: mm, or pixels (pictures) and voxels where a file does not tell their size."""
        if self.volume is None or self.volume.spacing_known:
            return "mm"
        return "pixels" if self.volume.shape_kji[0] == 1 else "voxels"

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture of pixels alone: one slice, and a file that knows no patient and no size."""
        return self.volume is not None and not self.volume.spacing_known and self.volume.shape_kji[0] == 1

    @property
    def is_ct(self) -> bool:
        """Whether values are Hounsfield units, by what the automatic window took the volume for."""
        return self.display_window.name == "ct"

    def shown_window(self) -> tuple[float, float] | None:
        """(width, level) of the display; None for colour volumes and where there is none."""
        node = self.volume_node.GetDisplayNode() if self.volume_node is not None else None
        if node is None or not hasattr(node, "GetWindow") or self.volume_node.IsA("vtkMRMLVectorVolumeNode"):
            return None
        return float(node.GetWindow()), float(node.GetLevel())

    def undo(self) -> None:
        """Take back the last action; while one is under way, end it."""
        if self.controller.has_preview:
            self.controller.reject()
        elif self.port.can_undo():
            self.port.undo()
            self.controller.scene_changed()

    def redo(self) -> None:
        """Do the action that was undone last again."""
        if not self.controller.has_preview and self.port.can_redo():
            self.port.redo()
            self.controller.scene_changed()

    def close(self) -> None:
        """The end of the session."""
        self.controller.close()


def add_volume(scene: Any, volume: Volume) -> Any:
    """A volume as a node with its display; voxels are copied."""
    import vtk
    from vtk.util.numpy_support import get_vtk_array_type

    array = volume.array
    if array.dtype == bool:
        array = array.view(np.uint8)
    components = 1 if array.ndim == 3 else array.shape[3]
    image = vtk.vtkImageData()
    image.SetDimensions(*volume.shape_kji[::-1])
    image.AllocateScalars(get_vtk_array_type(array.dtype), components)
    array_view(image)[...] = array
    kind = "vtkMRMLScalarVolumeNode" if components == 1 else "vtkMRMLVectorVolumeNode"
    node = scene.AddNewNodeByClass(kind, volume.name)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(to_vtk_matrix(volume.ijk_to_ras))
    if volume.modality:
        node.SetAttribute("DICOM.Modality", volume.modality)
    node.CreateDefaultDisplayNodes()
    return node

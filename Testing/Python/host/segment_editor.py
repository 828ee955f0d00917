"""The Segment Editor widget and the effect factory, reduced to what an effect notices of them."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .pythonqt import report_error, unwrap
from .qt_modules import CustomWidgets
from .scripted_effect import qSlicerSegmentEditorScriptedEffect
from .views import EVENTS, qMRMLSliceWidget, qMRMLWidget


@CustomWidgets.add
class qSlicerSegmentEditorEffectFactory(QtCore.QObject):
    """Registered effects; each editor has clones of them."""

    effectRegistered = QtCore.Signal(str)
    _only: Any = None

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._effects: list[Any] = []

    @staticmethod
    def instance() -> Any:
        """The only one."""
        cls = qSlicerSegmentEditorEffectFactory
        cls._only = cls._only or cls()
        return cls._only

    def registerEffect(self, effect: Any) -> bool:
        """Add an effect, once for each name."""
        if not effect.name or effect.name in [known.name for known in self._effects]:
            return False
        self._effects.append(effect)
        self.effectRegistered.emit(effect.name)
        return True

    def registeredEffects(self) -> list[Any]:
        """All of them."""
        return list(self._effects)


class AbstractScriptedSegmentEditorEffect:
    """Base class of scripted effects, written in Python in Slicer, too."""

    def __init__(self, scriptedEffect: Any) -> None:
        self.scriptedEffect = scriptedEffect

    def register(self) -> None:
        """Tell the factory."""
        slicer.qSlicerSegmentEditorEffectFactory.instance().registerEffect(self.scriptedEffect)

    def cleanup(self) -> None:
        """Called before the end."""

    def rasToXy(self, ras: Any, viewWidget: Any) -> list[int]:
        """World -> pixel."""
        xy = self.scriptedEffect.rasToXy(QtGui.QVector3D(*ras), viewWidget)
        return [xy.x(), xy.y()]

    def xyzToRas(self, xyz: Any, viewWidget: Any) -> list[float]:
        """Pixel with depth -> world."""
        return list(self.scriptedEffect.xyzToRas(QtGui.QVector3D(*xyz), viewWidget).toTuple())

    def xyToRas(self, xy: Any, viewWidget: Any) -> list[float]:
        """Pixel -> world."""
        return list(self.scriptedEffect.xyToRas(QtCore.QPoint(xy[0], xy[1]), viewWidget).toTuple())

    def xyzToIjk(self, xyz: Any, viewWidget: Any, image: Any, parentTransformNode: Any = None) -> list[int]:
        """Pixel with depth -> voxel."""
        ijk = self.scriptedEffect.xyzToIjk(QtGui.QVector3D(*xyz), viewWidget, image, parentTransformNode)
        return [int(value) for value in ijk.toTuple()]

    def xyToIjk(self, xy: Any, viewWidget: Any, image: Any, parentTransformNode: Any = None) -> list[int]:
        """Pixel -> voxel."""
        return self.xyzToIjk([xy[0], xy[1], 0], viewWidget, image, parentTransformNode)


@CustomWidgets.add
class qMRMLSegmentEditorWidget(qMRMLWidget):
    """Segment editor: node, logic, effects, undo, events of the views."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self._node: Any = None
        self._active: Any = None
        self._source: Any = None
        self._segmentation: Any = None
        self._observed: list[tuple[Any, int]] = []
        self._view_observed: list[tuple[Any, int]] = []
        self._undo_states = 10
        column = QtWidgets.QVBoxLayout(self)
        self._effects_box = QtWidgets.QGroupBox("Effects")
        QtWidgets.QHBoxLayout(self._effects_box)
        self._undo_button, self._redo_button = QtWidgets.QToolButton(), QtWidgets.QToolButton()
        self._options_box = QtWidgets.QGroupBox("Effect")
        QtWidgets.QVBoxLayout(self._options_box)
        column.addWidget(self._effects_box)
        column.addWidget(self._options_box)
        column.addStretch()
        self._effects: dict[str, qSlicerSegmentEditorScriptedEffect] = {}
        qSlicerSegmentEditorEffectFactory.instance().effectRegistered.connect(self.updateEffectList)

    # Nodes
    def setMRMLScene(self, scene: Any) -> None:
        super().setMRMLScene(scene)
        self.logic.SetMRMLScene(scene)
        self.logic.SetMaximumNumberOfUndoStates(self._undo_states)
        self._observed.append((scene, scene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, self._on_end_close)))
        self.updateEffectList()

    def mrmlSegmentEditorNode(self) -> Any:
        return self._node

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        if node is self._node:
            self.updateWidgetFromMRML()
            return
        for subject, tag in [entry for entry in self._observed if entry[0] is self._node]:
            subject.RemoveObserver(tag)
        self._node = node
        self.logic.SetSegmentEditorNode(node)
        if node is None:
            return
        for effect in self._effects.values():
            self._give_node(effect)
        modified = vtk.vtkCommand.ModifiedEvent
        self._observed.append((node, node.AddObserver(modified, lambda *_a: self.updateWidgetFromMRML())))
        changed = slicer.vtkMRMLSegmentEditorNode.EffectParameterModified
        self._observed.append((node, node.AddObserver(changed, lambda *_a: self._update_options())))
        self.updateWidgetFromMRML()

    def _on_end_close(self, *_args: Any) -> None:
        """The node has survived without its attributes: defaults are set anew, and no effect is active."""
        for effect in self._effects.values() if self._node is not None else ():
            self._give_node(effect)
        self.setActiveEffectByName("")
        self.updateWidgetFromMRML()

    def _give_node(self, effect: Any) -> None:
        effect.setParameterSetNode(self._node)
        effect.call("setMRMLDefaults")

    def _update_options(self) -> None:
        for effect in self._effects.values():
            effect.updateGUIFromMRML()

    def segmentationNode(self) -> Any:
        return self._node.GetSegmentationNode()

    def setSegmentationNode(self, node: Any) -> None:
        """Another segmentation ends the effect, and brings its reference volume and its first segment with it."""
        if self.logic.GetSegmentationNode() is node:
            return
        self.logic.SetSegmentationNode(node)
        self.setActiveEffectByName("")
        for subject, tag in [entry for entry in self._observed if entry[0] is self._segmentation]:
            subject.RemoveObserver(tag)
            self._observed.remove((subject, tag))
        self._segmentation = node.GetSegmentation() if node is not None else None
        if node is None:
            return
        removed = self._segmentation.SegmentRemoved
        self._observed.append((self._segmentation, self._segmentation.AddObserver(removed, self._on_segment_removed)))
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        if node.GetNodeReference(role) is not None:
            self.setSourceVolumeNode(node.GetNodeReference(role))
        if node.GetSegmentation().GetNumberOfSegments():
            self.setCurrentSegmentID(node.GetSegmentation().GetNthSegmentID(0))

    def _on_segment_removed(self, segmentation: Any, _event: str) -> None:
        """Looked at when the events are through: a segmentation that is copied over loses its segments for a moment."""
        QtCore.QTimer.singleShot(0, lambda: self._leave_removed_segment(segmentation))

    def _leave_removed_segment(self, segmentation: Any) -> None:
        """The table has lost the selected row: nothing is selected, and an effect for single segments is left."""
        if self._node is None or segmentation is not self._segmentation:
            return
        if segmentation.GetSegment(self.currentSegmentID()) is not None:
            return
        self._node.SetSelectedSegmentID(None)
        if self._active is not None and self._active.perSegment:
            self.setActiveEffectByName("")

    def sourceVolumeNode(self) -> Any:
        return self._node.GetSourceVolumeNode()

    def setSourceVolumeNode(self, node: Any) -> None:
        self.logic.SetSourceVolumeNode(node)

    def currentSegmentID(self) -> str:
        return self._node.GetSelectedSegmentID() or ""

    def setCurrentSegmentID(self, segment_id: str) -> None:
        self.logic.SetCurrentSegmentID(segment_id)

    # Effects
    def updateEffectList(self, _name: str = "") -> None:
        for effect in qSlicerSegmentEditorEffectFactory.instance().registeredEffects():
            if effect.name in self._effects:
                continue
            clone = unwrap(effect.call("clone") if not hasattr(effect, "clone") else effect.clone())
            clone._editor = self
            self._effects[clone.name] = clone
            if self._node is not None:
                self._give_node(clone)
            button = QtWidgets.QToolButton()
            button.setObjectName(clone.name)
            button.setText(clone.title or clone.name)
            button.setIcon(clone.call("icon") or QtGui.QIcon())
            button.setIconSize(QtCore.QSize(28, 28))
            button.setToolButtonStyle(QtCore.Qt.ToolButtonTextUnderIcon)
            button.setCheckable(True)
            button.clicked.connect(lambda on, name=clone.name: self.setActiveEffectByName(name if on else ""))
            self._effects_box.layout().addWidget(button)
            clone.call("setupOptionsFrame")
            clone.optionsFrame().setVisible(False)
            self._options_box.layout().addWidget(clone.optionsFrame())

    def availableEffectNames(self) -> list[str]:
        return list(self._effects)

    def effectByName(self, name: str) -> Any:
        return self._effects.get(name)

    def activeEffect(self) -> Any:
        return self._active

    def setActiveEffect(self, effect: Any) -> None:
        self.setActiveEffectByName(effect.name if effect is not None else "")

    def setActiveEffectByName(self, name: str) -> None:
        if self._node is not None:
            self._node.SetActiveEffectName(name)

    def updateWidgetFromMRML(self) -> None:
        scene = self.mrmlScene()
        if self._node is None or scene is None or scene.IsClosing() or scene.IsBatchProcessing():
            return
        source = self._node.GetSourceVolumeNode()
        if source is not self._source:
            self._source = source
            for effect in self._effects.values():
                effect.call("sourceVolumeNodeChanged")
        wanted = self._effects.get(self._node.GetActiveEffectName() or "")
        if wanted is self._active:
            return
        if self._active is not None:
            self._active.deactivate()
        if wanted is not None and not self.logic.SetSourceRepresentationToBinaryLabelMap():
            wanted = None
        if wanted is not None:
            self.setupViewObservations()
            interaction = self._interaction_node()
            if interaction.GetCurrentInteractionMode() != interaction.ViewTransform:
                interaction.SetCurrentInteractionMode(interaction.ViewTransform)
            wanted.activate()
            self._options_box.setTitle(wanted.title)
        else:
            self.removeViewObservations()
            self._options_box.setTitle("")
        for button in self._effects_box.findChildren(QtWidgets.QToolButton):
            button.setChecked(wanted is not None and button.objectName() == wanted.name)
        for view in self._slice_widgets():
            view.sliceView().setViewCursor(
                wanted.call("createCursor", view) or QtGui.QCursor() if wanted is not None else QtGui.QCursor()
            )
        self._active = wanted

    # Undo
    def saveStateForUndo(self) -> None:
        self.logic.SaveStateForUndo()

    def undo(self) -> None:
        self.logic.Undo()

    def redo(self) -> None:
        self.logic.Redo()

    def _set_undo_states(self, count: int) -> None:
        self._undo_states = count
        self.logic.SetMaximumNumberOfUndoStates(count)

    maximumNumberOfUndoStates = QtCore.Property(int, lambda self: self._undo_states, _set_undo_states)
    undoEnabled = QtCore.Property(bool, lambda self: True, lambda self, on: None)

    # Views
    def _slice_widgets(self) -> list[qMRMLSliceWidget]:
        layout = unwrap(slicer.app.layoutManager())
        return [layout.sliceWidget(name) for name in layout.sliceViewNames()]

    def _interaction_node(self) -> Any:
        return self.mrmlScene().GetSingletonNode("Singleton", "vtkMRMLInteractionNode")

    def setupViewObservations(self) -> None:
        self.removeViewObservations()
        for view in self._slice_widgets():
            if not self.logic.IsSegmentationDisplayableInView(view.mrmlSliceNode()):
                continue
            interactor = view.sliceView().interactor()
            for name in EVENTS:
                number = vtk.vtkCommand.GetEventIdFromString(f"{name}Event")
                tag = interactor.AddObserver(number, self._on_interaction(view, number), 1.0)
                self._view_observed.append((interactor, tag))
            node = view.mrmlSliceNode()
            tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_view_node(view), 1.0)
            self._view_observed.append((node, tag))
        interaction = self._interaction_node()  # any change of it is told, not only that of its mode
        changed = interaction.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_interaction_mode)
        self._view_observed.append((interaction, changed))

    def removeViewObservations(self) -> None:
        for subject, tag in self._view_observed:
            subject.RemoveObserver(tag)
        self._view_observed = []

    def _on_interaction(self, view: qMRMLSliceWidget, number: int) -> Any:
        def deliver(interactor: Any, _event: str) -> None:
            if self._active is not None and not self.mrmlScene().IsClosing():
                answer = self._active.call("processInteractionEvents", interactor, number, view)
                if answer is not None and type(answer) is not bool:
                    report_error(TypeError(f"processInteractionEvents is expected to return a bool, not {answer!r}."))
                view.aborted = answer is True

        return deliver

    def _on_view_node(self, view: qMRMLSliceWidget) -> Any:
        def deliver(node: Any, _event: str) -> None:
            if self._active is not None and not self.mrmlScene().IsClosing():
                self._active.call("processViewNodeEvents", node, vtk.vtkCommand.ModifiedEvent, view)

        return deliver

    def _on_interaction_mode(self, node: Any, _event: str) -> None:
        if self._active is not None:
            self._active.interactionNodeModified(node)

    def stop(self) -> None:
        """Let go of the scene."""
        if self._node is not None:
            self.setActiveEffectByName("")
        for effect in self._effects.values():
            effect.call("cleanup")
        self.removeViewObservations()
        for subject, tag in self._observed:
            subject.RemoveObserver(tag)
        self._observed = []

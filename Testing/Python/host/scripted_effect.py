"""``scriptedEffect``: the C++ half of a scripted effect, on Slicer's real vtkSlicerSegmentEditorLogic."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .pythonqt import errors, report_error, unwrap, wrap
from .qt_modules import CustomWidgets
from .views import qMRMLSliceWidget


def _property(kind: type, name: str) -> Any:
    return QtCore.Property(
        kind, lambda self: self._values[name], lambda self, value: self._values.update({name: value})
    )


@CustomWidgets.add
class qSlicerSegmentEditorAbstractEffect(QtCore.QObject):
    """What every effect inherits in C++."""

    ModificationModeSet, ModificationModeAdd, ModificationModeRemove, ModificationModeRemoveAll = range(4)
    NotConfirmed, ConfirmedWithoutDialog, ConfirmedWithDialog = range(3)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {
            "name": "UnnamedScriptedEffect",
            "title": "",
            "perSegment": True,
            "requireSegments": True,
            "showEffectCursorInSliceView": True,
            "showEffectCursorInThreeDView": False,
        }
        self._node: Any = None
        self._editor: Any = None
        self._active = False
        self._frame = QtWidgets.QFrame()
        self._layout = QtWidgets.QFormLayout(self._frame)
        self._layout.setContentsMargins(0, 0, 0, 0)

    name = _property(str, "name")
    title = _property(str, "title")
    perSegment = _property(bool, "perSegment")
    requireSegments = _property(bool, "requireSegments")
    showEffectCursorInSliceView = _property(bool, "showEffectCursorInSliceView")
    showEffectCursorInThreeDView = _property(bool, "showEffectCursorInThreeDView")

    # State
    def parameterSetNode(self) -> Any:
        return self._node

    def setParameterSetNode(self, node: Any) -> None:
        self._node = node

    def scene(self) -> Any:
        return self._node.GetScene() if self._node is not None else None

    def active(self) -> bool:
        return self._active

    # Options
    def optionsFrame(self) -> Any:
        return self._frame

    def optionsLayout(self) -> Any:
        return self._layout

    def addOptionsWidget(self, item: Any) -> None:
        self._layout.addRow(self._adopted(item))

    def addLabeledOptionsWidget(self, label: str, item: Any) -> Any:
        text, content = QtWidgets.QLabel(label), self._adopted(item)
        if isinstance(content, QtWidgets.QLayout) and not isinstance(content, QtWidgets.QHBoxLayout):
            text.setAlignment(QtCore.Qt.AlignLeft | QtCore.Qt.AlignTop)
        self._layout.addRow(text, content)
        return text

    def _adopted(self, item: Any) -> Any:
        """As Slicer does: whatever size policy a widget had before is replaced."""
        content = _as_qt(item)
        if isinstance(content, QtWidgets.QWidget):
            content.setParent(self._frame)
            content.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.MinimumExpanding)
        return content

    # Parameters
    def _key(self, name: str) -> str:
        return f"{self.name}.{_text(name)}"

    def parameterDefined(self, name: str) -> bool:
        return self._node.GetAttribute(self._key(name)) is not None

    def commonParameterDefined(self, name: str) -> bool:
        return self._node.GetAttribute(_text(name)) is not None

    def parameter(self, name: str) -> str:
        if self._node is None:
            return ""
        value = self._node.GetAttribute(self._key(name)) or self._node.GetAttribute(name)
        if value is None and self._node.GetAttribute(self._key(name)) is None:
            message = f"Parameter named {name} cannot be found for effect {self.name}"  # Slicer logs an error
            raise KeyError(message)
        return value or ""

    def integerParameter(self, name: str) -> int:
        return int(self.parameter(name))

    def doubleParameter(self, name: str) -> float:
        return float(self.parameter(name))

    def setParameter(self, name: str, value: Any) -> None:
        self.setCommonParameter(self._key(name), value)

    def setCommonParameter(self, name: str, value: Any) -> None:
        if type(value) not in (str, int, float, bool):
            message = f"setParameter takes str, int or float; got {type(value).__name__} for {name}."
            raise TypeError(message)
        text = str(int(value)) if isinstance(value, (bool, int)) else f"{value:g}" if type(value) is float else value
        old = self._node.GetAttribute(name)
        if old == text or (old is None and not text):  # so an empty default leaves the parameter undefined
            return
        modified = self._node.GetDisableModifiedEvent()
        self._node.SetDisableModifiedEvent(1)  # Slicer invokes EffectParameterModified instead of Modified
        self._node.SetAttribute(name, text)
        self._node.SetDisableModifiedEvent(modified)
        self._node.InvokeCustomModifiedEvent(slicer.vtkMRMLSegmentEditorNode.EffectParameterModified)

    def setParameterDefault(self, name: str, value: Any) -> None:
        if not self.parameterDefined(name):
            self.setParameter(name, value)

    def setCommonParameterDefault(self, name: str, value: Any) -> None:
        if not self.commonParameterDefined(name):
            self.setCommonParameter(name, value)

    def nodeReference(self, name: str) -> Any:
        if self._node is None:
            return None
        return self._node.GetNodeReference(self._key(name)) or self._node.GetNodeReference(name)

    def setNodeReference(self, name: str, node: Any) -> None:
        self.setCommonNodeReference(self._key(name), node)

    def setCommonNodeReference(self, name: str, node: Any) -> None:
        if self._node.GetNodeReference(name) is node:
            return
        self._node.SetNodeReferenceID(name, node.GetID() if node is not None else None)
        self._node.InvokeCustomModifiedEvent(slicer.vtkMRMLSegmentEditorNode.EffectParameterModified)

    # Images
    def modifierLabelmap(self) -> Any:
        return self._editor.logic.GetModifierLabelmap()

    def defaultModifierLabelmap(self) -> Any:
        self._editor.logic.ResetModifierLabelmapToDefault()
        return self._editor.logic.GetModifierLabelmap()

    def maskLabelmap(self) -> Any:
        self._editor.logic.UpdateMaskLabelmap()
        return self._editor.logic.GetMaskLabelmap()

    def selectedSegmentLabelmap(self) -> Any:
        self._editor.logic.UpdateSelectedSegmentLabelmap()
        return self._editor.logic.GetSelectedSegmentLabelmap()

    def referenceGeometryImage(self) -> Any:
        self._editor.logic.UpdateReferenceGeometryImage()
        return self._editor.logic.GetReferenceGeometryImage()

    def sourceVolumeImageData(self) -> Any:
        self._editor.logic.UpdateAlignedSourceVolume()
        return self._editor.logic.GetAlignedSourceVolume()

    # Editing
    def saveStateForUndo(self) -> None:
        self._editor.saveStateForUndo()

    def confirmCurrentSegmentVisible(self) -> int:
        return self.ConfirmedWithoutDialog

    def modifySelectedSegmentByLabelmap(self, labelmap: Any, mode: int, *options: Any) -> None:
        self.modifySegmentByLabelmap(
            self._node.GetSegmentationNode(), self._node.GetSelectedSegmentID() or "", labelmap, mode, *options
        )

    def modifySegmentByLabelmap(self, node: Any, segment_id: str, labelmap: Any, mode: int, *options: Any) -> None:
        extent, bypass = [0, -1, 0, -1, 0, -1], False
        for option in options:
            if isinstance(option, bool):
                bypass = option
            elif len(option) == 6 and all(type(value) is int for value in option):
                extent = list(option)
            else:
                message = f"extent must have 6 int values, got {option!r}"
                raise ValueError(message)
        logic = self._editor.logic
        logic.ModifySegmentByLabelmap(node, segment_id, labelmap, _mode(mode), extent, self.perSegment, bypass)

    def selectEffect(self, name: str) -> None:
        self._editor.setActiveEffectByName(name)

    # Views
    def renderWindow(self, widget: Any) -> Any:
        return widget.sliceView().renderWindow()

    def renderer(self, widget: Any) -> Any:
        return widget.sliceView()._renderer

    def viewNode(self, widget: Any) -> Any:
        return widget.mrmlSliceNode()

    def addActor2D(self, widget: Any, actor: vtk.vtkActor2D) -> None:
        self.renderer(widget).AddViewProp(actor)
        self.scheduleRender(widget)

    def removeActor2D(self, widget: Any, actor: vtk.vtkActor2D) -> None:
        self.renderer(widget).RemoveViewProp(actor)
        self.scheduleRender(widget)

    def scheduleRender(self, widget: Any) -> None:
        widget.sliceView().scheduleRender()

    def forceRender(self, widget: Any) -> None:
        widget.sliceView().forceRender()

    def cursorOff(self, widget: Any) -> None:
        widget.sliceView().setDefaultViewCursor(QtGui.QCursor(QtCore.Qt.BlankCursor))

    def cursorOn(self, widget: Any) -> None:
        widget.sliceView().setDefaultViewCursor(QtGui.QCursor())

    def sliceSpacing(self, widget: Any) -> float:
        logic = widget.sliceLogic()
        return float(slicer.vtkSlicerSegmentEditorLogic.GetSliceSpacing(logic.GetSliceNode(), logic))

    def segmentationDisplayableInView(self, view_node: Any) -> bool:
        return bool(self._editor.logic.IsSegmentationDisplayableInView(view_node))

    def rasToXy(self, ras: QtGui.QVector3D, widget: qMRMLSliceWidget) -> QtCore.QPoint:
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(widget.mrmlSliceNode().GetXYToRAS(), inverse)
        x, y, _z, _w = inverse.MultiplyPoint((ras.x(), ras.y(), ras.z(), 1.0))
        return QtCore.QPoint(round(x), round(y))

    def xyzToRas(self, xyz: QtGui.QVector3D, widget: qMRMLSliceWidget) -> QtGui.QVector3D:
        matrix = widget.mrmlSliceNode().GetXYToRAS()
        return QtGui.QVector3D(*matrix.MultiplyPoint((xyz.x(), xyz.y(), xyz.z(), 1.0))[:3])

    def xyToRas(self, xy: QtCore.QPoint, widget: qMRMLSliceWidget) -> QtGui.QVector3D:
        return self.xyzToRas(QtGui.QVector3D(xy.x(), xy.y(), 0.0), widget)

    def xyzToIjk(self, xyz: Any, widget: Any, image: Any, parent_transform: Any = None) -> QtGui.QVector3D:
        ijk = [0, 0, 0]
        slicer.vtkSlicerSegmentEditorLogic.XyzToIjk(
            [xyz.x(), xyz.y(), xyz.z()], ijk, widget.mrmlSliceNode(), image, parent_transform
        )
        return QtGui.QVector3D(*ijk)

    def xyToIjk(self, xy: Any, widget: Any, image: Any, parent_transform: Any = None) -> QtGui.QVector3D:
        return self.xyzToIjk(QtGui.QVector3D(xy.x(), xy.y(), 0.0), widget, image, parent_transform)


@CustomWidgets.add
class qSlicerSegmentEditorScriptedEffect(qSlicerSegmentEditorAbstractEffect):
    """An effect whose virtual methods are in a Python class."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._python: Any = None

    def setPythonSource(self, path: str) -> bool:
        """Slicer's rules: module name = parent folder, class name = file's base name (with ``Effect`` at its end)."""
        source = Path(path)
        if source.suffix not in (".py", ".pyc"):
            return False
        folder = source.parent.name
        class_name = source.stem if source.stem.endswith("Effect") else f"{source.stem}Effect"
        module = sys.modules.get(folder)
        if module is None or not hasattr(module, class_name):
            # As Slicer: the file itself becomes the module of the folder's name, unless the package was imported.
            spec = importlib.util.spec_from_file_location(folder, source)
            module = importlib.util.module_from_spec(spec)
            sys.modules[folder] = module
            spec.loader.exec_module(module)
        self._python = getattr(module, class_name)(wrap(self))
        setattr(slicer, folder, self._python)
        return True

    def self(self) -> Any:
        """The Python half."""
        return self._python

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of the Python class; when it is absent or fails, C++'s own applies (None)."""
        function = getattr(self._python, method, None)
        if function is None:
            return None
        try:
            return function(*[wrap(arg) for arg in args])
        except Exception as error:
            report_error(error)
            return None

    def activate(self) -> None:
        """Show the options, then call Python."""
        self._frame.setVisible(True)
        self._active = True
        self.updateGUIFromMRML()
        self.call("activate")

    def deactivate(self) -> None:
        """Hide the options, then call Python."""
        self._frame.setVisible(False)
        self._active = False
        self.call("deactivate")

    def updateGUIFromMRML(self) -> None:
        """Slot; an effect that is not active learns of parameters when it is activated."""
        if self._active:
            self.call("updateGUIFromMRML")

    def updateMRMLFromGUI(self) -> None:
        """Slot."""
        self.call("updateMRMLFromGUI")

    def interactionNodeModified(self, node: Any) -> None:
        """Markup placement ends an effect that does not say otherwise, or fails to."""
        failures = len(errors)
        if hasattr(self._python, "interactionNodeModified"):
            self.call("interactionNodeModified", node)
            if len(errors) == failures:
                return
        if node.GetCurrentInteractionMode() != slicer.vtkMRMLInteractionNode.ViewTransform:
            self.selectEffect("")


def _mode(number: int) -> Any:
    """The logic's enumerator of the effect's."""
    logic = slicer.vtkSlicerSegmentEditorLogic
    return (
        logic.ModificationModeSet,
        logic.ModificationModeAdd,
        logic.ModificationModeRemove,
        logic.ModificationModeRemoveAll,
    )[number]


def _as_qt(item: Any) -> Any:
    return unwrap(item)


def _text(name: Any) -> str:
    if not isinstance(name, str):
        message = f"A parameter's name is a string, got {name!r}."
        raise TypeError(message)
    return name

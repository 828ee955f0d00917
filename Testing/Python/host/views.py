"""Slice views: Slicer's own slice logic and node, a renderer without a screen, and simulated mouse and keyboard."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .qt_modules import CustomWidgets

ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
SIZE = 400  # pixels
EVENTS = (
    "LeftButtonPress",
    "LeftButtonRelease",
    "LeftButtonDoubleClick",
    "RightButtonPress",
    "RightButtonRelease",
    "RightButtonDoubleClick",
    "MiddleButtonPress",
    "MiddleButtonRelease",
    "MiddleButtonDoubleClick",
    "MouseMove",
    "MouseWheelForward",
    "MouseWheelBackward",
    "MouseWheelLeft",
    "MouseWheelRight",
    "KeyPress",
    "KeyRelease",
    "Enter",
    "Leave",
)


@CustomWidgets.add
class qMRMLWidget(QtWidgets.QWidget):
    """Widget that knows the scene."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._receivers: list[Any] = []  # widgets that the .ui file connects to mrmlSceneChanged

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Set it here and in the connected widgets."""
        self._scene = scene
        for receiver in self._receivers:
            receiver.setMRMLScene(scene)


@CustomWidgets.add
class qMRMLSliceView(qMRMLWidget):
    """The view inside a slice widget."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._window: Any = None
        self._renderer = vtk.vtkRenderer()
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetSize(SIZE, SIZE)
        self._interactor.Enable()
        self._style = vtk.vtkInteractorStyleUser()
        self._interactor.SetInteractorStyle(self._style)
        self.renders = 0

    def renderWindow(self) -> Any:
        """VTK's window, made when it is asked for: that takes a third of a second."""
        if self._window is None:
            self._window = vtk.vtkRenderWindow()
            self._window.SetOffScreenRendering(1)
            self._window.SetSize(SIZE, SIZE)
            self._window.AddRenderer(self._renderer)
            self._interactor.SetRenderWindow(self._window)
        return self._window

    def interactor(self) -> Any:
        """VTK's interactor."""
        return self._interactor

    def interactorStyle(self) -> Any:
        """Its style."""
        return self._style

    def scheduleRender(self) -> None:
        """Render later; the stand-in only counts."""
        self.renders += 1

    def forceRender(self) -> None:
        """Render now; the stand-in only counts."""
        self.renders += 1

    def setViewCursor(self, cursor: QtGui.QCursor) -> None:
        """Show a cursor."""
        self.setCursor(cursor)

    def setDefaultViewCursor(self, cursor: QtGui.QCursor) -> None:
        """Show a cursor by default."""
        self.setCursor(cursor)


@CustomWidgets.add
class qMRMLSliceWidget(qMRMLWidget):
    """A slice view of the layout, with a real vtkMRMLSliceLogic."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._logic = slicer.vtkMRMLSliceLogic()
        self._view = qMRMLSliceView(self)

    def start(self, scene: Any, name: str) -> None:
        """Make the nodes of a view called Red, Yellow or Green."""
        self.setObjectName(f"qMRMLSliceWidget{name}")
        self.setMRMLScene(scene)
        self._logic.SetMRMLScene(scene)
        node = scene.GetNodeByID(f"vtkMRMLSliceNode{name}")
        node = node or self._logic.AddSliceNode(name)
        self._logic.SetSliceNode(node)
        node.SetOrientation(ORIENTATIONS[name])
        node.SetMappedInLayout(1)
        node.SetDimensions(SIZE, SIZE, 1)
        node.SetFieldOfView(250.0, 250.0, 1.0)

    def sliceLogic(self) -> Any:
        """vtkMRMLSliceLogic."""
        return self._logic

    def mrmlSliceNode(self) -> Any:
        """vtkMRMLSliceNode."""
        return self._logic.GetSliceNode()

    def sliceView(self) -> qMRMLSliceView:
        """The view inside."""
        return self._view

    def interactorStyle(self) -> Any:
        """The view's interactor style."""
        return self._view.interactorStyle()

    def fitSliceToBackground(self) -> None:
        """Show the whole background volume."""
        self._logic.FitSliceToAll()


@CustomWidgets.add
class qMRMLThreeDWidget(qMRMLWidget):
    """A 3D view; the stand-in has none, the class exists for comparisons."""


@CustomWidgets.add
class qMRMLLayoutManager(QtCore.QObject):
    """The views of the layout: Red, Yellow, Green."""

    layoutChanged = QtCore.Signal(int)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._widgets: dict[str, qMRMLSliceWidget] = {}

    def start(self, scene: Any) -> None:
        """Make the views."""
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
        for name in ORIENTATIONS:
            self._widgets[name] = qMRMLSliceWidget()
            self._widgets[name].start(scene, name)

    def sliceViewNames(self) -> list[str]:
        """Red, Yellow, Green."""
        return list(self._widgets)

    def sliceWidget(self, name: str) -> qMRMLSliceWidget | None:
        """The widget of a view."""
        return self._widgets.get(name)

    def mrmlSliceLogics(self) -> Any:
        """vtkCollection of all vtkMRMLSliceLogic."""
        logics = vtk.vtkCollection()
        for widget in self._widgets.values():
            logics.AddItem(widget.sliceLogic())
        return logics

    @property
    def threeDViewCount(self) -> int:
        """There is no 3D view."""
        return 0

    def threeDWidget(self, _index: int) -> None:
        """There is no 3D view."""

    def resetSliceViews(self) -> None:
        """Show whole volumes."""
        for widget in self._widgets.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        """There is no 3D view."""


class Mouse:
    """Mouse and keyboard on one slice view; positions are world RAS in mm or pixels of the view.

    Example:
        >>> mouse.jump_to((0, 0, 40))
        >>> mouse.click((10, -20, 40))
        >>> mouse.drag((0, 0, 40), (50, 60, 40))
        >>> mouse.key("Return")
    """

    def __init__(self, widget: qMRMLSliceWidget) -> None:
        self.widget = widget
        self.node = widget.mrmlSliceNode()
        self.interactor = widget.sliceView().interactor()

    def jump_to(self, point_ras: Any) -> None:
        """Show the slice through a point, in the middle of the view."""
        self.node.JumpSliceByCentering(*point_ras)

    def look_along(self, normal: Any, transverse: Any, point_ras: Any) -> None:
        """Oblique view: slice normal and x axis in RAS, through a point."""
        self.node.SetSliceToRASByNTP(*normal, *transverse, *point_ras, 0)

    def xy(self, point_ras: Any) -> tuple[int, int]:
        """Pixel of a world position; the depth is left out."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), inverse)
        x, y, _z, _w = inverse.MultiplyPoint((*[float(value) for value in point_ras], 1.0))
        return round(x), round(y)

    def ras(self, xy: Any) -> tuple[float, float, float]:
        """World position of a pixel."""
        return tuple(self.node.GetXYToRAS().MultiplyPoint((float(xy[0]), float(xy[1]), 0.0, 1.0))[:3])

    def event(self, name: str, at: Any = None, key: str = "", **modifiers: bool) -> None:
        """Send ``"LeftButtonPress"`` and the like; ``shift``, ``ctrl`` and ``alt`` are modifiers."""
        if at is not None:
            x, y = at if len(at) == 2 else self.xy(at)
            self.interactor.SetEventPosition(x, y)
        self.interactor.SetControlKey(int(modifiers.get("ctrl", False)))
        self.interactor.SetShiftKey(int(modifiers.get("shift", False)))
        self.interactor.SetAltKey(int(modifiers.get("alt", False)))
        if key:
            self.interactor.SetKeySym(key)
            self.interactor.SetKeyCode(key if len(key) == 1 else "\0")
        self.interactor.InvokeEvent(vtk.vtkCommand.GetEventIdFromString(f"{name}Event"))

    def click(self, at: Any, button: str = "Left", **modifiers: bool) -> None:
        """Press and release."""
        self.event("MouseMove", at, **modifiers)
        self.event(f"{button}ButtonPress", at, **modifiers)
        self.event(f"{button}ButtonRelease", at, **modifiers)

    def drag(self, start: Any, end: Any, steps: int = 5, **modifiers: bool) -> None:
        """Press at ``start``, move, release at ``end``."""
        first = start if len(start) == 2 else self.xy(start)
        last = end if len(end) == 2 else self.xy(end)
        self.event("MouseMove", first, **modifiers)
        self.event("LeftButtonPress", first, **modifiers)
        for step in range(1, steps + 1):
            share = step / steps
            self.event("MouseMove", [round(a + (b - a) * share) for a, b in zip(first, last)], **modifiers)
        self.event("LeftButtonRelease", last, **modifiers)

    def draw(self, points: Any, **modifiers: bool) -> None:
        """Press at the first point, move over the others, release at the last."""
        drawn = [point if len(point) == 2 else self.xy(point) for point in points]
        self.event("MouseMove", drawn[0], **modifiers)
        self.event("LeftButtonPress", drawn[0], **modifiers)
        for point in drawn[1:]:
            self.event("MouseMove", point, **modifiers)
        self.event("LeftButtonRelease", drawn[-1], **modifiers)

    def key(self, name: str, **modifiers: bool) -> None:
        """Press and release a key, by its X11 name such as ``"Return"``, ``"Escape"`` or ``"p"``."""
        self.event("KeyPress", key=name, **modifiers)
        self.event("KeyRelease", key=name, **modifiers)

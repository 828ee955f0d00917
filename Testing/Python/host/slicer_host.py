"""SlicerHost: desktop Slicer's Qt half in one process with pytest, around slicer-core's real MRML."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
from PySide6 import QtCore, QtWidgets

from . import application, ctk_widgets, pythonqt, segment_editor
from .qt_modules import CtkModule, CustomWidgets, Dialogs, QtModule
from .views import Mouse

REPOSITORY = Path(__file__).resolve().parents[3]
MODULE_FOLDER = REPOSITORY / "EfficientMedSAM2"
EFFECT_SOURCE = MODULE_FOLDER / "SegmentEditorEfficientMedSAM2Lib" / "SegmentEditorEffect.py"


class SlicerHost:
    """A running stand-in for desktop Slicer. Use as a context manager; tests have the fixture ``slicer_host``.

    Attributes:
        dialogs: Answers to modal dialogs, and which were shown.
        errors: Exceptions in callbacks, which Slicer would only print.
        native_app: ``slicer.app`` without PythonQt around it: ``testing``, ``restarts``, ``extensions`` can be set.
    """

    def __init__(self) -> None:
        self.dialogs = Dialogs()
        self.errors = pythonqt.errors
        self._saved: dict[str, Any] = {}
        self._attributes: list[str] = []
        self._path = list(sys.path)
        self.editors: list[Any] = []

    def __enter__(self) -> SlicerHost:
        self.qt_app = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
        self.qt_app.setStyle("Fusion")
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        self._settings = tempfile.TemporaryDirectory()
        QtCore.QSettings.setPath(
            QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, self._settings.name
        )
        QtCore.QCoreApplication.setOrganizationName("stand-in")
        QtCore.QCoreApplication.setApplicationName("Slicer")
        QtCore.QSettings().clear()
        self.errors.clear()
        self._modules_before = set(sys.modules)
        self._install("qt", QtModule("qt", self.dialogs))
        self._install("ctk", CtkModule("ctk"))
        self._start_slicer()
        return self

    def __exit__(self, *_error: object) -> None:
        for editor in self.editors:
            editor.stop()
        for module in list(self.native_app.manager.loaded.values()):
            if getattr(module, "_widget", None) is not None:
                module.widget("cleanup")
        self.process_events(0)
        slicer.mrmlScene.Clear(1)
        segment_editor.qSlicerSegmentEditorEffectFactory._only = None
        self.native_app.window.close()
        for name in set(sys.modules) - self._modules_before:
            file = str(getattr(sys.modules[name], "__file__", None) or "")
            if file.startswith(str(MODULE_FOLDER)) or name in self._saved:
                sys.modules.pop(name, None)
        for name, old in self._saved.items():
            if old is not None:
                sys.modules[name] = old
        for name in self._attributes:
            if name in vars(slicer):
                delattr(slicer, name)
        sys.path[:] = self._path
        self._settings.cleanup()

    def _install(self, name: str, module: Any) -> None:
        self._saved.setdefault(name, sys.modules.get(name))
        sys.modules[name] = module

    def _set(self, name: str, value: Any) -> None:
        setattr(slicer, name, value)
        self._attributes.append(name)

    def _start_slicer(self) -> None:
        slicer.vtkMRMLScene.GlobalWarningDisplayOff()  # the stand-in has no colour tables, which VTK would tell
        scene = slicer.vtkMRMLScene()
        self._cache, self._data = slicer.vtkCacheManager(), slicer.vtkDataIOManager()  # reading .mrb asks for them
        self._cache.SetRemoteCacheDirectory(self._settings.name)
        self._data.SetCacheManager(self._cache)
        scene.SetDataIOManager(self._data)
        self._logics = {}
        for name, cls in (
            ("segmentations", "vtkSlicerSegmentationsModuleLogic"),
            ("markups", "vtkSlicerMarkupsLogic"),
            ("volumes", "vtkSlicerVolumesLogic"),
            ("sequences", "vtkSlicerSequencesLogic"),
        ):
            self._logics[name] = getattr(slicer, cls)()
        self._set("mrmlScene", scene)
        native = application.start_application(scene)
        self.native_app = native
        for singleton in ("vtkMRMLInteractionNode", "vtkMRMLSelectionNode", "vtkMRMLCrosshairNode"):
            if scene.GetSingletonNode("Singleton", singleton) is None:
                node = scene.CreateNodeByClass(singleton)
                node.UnRegister(None)
                node.SetSingletonTag("Singleton")
                scene.AddNode(node)
        for logic in self._logics.values():
            logic.SetMRMLScene(scene)
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
        self._set("app", pythonqt.wrap(native))
        self._set("modules", types.SimpleNamespace())
        for name, logic in self._logics.items():
            core = types.SimpleNamespace(name=name, logic=lambda logic=logic: logic)
            setattr(slicer.modules, name, core)
        for name, cls in CustomWidgets.classes.items():
            if name.startswith("q"):
                self._set(name, pythonqt.class_of(cls))
        for name in ("qSlicerSegmentEditorAbstractEffect", "qSlicerSegmentEditorScriptedEffect"):
            for constant, value in vars(CustomWidgets.classes["qSlicerSegmentEditorAbstractEffect"]).items():
                if constant[:1].isupper() and type(value) is int:
                    type.__setattr__(pythonqt.class_of(CustomWidgets.classes[name]), constant, value)
        effects = types.ModuleType("qSlicerSegmentationsEditorEffectsPythonQt")
        for name in ("qSlicerSegmentEditorScriptedEffect", "qSlicerSegmentEditorEffectFactory"):
            setattr(effects, name, getattr(slicer, name))
        self._install("qSlicerSegmentationsEditorEffectsPythonQt", effects)
        package = types.ModuleType("SegmentEditorEffects")
        package.__path__ = []
        package.AbstractScriptedSegmentEditorEffect = segment_editor.AbstractScriptedSegmentEditorEffect
        self._install("SegmentEditorEffects", package)
        base = types.ModuleType("SegmentEditorEffects.AbstractScriptedSegmentEditorEffect")
        base.AbstractScriptedSegmentEditorEffect = segment_editor.AbstractScriptedSegmentEditorEffect
        self._install(base.__name__, base)
        i18n = types.ModuleType("slicer.i18n")
        i18n.tr = lambda text: text
        i18n.translate = lambda _context, text: text
        self._install("slicer.i18n", i18n)
        self._set("i18n", i18n)
        classes = application.scripted_module_classes()
        self._install("slicer.ScriptedLoadableModule", classes)
        self._set("ScriptedLoadableModule", classes)
        self._install("vtkSegmentationCorePython", slicer)
        self._add_segment_editor_module()

    def _add_segment_editor_module(self) -> None:
        host = self

        class SegmentEditorModule:
            name, title, path = "SegmentEditor", "Segment Editor", ""
            editor: Any = None

            def widgetRepresentation(self) -> Any:
                if self.editor is None:
                    type(self).editor = host.editor_widget()
                    for event in (slicer.vtkMRMLScene.EndCloseEvent, slicer.vtkMRMLScene.EndImportEvent):
                        slicer.mrmlScene.AddObserver(event, lambda *_a: host.choose_editor_node(self.editor))
                    slicer.mrmlScene.AddObserver(
                        slicer.vtkMRMLScene.StartCloseEvent, lambda *_a: self.editor.setSegmentationNode(None)
                    )
                return types.SimpleNamespace(self=lambda: types.SimpleNamespace(editor=self.editor))

            def widget(self, method: str) -> None:
                """Entered, the panel is shown with a segmentation; left, it is hidden and no effect is active."""
                self.editor.visible = method == "enter"
                if method == "exit":
                    self.editor.setActiveEffectByName("")
                if method == "enter" and self.editor.segmentationNode() is None:
                    first = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
                    self.editor.setSegmentationNode(
                        first or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
                    )

        slicer.modules.segmenteditor = SegmentEditorModule()
        self.native_app.manager.loaded["SegmentEditor"] = slicer.modules.segmenteditor

    def editor_widget(self) -> Any:
        """A qMRMLSegmentEditorWidget with its node, as the Segment Editor module has it."""
        widget = slicer.qMRMLSegmentEditorWidget()
        native = pythonqt.unwrap(widget)
        self.editors.append(native)
        widget.setMRMLScene(slicer.mrmlScene)
        self.choose_editor_node(widget)
        return widget

    def choose_editor_node(self, widget: Any) -> None:
        """Give the editor its node, as the Segment Editor module does when it is made and when a scene was closed."""
        node = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag("SegmentEditor")
            node = slicer.mrmlScene.AddNode(node)
        widget.setMRMLSegmentEditorNode(node)

    # For tests
    def load_module(self, path: str | Path) -> Any:
        """Load a scripted module by its file; it is ``slicer.modules.<name in lower case>`` then."""
        module = application.ScriptedModule(Path(path))
        setattr(slicer.modules, module.name.lower(), module)
        self.native_app.manager.loaded[module.name] = module
        module.load()
        return module

    def volume(self, array: Any, ijk_to_ras: Any = None, name: str = "V") -> Any:
        """A volume node in the scene: (D, H, W), or (D, H, W, 3) for colour; ``ijk_to_ras`` 4x4, mm."""
        kind = "vtkMRMLScalarVolumeNode" if array.ndim == 3 else "vtkMRMLVectorVolumeNode"
        node = slicer.util.addVolumeFromArray(array, ijkToRAS=ijk_to_ras, name=name, nodeClassName=kind)
        node.CreateDefaultDisplayNodes()
        return node

    def finish_startup(self) -> None:
        """Slicer is ready: ``startupCompleted`` is emitted."""
        self.native_app.startupCompleted.emit()

    def mouse(self, view: str = "Red") -> Any:
        """Mouse and keyboard on Red (axial), Yellow (sagittal) or Green (coronal)."""
        return Mouse(self.native_app.layout.sliceWidget(view))

    def process_events(self, milliseconds: int = 0, until: Any = None) -> bool:
        """Let timers and signals happen for some time, or until a condition holds; returns whether it does."""
        end = time.monotonic() + milliseconds / 1000.0
        while True:
            self.qt_app.processEvents()
            if until is not None and until():
                return True
            if time.monotonic() >= end:
                return until is None
            time.sleep(0.001)

    def grab(self, widget: Any, path: str | Path, width: int = 480) -> Path:
        """Picture of a widget as a PNG file."""
        native = pythonqt.unwrap(getattr(widget, "panel", widget))
        height = native.heightForWidth(width) if native.hasHeightForWidth() else native.sizeHint().height()
        native.resize(width, height)
        native.show()
        self.process_events(20)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        native.grab().save(str(path))
        return Path(path)


assert ctk_widgets is not None  # imported for its classes

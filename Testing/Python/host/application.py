"""``slicer.app``, the main window, ``slicer.modules`` and the base classes of scripted modules."""

from __future__ import annotations

import functools
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from .qt_modules import CustomWidgets
from .views import qMRMLLayoutManager


@functools.lru_cache(maxsize=1)
def _application_logic() -> Any:
    """One for all tests: ending its threads takes two seconds."""
    return slicer.vtkSlicerApplicationLogic()


@CustomWidgets.add
class qSlicerModuleManager(QtCore.QObject):
    """Knows the modules."""

    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.loaded: dict[str, Any] = {}

    def module(self, name: str) -> Any:
        """A module by its name, as ``slicer.modules.x`` is."""
        return self.loaded.get(name)

    def modulesNames(self) -> list[str]:
        """Names."""
        return list(self.loaded)


@CustomWidgets.add
class qSlicerCommandOptions(QtCore.QObject):
    """How Slicer was started."""

    runPythonAndExit = QtCore.Property(bool, lambda self: False, lambda self, on: None)


@CustomWidgets.add
class qSlicerCoreIOManager(QtCore.QObject):
    """Saves and loads scenes as .mrb files."""

    def saveNodes(self, file_type: str, properties: dict, messages: Any = None) -> bool:
        """Save the scene."""
        assert file_type == "SceneFile"
        return bool(slicer.mrmlScene.WriteToMRB(properties["fileName"]))

    def loadNodes(self, file_type: str, properties: dict, nodes: Any = None, messages: Any = None) -> bool:
        """Load a scene."""
        assert file_type == "SceneFile"
        return bool(slicer.mrmlScene.ReadFromMRB(properties["fileName"], False))


@CustomWidgets.add
class qSlicerApplication(QtCore.QObject):
    """``slicer.app``."""

    startupCompleted = QtCore.Signal()
    mrmlSceneChanged = QtCore.Signal(object)
    aboutToQuit = QtCore.Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.layout = qMRMLLayoutManager(self)
        self.manager = qSlicerModuleManager(self)
        self.extensions = None
        self.window: Any = None
        self.testing = False
        self.restarts = 0
        self.exit_code: int | None = None
        self.io = qSlicerCoreIOManager(self)
        self.options = qSlicerCommandOptions(self)

    applicationName = QtCore.Property(str, lambda self: "Slicer")
    applicationVersion = QtCore.Property(str, lambda self: "5.13.0-stand-in")
    majorVersion = QtCore.Property(int, lambda self: 5)
    minorVersion = QtCore.Property(int, lambda self: 13)
    temporaryPath = QtCore.Property(str, lambda self: QtCore.QDir.tempPath())
    documentationBaseUrl = QtCore.Property(str, lambda self: "https://slicer.readthedocs.io/en/latest/")

    def applicationLogic(self) -> Any:
        logic = _application_logic()
        if logic.GetMRMLScene() is not slicer.mrmlScene:
            logic.SetMRMLScene(slicer.mrmlScene)  # takes a second, so only where it is asked for
        return logic

    def layoutManager(self) -> Any:
        return self.layout

    def moduleManager(self) -> Any:
        return self.manager

    def extensionsManagerModel(self) -> Any:
        return self.extensions

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def topLevelWidgets(self) -> list[Any]:
        return [self.window] if self.window is not None else []

    def mainWindow(self) -> Any:
        return self.window

    def testingEnabled(self) -> bool:
        return self.testing

    def processEvents(self) -> None:
        QtWidgets.QApplication.processEvents()

    def pauseRender(self) -> None:
        """Stop rendering."""

    def resumeRender(self) -> None:
        """Render again."""

    def setOverrideCursor(self, cursor: Any) -> None:
        QtWidgets.QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        QtWidgets.QApplication.restoreOverrideCursor()

    def exit(self, code: int) -> None:
        """The stand-in goes on; tests look at ``exit_code``."""
        self.exit_code = code

    def commandOptions(self) -> Any:
        return self.options

    def coreIOManager(self) -> Any:
        return self.io

    def restart(self) -> None:
        self.restarts += 1

    def userSettings(self) -> Any:
        return QtCore.QSettings()

    def settings(self) -> Any:
        return QtCore.QSettings()

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"https://slicer.readthedocs.io/en/latest/user_guide/modules/{name.lower()}.html"

    def palette(self) -> Any:
        return QtWidgets.QApplication.palette()


@CustomWidgets.add
class qSlicerMainWindow(QtWidgets.QMainWindow):
    """The main window."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("qSlicerMainWindow")
        self.selected = ""

    def moduleSelector(self) -> Any:
        """It is its own module selector in the stand-in."""
        return self

    def selectModule(self, name: str) -> None:
        """Show a module: its widget is made, the old one left, the new one entered."""
        modules = slicer.app.moduleManager()
        if modules.module(name) is None:
            message = f"There is no module {name}"
            raise RuntimeError(message)
        if self.selected and self.selected != name:
            modules.module(self.selected).widget("exit")
        self.selected = name
        modules.module(name).widgetRepresentation()
        modules.module(name).widget("enter")


class ScriptedModule:
    """``slicer.modules.x`` of a scripted module, and the ``parent`` that its class fills in."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = str(path), path.stem
        self.title, self.icon, self.hidden = "", None, False
        self.helpText = self.acknowledgementText = ""
        self.categories: list[str] = []
        self.dependencies: list[str] = []
        self.contributors: list[str] = []
        self._widget: Any = None
        self._panel: Any = None

    def load(self) -> None:
        """Run the file and make the module's object, as Slicer does at start-up."""
        folder = str(Path(self.path).parent)
        if folder not in sys.path:
            sys.path.append(folder)
        spec = importlib.util.spec_from_file_location(self.name, self.path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = module
        spec.loader.exec_module(module)
        self._object = getattr(module, self.name)(self)
        self._widget_class = getattr(module, f"{self.name}Widget", None)

    def widgetRepresentation(self) -> Any:
        """The panel; made at the first call."""
        import qt  # the stand-in

        if self._panel is None:
            self._panel = slicer.qMRMLWidget()
            self._panel.setLayout(qt.QVBoxLayout())
            self._panel.setMRMLScene(slicer.mrmlScene)
            self._widget = self._widget_class(self._panel)
            self._widget.setup()
        return PanelOfScriptedModule(self._panel, self._widget)

    def widget(self, method: str) -> None:
        """Call ``enter``, ``exit`` or ``cleanup`` of the widget, if it has one."""
        getattr(self._widget, method, lambda: None)()

    def logic(self) -> Any:
        """A scripted module has no C++ logic."""


class PanelOfScriptedModule:
    """``slicer.modules.x.widgetRepresentation()``."""

    def __init__(self, panel: Any, widget: Any) -> None:
        self.panel, self._widget = panel, widget

    def self(self) -> Any:
        """The Python object."""
        return self._widget

    def __getattr__(self, name: str) -> Any:
        return getattr(self.panel, name)


class ScriptedLoadableModule:
    """Base class of a module."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        icon = Path(parent.path).parent / "Resources" / "Icons" / f"{self.moduleName}.png"
        if icon.is_file():
            import qt  # the stand-in

            parent.icon = qt.QIcon(str(icon))

    def resourcePath(self, filename: str) -> str:
        """File beside the module."""
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage: Any = None) -> str:
        """A sentence with a link."""
        return f'<p>See the <a href="{slicer.app.moduleDocumentationUrl(self.moduleName)}">documentation</a>.</p>'


class ScriptedLoadableModuleWidget:
    """Base class of a module's panel."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__[: -len("Widget")]
        self.developerMode = False
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, filename: str) -> str:
        """File beside the module."""
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self) -> None:
        """Developer section, if asked for."""

    def cleanup(self) -> None:
        """Before the end."""

    def onReload(self) -> None:
        """Reload the file."""


class ScriptedLoadableModuleLogic:
    """Base class of a module's logic."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__[: -len("Logic")]
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        """The module's node in the scene."""
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetAttribute("ModuleName", self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest:
    """Base class of a module's self test."""

    def delayDisplay(self, message: str, msec: int = 0) -> None:
        """Say something."""


def scripted_module_classes() -> types.ModuleType:
    """``slicer.ScriptedLoadableModule``."""
    module = types.ModuleType("slicer.ScriptedLoadableModule")
    for cls in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(module, cls.__name__, cls)
    module.__all__ = [name for name in vars(module) if name.startswith("Scripted")]
    return module


def start_application(scene: Any) -> Any:
    """The native application object with its window, on a scene."""
    app = qSlicerApplication()
    app.layout.start(scene)
    app.window = qSlicerMainWindow()
    app.window.show()
    return app

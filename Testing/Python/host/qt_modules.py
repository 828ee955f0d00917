"""Modules ``qt`` and ``ctk``: classes of PySide6 under PythonQt's conventions, and the few CTK widgets in use."""

from __future__ import annotations

import enum
import types
from collections.abc import Callable
from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from .pythonqt import _WRAPPED_BASES, class_of, static_member, unwrap, wrap

#: Names that scripts must not take from PythonQt: own signals and slots crash Slicer.
REFUSED = ("Signal", "Slot", "Property", "QEnum", "QFlag")


class Dialogs:
    """Answers modal dialogs instead of a user.

    Attributes:
        shown: (class name, text) of each dialog that was shown.
        answers: What the next dialogs return, first in first out; a dialog without an answer is an error of the test.
    """

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []
        self.answers: list[Any] = []

    def answer(self, kind: str, text: str) -> Any:
        """Record a dialog and give its answer."""
        self.shown.append((kind, text))
        if not self.answers:
            message = f"A {kind} would wait for the user: {text!r}. Put an answer into host.dialogs.answers."
            raise AssertionError(message)
        return self.answers.pop(0)


class QtModule(types.ModuleType):
    """``import qt``."""

    def __init__(self, name: str, dialogs: Dialogs) -> None:
        super().__init__(name)
        self._dialogs = dialogs
        self.QUiLoader = _ui_loader_class()

    def __getattr__(self, name: str) -> Any:
        if name in REFUSED or name.startswith("_"):
            message = f"module 'qt' has no attribute '{name}'"
            raise AttributeError(message)
        for module in (QtCore, QtGui, QtWidgets, QtUiTools):
            native = getattr(module, name, None)
            if native is not None:
                break
        else:
            message = f"module 'qt' has no attribute '{name}'"
            raise AttributeError(message)
        value = self._publish(native, name)
        setattr(self, name, value)
        return value

    def _publish(self, native: Any, name: str) -> Any:
        if not isinstance(native, type):
            return native
        if not issubclass(native, _WRAPPED_BASES):
            return _Namespace(native) if name == "Qt" else _value_class(native)
        published = class_of(native)
        if issubclass(native, QtWidgets.QDialog):
            _answer_for_user(published, self._dialogs)
        return published


class _Namespace:
    """``qt.Qt``: enumerators of the namespace, unscoped."""

    def __init__(self, native: type) -> None:
        self._native = native

    def __getattr__(self, name: str) -> Any:
        return static_member(self._native, name)


def _value_class(native: type) -> type:
    """A class of values, such as QColor: as PySide6 has it, but without scoped enumerations."""
    if isinstance(native, enum.EnumMeta):
        return native

    class ValueType(type(native)):
        def __getattribute__(cls, name: str) -> Any:
            value = super().__getattribute__(name)
            if isinstance(value, enum.EnumMeta):
                message = f"type object 'PythonQt.{native.__name__}' has no attribute '{name}' that is the same on Qt 5"
                raise AttributeError(message)
            return value

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, native)

    try:
        return ValueType(native.__name__, (native,), {})
    except TypeError:  # a class that cannot be subclassed
        return native


def _answer_for_user(published: type, dialogs: Dialogs) -> None:
    """Modal dialogs of this class, and its static ones, are answered at once."""

    def run(self: Any) -> Any:
        native = unwrap(self)
        text = native.text() if isinstance(native, QtWidgets.QMessageBox) else native.windowTitle()
        return dialogs.answer(type(native).__name__, text)

    published.exec_ = run
    published.exec = run
    for name in (
        "information",
        "warning",
        "critical",
        "question",
        "about",
        "getOpenFileName",
        "getSaveFileName",
        "getExistingDirectory",
        "getText",
        "getItem",
        "getInt",
        "getDouble",
    ):
        if hasattr(published._native, name):
            setattr(published, name, staticmethod(_static_dialog(name, dialogs)))


def _static_dialog(name: str, dialogs: Dialogs) -> Callable[..., Any]:
    def ask(_parent: Any = None, *args: Any) -> Any:
        return dialogs.answer(name, " ".join(str(arg) for arg in args))

    return ask


class CustomWidgets:
    """Widget classes of CTK and Slicer by name, for ``.ui`` files and for ``ctk.X`` and ``slicer.X``."""

    classes: ClassVar[dict[str, type]] = {}

    @classmethod
    def add(cls, native: type) -> type:
        """Class decorator."""
        cls.classes[native.__name__] = native
        return native


def _ui_loader_class() -> type:
    class Loader(QtUiTools.QUiLoader):
        def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
            native = CustomWidgets.classes.get(class_name)
            if native is None:
                if class_name not in self.availableWidgets():
                    message = f"The .ui file asks for {class_name}, which the stand-in host does not have."
                    raise AssertionError(message)
                return super().createWidget(class_name, parent, name)
            widget = native(parent)
            widget.setObjectName(name)
            return widget

    class QUiLoader:
        """Loads ``.ui`` files with the widgets of CTK and Slicer."""

        def load(self, file: Any, parent: Any = None) -> Any:
            """The root widget."""
            return wrap(Loader().load(unwrap(file), unwrap(parent)))

    return QUiLoader


class CtkModule(types.ModuleType):
    """``import ctk``."""

    def __getattr__(self, name: str) -> Any:
        native = CustomWidgets.classes.get(name) if name.startswith("ctk") else None
        if native is None:
            message = f"module 'ctk' has no attribute '{name}' (in the stand-in host)"
            raise AttributeError(message)
        return class_of(native)

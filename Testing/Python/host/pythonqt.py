"""PythonQt's conventions on PySide6 objects: what Slicer's Python sees when it holds a Qt object.

A property is an attribute (so calling it raises), a signal is connected by its signature or as an attribute, a slot or
method is called, and anything else does not exist. Attributes can be added to objects of Python subclasses only.
Errors in a callback do not reach the caller: they are printed and collected in :data:`errors`.
"""

from __future__ import annotations

import enum
import inspect
import sys
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

#: (exception, traceback as text) of callbacks that failed; tests assert that it is empty.
errors: list[tuple[BaseException, str]] = []

_WRAPPED_BASES = (QtCore.QObject, QtWidgets.QLayoutItem, QtGui.QPainter)
_classes: dict[type, type] = {}
_wrappers: weakref.WeakValueDictionary[int, Wrapper] = weakref.WeakValueDictionary()
#: Static functions that PythonQt does not pass on.
_UNREACHABLE = ("find",)
_VIRTUALS = ("event", "eventFilter", "minimumSizeHint", "sizeHint", "heightForWidth", "hasHeightForWidth")


def report_error(error: BaseException) -> None:
    """What PythonQt does with an exception in a callback: print it and go on."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    errors.append((error, text))
    sys.stderr.write(text)


class WrapperType(type):
    """Gives classes their enumerators and static methods, as ``qt.Qt.AlignLeft`` or ``qt.QTimer.singleShot``."""

    def __getattr__(cls, name: str) -> Any:
        native = cls.__dict__.get("_native") or next(c._native for c in cls.__mro__ if "_native" in c.__dict__)
        return static_member(native, name)


def static_member(native: type, name: str) -> Any:
    """Enumerator or static method of a Qt class; scoped enumerations do not exist in PythonQt on Qt 5."""
    if not name.startswith("_"):
        for base in native.__mro__:
            for value in vars(base).values():
                if isinstance(value, enum.EnumMeta) and name in value.__members__:
                    return value[name]
            if isinstance(inspect.getattr_static(base, name, None), staticmethod) or _is_static_builtin(base, name):
                return _call(getattr(native, name), name)
    message = f"type object 'PythonQt.{native.__name__}' has no attribute '{name}'"
    raise AttributeError(message)


def _is_static_builtin(base: type, name: str) -> bool:
    member = vars(base).get(name)
    return type(member).__name__ == "builtin_function_or_method" or (
        member is not None and "static" in (getattr(member, "__doc__", None) or "")[:6]
    )


class Wrapper(metaclass=WrapperType):
    """A Qt object as PythonQt shows it. Subclass it, as ``class Filter(qt.QObject)``, to override virtual methods."""

    _native: Any = QtCore.QObject

    def __init__(self, *args: Any) -> None:
        native = type(self)._native
        if _is_derived(type(self)):
            native = _shell(type(self), native)
        _attach(self, native(*[unwrap(a) for a in args if not (a is None and len(args) == 1)]))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        native = _alive(self)
        name_of_property = _property_name(native, name)
        if name_of_property is not None:
            return wrap(_read_property(native, name_of_property))
        signal = _signal_signature(native, name)
        if signal is not None:
            return Signal(self, signal)
        method = inspect.getattr_static(type(native), name, None)
        is_hidden = name.endswith("Event") or name in _UNREACHABLE
        if method is None or not callable(getattr(native, name, None)) or is_hidden:
            message = f"{type(native).__name__} object has no attribute '{name}'"
            raise AttributeError(message)
        return _call(getattr(native, name), name)

    def __setattr__(self, name: str, value: Any) -> None:
        native = _alive(self)
        name_of_property = _property_name(native, name)
        if name_of_property is not None:
            _write_property(native, name_of_property, unwrap(value))
        elif _is_derived(type(self)) and _signal_signature(native, name) is None:
            object.__setattr__(self, name, value)
        else:
            message = f"'{type(native).__name__}' object has no property '{name}', or it cannot be overwritten"
            raise AttributeError(message)

    def __bool__(self) -> bool:
        return shiboken6.isValid(self.__dict__.get("_q"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wrapper) and self.__dict__["_q"] is other.__dict__["_q"]

    def __hash__(self) -> int:
        return id(self.__dict__["_q"])

    def __repr__(self) -> str:
        return f"{type(self).__name__} (PythonQt stand-in at 0x{id(self):x})"

    # What PythonQt adds to every object
    def className(self) -> str:
        """Name of the C++ class."""
        return str(_alive(self).metaObject().className())

    def delete(self) -> None:
        """Delete the C++ object."""
        shiboken6.delete(_alive(self))

    def connect(self, signal: str, callback: Callable[..., Any]) -> bool:
        """Connect a signal given by its signature, such as ``"clicked(bool)"``."""
        _bound(self, signal).connect(callback)
        return True

    def disconnect(self, signal: str, callback: Callable[..., Any] | None = None) -> bool:
        """Disconnect a callback, or all of Python's."""
        return _bound(self, signal).disconnect(callback)


class Signal:
    """``button.clicked``: connect, disconnect, emit."""

    def __init__(self, wrapper: Wrapper, signature: str) -> None:
        self._wrapper, self._signature = wrapper, signature

    def connect(self, callback: Callable[..., Any]) -> None:
        """Connect a Python callable; surplus arguments of the signal are dropped, as PythonQt does."""
        if not callable(callback):
            message = f"Cannot connect {self._signature} to {callback!r}: it is not callable."
            raise TypeError(message)
        native = _alive(self._wrapper)
        accepted = _positional(callback)

        def deliver(*args: Any) -> None:
            try:
                callback(*[wrap(arg) for arg in args[:accepted]])
            except Exception as error:
                report_error(error)

        QtCore.QObject.connect(native, QtCore.SIGNAL(self._signature), deliver)
        _connections(native).append((self._signature, callback, deliver))

    def disconnect(self, callback: Callable[..., Any] | None = None) -> bool:
        """Disconnect one callback or, without one, all."""
        native, found = _alive(self._wrapper), False
        for entry in list(_connections(native)):
            if entry[0] == self._signature and callback in (None, entry[1]):
                QtCore.QObject.disconnect(native, QtCore.SIGNAL(self._signature), entry[2])
                _connections(native).remove(entry)
                found = True
        return found

    def emit(self, *args: Any) -> None:
        """Emit the signal."""
        native = _alive(self._wrapper)
        getattr(native, self._signature.split("(")[0]).emit(*[unwrap(arg) for arg in args])

    def __call__(self, *args: Any) -> None:
        self.emit(*args)


def wrap(value: Any) -> Any:
    """PySide6 object -> what PythonQt would hand out."""
    if isinstance(value, _WRAPPED_BASES):
        known = _wrappers.get(id(value))
        if known is not None and known.__dict__["_q"] is value:
            return known
        wrapper = object.__new__(class_of(_public_class(type(value))))
        _attach(wrapper, value)
        return wrapper
    if (
        isinstance(value, (list, tuple))
        and type(value) in (list, tuple)
        and any(isinstance(item, _WRAPPED_BASES) for item in value)
    ):
        return tuple(wrap(item) for item in value)
    return value


def unwrap(value: Any) -> Any:
    """What Python hands in -> PySide6 object; numpy scalars are refused, as PythonQt refuses them."""
    if isinstance(value, Wrapper):
        return _alive(value)
    if type(value).__module__ == "numpy" and not isinstance(value, (int, float)):
        message = f"PythonQt takes no {type(value).__name__} of numpy; convert it to a Python number."
        raise TypeError(message)
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(unwrap(item) for item in value)
    return value


def class_of(native: type) -> type:
    """The wrapper class of a PySide6 class, with the same bases."""
    if native not in _classes:
        bases = tuple(class_of(b) for b in native.__mro__[1:2] if issubclass(b, _WRAPPED_BASES)) or (Wrapper,)
        _classes[native] = WrapperType(native.__name__, bases, {"_native": native, "_generated": True})
    return _classes[native]


def _public_class(native: type) -> type:
    while getattr(native, "_is_shell", False):
        native = native.__mro__[1]
    return native


def _is_derived(cls: type) -> bool:
    return "_generated" not in cls.__dict__ and cls is not Wrapper


def _attach(wrapper: Wrapper, native: Any) -> None:
    object.__setattr__(wrapper, "_q", native)
    _wrappers[id(native)] = wrapper
    if _is_derived(type(wrapper)):
        native._wrapper = wrapper  # the C++ object keeps its Python half


def _alive(wrapper: Wrapper) -> Any:
    native = wrapper.__dict__.get("_q")
    if native is None:
        message = f"{type(wrapper).__name__}.__init__ was not called"
        raise ValueError(message)
    if not shiboken6.isValid(native):
        message = f"Trying to use a destroyed {type(wrapper).__name__} object"
        raise ValueError(message)
    return native


def _connections(native: Any) -> list[tuple[str, Any, Any]]:
    if not hasattr(native, "_connections"):
        native._connections = []
    return native._connections


def _meta(native: Any) -> Any:
    return native.metaObject() if isinstance(native, QtCore.QObject) else None


def _property_name(native: Any, name: str) -> str | None:
    meta = _meta(native)
    if meta is None:
        return None
    for candidate in (name, "objectName") if name == "name" else (name,):
        if meta.indexOfProperty(candidate) >= 0 or candidate.encode() in native.dynamicPropertyNames():
            return candidate
    return None


def _read_property(native: Any, name: str) -> Any:
    if isinstance(inspect.getattr_static(type(native), name, None), QtCore.Property):
        return getattr(native, name)
    capital = name[0].upper() + name[1:]
    for getter in (name, f"is{capital}", f"has{capital}"):
        if callable(getattr(native, getter, None)):
            try:
                return getattr(native, getter)()
            except TypeError:  # a method of the same name that takes arguments
                continue
    return native.property(name)


def _write_property(native: Any, name: str, value: Any) -> None:
    if isinstance(inspect.getattr_static(type(native), name, None), QtCore.Property):
        setattr(native, name, value)
        return
    setter = getattr(native, f"set{name[0].upper()}{name[1:]}", None)
    meta_property = native.metaObject().property(native.metaObject().indexOfProperty(name))
    if setter is not None:
        setter(value)
    elif not meta_property.isWritable() and name.encode() not in native.dynamicPropertyNames():
        message = f"Property '{name}' of type '{type(native).__name__}' is not writable."
        raise AttributeError(message)
    else:
        native.setProperty(name, value)


def _signal_signature(native: Any, name: str) -> str | None:
    """Longest signature of a signal."""
    try:
        found = _signatures(_meta(native), name)
    except RuntimeError:
        # PySide makes an object's description anew when a slot is added to it, even while the old one is being read.
        found = _signatures(_meta(native), name)
    return max(found, key=len) if found else None


def _signatures(meta: Any, name: str) -> list[str]:
    methods = [meta.method(n) for n in range(meta.methodCount())] if meta is not None else []
    signals = [method for method in methods if method.methodType() == QtCore.QMetaMethod.MethodType.Signal]
    return [signal.methodSignature().data().decode() for signal in signals if signal.name() == name]


def _bound(wrapper: Wrapper, signature: str) -> Signal:
    native = _alive(wrapper)
    normalized = QtCore.QMetaObject.normalizedSignature(signature)
    text = normalized if isinstance(normalized, str) else bytes(normalized).decode()
    if native.metaObject().indexOfSignal(text) < 0:
        message = f"PythonQt: signal '{signature}' does not exist on {type(native).__name__}"
        raise ValueError(message)
    return Signal(wrapper, text)


def _positional(callback: Callable[..., Any]) -> int | None:
    """How many arguments a callback is given: PythonQt counts those of functions and methods, with defaults."""
    function = callback.__func__ if inspect.ismethod(callback) else callback
    if not inspect.isfunction(function) or function.__code__.co_flags & inspect.CO_VARARGS:
        return None
    return function.__code__.co_argcount - int(inspect.ismethod(callback))


def _call(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    def slot(*args: Any) -> Any:
        return wrap(method(*[_callback(unwrap(arg)) for arg in args]))

    slot.__name__ = name
    return slot


def _callback(value: Any) -> Any:
    """A Python callable given to Qt (``QTimer.singleShot(0, f)``), with errors collected."""
    if not (inspect.isfunction(value) or inspect.ismethod(value)):
        return value

    def guarded(*args: Any) -> None:
        try:
            value(*[wrap(arg) for arg in args[: _positional(value)]])
        except Exception as error:
            report_error(error)

    return guarded


def _shell(python_class: type, native: type) -> type:
    """Subclass of a Qt class whose virtual methods call those of the Python class."""
    cached = python_class.__dict__.get("_shell_class")
    if cached is not None:
        return cached
    names = {
        name
        for cls in python_class.__mro__
        if issubclass(cls, Wrapper) and _is_derived(cls)
        for name in vars(cls)
        if (name.endswith("Event") or name in _VIRTUALS) and hasattr(native, name)
    }
    shell = type(native)(
        native.__name__, (native,), {"_is_shell": True, **{name: _override(native, name) for name in names}}
    )
    python_class._shell_class = shell
    return shell


def _override(native: type, name: str) -> Callable[..., Any]:
    def virtual(self: Any, *args: Any) -> Any:
        wrapper = self.__dict__.get("_wrapper")
        if wrapper is None or not vars(type(wrapper)):  # in the constructor, or while Python lets go of the class
            return getattr(native, name)(self, *args)
        try:
            result = getattr(wrapper, name)(*[wrap(arg) for arg in args])
        except Exception as error:
            report_error(error)
            return getattr(native, name)(self, *args)
        return bool(result) if name in ("event", "eventFilter", "hasHeightForWidth") else unwrap(result)

    return virtual

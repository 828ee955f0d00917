"""The CTK widgets that the extension uses, with their properties and signals."""

from __future__ import annotations

import enum
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .qt_modules import CustomWidgets

Property, Signal = QtCore.Property, QtCore.Signal


@CustomWidgets.add
class ctkCollapsibleButton(QtWidgets.QWidget):
    """Section with a clickable title bar; its content is hidden while it is collapsed."""

    contentsCollapsed = Signal(bool)
    toggled = Signal(bool)
    TITLE_HEIGHT = 22

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._text, self._collapsed, self._checkable = "", False, True
        self.setContentsMargins(0, self.TITLE_HEIGHT, 0, 0)

    def _set_text(self, text: str) -> None:
        self._text = text
        self.update()

    def _set_collapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self._apply()
        self.contentsCollapsed.emit(collapsed)
        self.toggled.emit(not collapsed)

    def _apply(self) -> None:
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            child.setProperty("_shown", child.property("_shown") if self._collapsed else None)
        self.setMaximumHeight(self.TITLE_HEIGHT if self._collapsed else 16777215)
        self.setMinimumHeight(self.TITLE_HEIGHT if self._collapsed else 0)
        self.updateGeometry()
        self.update()

    text = Property(str, lambda self: self._text, _set_text)
    collapsed = Property(bool, lambda self: self._collapsed, _set_collapsed)
    checked = Property(bool, lambda self: not self._collapsed, lambda self, on: self._set_collapsed(not on))
    collapsedHeight = Property(int, lambda self: 10, lambda self, height: None)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        if event.position().y() <= self.TITLE_HEIGHT:
            self._set_collapsed(not self._collapsed)

    def sizeHint(self) -> QtCore.QSize:
        hint = super().sizeHint()
        return QtCore.QSize(hint.width(), self.TITLE_HEIGHT) if self._collapsed else hint

    def minimumSizeHint(self) -> QtCore.QSize:
        hint = super().minimumSizeHint()
        return QtCore.QSize(hint.width(), self.TITLE_HEIGHT) if self._collapsed else hint

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), self.TITLE_HEIGHT)
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyle.PE_IndicatorArrowRight if self._collapsed else QtWidgets.QStyle.PE_IndicatorArrowDown
        mark = QtWidgets.QStyleOption()
        mark.initFrom(self)
        mark.rect = QtCore.QRect(5, 5, 12, 12)
        painter.drawPrimitive(arrow, mark)
        painter.drawText(option.rect.adjusted(22, 0, 0, 0), QtCore.Qt.AlignVCenter, self._text)
        if not self._collapsed:
            painter.setPen(self.palette().color(QtGui.QPalette.Mid))
            painter.drawRect(0, self.TITLE_HEIGHT, self.width() - 1, self.height() - self.TITLE_HEIGHT - 1)


@CustomWidgets.add
class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """Group box that shows its title only while it is collapsed."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self._height = 0
        self.toggled.connect(lambda on: self.setMaximumHeight(16777215 if on else self.fontMetrics().height() + 6))

    collapsed = Property(bool, lambda self: not self.isChecked(), lambda self, on: self.setChecked(not on))


@CustomWidgets.add
class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    """Number with unit."""


@CustomWidgets.add
class ctkSliderWidget(QtWidgets.QWidget):
    """Slider and spin box for one number."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        self._slider.setRange(0, 1000)
        self._box = QtWidgets.QDoubleSpinBox()
        row.addWidget(self._slider)
        row.addWidget(self._box)
        self._box.setRange(0.0, 99.0)
        self._box.valueChanged.connect(self._changed)
        self._slider.sliderMoved.connect(
            lambda n: self._box.setValue(self._box.minimum() + n / 1000 * (self._box.maximum() - self._box.minimum()))
        )

    def _changed(self, value: float) -> None:
        span = self._box.maximum() - self._box.minimum()
        self._slider.setValue(round(1000 * (value - self._box.minimum()) / span) if span else 0)
        self.valueIsChanging.emit(value)
        self.valueChanged.emit(value)

    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    value = Property(float, lambda self: self._box.value(), setValue)
    minimum = Property(float, lambda self: self._box.minimum(), lambda self, v: self._box.setMinimum(v))
    maximum = Property(float, lambda self: self._box.maximum(), lambda self, v: self._box.setMaximum(v))
    singleStep = Property(float, lambda self: self._box.singleStep(), lambda self, v: self._box.setSingleStep(v))
    pageStep = Property(float, lambda self: 10.0, lambda self, v: None)
    decimals = Property(int, lambda self: self._box.decimals(), lambda self, v: self._box.setDecimals(v))
    suffix = Property(str, lambda self: self._box.suffix(), lambda self, v: self._box.setSuffix(v))
    prefix = Property(str, lambda self: self._box.prefix(), lambda self, v: self._box.setPrefix(v))
    tracking = Property(bool, lambda self: True, lambda self, v: None)
    spinBoxVisible = Property(bool, lambda self: self._box.isVisible(), lambda self, v: self._box.setVisible(v))


@CustomWidgets.add
class ctkRangeWidget(QtWidgets.QWidget):
    """Two numbers, lower and upper."""

    valuesChanged = Signal(float, float)
    minimumValueChanged = Signal(float)
    maximumValueChanged = Signal(float)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._low, self._high = QtWidgets.QDoubleSpinBox(), QtWidgets.QDoubleSpinBox()
        bar = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        for part in (self._low, bar, self._high):
            row.addWidget(part)
        self.setRange(0.0, 99.0)
        self.setValues(0.0, 99.0)
        self._low.valueChanged.connect(self._changed)
        self._high.valueChanged.connect(self._changed)

    def _changed(self, _value: float) -> None:
        self.valuesChanged.emit(self._low.value(), self._high.value())
        self.minimumValueChanged.emit(self._low.value())
        self.maximumValueChanged.emit(self._high.value())

    def setRange(self, low: float, high: float) -> None:
        for part in (self._low, self._high):
            part.setRange(low, high)

    def setValues(self, low: float, high: float) -> None:
        old = self._low.value(), self._high.value()
        for part, value in ((self._low, low), (self._high, high)):
            blocked = part.blockSignals(True)
            part.setValue(value)
            part.blockSignals(blocked)
        if old != (self._low.value(), self._high.value()):
            self._changed(0.0)

    minimumValue = Property(float, lambda self: self._low.value(), lambda self, v: self._low.setValue(v))
    maximumValue = Property(float, lambda self: self._high.value(), lambda self, v: self._high.setValue(v))
    minimum = Property(float, lambda self: self._low.minimum(), lambda self, v: self.setRange(v, self._high.maximum()))
    maximum = Property(float, lambda self: self._high.maximum(), lambda self, v: self.setRange(self._low.minimum(), v))
    singleStep = Property(
        float,
        lambda self: self._low.singleStep(),
        lambda self, v: [part.setSingleStep(v) for part in (self._low, self._high)] and None,
    )
    decimals = Property(
        int,
        lambda self: self._low.decimals(),
        lambda self, v: [part.setDecimals(v) for part in (self._low, self._high)] and None,
    )


@CustomWidgets.add
class ctkPathLineEdit(QtWidgets.QWidget):
    """Path of a file, with a button to look for it."""

    class Filter(enum.IntFlag):
        """What may be chosen, as QDir's filters of the same names."""

        Dirs, Files = 1, 2

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._edit, browse = QtWidgets.QLineEdit(), QtWidgets.QToolButton()
        browse.setText("...")
        row.addWidget(self._edit)
        row.addWidget(browse)
        self._values = {"settingKey": "", "label": "", "nameFilters": [], "filters": self.Filter.Files}
        self._edit.textChanged.connect(self.currentPathChanged)

    def _property(kind: Any, name: str) -> Any:
        return Property(kind, lambda self: self._values[name], lambda self, value: self._values.update({name: value}))

    currentPath = Property(str, lambda self: self._edit.text(), lambda self, path: self._edit.setText(path))
    nameFilters = _property("QStringList", "nameFilters")
    filters = _property(int, "filters")
    settingKey = _property(str, "settingKey")
    label = _property(str, "label")

    def addCurrentPathToHistory(self) -> None:
        """Remember the path."""


@CustomWidgets.add
class ctkCheckablePushButton(QtWidgets.QPushButton):
    """Push button with a check box."""

    checkBoxToggled = Signal(bool)


@CustomWidgets.add
class ctkMenuButton(QtWidgets.QPushButton):
    """Push button with a menu at its side."""


@CustomWidgets.add
class ctkColorPickerButton(QtWidgets.QPushButton):
    """Button that shows a colour."""

    colorChanged = Signal(QtGui.QColor)


@CustomWidgets.add
class ctkMessageBox(QtWidgets.QMessageBox):
    """Message box with 'do not show again'."""

    dontShowAgainVisible = Property(bool, lambda self: False, lambda self, on: None)
    dontShowAgainSettingsKey = Property(str, lambda self: "", lambda self, key: None)

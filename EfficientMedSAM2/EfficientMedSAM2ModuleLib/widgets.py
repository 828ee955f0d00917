"""Widgets as the panels make them: text, tool tip, and a signal that is disconnected with all others."""

import qt
from slicer.i18n import tr as _

SPACING = 4


class PanelWidgets:
    """Makes widgets and remembers their connections."""

    def __init__(self):
        self._connections = []

    def cleanup(self):
        """Disconnect all signals."""
        for widget, signal, callback in self._connections:
            widget.disconnect(signal, callback)
        self._connections = []

    def _connect(self, widget, signal, callback):
        widget.connect(signal, callback)
        self._connections.append((widget, signal, callback))

    def _button(self, text, callback, tip):
        button = qt.QPushButton(text)
        button.toolTip = tip
        self._connect(button, "clicked()", callback)
        return button

    def _toolButton(self, text, signal, callback, tip):
        """A wide button; one that stays down where its signal is clicked(bool)."""
        button = qt.QToolButton()
        button.text = text
        button.toolTip = tip
        button.checkable = signal == "clicked(bool)"
        button.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        self._connect(button, signal, callback)
        return button

    def _combo(self, choices, callback, tip):
        """A box of choices: (value, text)."""
        combo = qt.QComboBox()
        for _value, text in choices:
            combo.addItem(_(text))
        combo.toolTip = tip
        self._connect(combo, "currentIndexChanged(int)", callback)
        return combo

    def _check(self, text, callback, tip):
        check = qt.QCheckBox(text)
        check.toolTip = tip
        self._connect(check, "toggled(bool)", callback)
        return check

    @staticmethod
    def _row(*widgets):
        """A layout of widgets side by side."""
        row = qt.QHBoxLayout()
        row.setSpacing(SPACING)
        for widget in widgets:
            row.addWidget(widget)
        return row


def message_html(text, isError=False):
    """Text of a message label; errors are bold."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<b>{escaped}</b>" if isError and text else escaped

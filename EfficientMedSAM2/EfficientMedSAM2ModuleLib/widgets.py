"""Widgets as the panels make them: text, tool tip, and a signal that is disconnected with all others."""

import logging
import re
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

SPACING = 4

logger = logging.getLogger(__name__)


class PanelWidgets:
    """Makes widgets and remembers their connections.

    Attributes:
        badInput: Errors that a panel's actions tell the user of; all others are bugs.
    """

    badInput: tuple = (ValueError, OSError)

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
    def _table(titles, lines=0):
        """A table to be read; so many lines are seen at once, if that is said."""
        table = qt.QTableWidget()
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels([_(title) for title in titles])
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.verticalHeader().setVisible(False)
        if lines:
            height = table.fontMetrics().lineSpacing() + 8
            table.verticalHeader().setDefaultSectionSize(height)
            table.setFixedHeight((lines + 1) * height + 6)
        return table

    def _message(self):
        """The label of ``_say``."""
        self.messageLabel = qt.QLabel()
        self.messageLabel.wordWrap = True
        return self.messageLabel

    def _say(self, text, isError=False):
        self.messageLabel.text = message_html(text, isError)

    def _try(self, action):
        """Bad input becomes a sentence in the panel, which is brought up to date."""
        try:
            action()
        except self.badInput as error:
            logger.warning("%s", error)
            self._say(str(error) or type(error).__name__, True)
        self._update()

    def _update(self):
        """Bring the widgets up to date."""

    @staticmethod
    def _row(*widgets):
        """A layout of widgets side by side."""
        row = qt.QHBoxLayout()
        row.setSpacing(SPACING)
        for widget in widgets:
            row.addWidget(widget)
        return row


def ask_for_file(title, folder, name, suffix, kinds):
    """Path of a file to be written, at first named after a thing; None where the user does not want it."""
    suggested = re.sub(r'[\\/:*?"<>|]', "_", name) + suffix
    path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, f"{folder}/{suggested}", kinds)
    if not path:
        return None
    return Path(path if path.lower().endswith(suffix) else path + suffix)


def message_html(text, isError=False):
    """Text of a message label; errors are bold."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<b>{escaped}</b>" if isError and text else escaped

"""Keys of the effect, which exist only while it is active. None is one of Slicer's own."""

import qt
import slicer
from slicer.i18n import tr as _

#: Key of each command. The editor has 0-9, Esc, space, Z, Y, Q, W, I and punctuation.
KEYS = {
    "include": "N",
    "point": "P",
    "box": "X",
    "line": "L",
    "scribble": "D",
    "lasso": "E",
    "each": "K",
    "propagate": "M",
    "weakest": "U",
    "next": "S",
}
#: Widgets in which one types, with all that is derived from them: a table's editor, and CTK's number fields, are.
TEXT_WIDGETS = ("QLineEdit", "QAbstractSpinBox", "QTextEdit", "QPlainTextEdit")


def helpText():
    """Gestures and keys, for the editor's help box."""
    return "<html>" + _("""Segment a structure from clicks, boxes and what you draw; carry it through the slices<br>.
<p><ul style="margin: 0">
<li><b>Point (P):</b> left-click on the structure. Click again to correct; <b>N</b> switches to exclude.
<li><b>Box (X), Line (L):</b> drag around the structure, or along its longest diameter.
<li><b>Scribble (D), Lasso (E):</b> draw over the structure, or a line around it; with <b>N</b>, over what is not it.
<li><b>One segment for each (K):</b> each prompt begins a new segment, for many lesions; Propagate carries all.
<li><b>Propagate (M):</b> carry the result to the other slices; again, or Esc: cancel; finished slices are kept.
<li><b>Confidence:</b> click a bar to go to its slice, <b>U</b> goes to the least sure one. Hatched: out of date.
<li><b>Next (S):</b> the next segment, or a new one. <b>Lock:</b> nothing changes the segment any more.
<li><b>More:</b> go to a prompt, delete or move it; clear a slice; start over.
<li><b>More > Segments:</b> volume, diameters, mean and score of each; save them as a table or DICOM SEG.
<li><b>More > Segments > Find others:</b> like the selected segment; <b>Enter</b> accepts one, <b>Esc</b> drops it.
<li><b>More > Task, Propose:</b> a structure that was learnt from your cases, found without a prompt.
<li><b>Enter / Esc:</b> apply or discard a preview, when results are not written at once.
<li>With Shift, Ctrl or Alt the mouse works as without the effect.
</ul><p>""")


def _isTypedIn(widget):
    if widget.inherits("QComboBox"):
        return widget.editable  # its line edit hands the focus on to it
    return any(widget.inherits(name) for name in TEXT_WIDGETS)


class _AcceptOrReject(qt.QObject):
    """Takes Enter and Esc for a preview before the Segment Editor's shortcut (Esc ends the effect) gets them.

    Qt asks the focused widget and its parents by a ShortcutOverride event whether they want a key for themselves.
    """

    def __init__(self, shortcuts):
        qt.QObject.__init__(self)
        self.shortcuts = shortcuts

    def eventFilter(self, watched, event):
        """Only a ShortcutOverride of these keys is ever held back, and only while it has a meaning."""
        if event.type() != qt.QEvent.ShortcutOverride or not self.shortcuts.wantsKeys():
            return False
        command = {qt.Qt.Key_Return: "commit", qt.Qt.Key_Enter: "commit", qt.Qt.Key_Escape: "reject"}.get(event.key())
        focused = qt.QApplication.focusWidget()
        if command is None:
            return False
        if focused is not None and _isTypedIn(focused):
            return False
        event.accept()
        self.shortcuts.runSoon(command)
        return True


class Shortcuts:
    """Keys -> commands.

    Args:
        commands: Callable of each name in KEYS, and of "commit" and "reject".
        wantsKeys: Whether Enter and Esc have a meaning now.
    """

    def __init__(self, commands, wantsKeys):
        self.commands = commands
        self.wantsKeys = wantsKeys
        self.active = False
        self._shortcuts = []
        self._window = None
        self._soon = None
        self._filter = _AcceptOrReject(self)

    def install(self):
        """The effect was activated."""
        self.remove()
        self.active = True
        self._window = slicer.util.mainWindow()
        if self._window is None:
            return
        for command, key in KEYS.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), self._window)
            shortcut.connect("activated()", self.commands[command])
            self._shortcuts.append((shortcut, self.commands[command]))
        self._window.installEventFilter(self._filter)

    def remove(self):
        """The effect was deactivated."""
        self.active, self._soon = False, None
        for shortcut, callback in self._shortcuts:
            shortcut.disconnect("activated()", callback)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []
        if self._window is not None:
            self._window.removeEventFilter(self._filter)
            self._window = None

    def run(self, command):
        """Do a command, unless the effect has been left."""
        if self.active:
            self.commands[command]()

    def runSoon(self, command):
        """Do a command once the event is over. A slice view that has the focus gets the same key before that."""
        self._soon = command
        qt.QTimer.singleShot(0, self._runNow)

    def _runNow(self):
        command, self._soon = self._soon, None
        if command is not None:
            self.run(command)

    def fromView(self, keySym):
        """Enter or Esc pressed in a slice view of another window; returns whether it was used up."""
        command = {"Return": "commit", "KP_Enter": "commit", "Escape": "reject"}.get(keySym)
        if command is None or not self.wantsKeys():
            return False
        if self._soon is None:
            self.run(command)
        return True

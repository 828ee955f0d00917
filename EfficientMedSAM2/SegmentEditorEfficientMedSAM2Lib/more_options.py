"""Options that are chosen once, or seldom: the section *More* of the panel, which is closed at first."""

import ctk
import qt
from EfficientMedSAM2ModuleLib.widgets import PanelWidgets
from slicer.i18n import tr as _

from EfficientMedSAM2Lib.core.windows import PRESETS
from SegmentEditorEfficientMedSAM2Lib.lesions.segments_section import SegmentsSection
from SegmentEditorEfficientMedSAM2Lib.panel_style import TOOL, colorWhenDown
from SegmentEditorEfficientMedSAM2Lib.shortcuts import KEYS

#: (value of the parameter, text); the order is that of the combo boxes.
DIRECTIONS = (("both", "both ways"), ("forward", "forward (rising slice number)"), ("backward", "backward"))
RANGES = (
    ("all", "whole volume, or the ROI given"),
    ("slices", "slices beyond the prompts"),
    ("mm", "mm beyond the prompts"),
    ("roi", "extent of the markups ROI"),
)
WINDOWS = (
    ("", "as set in the module"),
    ("automatic", "automatic"),
    ("displayed", "as displayed"),
    *((name, "CT, wide" if name == "ct" else f"CT {name}") for name in PRESETS),
)
#: Prompts that are seen at once.
LIST_LINES = 4
#: Data of the line of the task box that asks for a file.
OTHER_TASK = "other"


class MoreOptions(PanelWidgets):
    """Widgets of the section.

    Args:
        commands: Callable of each command, by its name in EffectCommands.
        edited: Called without arguments when the user has changed a setting.
    """

    needsSetup = False  # whether something is missing without which nothing can be segmented

    def __init__(self, commands, edited):
        PanelWidgets.__init__(self)
        self.commands = commands
        self._onEdited = lambda *_values: edited()

    def _addMore(self):
        """The section, with all its widgets in one frame."""
        self.moreSection = ctk.ctkCollapsibleButton()
        self.moreSection.text = _("More")
        self.moreSection.collapsed = True
        self._connect(self.moreSection, "contentsCollapsed(bool)", lambda _closed: self.commands["showSegments"]())
        column = qt.QVBoxLayout(self.moreSection)
        column.setContentsMargins(0, 0, 0, 0)
        frame = qt.QFrame()  # hidden as one: widgets in it may be shown and hidden while the section is closed
        column.addWidget(frame)
        self._form = qt.QFormLayout(frame)
        self._addPromptList()
        self._addMarkups()
        self._addTask()
        self._addRange()
        self._addSettings()
        self.segmentsSection = SegmentsSection(self.commands)
        self._form.addRow(self.segmentsSection.button)
        return self.moreSection

    def _addPromptList(self):
        self.promptList = qt.QListWidget()
        self.promptList.toolTip = _("Prompts of the segment. Click on one to go there.")
        self.promptList.setFixedHeight(LIST_LINES * self.promptList.fontMetrics().lineSpacing() + 6)
        self._connect(self.promptList, "itemClicked(QListWidgetItem*)", lambda *_item: self.commands["goToPrompt"]())
        tip = _("Take the chosen prompt away; its slice is as if it had never been given.")
        self.deleteButton = self._button(_("Delete"), self.commands["deletePrompt"], tip)
        tip = _("Then click where the middle of the chosen prompt shall be, in a view of its slices.")
        self.moveButton = self._toolButton(_("Move"), "clicked(bool)", lambda *_on: None, tip)
        tip = _("Take away what the slice on view shows, and its prompts; what was edited by hand stays.")
        self.clearSliceButton = self._button(_("Clear slice"), self.commands["clearSlice"], tip)
        tip = _("Empty the segment and drop its prompts; Undo brings them back.")
        self.startOverButton = self._button(_("Start over"), self.commands["startOver"], tip)
        self._form.addRow(self.promptList)
        row = self._row(self.deleteButton, self.moveButton, self.clearSliceButton, self.startOverButton)
        self._form.addRow(row)

    def setPrompts(self, texts):
        """Show the prompts of the segment; the chosen one stays chosen while the list is the same."""
        shown = [self.promptList.item(n).text() for n in range(self.promptList.count)]
        if shown != texts:
            blocked = self.promptList.blockSignals(True)
            self.promptList.clear()
            for text in texts:
                self.promptList.addItem(text)
            self.promptList.blockSignals(blocked)
        if not texts:
            self.moveButton.checked = False
        colorWhenDown(self.moveButton, TOOL)

    def chosenPrompt(self):
        """Number of the chosen prompt, the only one if there is but one, -1 for none."""
        return 0 if self.promptList.count == 1 else self.promptList.currentRow

    def _addMarkups(self):
        self.markupsCombo = self._combo((), self._onEdited, _("Points, lines, curves and ROIs of the scene."))
        self.markupsCombo.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        tip = _("Use the chosen markups as prompts.")
        self.useMarkupsButton = self._button(_("Use"), self.commands["useMarkups"], tip)
        tip = _("Start propagation from the selected segment as it is now, however it was made.")
        self.useSegmentButton = self._button(_("Use segment"), self.commands["useSegment"], tip)
        row = self._row(self.markupsCombo, self.useMarkupsButton, self.useSegmentButton)
        self._form.addRow(_("Markups:"), row)

    def _addTask(self):
        tip = _("What the network has learnt of one structure (module EfficientMedSAM2, Learn); clicks then mean that.")
        self.taskCombo = self._combo((), lambda _index: self.commands["task"](), tip)
        self.taskCombo.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        self.proposeButton = self._button(proposeText(False), self.commands["propose"], "")
        self.proposeButton.toolTip = _(
            "Look for the task's structure in the whole volume, without a prompt. What is found is shown: "
            "Enter makes it a segment, Esc drops it."
        )
        self._form.addRow(_("Task:"), self._row(self.taskCombo, self.proposeButton))

    def setTasks(self, tasks, chosen):
        """Choices of the task box: (path, text)."""
        combo = self.taskCombo
        blocked = combo.blockSignals(True)
        combo.clear()
        for text, path in ((_("any structure"), ""), *((text, path) for path, text in tasks)):
            combo.addItem(text, path)
        combo.addItem(_("choose a file..."), OTHER_TASK)
        combo.currentIndex = max(combo.findData(chosen), 0)
        combo.blockSignals(blocked)

    def chosenTask(self):
        """Path of the chosen task, "" for any structure, OTHER_TASK for a file that is still to be chosen."""
        return self.taskCombo.itemData(self.taskCombo.currentIndex)

    def _addRange(self):
        self.directionCombo = self._combo(DIRECTIONS, self._onEdited, _("Slices visited from the prompted ones."))
        self.rangeCombo = self._combo(RANGES, self._onEdited, _("How far from the prompted slices propagation may go."))
        self.rangeSpin = qt.QDoubleSpinBox()
        self.rangeSpin.minimum = 1
        self.rangeSpin.maximum = 9999
        self.rangeSpin.decimals = 0
        self._connect(self.rangeSpin, "valueChanged(double)", self._onEdited)
        self.stopCheck = self._check(
            _("stop where the structure ends"),
            self._onEdited,
            _("End a direction when no sure trace is found over 8 mm, or over two thicker slices."),
        )
        self._form.addRow(_("Direction:"), self.directionCombo)
        self._form.addRow(_("Range:"), self._row(self.rangeCombo, self.rangeSpin))
        self._form.addRow("", self.stopCheck)

    def _addSettings(self):
        tip = _("Intensities that the network sees; the volume itself is never changed.")
        self.windowCombo = self._combo(WINDOWS, self._onEdited, tip)
        self._form.addRow(_("Window:"), self.windowCombo)
        self.autoCommitCheck = self._check(
            _("write results at once"),
            self._onEdited,
            _("Each prompt is one undo step. Off: results are outlined until Enter writes or Esc drops them."),
        )
        self.keepOutCheck = self._check(
            _("do not enter other segments"),
            self._onEdited,
            _("Leave other segments their voxels, whatever Masking says. Off: the likelier one has what both claim."),
        )
        self.hoverCheck = self._check(
            _("show what a click would make"),
            self._onEdited,
            _("Outline it while the mouse rests over the image, with the tool Point."),
        )
        self._form.addRow(_("Options:"), self.autoCommitCheck)
        self._form.addRow("", self.keepOutCheck)
        self._form.addRow("", self.hoverCheck)
        tip = _("Many lesions: each prompt begins a new segment, Lesion 1, Lesion 2 ...; Propagate carries all.")
        self.eachCheck = self._check(_("One segment for each"), self._onEdited, f"{tip} ({KEYS['each']})")
        self._form.addRow("", self.eachCheck)
        self.sequenceFrame = qt.QFrame()
        row = qt.QHBoxLayout(self.sequenceFrame)
        row.setContentsMargins(0, 0, 0, 0)
        self.sequenceLabel = qt.QLabel()
        row.addWidget(self.sequenceLabel, 1)
        tip = _(
            "Keep segments of their own for each time point; now all time points have the same. "
            "A time point that is visited for the first time begins with the segments of the one before."
        )
        self.perTimePointButton = self._button(_("Segments for each"), self.commands["perTimePoint"], tip)
        row.addWidget(self.perTimePointButton)
        self.sequenceFrame.visible = False
        self._form.addRow(self.sequenceFrame)

    def showSequence(self, text, shared):
        """Which time point of a sequence is shown, and whether all have the same segments; no text: no sequence."""
        self.sequenceLabel.text = text[:1].upper() + text[1:]
        self.perTimePointButton.visible = shared
        self.sequenceFrame.visible = bool(text)

    def setMarkups(self, nodes, chosenID):
        """Choices of the markups box: (node ID, name)."""
        wanted = [(_("none"), ""), *((name, nodeID) for nodeID, name in nodes)]
        combo = self.markupsCombo
        shown = [(combo.itemText(n), combo.itemData(n)) for n in range(combo.count)]
        blocked = combo.blockSignals(True)
        if shown != wanted:
            combo.clear()
            for name, nodeID in wanted:
                combo.addItem(name, nodeID)
        combo.currentIndex = max(combo.findData(chosenID), 0)
        combo.blockSignals(blocked)
        self.useMarkupsButton.enabled = combo.currentIndex > 0 and not self.needsSetup

    def chosenMarkupsID(self):
        """ID of the chosen markups node, "" for none."""
        return self.markupsCombo.itemData(self.markupsCombo.currentIndex) or ""

    def _moreWidgets(self):
        return (
            self.directionCombo,
            self.rangeCombo,
            self.rangeSpin,
            self.stopCheck,
            self.windowCombo,
            self.autoCommitCheck,
            self.keepOutCheck,
            self.eachCheck,
            self.hoverCheck,
        )

    def _moreValues(self):
        return {
            "Direction": DIRECTIONS[self.directionCombo.currentIndex][0],
            "Range": RANGES[self.rangeCombo.currentIndex][0],
            "RangeValue": str(round(self.rangeSpin.value)),
            "StopWhenLost": asFlag(self.stopCheck.checked),
            "Window": WINDOWS[self.windowCombo.currentIndex][0],
            "AutoCommit": asFlag(self.autoCommitCheck.checked),
            "KeepOut": asFlag(self.keepOutCheck.checked),
            "Each": asFlag(self.eachCheck.checked),
            "Hover": asFlag(self.hoverCheck.checked),
        }

    def _setMoreValues(self, values):
        self.directionCombo.currentIndex = _position(DIRECTIONS, values["Direction"])
        self.rangeCombo.currentIndex = _position(RANGES, values["Range"])
        self.rangeSpin.value = float(values["RangeValue"] or 10)
        self.rangeSpin.visible = values["Range"] in ("slices", "mm")
        self.rangeSpin.suffix = " mm" if values["Range"] == "mm" else ""
        self.stopCheck.checked = values["StopWhenLost"] == "1"
        self.windowCombo.currentIndex = _position(WINDOWS, values["Window"])
        self.autoCommitCheck.checked = values["AutoCommit"] == "1"
        self.keepOutCheck.checked = values["KeepOut"] == "1"
        self.eachCheck.checked = values["Each"] == "1"
        self.hoverCheck.checked = values["Hover"] == "1"


def proposeText(isFinding):
    """Text of the button in its two roles."""
    return _("End the search") if isFinding else _("Propose")


def asFlag(on):
    """A switch as the text of a parameter."""
    return "1" if on else "0"


def _position(choices, value):
    return next((n for n, (known, _text) in enumerate(choices) if known == value), 0)

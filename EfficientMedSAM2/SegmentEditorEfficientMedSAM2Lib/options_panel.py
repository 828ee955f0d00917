"""The effect's options: widgets only. What they mean is the effect's business."""

import qt
from EfficientMedSAM2ModuleLib.widgets import PanelWidgets, message_html
from slicer.i18n import tr as _

from EfficientMedSAM2Lib.core.windows import PRESETS
from EfficientMedSAM2Lib.mrml.effect.action_queue import Activity
from EfficientMedSAM2Lib.mrml.effect.progress import PropagationProgress
from SegmentEditorEfficientMedSAM2Lib.confidence_strip import ConfidenceStrip
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


class OptionsPanel(PanelWidgets):
    """Widgets of the options frame.

    Args:
        scriptedEffect: Gets the rows.
        commands: Callable of each command: "setup", "propagate", "commit", "reject", "weakest", "useMarkups",
            "useSegment", "placeRoi", "perTimePoint".
        edited: Called without arguments when the user has changed a setting.
        jump: Called with the number of the slice to show.
    """

    def __init__(self, scriptedEffect, commands, edited, jump):
        PanelWidgets.__init__(self)
        self.scriptedEffect = scriptedEffect
        self.commands = commands
        self._onEdited = lambda *_values: edited()
        self._addSetup()
        self._addPrompts()
        self._addPropagation()
        self.strip = ConfidenceStrip(jump)
        self._addStrip()
        self._addSettings()
        self.messageLabel = qt.QLabel()
        self.messageLabel.wordWrap = True
        self.messageLabel.objectName = "EfficientMedSAM2Message"
        scriptedEffect.addOptionsWidget(self.messageLabel)

    def cleanup(self):
        """Disconnect all signals."""
        PanelWidgets.cleanup(self)
        self.strip.cleanup()

    # --- rows

    def _addSetup(self):
        self.setupFrame = qt.QFrame()
        column = qt.QVBoxLayout(self.setupFrame)
        column.setContentsMargins(0, 0, 0, 6)
        self.setupLabel = qt.QLabel()
        self.setupLabel.wordWrap = True
        column.addWidget(self.setupLabel)
        tip = _("Open the module that installs what is missing.")
        self.setupButton = self._button(_("Set up EfficientMedSAM2..."), self.commands["setup"], tip)
        column.addWidget(self.setupButton)
        self.setupFrame.visible = False
        self.scriptedEffect.addOptionsWidget(self.setupFrame)

    def _addPrompts(self):
        self.toolGroup = qt.QButtonGroup()
        self.toolButtons = {}
        for tool, text, tip in (
            ("point", _("Point"), _("Click on the structure. Further clicks on the slice correct the result.")),
            ("box", _("Box"), _("Drag a box around the structure on one slice.")),
            ("line", _("Line"), _("Draw the longest diameter of a lesion, as for RECIST.")),
            ("scribble", _("Scribble"), _("Draw over the structure, in any view.")),
            ("lasso", _("Lasso"), _("Draw a line around the structure on one slice.")),
        ):
            button = self._toolButton(text, "clicked(bool)", self._onEdited, f"{tip} ({KEYS[tool]})")
            self.toolGroup.addButton(button)
            self.toolButtons[tool] = button
        tip = _("Place a 3D region of interest around the structure; its extent limits propagation, too.")
        self.roiButton = self._toolButton(_("ROI"), "clicked()", self.commands["placeRoi"], tip)
        row = self._row(*self.toolButtons.values(), self.roiButton)
        self.scriptedEffect.addLabeledOptionsWidget(_("Prompt:"), row)
        key = f" ({KEYS['include']})"
        tip = _("Prompts are on the structure.") + key
        self.includeButton = self._toolButton(_("Include"), "clicked(bool)", self._onEdited, tip)
        tip = _("Prompts are on what does not belong to it.") + key
        self.excludeButton = self._toolButton(_("Exclude"), "clicked(bool)", self._onEdited, tip)
        self.polarityGroup = qt.QButtonGroup()
        for button in (self.includeButton, self.excludeButton):
            self.polarityGroup.addButton(button)
        self.scriptedEffect.addLabeledOptionsWidget("", self._row(self.includeButton, self.excludeButton))
        tip = _("Many lesions: each prompt begins a new segment, Lesion 1, Lesion 2 ...; Propagate carries all.")
        self.eachCheck = self._check(_("One segment for each"), self._onEdited, f"{tip} ({KEYS['each']})")
        self.scriptedEffect.addLabeledOptionsWidget("", self.eachCheck)
        self.markupsCombo = self._combo((), self._onEdited, _("Points, lines, curves and ROIs of the scene."))
        self.markupsCombo.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        tip = _("Use the chosen markups as prompts.")
        self.useMarkupsButton = self._button(_("Use"), self.commands["useMarkups"], tip)
        tip = _("Start propagation from the selected segment as it is now, however it was made.")
        self.useSegmentButton = self._button(_("Use segment"), self.commands["useSegment"], tip)
        row = self._row(self.markupsCombo, self.useMarkupsButton, self.useSegmentButton)
        self.scriptedEffect.addLabeledOptionsWidget(_("Markups:"), row)
        tip = _("Write the preview to the segment.") + " (Enter)"
        self.commitButton = self._button(_("Apply preview"), self.commands["commit"], tip)
        tip = _("Drop the preview; the segment stays.") + " (Esc)"
        self.rejectButton = self._button(_("Discard"), self.commands["reject"], tip)
        row = self._row(self.commitButton, self.rejectButton)
        self.previewFrame = qt.QFrame()
        self.previewFrame.setLayout(row)
        row.setContentsMargins(0, 0, 0, 0)
        self.scriptedEffect.addOptionsWidget(self.previewFrame)

    def _addPropagation(self):
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
        self.scriptedEffect.addLabeledOptionsWidget(_("Direction:"), self.directionCombo)
        self.scriptedEffect.addLabeledOptionsWidget(_("Range:"), self._row(self.rangeCombo, self.rangeSpin))
        self.scriptedEffect.addLabeledOptionsWidget("", self.stopCheck)
        self.propagateButton = self._button(_("Propagate"), self.commands["propagate"], self.propagateTip())
        self.staleLabel = qt.QLabel()
        self.staleLabel.objectName = "EfficientMedSAM2Stale"
        row = self._row()
        row.addWidget(self.propagateButton, 1)
        row.addWidget(self.staleLabel)
        self.scriptedEffect.addOptionsWidget(row)
        self.progressBar = qt.QProgressBar()
        self.progressBar.textVisible = True
        self.progressBar.visible = False
        self.scriptedEffect.addOptionsWidget(self.progressBar)

    def _addStrip(self):
        tip = _("Go to the slice with the lowest confidence; again: to the next one.") + f" ({KEYS['weakest']})"
        self.weakestButton = self._button(_("Weakest"), self.commands["weakest"], tip)
        row = self._row()
        row.addWidget(self.strip.label, 1)
        row.addWidget(self.weakestButton)
        self.scriptedEffect.addLabeledOptionsWidget(_("Confidence:"), row)

    def _addSettings(self):
        tip = _("Intensities that the network sees; the volume itself is never changed.")
        self.windowCombo = self._combo(WINDOWS, self._onEdited, tip)
        self.scriptedEffect.addLabeledOptionsWidget(_("Window:"), self.windowCombo)
        self.autoCommitCheck = self._check(
            _("write results at once"),
            self._onEdited,
            _("Each prompt is one undo step. Off: results are outlined until Enter writes or Esc drops them."),
        )
        self.keepOutCheck = self._check(
            _("do not enter other segments"),
            self._onEdited,
            _("Leave other segments their voxels, whatever Masking says. Off: what they lose is said."),
        )
        self.scriptedEffect.addLabeledOptionsWidget(_("Options:"), self.autoCommitCheck)
        self.scriptedEffect.addLabeledOptionsWidget("", self.keepOutCheck)
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
        self.scriptedEffect.addOptionsWidget(self.sequenceFrame)

    # --- what is shown

    @staticmethod
    def propagateTip():
        """Tool tip of the button in its first role."""
        return _("Carry the segment from its prompted slices to the others; out-of-date slices are done anew.") + (
            f" ({KEYS['propagate']})"
        )

    def showSetup(self, text):
        """Explain what is missing; nothing is missing when the text is empty."""
        self.setupLabel.text = text
        self.setupFrame.visible = bool(text)
        for widget in (
            *self.toolButtons.values(),
            self.roiButton,
            self.includeButton,
            self.excludeButton,
            self.useMarkupsButton,
            self.useSegmentButton,
            self.propagateButton,
        ):
            widget.enabled = not text

    def showState(self, controller, hint):
        """What the controller does, has to say, and has found."""
        activity, progress = controller.activity, controller.progress
        if progress is None and activity.is_propagation:
            progress = PropagationProgress(0, 0, 0.0)
        self.showProgress(progress, activity is Activity.CANCELLING)
        self.showPreview(controller.auto_commit, controller.has_preview)
        if controller.load_error is not None:
            self.showSetup(_("The network could not be loaded:") + f" {controller.load_error}")
        text = controller.message or hint
        if not text and activity is Activity.LOADING:
            text = _("Loading the network...")
        self.showMessage(text, controller.is_error)
        self.staleLabel.text = controller.scores.stale_text
        self.weakestButton.enabled = bool(controller.scores.scores)

    def showMessage(self, text, isError):
        """One message; errors are bold."""
        self.messageLabel.text = message_html(text, isError)

    def showProgress(self, progress, cancelling):
        """Propagate or Cancel, and how far it is (None: nothing runs)."""
        running = progress is not None
        self.propagateButton.text = (_("Cancelling...") if cancelling else _("Cancel")) if running else _("Propagate")
        self.propagateButton.toolTip = (
            _("End at the next slice; slices already done are kept.") + f" ({KEYS['propagate']})"
            if running
            else self.propagateTip()
        )
        self.progressBar.visible = running
        if running:
            self.progressBar.maximum = max(progress.total, 1)
            self.progressBar.value = min(progress.done, progress.total)
            self.progressBar.format = progress.text

    def showPreview(self, autoCommit, pending):
        """Buttons for a result that waits."""
        self.previewFrame.visible = pending or not autoCommit
        self.commitButton.enabled = pending
        self.rejectButton.enabled = pending

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
        self.useMarkupsButton.enabled = combo.currentIndex > 0 and not self.setupLabel.text

    def chosenMarkupsID(self):
        """ID of the chosen markups node, "" for none."""
        return self.markupsCombo.itemData(self.markupsCombo.currentIndex) or ""

    # --- settings

    def values(self):
        """Parameters of the effect, by name, as text."""
        tool = next((name for name, button in self.toolButtons.items() if button.checked), "point")
        return {
            "Tool": tool,
            "Include": _flag(not self.excludeButton.checked),
            "Direction": DIRECTIONS[self.directionCombo.currentIndex][0],
            "Range": RANGES[self.rangeCombo.currentIndex][0],
            "RangeValue": str(round(self.rangeSpin.value)),
            "StopWhenLost": _flag(self.stopCheck.checked),
            "Window": WINDOWS[self.windowCombo.currentIndex][0],
            "AutoCommit": _flag(self.autoCommitCheck.checked),
            "KeepOut": _flag(self.keepOutCheck.checked),
            "Each": _flag(self.eachCheck.checked),
        }

    def setValues(self, values):
        """Show parameters; no signal is sent."""
        widgets = (
            *self.toolButtons.values(),
            self.includeButton,
            self.excludeButton,
            self.directionCombo,
            self.rangeCombo,
            self.rangeSpin,
            self.stopCheck,
            self.windowCombo,
            self.autoCommitCheck,
            self.keepOutCheck,
            self.eachCheck,
        )
        before = [widget.blockSignals(True) for widget in widgets]
        self.toolButtons.get(values["Tool"], self.toolButtons["point"]).checked = True
        (self.includeButton if values["Include"] == "1" else self.excludeButton).checked = True
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
        for widget, blocked in zip(widgets, before):
            widget.blockSignals(blocked)


def _flag(on):
    return "1" if on else "0"


def _position(choices, value):
    return next((n for n, (known, _text) in enumerate(choices) if known == value), 0)

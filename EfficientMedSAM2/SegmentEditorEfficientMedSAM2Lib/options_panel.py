"""The effect's options: widgets only. What they mean is the effect's business.

What a reader needs for each structure is at the top, in places that never move: prompts, message, Propagate with its
progress, confidence. All else is in the section *More*. The page in the browser has the same order.
"""

import qt
from EfficientMedSAM2ModuleLib.widgets import SPACING, message_html
from slicer.i18n import tr as _

from EfficientMedSAM2Lib.mrml.effect.action_queue import Activity
from EfficientMedSAM2Lib.mrml.effect.progress import PropagationProgress
from SegmentEditorEfficientMedSAM2Lib.confidence_strip import ConfidenceStrip
from SegmentEditorEfficientMedSAM2Lib.more_options import MoreOptions, asFlag
from SegmentEditorEfficientMedSAM2Lib.panel_style import EXCLUDE, INCLUDE, LOCKED, TOOL, colorWhenDown, errorColor
from SegmentEditorEfficientMedSAM2Lib.shortcuts import KEYS

#: The message has room for so many lines; longer ones can be scrolled.
MESSAGE_LINES = 2
#: Room left below the panel when it is scrolled into view: Data Probe grows when the mouse is over a segment.
PROBE_LINES_PX = 48


class OptionsPanel(MoreOptions):
    """Widgets of the options frame.

    Args:
        scriptedEffect: Gets the rows.
        commands: Callable of each command, by its name in EffectCommands.
        edited: Called without arguments when the user has changed a setting.
        jump: Called with the number of the slice to show.
    """

    def __init__(self, scriptedEffect, commands, edited, jump):
        MoreOptions.__init__(self, commands, edited)
        self.scriptedEffect = scriptedEffect
        self._addSetup()
        self._needed = frame = qt.QFrame()
        self._column = qt.QVBoxLayout(frame)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(SPACING)
        scriptedEffect.addOptionsWidget(frame)
        frame.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Fixed)  # Slicer gives added widgets another one
        self._addPrompts()
        self._addMessage()
        self._addPropagation()
        self.strip = ConfidenceStrip(jump)
        self._addStrip()
        scriptedEffect.addOptionsWidget(self._addMore())
        self._placed = qt.QTimer(frame)  # ends with the panel, as when the application closes
        self._placed.setSingleShot(True)
        self._connect(self._placed, "timeout()", self._scroll)

    def cleanup(self):
        """Disconnect all signals."""
        MoreOptions.cleanup(self)
        self.segmentsSection.cleanup()
        self.strip.cleanup()

    def bringIntoView(self):
        """Scroll what the panel lies in as far as needed, once the options have their place.

        On a small screen Slicer's own widgets leave little room.
        """
        self._placed.start(0)

    def _scroll(self):
        area = self._needed.parent()
        while area is not None and not area.inherits("QScrollArea"):
            area = area.parent()
        if area is not None:
            area.ensureWidgetVisible(self._needed, 0, PROBE_LINES_PX)

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
            button = self._toolButton(withKey(text, tool), "clicked(bool)", self._onEdited, tip)
            self.toolGroup.addButton(button)
            self.toolButtons[tool] = button
        tip = _("Place a 3D region of interest around the structure; its extent limits propagation, too.")
        self.roiButton = self._toolButton(_("ROI"), "clicked(bool)", self.commands["placeRoi"], tip)
        tools = [*self.toolButtons.values(), self.roiButton]
        for row in (tools[:3], tools[3:]):
            self._column.addLayout(self._row(*row))
        tip = _("Prompts are on the structure.")
        self.includeButton = self._toolButton("+ " + _("Include"), "clicked(bool)", self._onEdited, tip)
        tip = _("Prompts are on what does not belong to it.")
        self.excludeButton = self._toolButton("\N{MINUS SIGN} " + _("Exclude"), "clicked(bool)", self._onEdited, tip)
        self.polarityGroup = qt.QButtonGroup()
        for button in (self.includeButton, self.excludeButton):
            self.polarityGroup.addButton(button)
        tip = _("A locked segment is not changed by any prompt or propagation, nor does it lose voxels to another one.")
        self.lockButton = self._toolButton(_("Lock"), "clicked(bool)", self.commands["lock"], tip)
        tip = _("Select the next segment; after the last one, add one.")
        self.nextButton = self._toolButton(withKey(_("Next"), "next"), "clicked()", self.commands["next"], tip)
        row = self._row(self.includeButton, self.excludeButton, self.lockButton, self.nextButton)
        self._column.addLayout(row)

    def _addMessage(self):
        self.messageLabel = qt.QLabel()
        self.messageLabel.wordWrap = True
        self.messageLabel.alignment = qt.Qt.AlignTop | qt.Qt.AlignLeft
        self.messageLabel.objectName = "EfficientMedSAM2Message"
        self.messageArea = qt.QScrollArea()
        self.messageArea.setWidget(self.messageLabel)
        self.messageArea.widgetResizable = True
        for widget in (self.messageLabel, self.messageArea.viewport()):
            widget.autoFillBackground = False  # the panel's own ground
        self.messageArea.setFrameShape(qt.QFrame.NoFrame)
        self.messageArea.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self.messageArea.setFixedHeight(MESSAGE_LINES * self.messageLabel.fontMetrics().lineSpacing() + 4)
        tip = _("Rotate the slice views into the planes of the image; the menu in a view's bar brings it back.")
        self.rotateButton = self._button(_("Rotate views"), self.commands["rotateViews"], tip)
        self.rotateButton.visible = False
        row = self._row()
        row.addWidget(self.messageArea, 1)
        row.addWidget(self.rotateButton)
        self._column.addLayout(row)

    def _addPreview(self):
        self.commitButton = self._button("", self.commands["commit"], "")
        self.rejectButton = self._button("", self.commands["reject"], "")
        self.previewFrame = qt.QFrame()
        row = self._row(self.commitButton, self.rejectButton)
        self.previewFrame.setLayout(row)
        row.setContentsMargins(0, 0, 0, 0)

    def _addPropagation(self):
        """What waits, runs or is out of date, in one place; and the button beside it."""
        self._addPreview()
        self.propagateButton = self._button(propagateText(), self.commands["propagate"], self.propagateTip())
        self.propagateButton.minimumWidth = self.propagateButton.sizeHint.width() + 12  # room for its other roles
        self.staleLabel = qt.QLabel()
        self.staleLabel.objectName = "EfficientMedSAM2Stale"
        self.progressBar = qt.QProgressBar()
        self.progressBar.textVisible = True
        self.busyLabel = qt.QLabel()  # on the bar: while it is not known how far it is, Qt shows no text of its own
        self.busyLabel.alignment = qt.Qt.AlignCenter
        self.busyLabel.setForegroundRole(qt.QPalette.HighlightedText)
        cover = qt.QHBoxLayout(self.progressBar)
        cover.setContentsMargins(2, 0, 2, 0)
        cover.addWidget(self.busyLabel)
        row = self._row()
        self._places = (self.previewFrame, self.progressBar, self.staleLabel)  # one of them is shown
        for widget in self._places:
            widget.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
            widget.setFixedHeight(self.propagateButton.sizeHint.height())
            row.addWidget(widget, 1)
        row.addWidget(self.propagateButton)
        self._column.addLayout(row)

    def _addStrip(self):
        tip = _("Go to the slice with the lowest confidence; again: to the next one.")
        self.weakestButton = self._button(withKey(_("Weakest"), "weakest"), self.commands["weakest"], tip)
        self.weakestButton.minimumWidth = self.propagateButton.minimumWidth  # below it, and as wide
        row = self._row()
        row.addWidget(self.strip.label, 1)
        row.addWidget(self.weakestButton)
        self._column.addLayout(row)

    # --- what is shown

    @staticmethod
    def propagateTip():
        """Tool tip of the button in its first role."""
        return _("Carry the segment from its prompted slices to the others; out-of-date slices are done anew.")

    def showSetup(self, text):
        """Explain what is missing; nothing is missing when the text is empty."""
        self.setupLabel.text, self.needsSetup = text, bool(text)
        self.setupFrame.visible = bool(text)
        for widget in (
            *self.toolButtons.values(),
            self.roiButton,
            self.includeButton,
            self.excludeButton,
            self.useMarkupsButton,
            self.useSegmentButton,
            self.proposeButton,
            self.propagateButton,
        ):
            widget.enabled = not text

    def showState(self, controller, hint, tilt):
        """What the controller does, has to say, and has found; a hint, and what there is to say of tilted views."""
        activity, progress = controller.activity, controller.progress
        if progress is None and activity.is_propagation:
            progress = PropagationProgress(0, 0, 0.0)
        self.showPreview(controller.has_preview, controller.proposal is not None)
        self.showProgress(progress, activity is Activity.CANCELLING)
        waits = controller.has_preview or controller.proposal is not None
        self._showPlace(self.progressBar if progress is not None else self.previewFrame if waits else self.staleLabel)
        self.rotateButton.visible = bool(tilt)
        if controller.load_error is not None:
            self.showSetup(_("The network could not be loaded:") + f" {controller.load_error}")
        text = controller.message or hint or controller.find_text or tilt
        if not text and activity is Activity.LOADING:
            text = _("Loading the network...")
        self.showMessage(text, controller.is_error)
        self.staleLabel.text = controller.scores.stale_text
        self.weakestButton.enabled = bool(controller.scores.scores)
        self.lockButton.checked = controller.is_locked
        colorWhenDown(self.lockButton, LOCKED)
        self.setPrompts([controller.describe_prompt(prompt) for prompt in controller.prompts])
        self.lockButton.text = _("Locked") if controller.is_locked else _("Lock")

    def showMessage(self, text, isError):
        """One message; errors are bold and red."""
        html = message_html(text, isError)
        if isError and text:
            html = f'<span style="color: {errorColor(self.messageLabel)}">{html}</span>'
        self.messageLabel.text = html
        self.messageLabel.toolTip = text

    def showProgress(self, progress, cancelling):
        """Propagate or Cancel, and how far it is (None: nothing runs)."""
        running = progress is not None
        self.propagateButton.text = cancelText(cancelling) if running else propagateText()
        tip = _("End at the next slice; slices already done are kept.") if running else self.propagateTip()
        self.propagateButton.toolTip = tip
        if running:
            hasBegun = progress.done > 0
            self.progressBar.maximum = progress.total if hasBegun else 0  # 0: the bar shows that something runs
            self.progressBar.value = min(progress.done, progress.total)
            self.progressBar.format = progress.text
            self.busyLabel.text = "" if hasBegun else _("Preparing...")

    def _showPlace(self, widget):
        """Show one of the widgets that share the place beside Propagate."""
        for other in self._places:
            if other is not widget:
                other.visible = False
        widget.visible = True

    def showPlacing(self, isPlacing):
        """The button of the ROI is down while one is being placed."""
        self.roiButton.checked = isPlacing
        colorWhenDown(self.roiButton, TOOL)

    def showPreview(self, pending, proposed):
        """Buttons for a result that waits, or else a proposal of another segment."""
        isProposal = proposed and not pending
        self.commitButton.text = (_("Accept") if isProposal else _("Apply")) + " (Enter)"
        self.rejectButton.text = (_("Drop it") if isProposal else _("Discard")) + " (Esc)"
        tip = _("Make the proposal a segment.") if isProposal else _("Write the preview to the segment.")
        self.commitButton.toolTip = tip
        tip = _("It is none; go on to the next one.") if isProposal else _("Drop the preview; the segment stays.")
        self.rejectButton.toolTip = tip

    # --- settings

    def values(self):
        """Parameters of the effect, by name, as text."""
        tool = next((name for name, button in self.toolButtons.items() if button.checked), "point")
        return {"Tool": tool, "Include": asFlag(not self.excludeButton.checked), **self._moreValues()}

    def setValues(self, values):
        """Show parameters; no signal is sent."""
        widgets = (*self.toolButtons.values(), self.includeButton, self.excludeButton, *self._moreWidgets())
        before = [widget.blockSignals(True) for widget in widgets]
        self.toolButtons.get(values["Tool"], self.toolButtons["point"]).checked = True
        isIncluding = values["Include"] == "1"
        chosen, other = self.includeButton, self.excludeButton
        chosen, other = (chosen, other) if isIncluding else (other, chosen)
        chosen.checked = True
        chosen.text, other.text = _named(chosen.text), withKey(_named(other.text), "include")
        self._setMoreValues(values)
        for button in self.toolButtons.values():
            colorWhenDown(button, TOOL)
        colorWhenDown(self.includeButton, INCLUDE)
        colorWhenDown(self.excludeButton, EXCLUDE)
        for widget, blocked in zip(widgets, before):
            widget.blockSignals(blocked)


def withKey(text, command):
    """Text of a button with its key."""
    return f"{text} ({KEYS[command]})"


def propagateText():
    """Text of the button in its first role."""
    return withKey(_("Propagate"), "propagate")


def cancelText(cancelling):
    """Text of the button while propagation runs."""
    return _("Cancelling...") if cancelling else _("Cancel") + " (Esc)"


def _named(text):
    """Text of a button without its key."""
    return text.split(" (")[0]

"""EfficientMedSAM2's module in 3D Slicer: set-up, choices, sample data, and the way into the Segment Editor.

Segmentation itself happens in the Segment Editor effect of the same name, which this module registers.
"""

from __future__ import annotations

import importlib
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from EfficientMedSAM2ModuleLib.locate import make_engine_importable
from EfficientMedSAM2ModuleLib.logic import EfficientMedSAM2Logic
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

logger = logging.getLogger(__name__)
MODULE_FOLDER = Path(__file__).resolve().parent
make_engine_importable(MODULE_FOLDER)


class EfficientMedSAM2(ScriptedLoadableModule):
    """The module, as Slicer lists it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        from EfficientMedSAM2Lib.core.resources import resource_path

        self.parent.title = "EfficientMedSAM2"
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "SegmentEditor"]
        self.parent.contributors = ["EfficientMedSAM2 contributors"]
        self.parent.helpText = _(
            "Sets up the EfficientMedSAM2 effect of the Segment Editor: click on a structure or draw a box around it on"
            " one slice, and get it in 3D, on a computer without a graphics card."
            "<p>Not a medical device: for research, not for diagnosis or treatment.</p>"
        )
        self.parent.acknowledgementText = _(
            "Not the 'Efficient MedSAM2' baseline of bowang-lab/MedSAM2, and not affiliated with that project."
        )
        self.parent.icon = qt.QIcon(str(resource_path("Icons", "EfficientMedSAM2.png")))
        slicer.app.connect("startupCompleted()", self.on_startup_completed)

    def on_startup_completed(self):
        """Slicer is ready: effects and samples can be registered. A failure of one must not keep the other away."""
        from EfficientMedSAM2ModuleLib.effect_registration import register_effect
        from EfficientMedSAM2ModuleLib.sample_data import register_sample_data

        from EfficientMedSAM2Lib.core.resources import resource_path

        for what, action, argument in (
            ("the Segment Editor effect", register_effect, MODULE_FOLDER),
            ("sample data", register_sample_data, resource_path("Icons")),
        ):
            try:
                action(argument)
            except Exception:
                logger.exception("EfficientMedSAM2 could not register %s.", what)


class EfficientMedSAM2Widget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel. Everything that can be done without it is in EfficientMedSAM2Logic."""

    CHECK_INTERVAL_MS = 10
    CHECK_WAIT_S = 0.04  # of the main thread at each interval, so that the thread gets on

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = EfficientMedSAM2Logic()
        self._check: Any = None  # a Future while the network is checked
        self._was_ready = None
        self._timer: Any = None
        self.cohort: Any = None
        self.learn: Any = None

    def setup(self):
        """Make the panel from its .ui file and connect it."""
        ScriptedLoadableModuleWidget.setup(self)
        from EfficientMedSAM2ModuleLib.cohort.panel import TITLE as COHORT
        from EfficientMedSAM2ModuleLib.cohort.panel import CohortPanel
        from EfficientMedSAM2ModuleLib.learn.panel import TITLE as LEARN
        from EfficientMedSAM2ModuleLib.learn.panel import LearnPanel
        from EfficientMedSAM2ModuleLib.settings import AUTOMATIC, CUSTOM, DISPLAYED, ENCODERS

        from EfficientMedSAM2Lib.core.resources import resource_path

        panel = slicer.util.loadUI(str(resource_path("UI", "EfficientMedSAM2.ui")))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        for name, encoder in zip(("EfficientNet-Lite0", "MobileNetV3-Large"), ENCODERS):
            self.ui.encoderComboBox.addItem(name, encoder)
        self.ui.encoderComboBox.addItem(_("Own file"), "own")
        for text, device in (
            (_("Automatic"), "auto"),
            (_("Processor (CPU)"), "cpu"),
            (_("NVIDIA GPU (CUDA)"), "cuda"),
            (_("Apple GPU (MPS)"), "mps"),
        ):
            self.ui.deviceComboBox.addItem(text, device)
        self.ui.windowComboBox.addItem(_("Automatic"), AUTOMATIC)
        self.ui.windowComboBox.addItem(_("As displayed"), DISPLAYED)
        for name, low, high in self.logic.window_presets():
            self.ui.windowComboBox.addItem(f"{name} ({low:g} to {high:g} HU)", name)
        self.ui.windowComboBox.addItem(_("Custom"), CUSTOM)
        self._show_settings()
        self.ui.setupButton.connect("clicked()", self.on_setup)
        self.ui.torchButton.connect("clicked()", lambda: self.on_setup(with_torch=True))
        self.ui.restartButton.connect("clicked()", slicer.util.restart)
        self.ui.openEditorButton.connect("clicked()", self.on_open_editor)
        self.ui.sampleButton.connect("clicked()", self.on_sample)
        self.ui.checkButton.connect("clicked()", self.on_check)
        self.ui.encoderComboBox.connect("currentIndexChanged(int)", self.on_settings_changed)
        self.ui.deviceComboBox.connect("currentIndexChanged(int)", self.on_settings_changed)
        self.ui.windowComboBox.connect("currentIndexChanged(int)", self.on_settings_changed)
        self.ui.halfPrecisionCheckBox.connect("toggled(bool)", self.on_settings_changed)
        self.ui.weightsPath.connect("currentPathChanged(QString)", self.on_settings_changed)
        self.ui.taskPath.connect("currentPathChanged(QString)", self.on_settings_changed)
        self.ui.windowRange.connect("valuesChanged(double,double)", self.on_settings_changed)
        self._timer = qt.QTimer()
        self._timer.interval = self.CHECK_INTERVAL_MS
        self._timer.connect("timeout()", self.on_timer)
        self.learn_section, self.cohort_section = self._add_section(LEARN), self._add_section(COHORT)
        self.learn = LearnPanel(qt.QVBoxLayout(self.learn_section), self.logic, self._show_task)
        self.cohort = CohortPanel(qt.QVBoxLayout(self.cohort_section))
        self.layout.addStretch(1)
        self.update_state()

    def _add_section(self, title):
        """A section that is closed at first."""
        section = ctk.ctkCollapsibleButton()
        section.text = title
        section.collapsed = True
        self.layout.addWidget(section)
        return section

    def enter(self):
        """The user comes to the panel: something may have been installed since, or another task chosen."""
        self._show_task()
        self.learn.enter()
        self.update_state()

    def _show_task(self):
        """Another task may have been chosen elsewhere."""
        self.ui.taskPath.currentPath = self.logic.settings().task

    def cleanup(self):
        """The panel goes away."""
        if self._timer is not None:
            self._timer.stop()
        self._check = None
        for section in (self.learn, self.cohort):
            if section is not None:
                section.cleanup()
        self.removeObservers()

    def onReload(self):
        """Developers: reload the package beside the module, too."""
        for name in sorted(name for name in sys.modules if name.startswith("EfficientMedSAM2ModuleLib.")):
            importlib.reload(sys.modules[name])
        ScriptedLoadableModuleWidget.onReload(self)

    # --- set-up --------------------------------------------------------------------------------------------------

    def update_state(self):
        """Show what is installed, and enable what can be done."""
        state = self.logic.state()
        ui = self.ui
        ui.stateLabel.text = state.summary
        ui.torchLabel.text = state.torch or (_("missing") if state.needs_torch else _("not installed, and not needed"))
        missing = [_("missing: {names}").format(names=", ".join(state.missing))] if state.missing else []
        ui.packagesLabel.text = "; ".join([*state.packages, *missing])
        ui.weightsLabel.text = state.weights or _("missing")
        ui.setupButton.enabled = state.installable
        ui.setupButton.text = _("Set up") if state.installable else _("Set up: nothing to do")
        ui.torchButton.visible = state.torch_offered
        ui.restartButton.visible = state.restart_needed
        ui.checkButton.enabled = state.ready and self._check is None
        if not state.ready:
            ui.checkLabel.text = _("Not checked: the set-up is not complete.")
        elif self._check is None and not self.logic.report:
            ui.checkLabel.text = _("Press Check to see device, precision and speed.")
        if state.ready != self._was_ready:  # otherwise as the user has left it
            self._was_ready = state.ready
            ui.setupSection.collapsed = state.ready

    def on_setup(self, with_torch=False):
        """Install what is missing; each step asks first."""
        try:
            with slicer.util.tryWithErrorDisplay(_("The set-up failed."), waitCursor=True):
                if not self.logic.set_up(with_torch):
                    slicer.util.showStatusMessage(_("The set-up was cancelled."), 5000)
        finally:
            self.update_state()  # an earlier step may have succeeded

    # --- choices -------------------------------------------------------------------------------------------------

    def _show_settings(self):
        from EfficientMedSAM2ModuleLib.settings import CUSTOM

        settings, ui = self.logic.settings(), self.ui
        ui.encoderComboBox.currentIndex = ui.encoderComboBox.findData("own" if settings.weights else settings.encoder)
        ui.deviceComboBox.currentIndex = ui.deviceComboBox.findData(settings.device)
        ui.windowComboBox.currentIndex = ui.windowComboBox.findData(settings.window)
        ui.halfPrecisionCheckBox.checked = settings.half_precision
        ui.weightsPath.currentPath = settings.weights
        ui.taskPath.currentPath = settings.task
        ui.windowRange.setValues(settings.window_low, settings.window_high)
        ui.weightsPath.enabled = bool(settings.weights)
        ui.windowRange.enabled = settings.window == CUSTOM

    def on_settings_changed(self, *_values):
        """Keep the choices, and see whether they can be used."""
        from EfficientMedSAM2ModuleLib.settings import CUSTOM

        ui, settings = self.ui, self.logic.settings()
        encoder = ui.encoderComboBox.currentData
        own = encoder == "own"
        window = ui.windowComboBox.currentData
        changed = replace(
            settings,
            encoder=settings.encoder if own else encoder,
            weights=ui.weightsPath.currentPath if own else "",
            task=ui.taskPath.currentPath,
            device=ui.deviceComboBox.currentData,
            half_precision=ui.halfPrecisionCheckBox.checked,
            window=window,
            window_low=ui.windowRange.minimumValue,
            window_high=ui.windowRange.maximumValue,
        )
        ui.weightsPath.enabled = own
        ui.windowRange.enabled = window == CUSTOM
        self.logic.change_settings(changed)
        self.update_state()

    # --- check ---------------------------------------------------------------------------------------------------

    def on_check(self):
        """Load the network in a thread and say what it runs on."""
        if self._check is None:
            self._check = self.logic.start_check()
            self.ui.checkLabel.text = _("Loading the network ...")
            self.ui.checkButton.enabled = False
            self._timer.start()

    def on_timer(self):
        """Ask the thread."""
        if self._check is None or not self.logic.is_finished(self._check, self.CHECK_WAIT_S):
            return
        self._timer.stop()
        check, self._check = self._check, None
        self.ui.checkLabel.text = self.logic.finish_check(check)
        self.update_state()

    # --- segment -------------------------------------------------------------------------------------------------

    def on_open_editor(self):
        """Go to the Segment Editor, with the effect selected."""
        from EfficientMedSAM2ModuleLib.effect_registration import open_segment_editor, volume_on_view

        if volume_on_view() is None:
            slicer.util.infoDisplay(_("There is no scan to segment yet. Load one, or press Load sample CT."))
            return
        with slicer.util.tryWithErrorDisplay(_("The Segment Editor could not be opened.")):
            open_segment_editor()

    def on_sample(self):
        """Load the tutorial's chest CT."""
        with slicer.util.tryWithErrorDisplay(_("The sample could not be loaded."), waitCursor=True):
            self.logic.load_sample()


class EfficientMedSAM2Test(ScriptedLoadableModuleTest):
    """Self test: *Reload and Test* in developer mode, and CTest. The longer ones are in Testing/Slicer."""

    def setUp(self):
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Run all."""
        self.setUp()
        self.test_panel_tells_the_state()

    def test_panel_tells_the_state(self):
        """The set-up state can be shown whatever is installed, and the settings survive being saved."""
        logic = EfficientMedSAM2Logic()
        state = logic.state()
        assert state.summary
        assert state.ready == state.summary.startswith("Ready")
        settings = logic.settings()
        settings.save()
        assert logic.settings() == settings
        self.delayDisplay(f"EfficientMedSAM2: {state.summary}")

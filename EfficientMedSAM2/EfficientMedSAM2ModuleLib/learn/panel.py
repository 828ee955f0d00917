"""The panel's section *Learn*: which cases, which structure, how long; progress, what was won, and *Use it*."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.runtimes.choice import TORCH_PACKAGES, installed

from ..effect_registration import open_segment_editor, segment_editor
from ..installer import SetupDeclinedError, install_packages
from ..settings import TASK_FOLDER, choose_task, task_facts
from ..widgets import PanelWidgets, ask_for_file
from .process import LearnProcess, learn_command

logger = logging.getLogger(__name__)

TITLE = "Learn"
SETTING = "EfficientMedSAM2/cases_folder"
SOURCES = (("scene", "scans of this scene"), ("folder", "a folder of cases, or results of a cohort"))
MEASURES = (("box", "Boxes"), ("clicks", "One click"), ("volume", "Volumes"))
COLUMNS = ("Dice", "Before", "After")
#: What learning needs besides PyTorch, to read cases, by the name that it is imported by.
CASE_PACKAGES = {"slicerio": "slicerio>=1.1", "nibabel": "nibabel>=5", "pydantic": "pydantic>=2.5"}
POLL_MS = 200


class LearnPanel(PanelWidgets):
    """Widgets, and what they do.

    Args:
        layout: qt.QVBoxLayout that they are added to.
        logic: The module's logic.
        used: Called when a task was chosen for the effect.
    """

    badInput = (*PanelWidgets.badInput, RuntimeError)

    def __init__(self, layout, logic, used):
        PanelWidgets.__init__(self)
        self.logic, self.used = logic, used
        self.process: Any = None  # a LearnProcess while it runs
        self.task = None  # Path of the task that was learnt
        self._output: Any = None
        self._written = ""  # folder of the scene's cases while they are learnt from
        form = qt.QFormLayout()
        layout.addLayout(form)
        self.sourceCombo = self._combo(SOURCES, lambda _index: self._update(), _("Where the finished cases are."))
        form.addRow(_("Cases:"), self.sourceCombo)
        self.folderEdit = ctk.ctkPathLineEdit()
        self.folderEdit.filters = ctk.ctkPathLineEdit.Dirs
        self.folderEdit.toolTip = _(
            "Scans with masks beside them (case1.nii.gz and case1.seg.nrrd), or the output of `efficient-medsam2 "
            "cohort run`, of which the cases that were corrected or seen count."
        )
        self.folderEdit.currentPath = slicer.util.settingsValue(SETTING, "", str)
        form.addRow(_("Folder:"), self.folderEdit)
        self.nameCombo = qt.QComboBox()
        self.nameCombo.editable = True
        self.nameCombo.toolTip = _("Name of the segment in all cases, or its value in label maps.")
        form.addRow(_("Structure:"), self.nameCombo)
        self.minutesSpin = qt.QDoubleSpinBox()
        self.minutesSpin.decimals = 0
        self.minutesSpin.minimum = 0
        self.minutesSpin.maximum = 600
        self.minutesSpin.value = 0
        self.minutesSpin.suffix = " min"
        self.minutesSpin.toolTip = _(
            "About how long two idle cores take; more is not always better. 0: as the cases need."
        )
        self.learnButton = self._button("", self.onLearn, "")
        self.learnButton.toolTip = _("Learn in a process of its own, at a low priority: go on with other work.")
        form.addRow(_("Time:"), self._row(self.minutesSpin, self.learnButton))
        self.progressBar = qt.QProgressBar()
        self.progressBar.textVisible = True
        layout.addWidget(self.progressBar)
        layout.addWidget(self._message())
        self.table = self._table(COLUMNS, len(MEASURES))
        self.table.toolTip = _("On cases that were not learnt from, without the task and with it; 1 is perfect.")
        layout.addWidget(self.table)
        self.useButton = self._button(_("Use it"), self.onUse, _("Choose this task for the effect, and go there."))
        layout.addWidget(self.useButton)
        self._timer = qt.QTimer()
        self._timer.interval = POLL_MS
        self._connect(self._timer, "timeout()", self.onTimer)
        self.enter()
        self._say(_("From two finished cases or more, a structure of your own; see docs/LEARN.md."))

    def cleanup(self):
        """The panel goes away: learning ends."""
        self._timer.stop()
        self._end()
        PanelWidgets.cleanup(self)

    def enter(self):
        """The user comes to the panel: offer the structures that the scene has now."""
        from EfficientMedSAM2Lib.mrml.scene.finished_cases import structures

        names, combo = structures(slicer.mrmlScene), self.nameCombo
        text = combo.currentText
        combo.clear()
        for name in names:
            combo.addItem(name)
        combo.setEditText(text or (names[0] if names else ""))
        self._update()

    # --- commands

    def onLearn(self):
        """Begin, or cancel what runs."""
        if self.process is not None:
            self.process.cancel()
            self._update()
        else:
            self._try(self._start)

    def onUse(self):
        """Let the effect work with the task."""
        self._try(self._use)

    def onTimer(self):
        """Look how far it is."""
        if self.process is None:
            self._timer.stop()
        elif self.process.is_running:
            self._show_progress()
        else:
            self._try(self._finish)

    # --- inside

    def _start(self):
        structure = self.nameCombo.currentText.strip()
        if not structure:
            raise UserError(_("Give the name of the structure that is to be learnt."))
        chosen = self._chosen(structure)
        if not self._set_up():
            return
        folder = slicer.util.settingsValue(TASK_FOLDER, "", str) or qt.QDir.homePath()
        output = ask_for_file(_("Save the task as"), folder, structure, ".task", _("Task (*.task)"))
        if output is None:
            return
        try:
            cases = self._write_cases(chosen, structure) if self._source == "scene" else chosen
            command = learn_command(cases, structure, output, self.minutesSpin.value, self.logic.settings())
            self.process = LearnProcess(command)
        except (ValueError, OSError):
            self._end()
            raise
        self._output, self.task = output, None
        logger.info("Learning %r from %s.", structure, cases)
        self._say(_("Learning goes on while you work."))
        self._timer.start()

    def _chosen(self, structure):
        """Cases of the scene, or the folder; checked before anything is asked or installed."""
        from EfficientMedSAM2Lib.mrml.scene.finished_cases import finished_cases

        if self._source == "scene":
            return finished_cases(slicer.mrmlScene, structure)
        path = self.folderEdit.currentPath
        if not path or not Path(path).is_dir():
            raise UserError(_("Choose the folder of the cases, or of a cohort's results."))
        qt.QSettings().setValue(SETTING, path)
        return Path(path)

    def _set_up(self):
        """Install what learning needs, after asking; False where Slicer has to be restarted first."""
        missing = [line for name, line in CASE_PACKAGES.items() if not installed(name)]
        try:
            if not all(installed(name) for name in TORCH_PACKAGES):
                if not self.logic.set_up(True):
                    raise SetupDeclinedError
                if self.logic.restart_needed:
                    self._say(_("Restart Slicer, press Set up PyTorch, and learn then."))
                    return False
            if missing:
                install_packages(missing)
        except SetupDeclinedError as declined:
            raise UserError(_("Learning needs PyTorch, which is not installed; nothing was learnt.")) from declined
        return True

    def _write_cases(self, cases, structure):
        from EfficientMedSAM2Lib.mrml.scene.finished_cases import write_finished_cases

        self._written = tempfile.mkdtemp(prefix="EfficientMedSAM2-cases-")
        write_finished_cases(cases, structure, Path(self._written))
        return Path(self._written)

    def _finish(self):
        process = self.process
        try:
            if process.was_cancelled:
                self._say(_("Cancelled. Learn again with the same cases and file, and it goes on where it was."))
                return
            process.check()
            facts = task_facts(str(self._output))
            self.task = self._output
            self._list(facts["results"])
            text = _("{name} was learnt from {cases} cases. The table is of cases that were left out.")
            self._say(f"{text.format(**facts)} {process.verdict}".strip())
        finally:
            self._end()

    def _use(self):
        choose_task(str(self.task))
        self.used()
        segment_editor().setActiveEffectByName("")  # the effect reads what was chosen when it becomes active
        open_segment_editor()

    def _end(self):
        """Let go of the process and of the copies of the scene's scans."""
        self._timer.stop()
        process, self.process = self.process, None
        if process is not None:
            process.close()
        if self._written:
            shutil.rmtree(self._written, ignore_errors=True)
            self._written = ""

    @property
    def _source(self):
        return SOURCES[self.sourceCombo.currentIndex][0]

    def _list(self, results):
        rows = [(_(text), *results[name]) for name, text in MEASURES if name in results]
        self.table.setRowCount(len(rows))
        for row, (text, before, after) in enumerate(rows):
            for column, cell in enumerate((text, f"{before:.3f}", f"{after:.3f}")):
                self.table.setItem(row, column, qt.QTableWidgetItem(cell))

    def _show_progress(self):
        what, done, total = self.process.progress
        self.progressBar.maximum = total  # 0 until it is known: the bar shows that something runs
        self.progressBar.value = done
        if self.process.was_cancelled:
            self.progressBar.format = _("Cancelling...")
        else:
            self.progressBar.format = f"{what[:1].upper()}{what[1:]}: {done} of {total}" if total else _("Reading...")

    def _update(self):
        running = self.process is not None
        if running:
            self._show_progress()
        self.progressBar.visible = running
        self.learnButton.text = _("Cancel") if running else _("Learn...")
        for widget in (self.sourceCombo, self.nameCombo, self.minutesSpin):
            widget.enabled = not running
        self.folderEdit.enabled = not running and self._source == "folder"
        for widget in (self.table, self.useButton):
            widget.visible = self.task is not None

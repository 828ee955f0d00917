"""The panel's section for cohorts: a list of cases, least certain first, and buttons to open and to keep them."""

from __future__ import annotations

import sqlite3
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from ..effect_registration import open_segment_editor, segment_editor
from ..widgets import PanelWidgets
from .review import CohortReview

SETTING = "EfficientMedSAM2/cohort_folder"
TITLE = "Cohort"
COLUMNS = ("Case", "Confidence", "Segments")


class CohortPanel(PanelWidgets):
    """Widgets, and what they do.

    Args:
        layout: qt.QVBoxLayout that they are added to.
    """

    badInput = (*PanelWidgets.badInput, sqlite3.Error)

    def __init__(self, layout):
        PanelWidgets.__init__(self)
        self.review: Any = None  # a CohortReview once a folder was read
        self.cases = []
        row = qt.QHBoxLayout()
        self.folderEdit = ctk.ctkPathLineEdit()
        self.folderEdit.filters = ctk.ctkPathLineEdit.Dirs
        self.folderEdit.toolTip = _("Output folder of `efficient-medsam2 cohort run`: the one with ledger.sqlite.")
        self.folderEdit.currentPath = slicer.util.settingsValue(SETTING, "", str)
        row.addWidget(self.folderEdit, 1)
        self.readButton = self._button(_("Read"), self.onRead, _("Read the list of cases from this folder."))
        row.addWidget(self.readButton)
        layout.addLayout(row)
        self.table = self._table(COLUMNS)
        self.table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self.table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        self.table.horizontalHeader().setStretchLastSection(True)
        self.table.minimumHeight = 150
        self.table.toolTip = _("Cases by their least sure slice. Double-click a case to open it.")
        self._connect(self.table, "cellDoubleClicked(int,int)", self.onRow)
        layout.addWidget(self.table)
        self.nextButton = self._button(
            _("Open next"),
            self.onNext,
            _("Open the least certain case that nobody has saved yet in the Segment Editor, at its least sure slice."),
        )
        self.saveButton = self._button(
            _("Save"),
            self.onSave,
            _("Keep the correction in the case's folder and in the ledger. An unchanged case is marked as seen."),
        )
        self.saveNextButton = self._button(
            _("Save and open next"), self.onSaveAndNext, _("Keep this case, and open the next of the least certain.")
        )
        layout.addLayout(self._row(self.nextButton, self.saveButton, self.saveNextButton))
        layout.addWidget(self._message())
        self._say(_("Choose the folder of a cohort to review its cases."))
        self._update()

    # --- commands

    def onRead(self):
        """Read the list of the chosen folder."""
        self._try(self._read)

    def onRow(self, row, _column):
        """Open the case of a row."""
        self._try(lambda: self._open(self.cases[row].name))

    def onNext(self):
        """Open the next of the least certain cases."""
        self._try(lambda: self._open(self.review.next_case()))

    def onSave(self):
        """Keep the open case."""
        self._try(self._save)

    def onSaveAndNext(self):
        """Keep the open case, and open the next one."""

        def act():
            self._save()
            self._open(self.review.next_case())

        self._try(act)

    # --- inside

    def _read(self):
        review = CohortReview(self.folderEdit.currentPath, slicer.mrmlScene)  # a wrong folder changes nothing
        if not self._may_leave():
            return
        if self.review is not None:
            self.review.close()
        self.review = review
        qt.QSettings().setValue(SETTING, self.folderEdit.currentPath)
        self._list()
        left = sum(not case.is_reviewed for case in self.cases)
        self._say(_("{count} cases, {left} of them not seen yet.").format(count=len(self.cases), left=left))

    def _open(self, name):
        if not self._may_leave():
            return
        if not name:
            self.review.close()
            self._say(_("No case is left; all were seen."))
            return
        nodes = self.review.open(name)
        segment, place = self.review.weakest_place()
        slicer.util.setSliceViewerLayers(background=nodes.volume, fit=True)
        for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode") if place is not None else ():
            sliceNode.JumpSliceByOffsetting(*place)
        slicer.util.resetThreeDViews()
        open_segment_editor(nodes.segmentation, nodes.volume, segment)
        self._say(_("Case {name} is open in the Segment Editor. Come back here to save it.").format(name=name))

    def _save(self):
        segment_editor().setActiveEffectByName("")  # what an effect has not written yet is written now
        name, corrected = self.review.name, self.review.save()
        text = _("Case {name}: correction saved.") if corrected else _("Case {name}: marked as seen.")
        self._list()
        self._say(text.format(name=name))

    def _may_leave(self):
        """Ask what becomes of changes that were not saved; False when the user wants to stay."""
        if self.review is None or self.review.nodes is None:
            return True
        segment_editor().setActiveEffectByName("")
        if not self.review.is_changed:
            return True
        buttons = qt.QMessageBox.Save | qt.QMessageBox.Discard | qt.QMessageBox.Cancel
        question = _("Case {name} was changed. Save the correction?").format(name=self.review.name)
        answer = qt.QMessageBox.question(slicer.util.mainWindow(), "EfficientMedSAM2", question, buttons)
        if answer == qt.QMessageBox.Save:
            self._save()
        return answer in (qt.QMessageBox.Save, qt.QMessageBox.Discard)

    def _list(self):
        self.cases = self.review.cases()
        self.table.setRowCount(len(self.cases))
        for row, case in enumerate(self.cases):
            for column, text in enumerate((case.name, case.review_status, case.text)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                self.table.setItem(row, column, item)
        self.table.resizeColumnsToContents()

    def _update(self):
        isOpen = self.review is not None and self.review.nodes is not None
        self.nextButton.enabled = any(not case.is_reviewed for case in self.cases)
        self.saveButton.enabled = self.saveNextButton.enabled = isOpen
        names = [case.name for case in self.cases]
        if isOpen and self.review.name in names:
            self.table.selectRow(names.index(self.review.name))

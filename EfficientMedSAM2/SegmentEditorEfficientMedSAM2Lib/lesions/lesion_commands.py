"""What the section *Segments* does."""

import importlib.util
from typing import TYPE_CHECKING, Any

import qt
import slicer
from EfficientMedSAM2ModuleLib.installer import SetupDeclinedError, install_packages
from EfficientMedSAM2ModuleLib.widgets import ask_for_file
from slicer.i18n import tr as _

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.mrml.effect.view_geometry import show_slice
from SegmentEditorEfficientMedSAM2Lib.lesions.measured_segments import MeasuredSegments
from SegmentEditorEfficientMedSAM2Lib.lesions.saving import HIGHDICOM, dicom_files_of, prepare_csv, prepare_dicom_seg
from SegmentEditorEfficientMedSAM2Lib.more_options import proposeText


class LesionCommands:
    """Commands of the section; a part of the effect's."""

    measured: Any = None  # MeasuredSegments, from setupLesions on
    _proposal: Any = None  # the proposal that the views were brought to

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """What the effect itself has."""

    def setupLesions(self):
        """Make what is behind the section."""
        from EfficientMedSAM2Lib.pipeline.find_rest import search_others
        from EfficientMedSAM2Lib.pipeline.proposals import search_structure

        self.controller.find, self.controller.propose = search_others, search_structure
        self.measured = MeasuredSegments(self.controller)

    def lesionCommands(self):
        """Callable of each command, by the name that the panel uses."""
        return {
            "showSegments": self._onChanged,
            "goToSegment": self.onGoToSegment,
            "saveTable": lambda: self._act(self._saveTable),
            "saveDicomSeg": lambda: self._act(self._saveDicomSeg),
            "findOthers": lambda: self._act(self.controller.find_others),
        }

    def showLesions(self):
        """Bring the section up to date, and the views to a new proposal."""
        section, state = self.panel.segmentsSection, self.controller
        self.measured.is_shown = section.isOpen and not self.panel.moreSection.collapsed
        if self.measured.is_shown:
            node = self.scriptedEffect.parameterSetNode()
            section.showNumbers(self.measured.numbers(), node.GetSelectedSegmentID())
        section.showFinding(state.is_finding, state.find_text)
        self.panel.proposeButton.text = proposeText(state.is_finding)
        proposal = state.proposal
        if proposal is not self._proposal:
            self._proposal = proposal
            volumeNode = self._volumeNode()
            if proposal is not None and volumeNode is not None:
                views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
                show_slice(proposal.axis, proposal.place_kji[proposal.axis], volumeNode, views)

    def onGoToSegment(self):
        """Select the segment of a line, and show the middle of its longest diameter."""
        numbers, row = self.measured.numbers(), self.panel.segmentsSection.chosenRow()
        if not 0 <= row < len(numbers):
            return
        segmentID = numbers[row][0]
        self.scriptedEffect.parameterSetNode().SetSelectedSegmentID(segmentID)
        place = self.measured.middle_world(segmentID)
        for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode") if place is not None else ():
            sliceNode.JumpSliceByOffsetting(*place)

    def _saveTable(self):
        path = self._askForFile(_("Save the table of segments"), ".csv", _("Table (*.csv)"))
        if path is not None:
            self.controller.save(lambda: prepare_csv(self.controller, path))

    def _saveDicomSeg(self):
        dicom_files_of(self.controller.port.source_volume_node())
        if importlib.util.find_spec("highdicom") is None:
            try:
                install_packages([HIGHDICOM])
            except SetupDeclinedError as declined:
                raise UserError(_("A DICOM SEG cannot be written without the package highdicom.")) from declined
        path = self._askForFile(_("Save the segments as DICOM SEG"), ".dcm", _("DICOM SEG (*.dcm)"))
        if path is not None:
            self.controller.save(lambda: prepare_dicom_seg(self.controller, path))

    def _askForFile(self, title, suffix, kinds):
        volumeNode = self._volumeNode()
        if volumeNode is None:
            raise UserError(_("No source volume is selected; choose one in the Segment Editor."))
        return ask_for_file(title, qt.QDir.homePath(), volumeNode.GetName(), suffix, kinds)

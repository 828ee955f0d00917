"""The section *Segments*, closed at first: a table of all segments, its files, and the search for others."""

import ctk
import qt
from EfficientMedSAM2ModuleLib.widgets import PanelWidgets
from slicer.i18n import tr as _

#: Lines of the table that are seen at once.
TABLE_LINES = 5
COLUMNS = (
    ("Segment", "Click on a line to go to the segment."),
    ("ml", "Volume in millilitres."),
    ("long", "Longest diameter in a slice in mm, as for RECIST."),
    ("short", "Short axis in mm: the longest diameter across it in the same slice."),
    ("mean", "Mean of the volume's values inside; HU for CT."),
    ("score", "How good the segment probably is, from the network's own scores."),
)


class SegmentsSection(PanelWidgets):
    """Widgets of the section.

    Args:
        commands: Callable of each command, by its name in EffectCommands.
    """

    def __init__(self, commands):
        PanelWidgets.__init__(self)
        self._shown = None
        self.button = ctk.ctkCollapsibleButton()
        self.button.text = _("Segments")
        self.button.collapsed = True
        self._connect(self.button, "contentsCollapsed(bool)", lambda _closed: commands["showSegments"]())
        column = qt.QVBoxLayout(self.button)
        column.setContentsMargins(0, 0, 0, 0)
        frame = qt.QFrame()  # hidden as one: widgets in it may be shown and hidden while the section is closed
        column.addWidget(frame)
        rows = qt.QVBoxLayout(frame)
        rows.setContentsMargins(0, 4, 0, 4)
        rows.addWidget(self._makeTable(commands))
        tip = _("Save all measurements of all segments as a table (.csv).")
        self.csvButton = self._button(_("Save table..."), commands["saveTable"], tip)
        tip = _("Save all segments as one DICOM SEG of the series that the volume was loaded from.")
        self.dicomButton = self._button(_("Save DICOM SEG..."), commands["saveDicomSeg"], tip)
        rows.addLayout(self._row(self.csvButton, self.dicomButton))
        tip = _(
            "Look for others like the selected segment, and those numbered like it. Each is shown: "
            "Enter makes it a segment, Esc drops it."
        )
        self.findButton = self._button(findText(False), commands["findOthers"], tip)
        self.findLabel = qt.QLabel()
        self.findLabel.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
        row = self._row(self.findButton)
        row.addWidget(self.findLabel, 1)
        rows.addLayout(row)

    @property
    def isOpen(self):
        """Whether the table is open, in a *More* that may be closed."""
        return not self.button.collapsed

    def chosenRow(self):
        """Number of the line that was clicked on, -1 for none."""
        return self.table.currentRow()

    def showNumbers(self, numbers, selectedID):
        """Lines of the table: (ID, name, SegmentNumbers or None)."""
        lines = [cellsOf(name, found) for _segmentID, name, found in numbers]
        if lines != self._shown:
            self._shown = lines
            self.table.setRowCount(len(lines))
            for row, texts in enumerate(lines):
                for column, text in enumerate(texts):
                    item = qt.QTableWidgetItem(text)
                    item.setTextAlignment((qt.Qt.AlignRight if column else qt.Qt.AlignLeft) | qt.Qt.AlignVCenter)
                    self.table.setItem(row, column, item)
            self.table.resizeColumnsToContents()
        ids = [segmentID for segmentID, _name, _found in numbers]
        self.csvButton.enabled = self.dicomButton.enabled = bool(ids)
        if selectedID in ids and self.table.currentRow() != ids.index(selectedID):
            self.table.selectRow(ids.index(selectedID))

    def showFinding(self, isFinding, text):
        """How far a search is."""
        self.findButton.text = findText(isFinding)
        self.findLabel.text = self.findLabel.toolTip = text

    def _makeTable(self, commands):
        self.table = self._table([title for title, _tip in COLUMNS], TABLE_LINES)
        for column, (title, tip) in enumerate(COLUMNS):
            item = qt.QTableWidgetItem(_(title))
            item.setToolTip(_(tip))
            self.table.setHorizontalHeaderItem(column, item)
        self.table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self.table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        self.table.setWordWrap(False)
        self._connect(self.table, "cellClicked(int,int)", lambda *_cell: commands["goToSegment"]())
        return self.table


def cellsOf(name, numbers):
    """Texts of a line."""
    if numbers is None:
        return (name, *[""] * (len(COLUMNS) - 1))
    found = numbers.measured
    diameters = found.diameters
    return (
        name,
        "" if found.milliliters is None else f"{found.milliliters:.2f}",
        "" if diameters is None else f"{diameters.longest_mm:.1f}",
        "" if diameters is None else f"{diameters.short_mm:.1f}",
        "" if found.mean is None else f"{found.mean:.0f}",
        "" if numbers.score is None else f"{100 * numbers.score:.0f} %",
    )


def findText(isFinding):
    """Text of the button in its two roles."""
    return _("End the search") if isFinding else _("Find others")

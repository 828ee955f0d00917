"""Pictures for the documents, taken in Slicer itself.

`Slicer --python-script Testing/Slicer/take_pictures.py SCAN [COHORT]` writes into Screenshots/. SCAN is the chest CT of
the tutorial, or slicerio's coarser copy of it (CTChest4.nrrd); COHORT is what `efficient-medsam2 cohort run` has made.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import numpy as np
import slicer
from slicer_case import Editor, let_work, wait_until

FOLDER = Path(__file__).resolve().parents[2] / "Screenshots"
SIZE = (1400, 1060)  # pixels of the main window
WINDOW = (-1250, 350)  # HU: lung, with enough of the soft tissue
RIGHT_LUNG = (17, 62, 92)  # voxel k, j, i
SOFT_TISSUE = -300  # HU from which on a voxel is no lung
LASSO_MARGIN = 3  # voxels between a lasso and what it is drawn around


class Tutorial(Editor):
    """The Segment Editor as the module's button opens it, on the scan."""

    def __init__(self, scan):
        self.volume = slicer.util.loadVolume(scan)
        self.volume.SetName("CTChest")
        display = self.volume.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(*WINDOW)
        slicer.util.selectModule("EfficientMedSAM2")
        slicer.modules.efficientmedsam2.widgetRepresentation().self().ui.openEditorButton.click()
        self.widget = self._widget()
        self.segmentation = self.widget.segmentationNode()
        self.effect = self.widget.activeEffect()
        self.segment_id = self.widget.currentSegmentID()
        segment = self.segmentation.GetSegmentation().GetSegment(self.segment_id)
        segment.SetName("Right lung")
        segment.SetColor(0.0, 0.62, 0.88)
        self.panel = self.effect.self().panel
        self.controller = self.effect.self().controller
        self.wait("the network is loaded")
        slicer.util.resetSliceViews()

    def wait(self, text):
        """Until nothing is under way."""
        let_work(0.5)
        wait_until(lambda: not self.controller.is_busy, text)
        let_work(0.5)

    def look(self, kji):
        """All views through a voxel, with the patient in their middle."""
        middle = [size // 2 for size in self.volume.GetImageData().GetDimensions()[::-1]]
        for axis, name in enumerate(("Red", "Green", "Yellow")):
            place = [kji[n] if n == axis else middle[n] for n in range(3)]
            node = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()
            node.JumpSliceByOffsetting(*self.world(place))
        let_work(0.3)

    def around(self, k):
        """Voxels along a line around what is segmented on a slice."""
        rows, columns = (np.flatnonzero(self.mask(self.segment_id)[k].any(axis=axis)) for axis in (1, 0))
        middle = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
        radius = max(np.ptp(rows), np.ptp(columns)) / 2 + LASSO_MARGIN
        turns = np.linspace(0, 2 * np.pi, 33)
        return [(k, middle[0] + radius * np.sin(turn), middle[1] + radius * np.cos(turn)) for turn in turns]

    def is_wrong(self, k):
        """Whether what is segmented on a slice is mostly no lung."""
        inside = slicer.util.arrayFromVolume(self.volume)[k][self.mask(self.segment_id)[k]]
        return inside.size > 0 and (inside > SOFT_TISSUE).mean() > 0.5

    def go_through(self):
        """The steps of the tutorial."""
        self.look(RIGHT_LUNG)
        self.click(RIGHT_LUNG, jump=False)
        self.wait("a click is answered")
        require(self.mask(self.segment_id)[RIGHT_LUNG], "the click has made no mask")
        take("tutorial-1-click")
        self.panel.propagateButton.click()
        wait_until(lambda: (p := self.controller.progress) is not None and p.done >= 8, "eight slices are done")
        take("tutorial-2-propagate", 0.0)
        self.wait("propagation has ended")
        presses = 0
        while presses < len(self.controller.scores.by_uncertainty):
            self.panel.strip.goToWeakest()
            presses += 1
            if self.is_wrong(self.panel.strip.current):
                break
        print(f"the mask is wrong at the slice of press {presses}")
        k = self.panel.strip.current
        require(self.is_wrong(k), "no weak slice shows something else than the lung; the text of step 4 says so")
        right = self.mask(self.segment_id)
        right[k:] = False
        take("tutorial-3-weakest")
        self.panel.excludeButton.click()
        self.panel.toolButtons["lasso"].click()
        self.draw(self.around(k))
        self.wait("a correction is answered")
        require(not self.mask(self.segment_id)[k].any(), f"slice {k} is not empty after the lasso")
        require(bool(self.panel.staleLabel.text), "no slice is out of date after the correction")
        take("tutorial-4-correct")
        box = slicer.util.findChild(self.widget, "OptionsGroupBox")
        box.grab().save(str(FOLDER / "effect-panel.png"))
        self.panel.propagateButton.click()
        self.wait("the second propagation has ended")
        mask = self.mask(self.segment_id)
        require(not mask[k].any(), f"slice {k} is not empty after the second propagation")
        kept = (mask & right).sum() / right.sum()
        require(kept > 0.95, f"the second propagation keeps {kept:.2f} of the lung below")
        self.segmentation.CreateClosedSurfaceRepresentation()
        self.look(RIGHT_LUNG)
        slicer.util.resetThreeDViews()
        take("tutorial-5-result")


def require(condition, text):
    """A picture must show what the text beside it says."""
    if not condition:
        raise AssertionError(f"the tutorial does not fit: {text}")


def take(name, seconds=1.0):
    """Picture of the main window."""
    let_work(seconds)
    slicer.util.mainWindow().grab().save(str(FOLDER / f"{name}.png"))
    print(f"{name}.png")


def take_module(cohort):
    """The module's panel; and its cohort section with one case done and one open."""
    slicer.util.selectModule("EfficientMedSAM2")
    panel = slicer.modules.efficientmedsam2.widgetRepresentation().self()
    section, cases = panel.cohort_section, panel.cohort
    panel.ui.setupSection.collapsed = False
    section.collapsed = True
    let_work(1.0)
    picture = panel.parent.grab()
    height = panel.ui.EfficientMedSAM2.height + section.height
    picture.copy(0, 0, picture.width(), height).save(str(FOLDER / "module-panel.png"))
    if not cohort:
        return
    section.collapsed = False
    cases.folderEdit.currentPath = cohort
    for button in (cases.readButton, cases.nextButton, cases.saveNextButton):
        button.click()
        let_work(1.0)
    slicer.util.selectModule("EfficientMedSAM2")
    let_work(1.0)
    section.grab().save(str(FOLDER / "cohort-panel.png"))
    cases.review.close()


def main():
    """Take them all; the exit code is 0 when that was possible."""
    window = slicer.util.mainWindow()
    window.move(0, 0)
    window.resize(*SIZE)
    for button in slicer.util.findChildren(window, text="Data Probe", className="ctkCollapsibleButton"):
        button.collapsed = True
    try:
        Tutorial(sys.argv[1]).go_through()
        take_module(sys.argv[2] if len(sys.argv) > 2 else "")
    except Exception:
        traceback.print_exc()
        slicer.util.exit(1)
    else:
        slicer.util.exit(0)


main()

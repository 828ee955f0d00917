"""What the scripts of this folder share: a scan with two balls, the Segment Editor on it, PASS or FAIL.

Run one by hand with `Slicer --python-script Testing/Slicer/test_click.py` (with the extension installed, or with
`--additional-module-paths EfficientMedSAM2`). The exit code is 0 after PASS, 1 after FAIL.
"""

from __future__ import annotations

import os
import time
import traceback

import numpy as np
import slicer
import vtk

EFFECT = "EfficientMedSAM2"
ONE_CLICK_DICE = 0.4  # these scripts tell whether the parts work together; how good the masks are is measured elsewhere
TIMEOUT_S = 120.0  # loading the network and the first click take long on a slow computer
SHAPE = (24, 96, 96)  # slices, rows, columns
SPACING = (1.5, 1.5, 3.0)  # mm along columns, rows, slices
BALLS = {"A": ((12, 48, 36), 20.0), "B": ((12, 48, 72), 14.0)}  # center (k, j, i), radius in mm


def run(*tests):
    """Run test functions, say PASS or FAIL, and end Slicer with the exit code."""
    try:
        for test in tests:
            print(f"--- {test.__name__}: {test.__doc__}")
            slicer.mrmlScene.Clear()
            test()
    except Exception:
        traceback.print_exc()
        print("FAIL")
        slicer.util.exit(1)
    else:
        print("PASS")
        slicer.util.exit(0)


def check(condition, text):
    """Print what was seen; an error when it is not what it should be."""
    print(f"{'ok ' if condition else 'BAD'} {text}")
    if not condition:
        raise AssertionError(text)


def let_work(seconds):
    """Let timers, threads and views work."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.01)


def wait_until(condition, text):
    """Let Slicer work until a condition holds."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {TIMEOUT_S:g} s: {text}")
        let_work(0.2)
    print(f"ok  {text}")


def ball(name):
    """The voxels of a ball, bool (k, j, i)."""
    center, radius = BALLS[name]
    grid = np.ogrid[tuple(slice(size) for size in SHAPE)]
    return sum(((g - c) * s) ** 2 for g, c, s in zip(grid, center, SPACING[::-1])) <= radius**2


def loaded(class_name):
    """The scan and its segmentation have the same name; the module may have made a segmentation of its own."""
    return next(node for node in slicer.util.getNodesByClass(class_name) if node.GetName() == "Balls")


def make_volume():
    """A scan with both balls, in the scene."""
    array = np.where(ball("A") | ball("B"), 160, -60).astype(np.int16)
    array += np.random.default_rng(1).normal(0, 8, SHAPE).astype(np.int16)
    matrix = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    matrix[:3, 3] = (60.0, 40.0, -30.0)
    volume = slicer.util.addVolumeFromArray(array, ijkToRAS=matrix, name="Balls")
    volume.CreateDefaultDisplayNodes()
    return volume


class Editor:
    """The Segment Editor with the effect active on a volume, with the empty segments A and B; A is selected."""

    def __init__(self, volume):
        self.volume = volume
        wait_until(lambda: EFFECT in self._widget().availableEffectNames(), "the effect is registered")
        slicer.util.selectModule("SegmentEditor")
        self.widget = self._widget()
        self.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Balls")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        for name in BALLS:
            self.segmentation.GetSegmentation().AddEmptySegment(name, name)
        self.activate()

    @staticmethod
    def _widget():
        return slicer.modules.segmenteditor.widgetRepresentation().self().editor

    def activate(self):
        """Choose nodes, segment A and the effect."""
        self.widget.setSegmentationNode(self.segmentation)
        self.widget.setSourceVolumeNode(self.volume)
        self.widget.setCurrentSegmentID("A")
        self.widget.setActiveEffectByName(EFFECT)
        self.effect = self.widget.activeEffect()
        if self.effect is None:
            raise AssertionError("the effect cannot be activated")
        self.effect.setParameter("AutoCommit", "1")
        self.effect.setParameter("Tool", "point")

    def save_and_load(self):
        """Save the scene, close it, and load it again; the effect is not active then."""
        path = os.path.join(slicer.util.tempDirectory(), "scene.mrb")
        check(slicer.util.saveScene(path), f"saved as {path}")
        slicer.mrmlScene.Clear()
        slicer.util.loadScene(path)
        self.volume, self.segmentation = loaded("vtkMRMLScalarVolumeNode"), loaded("vtkMRMLSegmentationNode")

    def mask(self, name="A"):
        """A segment on the volume's grid, bool (k, j, i)."""
        return slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, name, self.volume).astype(bool)

    def world(self, kji):
        """World position of a voxel."""
        matrix = vtk.vtkMatrix4x4()
        self.volume.GetIJKToRASMatrix(matrix)
        local = matrix.MultiplyPoint((*[float(index) for index in kji[::-1]], 1.0))[:3]
        transform = vtk.vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(self.volume.GetParentTransformNode(), None, transform)
        return transform.TransformPoint(local)

    def shown_slice(self):
        """Number of the volume's slice in the red view."""
        matrix = vtk.vtkMatrix4x4()
        self.volume.GetRASToIJKMatrix(matrix)
        view = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
        return round(matrix.MultiplyPoint((*[view.GetSliceToRAS().GetElement(n, 3) for n in range(3)], 1.0))[2])

    def click(self, kji, jump=True):
        """Click on a voxel in the red view."""
        self.drag(kji, kji, jump)

    def drag(self, start_kji, end_kji, jump=True):
        """Press, move and release the left button in the red view, which goes there first."""
        widget = slicer.app.layoutManager().sliceWidget("Red")
        if jump:
            widget.mrmlSliceNode().JumpSliceByCentering(*self.world(start_kji))
        start, end = self._pixels(widget, (start_kji, end_kji))
        slicer.util.clickAndDrag(widget, start=start, end=end, steps=1 if start_kji == end_kji else 10)

    def draw(self, places_kji):
        """Press the left button in the red view, move along places of the slice on view, and release it."""
        widget = slicer.app.layoutManager().sliceWidget("Red")
        interactor = widget.interactorStyle().GetInteractor()
        pixels = self._pixels(widget, places_kji)
        interactor.SetEventPosition(*pixels[0])
        interactor.LeftButtonPressEvent()
        for pixel in pixels[1:]:
            interactor.SetEventPosition(*pixel)
            interactor.MouseMoveEvent()
        interactor.LeftButtonReleaseEvent()

    def _pixels(self, widget, places_kji):
        """Pixels of a view where voxels are seen."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(widget.mrmlSliceNode().GetXYToRAS(), inverse)
        return [[round(value) for value in inverse.MultiplyPoint((*self.world(kji), 1.0))[:2]] for kji in places_kji]

    def buttons(self, text):
        """Buttons of the effect's options with this text, whether or not a key stands behind it."""
        found = slicer.util.findChildren(self.effect.optionsFrame(), className="QPushButton")
        return [button for button in found if button.text.split(" (")[0] == text]

    def tool_button(self, text):
        """The button of the effect's options that stays down, with this text, whether or not a key stands behind it."""
        found = slicer.util.findChildren(self.effect.optionsFrame(), className="QToolButton")
        return next(button for button in found if button.text.split(" (")[0] == text)

    def press(self, text):
        """Press a button of the effect's options; returns whether there is one with this text."""
        buttons = self.buttons(text)
        for button in buttons:
            button.click()
        return bool(buttons)

    def finish(self, name="A"):
        """Wait until propagation has ended; returns the number of voxels. Nothing is written before."""
        wait_until(lambda: self.buttons("Propagate"), "propagation has ended")
        return self.settle(name)

    def settle(self, name="A", seconds=1.5):
        """Wait until a segment has not changed for some time."""
        count, since = -1, time.monotonic()
        while time.monotonic() - since < seconds:
            let_work(0.2)
            present = int(self.mask(name).sum())
            if present != count:
                count, since = present, time.monotonic()
        return count


def clicked():
    """The editor after a click on the large ball."""
    editor = Editor(make_volume())
    editor.click(BALLS["A"][0])
    wait_until(lambda: editor.mask().any(), "a click makes a mask")
    editor.settle()
    return editor


def dice(one, two):
    """Overlap of two masks, 0 to 1."""
    return 2.0 * float((one & two).sum()) / max(float(one.sum() + two.sum()), 1.0)

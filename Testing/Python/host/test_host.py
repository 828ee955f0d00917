"""The stand-in host keeps PythonQt's rules, so that it cannot hide a mistake, and runs a scripted effect."""

from __future__ import annotations

import sys

import numpy as np
import pytest

EFFECT = """
import os
import qt, vtk, slicer
from SegmentEditorEffects import *
from .helper import HELP

class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    def __init__(self, scriptedEffect):
        scriptedEffect.name = "Stamp"
        scriptedEffect.perSegment = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.events = []

    def clone(self):
        import qSlicerSegmentationsEditorEffectsPythonQt as effects
        clone = effects.qSlicerSegmentEditorScriptedEffect(None)
        clone.setPythonSource(__file__.replace("\\\\", "/"))
        return clone

    def helpText(self):
        return HELP

    def setupOptionsFrame(self):
        self.size = qt.QSpinBox()
        self.size.minimum = 1
        self.scriptedEffect.addLabeledOptionsWidget("Size:", self.size)
        self.size.connect("valueChanged(int)", self.updateMRMLFromGUI)

    def setMRMLDefaults(self):
        self.scriptedEffect.setParameterDefault("Size", 1)

    def updateGUIFromMRML(self):
        blocked = self.size.blockSignals(True)
        self.size.value = self.scriptedEffect.integerParameter("Size")
        self.size.blockSignals(blocked)

    def updateMRMLFromGUI(self):
        self.scriptedEffect.setParameter("Size", self.size.value)

    def createCursor(self, widget):
        return slicer.util.mainWindow().cursor

    def processViewNodeEvents(self, node, event, widget):
        self.events.append("view")

    def processInteractionEvents(self, interactor, event, widget):
        if widget.className() != "qMRMLSliceWidget" or event != vtk.vtkCommand.LeftButtonPressEvent:
            return False
        self.events.append("press")
        labelmap = self.scriptedEffect.defaultModifierLabelmap()
        i, j, k = self.xyToIjk(interactor.GetEventPosition(), widget, labelmap)
        reach = self.size.value
        labelmap.SetScalarComponentFromDouble(i, j, k, 0, 1)
        labelmap.Modified()
        self.scriptedEffect.saveStateForUndo()
        mode = slicer.qSlicerSegmentEditorAbstractEffect.ModificationModeAdd
        self.scriptedEffect.modifySelectedSegmentByLabelmap(labelmap, mode, [0, i, 0, j, 0, k])
        return True
"""


@pytest.fixture
def stamp(tmp_path):
    folder = tmp_path / "SegmentEditorStampLib"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .SegmentEditorEffect import *\n")
    (folder / "helper.py").write_text('HELP = "Stamps a voxel."\n')
    (folder / "SegmentEditorEffect.py").write_text(EFFECT)
    yield folder / "SegmentEditorEffect.py"
    for name in [name for name in sys.modules if name.startswith("SegmentEditorStampLib")]:
        del sys.modules[name]


def test_properties_are_attributes_and_are_not_called(slicer_host):
    import qt

    label = qt.QLabel("a")
    label.text = "b"
    assert label.text == "b"
    with pytest.raises(TypeError, match="not callable"):
        label.text()
    label.setText("c")  # slots are called
    assert label.text == "c"
    combo = qt.QComboBox()
    combo.addItem("item", 7)
    assert (combo.currentIndex, combo.count, combo.itemData(0)) == (0, 1, 7)


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        (lambda button: button.nonsense, AttributeError),
        (lambda button: setattr(button, "nonsense", 1), AttributeError),
        (lambda button: button.connect("nonsense()", print), ValueError),
        (lambda button: button.connect("clicked(int)", print), ValueError),
        (lambda button: button.clicked.connect("not callable"), TypeError),
        (lambda button: setattr(button, "clicked", 1), AttributeError),
        (lambda button: button.paintEvent(None), AttributeError),
        (lambda button: button.resize(np.int64(3), 4), TypeError),
    ],
)
def test_mistakes_are_refused(slicer_host, mistake, error):
    import qt

    with pytest.raises(error):
        mistake(qt.QPushButton("x"))


def test_own_signals_and_scoped_enumerations_are_refused(slicer_host):
    import ctk
    import qt
    import slicer

    for access in (
        lambda: qt.Signal,
        lambda: qt.QSizePolicy.Policy,
        lambda: qt.Qt.AlignmentFlag,
        lambda: ctk.ctkNonsense,
        lambda: slicer.qMRMLNonsense,
    ):
        with pytest.raises(AttributeError):
            access()
    assert qt.QSizePolicy.Expanding != qt.QSizePolicy.Fixed
    assert qt.Qt.AlignLeft != qt.Qt.AlignRight


def test_signals_call_python_with_the_arguments_it_takes(slicer_host):
    import qt

    button, calls = qt.QPushButton(), []
    button.checkable = True
    button.connect("clicked(bool)", lambda on: calls.append(("signature", on)))
    button.connect("clicked()", lambda: calls.append("none"))
    button.clicked.connect(lambda: calls.append("attribute"))
    button.click()
    assert calls == [("signature", True), "none", "attribute"]
    button.disconnect("clicked()")
    calls.clear()
    button.click()
    assert "none" not in calls


def test_an_error_in_a_callback_is_printed_and_kept(slicer_host, capfd):
    import qt

    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert len(slicer_host.errors) == 1
    slicer_host.errors.clear()


def test_python_subclasses_override_virtual_methods(slicer_host):
    import qt

    class Strip(qt.QWidget):
        def __init__(self, parent=None):
            qt.QWidget.__init__(self, parent)
            self.color = "#ff0000"

        def paintEvent(self, event):
            painter = qt.QPainter(self)
            painter.fillRect(self.rect, qt.QColor(self.color))
            painter.end()

    class Filter(qt.QObject):
        seen = ()

        def eventFilter(self, watched, event):
            self.seen = (*self.seen, event.type())
            return False

    strip, watcher = Strip(), Filter()
    strip.installEventFilter(watcher)
    strip.resize(20, 20)
    assert strip.grab().toImage().pixelColor(5, 5).name() == "#ff0000"
    assert watcher.seen


def test_an_unexpected_dialog_fails_and_an_expected_one_is_answered(slicer_host):
    import qt
    import slicer

    with pytest.raises(AssertionError, match="would wait"):
        slicer.util.confirmOkCancelDisplay("Sure?")
    slicer_host.dialogs.answers.append(qt.QMessageBox.Ok)
    assert slicer.util.confirmOkCancelDisplay("Sure?")
    assert slicer_host.dialogs.shown[-1] == ("ctkMessageBox", "Sure?")


def test_a_scripted_effect_edits_through_the_real_logic(slicer_host, segment_editor, stamp):
    ijk_to_ras = np.diag([-0.8, -0.8, 2.0, 1.0])
    volume = slicer_host.volume(np.zeros((10, 40, 50), np.int16), ijk_to_ras)
    editor = segment_editor(slicer_host, volume, source=stamp)
    assert editor.effect.helpText() == "Stamps a voxel."
    for view, kji in (("Red", (4, 10, 12)), ("Yellow", (7, 20, 31)), ("Green", (2, 33, 8))):
        mouse = slicer_host.mouse(view)
        ras = (ijk_to_ras @ [*kji[::-1], 1])[:3]
        mouse.jump_to(ras)
        before = editor.mask()
        mouse.click(ras)
        assert np.argwhere(editor.mask() & ~before).tolist() == [list(kji)]
    assert "view" in editor.effect.events
    editor.widget.undo()
    assert editor.mask().sum() == 2
    editor.widget.redo()
    assert editor.mask().sum() == 3
    editor.effect.size.setValue(5)
    assert editor.scripted_effect.integerParameter("Size") == 5
    editor.widget.setActiveEffectByName("")
    before = editor.effect.events[:]
    slicer_host.mouse("Red").click((0, 0, 8))
    assert editor.effect.events == before


def test_views_have_the_orientations_of_slicers_layout(slicer_host):
    for view, normal in (("Red", (0, 0, 1)), ("Yellow", (1, 0, 0)), ("Green", (0, 1, 0))):
        matrix = slicer_host.mouse(view).node.GetSliceToRAS()
        assert np.allclose(np.abs([matrix.GetElement(row, 2) for row in range(3)]), normal)


@pytest.mark.parametrize(
    ("find", "names"),
    [
        (lambda app: app.layoutManager().sliceWidget("Red").sliceView(), ["firstRenderer", "viewCursor"]),
        (lambda app: app.layoutManager(), ["activeMRMLSliceNodeChanged"]),
        (lambda app: app.moduleManager(), ["isLoaded", "modulesLoaded"]),
    ],
    ids=["view", "layout", "modules"],
)
def test_what_python_cannot_reach_in_slicer_is_not_there(slicer_host, find, names):
    """Private in CTK's and Slicer's headers, another class's, or in no class at all."""
    import slicer

    owner = find(slicer.app)
    assert [name for name in names if hasattr(owner, name)] == []


def test_an_oblique_view_maps_pixels_to_the_world(slicer_host):
    mouse = slicer_host.mouse("Red")
    mouse.look_along((0.6, 0.0, 0.8), (0.8, 0.0, -0.6), (5.0, 6.0, 7.0))
    x, y = mouse.xy((5.0, 6.0, 7.0))
    assert np.allclose(mouse.ras((x, y)), (5.0, 6.0, 7.0), atol=0.7)


def test_an_effect_leaves_when_a_markup_is_placed(slicer_host, segment_editor, stamp):
    import slicer

    editor = segment_editor(slicer_host, slicer_host.volume(np.zeros((4, 5, 6), np.int16)), source=stamp)
    interaction = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
    interaction.SetCurrentInteractionMode(interaction.Place)
    assert editor.widget.activeEffect() is None

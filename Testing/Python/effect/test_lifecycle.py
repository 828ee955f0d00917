"""Keys, set-up, activation and its end: the effect leaves nothing behind."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import slicer
import vtk
from desk import BESIDE, INSIDE, tube_slice
from host.pythonqt import unwrap


def window(desk):
    from PySide6 import QtTest

    native = desk.host.native_app.window
    native.show()
    native.activateWindow()
    native.setFocus()
    assert QtTest.QTest.qWaitForWindowActive(native, 2000)
    return native


def type_key(desk, key):
    from PySide6 import QtTest

    QtTest.QTest.keyClick(window(desk), key)
    desk.host.process_events(20)
    desk.wait()


def shown_in_panel(widget):
    return not unwrap(widget).isHidden()


def keys():
    from PySide6 import QtCore

    return QtCore.Qt


def test_keys_work_while_active_only(desk):
    type_key(desk, keys().Key_N)
    assert desk.panel.excludeButton.checked
    type_key(desk, keys().Key_N)
    type_key(desk, keys().Key_X)
    assert desk.effect.tools.tool == "box"
    type_key(desk, keys().Key_P)
    desk.click(INSIDE)
    type_key(desk, keys().Key_M)
    assert desk.count() == 14 * 36
    desk.editor.widget.setActiveEffectByName("")
    type_key(desk, keys().Key_N)
    assert desk.panel.includeButton.checked
    from PySide6 import QtGui

    assert desk.host.native_app.window.findChildren(QtGui.QShortcut) == []
    desk.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    type_key(desk, keys().Key_N)
    assert desk.panel.excludeButton.checked


def test_a_key_in_a_focused_view_counts_once(desk):
    """Qt asks the window first (ShortcutOverride), then gives the key to the view: one Esc, told twice."""
    from PySide6 import QtGui, QtWidgets

    desk.press(desk.panel.autoCommitCheck)
    desk.click(INSIDE)
    desk.parameter("Tool", "box")
    desk.mouse.event("LeftButtonPress", desk.world(INSIDE))
    assert desk.effect.tools.dragging
    override = QtGui.QKeyEvent(QtGui.QKeyEvent.Type.ShortcutOverride, keys().Key_Escape, keys().NoModifier)
    override.ignore()
    QtWidgets.QApplication.sendEvent(desk.host.native_app.window, override)
    assert override.isAccepted()
    desk.mouse.key("Escape")
    desk.host.process_events(50)
    desk.wait()
    assert not desk.effect.tools.dragging
    assert desk.controller.has_preview


def test_keys_are_none_of_slicers(desk):
    from SegmentEditorEfficientMedSAM2Lib.shortcuts import KEYS

    taken = set("0123456789QWZYIGTFBVR") | {"Esc", "Space", "Left", "Right", "Up", "Down"}
    assert not set(KEYS.values()) & taken
    assert len(set(KEYS.values())) == len(KEYS)


def test_tool_tips(desk):
    panel = desk.panel
    for widget, key in (
        (panel.toolButtons["point"], "(P)"),
        (panel.toolButtons["box"], "(X)"),
        (panel.toolButtons["line"], "(L)"),
        (panel.includeButton, "(N)"),
        (panel.propagateButton, "(M)"),
        (panel.weakestButton, "(U)"),
        (panel.commitButton, "(Enter)"),
        (panel.rejectButton, "(Esc)"),
    ):
        assert key in widget.toolTip


def test_enter_and_esc_belong_to_a_preview_only(desk):
    from PySide6 import QtGui

    native = window(desk)
    ended = []
    escape = QtGui.QShortcut(QtGui.QKeySequence(keys().Key_Escape), native)  # the Segment Editor's own
    escape.activated.connect(lambda: ended.append(1))
    type_key(desk, keys().Key_Escape)
    assert ended == [1]
    desk.press(desk.panel.autoCommitCheck)
    desk.click(INSIDE)
    type_key(desk, keys().Key_Escape)
    assert ended == [1]  # the preview had it
    assert not desk.controller.has_preview
    assert desk.count() == 0
    desk.click(INSIDE)
    type_key(desk, keys().Key_Return)
    assert desk.count() == 36
    type_key(desk, keys().Key_Escape)
    assert ended == [1, 1]
    escape.deleteLater()


def observers(desk):
    segmentation = desk.editor.segmentation.GetSegmentation()
    subjects = [slicer.mrmlScene, desk.editor.widget.mrmlSegmentEditorNode(), segmentation, desk.volume]
    events = [
        vtk.vtkCommand.AnyEvent,
        vtk.vtkCommand.ModifiedEvent,
        slicer.vtkMRMLScene.NodeAddedEvent,
        slicer.vtkMRMLScene.NodeRemovedEvent,
        slicer.vtkMRMLScene.StartCloseEvent,
        slicer.vtkSegmentation.SegmentModified,
        slicer.vtkSegmentation.SegmentAdded,
    ]
    return [subject.HasObserver(event) for subject in subjects for event in events]


def actors(desk):
    layout = desk.host.native_app.layout
    renderers = [layout.sliceWidget(n).sliceView().firstRenderer() for n in layout.sliceViewNames()]
    return [renderer.GetActors2D().GetNumberOfItems() for renderer in renderers]


def test_deactivation_leaves_no_observers_actors_or_timers(desk):
    desk.editor.widget.setActiveEffectByName("")
    before = observers(desk), actors(desk)
    counts = desk.effect.observer._observations
    assert counts == []
    desk.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    added = list(desk.effect.observer._observations)
    assert len(added) >= 6
    assert all(subject.GetCommand(tag) is not None for subject, tag in added)
    desk.press(desk.panel.autoCommitCheck)
    desk.press(desk.panel.toolButtons["box"])
    mouse = desk.look_at(INSIDE)
    mouse.event("LeftButtonPress", (150, 150))
    mouse.event("MouseMove", (200, 220))
    assert max(actors(desk)) == 2
    desk.editor.widget.setActiveEffectByName("")
    assert (observers(desk), actors(desk)) == before
    assert not unwrap(desk.effect.timer).isActive()
    assert desk.effect.observer._observations == []
    assert all(subject.GetCommand(tag) is None for subject, tag in added)


def test_leaving_writes_the_preview(desk):
    desk.press(desk.panel.autoCommitCheck)
    desk.click(INSIDE)
    desk.editor.widget.setActiveEffectByName("")
    assert desk.count() == 36
    desk.editor.widget.undo()
    assert desk.count() == 0


def test_leaving_cancels_propagation(desk):
    import time

    desk.click(INSIDE)
    desk.predictor._maybe_fail = lambda _frame: time.sleep(0.03)
    desk.press(desk.panel.propagateButton, wait=False)
    assert desk.propagated(2)
    desk.editor.widget.setActiveEffectByName("")
    done = desk.count()
    assert 36 * 3 <= done < 36 * 14
    assert desk.controller.worker_is_idle
    desk.editor.widget.undo()
    assert desk.count() == 36


@pytest.mark.parametrize("at_once", [True, False], ids=["propagating", "preview"])
def test_the_segment_is_removed_while_it_has_a_result_that_waits(desk, at_once):
    """The editor leaves the effect then; what was found for the segment is dropped, and nothing is selected."""
    import time

    if at_once:
        desk.click(INSIDE)
        desk.predictor._maybe_fail = lambda _frame: time.sleep(0.03)
        desk.press(desk.panel.propagateButton, wait=False)
        assert desk.propagated(2)
    else:
        desk.press(desk.panel.autoCommitCheck)
        desk.click(INSIDE)
        assert desk.controller.has_preview
    desk.editor.segmentation.GetSegmentation().RemoveSegment("A")
    desk.host.process_events(0)
    assert desk.editor.widget.activeEffect() is None
    assert desk.editor.widget.currentSegmentID() == ""
    assert max(actors(desk)) == 0
    desk.editor.widget.setCurrentSegmentID("B")
    desk.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    desk.wait()
    desk.predictor._maybe_fail = lambda _frame: None
    if not at_once:
        desk.press(desk.panel.autoCommitCheck)
    desk.click(BESIDE)
    assert desk.count("B") > 0


def test_a_preview_is_not_written_into_another_segmentation(desk):
    """Segments of two segmentations may have the same ID; choosing another segmentation ends the effect."""
    desk.press(desk.panel.autoCommitCheck)
    desk.click(INSIDE)
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    other.SetReferenceImageGeometryParameterFromVolumeNode(desk.volume)
    other.GetSegmentation().AddEmptySegment("A", "A")
    desk.editor.widget.setSegmentationNode(other)
    assert desk.editor.widget.activeEffect() is None
    assert not other.GetBinaryLabelmapInternalRepresentation("A").GetPointData().GetScalars() or not any(
        slicer.util.arrayFromSegmentInternalBinaryLabelmap(other, "A").ravel()
    )
    assert desk.count("A") == 0


def test_cleanup_ends_the_thread(desk):
    desk.click(INSIDE)
    assert "EfficientMedSAM2" in [thread.name for thread in threading.enumerate()]
    desk.effect.cleanup()
    assert "EfficientMedSAM2" not in [thread.name for thread in threading.enumerate()]
    desk.effect.cleanup()  # twice does no harm
    gc.collect()


def test_scene_is_closed_while_it_works(desk):
    import time

    desk.click(INSIDE)
    desk.predictor._maybe_fail = lambda _frame: time.sleep(0.02)
    desk.press(desk.panel.propagateButton, wait=False)
    desk.host.process_events(60)
    slicer.mrmlScene.Clear(0)
    desk.host.process_events(800)
    assert desk.controller.session is None
    assert max(actors(desk)) == 0 or not desk.outline("Red").GetVisibility()


def test_torch_is_missing(make_desk, monkeypatch):
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    monkeypatch.setattr(loader, "missing_packages", lambda: ["torch", "timm"])
    desk = make_desk()
    assert shown_in_panel(desk.panel.setupFrame)
    assert "torch, timm" in desk.panel.setupLabel.text
    assert not desk.panel.propagateButton.enabled
    desk.click(INSIDE)
    assert desk.count() == 0
    shown = []
    monkeypatch.setattr(slicer.util, "selectModule", shown.append, raising=False)
    desk.press(desk.panel.setupButton)
    assert shown == ["EfficientMedSAM2"]
    monkeypatch.setitem(desk.effect.activate.__globals__, "missing_packages", list)
    desk.editor.widget.setActiveEffectByName("")
    desk.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    desk.wait()
    assert not shown_in_panel(desk.panel.setupFrame)
    desk.click(INSIDE)
    np.testing.assert_array_equal(desk.editor.mask(), tube_slice(4))


def test_network_cannot_be_loaded(make_desk, monkeypatch):
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    def fail(**_arguments):
        raise ValueError("No weights are shipped for the encoder.")

    monkeypatch.setattr(loader, "load_predictor", fail)
    desk = make_desk()
    assert shown_in_panel(desk.panel.setupFrame)
    assert "No weights are shipped" in desk.panel.setupLabel.text


def test_clicks_wait_for_the_network(make_desk, monkeypatch, oracle):
    import time

    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    def load(**_arguments):
        time.sleep(0.3)
        return oracle

    monkeypatch.setattr(loader, "load_predictor", load)
    desk = make_desk(wait=False)
    desk.look_at(INSIDE)
    desk.click(INSIDE, wait=False)
    assert "Loading" in desk.panel.messageLabel.text
    desk.wait()
    np.testing.assert_array_equal(desk.editor.mask(), tube_slice(4))


def test_other_weights_are_loaded_at_the_next_activation(make_desk, monkeypatch, oracle):
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    seen = []

    def load(**arguments):
        seen.append(arguments["encoder_type"])
        return oracle

    monkeypatch.setattr(loader, "load_predictor", load)
    desk = make_desk()
    desk.click(INSIDE)
    import qt

    qt.QSettings().setValue("EfficientMedSAM2/encoder", "mobilenet")
    desk.editor.widget.setActiveEffectByName("")
    desk.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    desk.wait()
    assert seen == ["efficientnet", "mobilenet"]
    desk.click((6, 8, 6))
    assert desk.count() == 72


def test_hidden_segment_is_asked_about(desk):
    desk.editor.segmentation.GetDisplayNode().SetSegmentVisibility("A", False)
    asked = []

    def refuse():
        asked.append(1)
        return 0

    unwrap(desk.editor.scripted_effect).confirmCurrentSegmentVisible = refuse
    desk.click(INSIDE)
    if asked:
        assert desk.count() == 0
        assert "hidden" in desk.panel.messageLabel.text
    else:
        pytest.skip("the stand-in does not ask")

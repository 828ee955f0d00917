"""Keys, set-up, activation and its end: the effect leaves nothing behind."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import slicer
import vtk
from effect_user import BESIDE, INSIDE, tube_slice
from host.pythonqt import unwrap, wrap

from EfficientMedSAM2Lib.core.errors import UserError


def window(user):
    from PySide6 import QtTest

    native = user.host.native_app.window
    native.show()
    native.activateWindow()
    native.setFocus()
    assert QtTest.QTest.qWaitForWindowActive(native, 2000)
    return native


def type_key(user, key):
    from PySide6 import QtTest

    QtTest.QTest.keyClick(window(user), key)
    user.host.process_events(20)
    user.wait()


def shown_in_panel(widget):
    return not unwrap(widget).isHidden()


def keys():
    from PySide6 import QtCore

    return QtCore.Qt


def test_keys_work_while_active_only(user):
    type_key(user, keys().Key_N)
    assert user.panel.excludeButton.checked
    type_key(user, keys().Key_N)
    type_key(user, keys().Key_X)
    assert user.effect.tools.tool == "box"
    type_key(user, keys().Key_P)
    user.click(INSIDE)
    type_key(user, keys().Key_M)
    assert user.count() == 14 * 36
    user.editor.widget.setActiveEffectByName("")
    type_key(user, keys().Key_N)
    assert user.panel.includeButton.checked
    from PySide6 import QtGui

    assert user.host.native_app.window.findChildren(QtGui.QShortcut) == []
    user.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    type_key(user, keys().Key_N)
    assert user.panel.excludeButton.checked


def test_a_key_in_a_focused_view_counts_once(user):
    """Qt asks the window first (ShortcutOverride), then gives the key to the view: one Esc, told twice."""
    from PySide6 import QtGui, QtWidgets

    user.press(user.panel.autoCommitCheck)
    user.click(INSIDE)
    user.parameter("Tool", "box")
    user.mouse.event("LeftButtonPress", user.world(INSIDE))
    assert user.effect.tools.dragging
    override = QtGui.QKeyEvent(QtGui.QKeyEvent.Type.ShortcutOverride, keys().Key_Escape, keys().NoModifier)
    override.ignore()
    QtWidgets.QApplication.sendEvent(user.host.native_app.window, override)
    assert override.isAccepted()
    user.mouse.key("Escape")
    user.host.process_events(50)
    user.wait()
    assert not user.effect.tools.dragging
    assert user.controller.has_preview


def test_keys_are_none_of_slicers(user):
    from SegmentEditorEfficientMedSAM2Lib.shortcuts import KEYS

    taken = set("0123456789QWZYIGTFBVR") | {"Esc", "Space", "Left", "Right", "Up", "Down"}
    assert not set(KEYS.values()) & taken
    assert len(set(KEYS.values())) == len(KEYS)


def test_enter_and_esc_belong_to_a_preview_only(user):
    from PySide6 import QtGui

    native = window(user)
    ended = []
    escape = QtGui.QShortcut(QtGui.QKeySequence(keys().Key_Escape), native)  # the Segment Editor's own
    escape.activated.connect(lambda: ended.append(1))
    type_key(user, keys().Key_Escape)
    assert ended == [1]
    user.press(user.panel.autoCommitCheck)
    user.click(INSIDE)
    type_key(user, keys().Key_Escape)
    assert ended == [1]  # the preview had it
    assert not user.controller.has_preview
    assert user.count() == 0
    user.click(INSIDE)
    type_key(user, keys().Key_Return)
    assert user.count() == 36
    type_key(user, keys().Key_Escape)
    assert ended == [1, 1]
    escape.deleteLater()


def observers(user):
    segmentation = user.editor.segmentation.GetSegmentation()
    subjects = [slicer.mrmlScene, user.editor.widget.mrmlSegmentEditorNode(), segmentation, user.volume]
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


def actors(user):
    layout = user.host.native_app.layout
    renderers = [user.effect.scriptedEffect.renderer(wrap(layout.sliceWidget(n))) for n in layout.sliceViewNames()]
    return [renderer.GetActors2D().GetNumberOfItems() for renderer in renderers]


def test_deactivation_leaves_no_observers_actors_or_timers(user):
    user.editor.widget.setActiveEffectByName("")
    before = observers(user), actors(user)
    counts = user.effect.observer._observations
    assert counts == []
    user.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    added = list(user.effect.observer._observations)
    assert len(added) >= 6
    assert all(subject.GetCommand(tag) is not None for subject, tag in added)
    user.press(user.panel.autoCommitCheck)
    user.press(user.panel.toolButtons["box"])
    mouse = user.jump_to(INSIDE)
    mouse.event("LeftButtonPress", (150, 150))
    mouse.event("MouseMove", (200, 220))
    assert max(actors(user)) == 2
    user.editor.widget.setActiveEffectByName("")
    assert (observers(user), actors(user)) == before
    assert not unwrap(user.effect.timer).isActive()
    assert user.effect.observer._observations == []
    assert all(subject.GetCommand(tag) is None for subject, tag in added)


def test_leaving_writes_the_preview(user):
    user.press(user.panel.autoCommitCheck)
    user.click(INSIDE)
    user.editor.widget.setActiveEffectByName("")
    assert user.count() == 36
    user.editor.widget.undo()
    assert user.count() == 0


def test_leaving_cancels_propagation(user):
    import time

    user.click(INSIDE)
    user.predictor._maybe_fail = lambda _frame: time.sleep(0.03)
    user.press(user.panel.propagateButton, wait=False)
    assert user.propagated(2)
    user.editor.widget.setActiveEffectByName("")
    done = user.count()
    assert 36 * 3 <= done < 36 * 14
    assert user.controller._queue.worker.idle
    user.editor.widget.undo()
    assert user.count() == 36


@pytest.mark.parametrize("at_once", [True, False], ids=["propagating", "preview"])
def test_the_segment_is_removed_while_it_has_a_result_that_waits(user, at_once):
    """The editor leaves the effect then; what was found for the segment is dropped, and nothing is selected."""
    import time

    if at_once:
        user.click(INSIDE)
        user.predictor._maybe_fail = lambda _frame: time.sleep(0.03)
        user.press(user.panel.propagateButton, wait=False)
        assert user.propagated(2)
    else:
        user.press(user.panel.autoCommitCheck)
        user.click(INSIDE)
        assert user.controller.has_preview
    user.editor.segmentation.GetSegmentation().RemoveSegment("A")
    user.host.process_events(0)
    assert user.editor.widget.activeEffect() is None
    assert user.editor.widget.currentSegmentID() == ""
    assert max(actors(user)) == 0
    user.editor.widget.setCurrentSegmentID("B")
    user.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    user.wait()
    user.predictor._maybe_fail = lambda _frame: None
    if not at_once:
        user.press(user.panel.autoCommitCheck)
    user.click(BESIDE)
    assert user.count("B") > 0


def test_a_preview_is_not_written_into_another_segmentation(user):
    """Segments of two segmentations may have the same ID; choosing another segmentation ends the effect."""
    user.press(user.panel.autoCommitCheck)
    user.click(INSIDE)
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    other.SetReferenceImageGeometryParameterFromVolumeNode(user.volume)
    other.GetSegmentation().AddEmptySegment("A", "A")
    user.editor.widget.setSegmentationNode(other)
    assert user.editor.widget.activeEffect() is None
    assert not other.GetBinaryLabelmapInternalRepresentation("A").GetPointData().GetScalars() or not any(
        slicer.util.arrayFromSegmentInternalBinaryLabelmap(other, "A").ravel()
    )
    assert user.count("A") == 0


@pytest.mark.slow
def test_cleanup_ends_the_thread(user):
    user.click(INSIDE)
    assert "EfficientMedSAM2" in [thread.name for thread in threading.enumerate()]
    user.effect.cleanup()
    assert "EfficientMedSAM2" not in [thread.name for thread in threading.enumerate()]
    user.effect.cleanup()  # twice does no harm
    gc.collect()


@pytest.mark.slow
def test_scene_is_closed_while_it_works(user):
    import time

    user.click(INSIDE)
    user.predictor._maybe_fail = lambda _frame: time.sleep(0.02)
    user.press(user.panel.propagateButton, wait=False)
    user.host.process_events(60)
    slicer.mrmlScene.Clear(0)
    user.host.process_events(800)
    assert user.controller.session is None
    assert max(actors(user)) == 0 or not user.outline("Red").GetVisibility()


def test_torch_is_missing(make_user, monkeypatch):
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    monkeypatch.setattr(loader, "missing_packages", lambda _arguments: ["torch", "timm"])
    user = make_user()
    assert shown_in_panel(user.panel.setupFrame)
    assert "torch, timm" in user.panel.setupLabel.text
    assert not user.panel.propagateButton.enabled
    user.click(INSIDE)
    assert user.count() == 0
    shown = []
    monkeypatch.setattr(slicer.util, "selectModule", shown.append, raising=False)
    user.press(user.panel.setupButton)
    assert shown == ["EfficientMedSAM2"]
    monkeypatch.setitem(user.effect.activate.__globals__, "missing_packages", lambda _arguments: [])
    user.editor.widget.setActiveEffectByName("")
    user.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    user.wait()
    assert not shown_in_panel(user.panel.setupFrame)
    user.click(INSIDE)
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))


def test_network_cannot_be_loaded(make_user, monkeypatch):
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    def fail(**_arguments):
        raise UserError("No weights are shipped for the encoder.")

    monkeypatch.setattr(loader, "load_predictor", fail)
    user = make_user()
    assert shown_in_panel(user.panel.setupFrame)
    assert "No weights are shipped" in user.panel.setupLabel.text


def test_a_fault_of_the_program_is_logged_with_its_place(user, caplog):
    def fail(*_arguments, **_options):
        raise ValueError("operands could not be broadcast together")

    user.predictor.add_new_points_or_box = fail
    with caplog.at_level("INFO"):
        user.click(INSIDE)
    assert user.controller.is_error
    assert "broadcast" in user.controller.message
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"] == [True]
    assert user.count() == 0


def test_clicks_wait_for_the_network(make_user, monkeypatch, oracle):
    import time

    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    def load(**_arguments):
        time.sleep(0.3)
        return oracle

    monkeypatch.setattr(loader, "load_predictor", load)
    user = make_user(wait=False)
    user.jump_to(INSIDE)
    user.click(INSIDE, wait=False)
    assert "Loading" in user.panel.messageLabel.text
    user.wait()
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))


def test_other_weights_are_loaded_at_the_next_activation(make_user, monkeypatch, oracle):
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    seen = []

    def load(**arguments):
        seen.append(arguments["encoder_type"])
        return oracle

    monkeypatch.setattr(loader, "load_predictor", load)
    user = make_user()
    user.click(INSIDE)
    import qt

    qt.QSettings().setValue("EfficientMedSAM2/encoder", "mobilenet")
    user.editor.widget.setActiveEffectByName("")
    user.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    user.wait()
    assert seen == ["efficientnet", "mobilenet"]
    user.click((6, 8, 6))
    assert user.count() == 72


def test_hidden_segment_is_asked_about(user):
    user.editor.segmentation.GetDisplayNode().SetSegmentVisibility("A", False)
    asked = []

    def refuse():
        asked.append(1)
        return 0

    unwrap(user.editor.scripted_effect).confirmCurrentSegmentVisible = refuse
    user.click(INSIDE)
    if asked:
        assert user.count() == 0
        assert "hidden" in user.panel.messageLabel.text
    else:
        pytest.skip("the stand-in does not ask")

"""The cohort panel's widgets in the stand-in host: list, buttons, questions, mistakes."""

from __future__ import annotations

import sys

import pytest

slicer = pytest.importorskip("slicer", reason="needs PyPI's slicer-core")

from corrections import MODULE, paint, rows  # noqa: E402


@pytest.fixture
def sample_data(monkeypatch):
    import types

    stub = types.ModuleType("SampleData")
    stub.SampleDataLogic = types.SimpleNamespace(registerCustomSampleDataSource=lambda **_source: None)
    monkeypatch.setitem(sys.modules, "SampleData", stub)


@pytest.fixture
def panel(done, slicer_host, sample_data, monkeypatch):
    """The cohort section of the module's panel, with the list read."""
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    monkeypatch.setattr(loader, "missing_packages", lambda _arguments: [])
    monkeypatch.setattr(loader, "load_predictor", lambda **_arguments: None)
    module = slicer_host.load_module(MODULE / "EfficientMedSAM2.py")
    slicer_host.finish_startup()
    panel = module.widgetRepresentation().self().cohort
    assert panel.table.parent().text == "Cohort"
    assert not panel.saveButton.enabled
    panel.folderEdit.currentPath = str(done.output)
    panel.readButton.click()
    yield panel
    panel.review.close()


def listed(panel):
    from host.pythonqt import unwrap

    table = unwrap(panel.table)
    return [[table.item(row, column).text() for column in range(2)] for row in range(table.rowCount())]


def editor_of():
    return slicer.modules.segmenteditor.widgetRepresentation().self().editor


@pytest.mark.slow
def test_the_list_and_the_buttons_lead_through_the_cohort(slicer_host, panel, done):
    assert listed(panel) == [["c", "0.20"], ["a", "0.50"], ["b", "0.80"]]
    assert "3 cases, 3 of them not seen yet" in panel.messageLabel.text
    panel.nextButton.click()
    editor = editor_of()
    assert slicer_host.native_app.window.selected == "SegmentEditor"
    assert editor.activeEffect().name == "EfficientMedSAM2"
    assert editor.sourceVolumeNode().GetName() == "c"
    segmentation = editor.segmentationNode().GetSegmentation()
    assert segmentation.GetSegment(editor.currentSegmentID()).GetName() == "block"
    place = panel.review.weakest_place()[1]
    assert slicer_host.mouse("Red").ras((200, 200))[2] == pytest.approx(place[2], abs=0.01)
    paint(panel.review.nodes)
    panel.saveNextButton.click()
    assert rows(done.output)["c"]["message"] == "corrected by hand"
    assert editor.sourceVolumeNode().GetName() == "a"
    assert listed(panel) == [["a", "0.50"], ["b", "0.80"], ["c", "corrected"]]
    panel.saveButton.click()
    assert "Case a: marked as seen" in panel.messageLabel.text
    panel.onRow(0, 0)  # b, by a double click
    assert editor.sourceVolumeNode().GetName() == "b"
    panel.saveNextButton.click()
    assert "all were seen" in panel.messageLabel.text
    assert not panel.nextButton.enabled
    assert not panel.saveButton.enabled
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0


@pytest.mark.parametrize("answer", ["Save", "Discard", "Cancel"])
def test_unsaved_changes_are_asked_about(slicer_host, panel, done, answer):
    import qt

    panel.nextButton.click()
    paint(panel.review.nodes)
    slicer_host.dialogs.answers.append(getattr(qt.QMessageBox, answer))
    panel.nextButton.click()
    assert "Case c was changed" in slicer_host.dialogs.shown[-1][1]
    assert panel.review.name == ("c" if answer == "Cancel" else "a")
    assert (rows(done.output)["c"]["message"] == "corrected by hand") == (answer == "Save")
    if answer == "Cancel":
        assert panel.review.is_changed
        panel.saveButton.click()


def test_the_folder_is_remembered_and_mistakes_are_a_sentence(slicer_host, panel, tmp_path):
    from EfficientMedSAM2ModuleLib.cohort.panel import SETTING

    folder = panel.folderEdit.currentPath
    assert slicer.util.settingsValue(SETTING, "", str) == folder
    panel.folderEdit.currentPath = str(tmp_path)
    panel.readButton.click()
    assert "no ledger.sqlite" in panel.messageLabel.text
    assert slicer.util.settingsValue(SETTING, "", str) == folder
    panel.nextButton.click()  # still of the cohort that was read
    assert panel.review.name == "c"
    panel.folderEdit.currentPath = folder
    panel.readButton.click()
    assert len(panel.cases) == 3
    assert panel.review.nodes is None


def test_a_scan_that_is_gone_is_told_and_the_next_can_be_opened(panel, done):
    (done.folder / "c.nrrd").unlink()
    panel.nextButton.click()
    assert "is gone" in panel.messageLabel.text
    panel.onRow(1, 0)
    assert panel.review.name == "a"

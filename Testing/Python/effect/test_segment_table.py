"""The section *Segments*: numbers of each segment, going to one, and the files that are saved of them."""

from __future__ import annotations

import csv
import types

import numpy as np
import pydicom
import pytest
import slicer
from effect_user import BESIDE, IJK_TO_RAS, INSIDE, SHAPE, truth, tube


def open_section(user):
    user.panel.moreSection.collapsed = False
    user.panel.segmentsSection.button.collapsed = False
    user.host.process_events(0)
    user.wait()


def save(user, button):
    user.press(button, wait=False)
    user.wait()


def lines(user):
    table = user.panel.segmentsSection.table
    return [[table.item(row, column).text() for column in range(6)] for row in range(table.rowCount)]


@pytest.fixture
def finished(user):
    """A user with two finished segments, A the tube and B what is beside it."""
    user.click(INSIDE)
    user.press(user.panel.propagateButton)
    user.select("B")
    user.click(BESIDE)
    user.press(user.panel.propagateButton)
    return user


def test_the_table_has_numbers_of_all_segments(finished):
    assert lines(finished) == []
    open_section(finished)
    first, second, third = lines(finished)
    # 14 slices of 6 x 6 voxels of 0.7 x 0.8 x 2.5 mm; diameters between outer faces, of the slice's rectangle
    assert first[0] == "A"
    assert float(first[1]) == pytest.approx(tube().sum() * 0.7 * 0.8 * 2.5 / 1000, abs=0.005)
    assert float(first[2]) == pytest.approx(6.0, abs=0.4)
    assert 0 < float(first[3]) <= float(first[2])
    assert first[4] == "60"
    assert first[5].endswith("%")
    assert second[0] == "B"
    assert float(second[1]) == pytest.approx((truth() & ~tube()).sum() * 0.7 * 0.8 * 2.5 / 1000, abs=0.005)
    assert third == ["C", "0.00", "", "", "", ""]


def test_numbers_follow_edits_undo_and_names(finished):
    open_section(finished)
    before = lines(finished)
    finished.select("A")
    extra = np.zeros(SHAPE, dtype=bool)
    extra[4, 0:5, 0:5] = True
    finished.paint("A", extra)
    assert float(lines(finished)[0][1]) == pytest.approx(float(before[0][1]) + 25 * 0.0014, abs=0.011)
    assert lines(finished)[0][4] != "60"
    finished.undo()
    assert lines(finished) == before
    finished.editor.segmentation.GetSegmentation().GetSegment("B").SetName("Lesion 7")
    finished.wait()
    assert [line[0] for line in lines(finished)] == ["A", "Lesion 7", "C"]


def test_a_line_leads_to_its_segment(finished):
    open_section(finished)
    table = finished.panel.segmentsSection.table
    assert table.currentRow() == 1  # B is selected
    finished.jump_to((20, 1, 1))
    table.selectRow(0)
    finished.effect.commands()["goToSegment"]()
    finished.wait()
    assert finished.editor.widget.currentSegmentID() == "A"
    from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_slice

    views = {node.GetName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    assert view_slice(views["Red"], finished.volume) == (
        0,
        finished.effect.measured.numbers()[0][2].measured.diameters.index,
    )
    table.selectRow(2)
    finished.effect.commands()["goToSegment"]()
    finished.wait()
    assert finished.editor.widget.currentSegmentID() == "C"


def test_nothing_is_measured_while_nobody_looks(finished, monkeypatch):
    import SegmentEditorEfficientMedSAM2Lib.lesions.measured_segments as module

    monkeypatch.setattr(module, "read_for_measuring", lambda *_: pytest.fail("measured"))
    finished.click((5, 15, 15))
    finished.panel.segmentsSection.button.collapsed = False  # in a closed *More*
    finished.wait()


def test_nothing_is_measured_behind_the_effect(finished):
    open_section(finished)
    finished.click((6, 15, 15), wait=False)
    finished.editor.widget.setActiveEffectByName("")
    assert not finished.controller.is_busy


def test_the_table_is_saved(finished, tmp_path):
    finished.host.dialogs.answers.append(str(tmp_path / "lesions"))
    save(finished, finished.panel.segmentsSection.csvButton)
    with (tmp_path / "lesions.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["segment"] for row in rows] == ["A", "B", "C"]
    assert [int(row["voxels"]) for row in rows] == [tube().sum(), (truth() & ~tube()).sum(), 0]
    assert rows[2]["empty"] == "True"
    assert float(rows[0]["intensity_mean"]) == 60
    assert 0 < float(rows[0]["score_volume"]) <= 1
    assert "3 segments" in finished.controller.message
    finished.host.dialogs.answers.append("")
    save(finished, finished.panel.segmentsSection.csvButton)
    assert list(tmp_path.iterdir()) == [tmp_path / "lesions.csv"]


def test_the_table_is_saved_without_a_network(make_user, monkeypatch, tmp_path):
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    monkeypatch.setattr(loader, "missing_packages", lambda _arguments: ["onnxruntime"])
    user = make_user(wait=False)
    user.host.process_events(0)
    user.paint("A", tube())
    user.host.dialogs.answers.append(str(tmp_path / "lesions.csv"))
    save(user, user.panel.segmentsSection.csvButton)
    assert "60" in (tmp_path / "lesions.csv").read_text(encoding="utf-8")


@pytest.fixture
def series(make_user, tmp_path):
    """A user whose volume is a DICOM series, which Slicer holds with its last slice first; and its files."""
    from dicom_files import slices, write

    array = np.where(truth(), 60, -80).astype(np.int16)
    files = write(slices(array, IJK_TO_RAS), tmp_path / "series")
    turned = IJK_TO_RAS @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, SHAPE[0] - 1], [0, 0, 0, 1.0]])
    user = make_user(array[::-1].copy(), ijk_to_ras=turned)
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in files]
    user.volume.SetAttribute("DICOM.instanceUIDs", " ".join(reversed(uids)))
    known = dict(zip(uids, map(str, files)))
    user.host._set("dicomDatabase", types.SimpleNamespace(fileForInstance=lambda uid: known.get(uid, "")))
    return user, files


@pytest.mark.slow
def test_segments_are_saved_as_dicom_seg(series, tmp_path):
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    user, _files = series
    user.paint("A", tube()[::-1].copy())
    user.paint("B", (truth() & ~tube())[::-1].copy())
    user.host.dialogs.answers.append(str(tmp_path / "result.dcm"))
    save(user, user.panel.segmentsSection.dicomButton)
    assert "2 segments were written" in user.controller.message
    first, second = read_segmentation(tmp_path / "result.dcm", read_volume(tmp_path / "series"))
    assert (first.name, second.name) == ("A", "B")
    np.testing.assert_array_equal(first.mask, tube())
    np.testing.assert_array_equal(second.mask, truth() & ~tube())


def test_a_dicom_seg_needs_a_dicom_series(user):
    user.effect.commands()["saveDicomSeg"]()
    assert "not loaded from Slicer's DICOM database" in user.panel.messageLabel.text


def test_a_dicom_seg_needs_segments_and_all_files(series, tmp_path):
    user, files = series
    user.host.dialogs.answers.append(str(tmp_path / "result.dcm"))
    save(user, user.panel.segmentsSection.dicomButton)
    assert "All segments are empty" in user.controller.message
    files[3].unlink()
    user.effect.commands()["saveDicomSeg"]()
    assert "1 of 24 files" in user.panel.messageLabel.text
    assert not (tmp_path / "result.dcm").exists()


def test_a_table_that_cannot_be_written_is_said(finished, tmp_path):
    finished.host.dialogs.answers.append(str(tmp_path / "missing" / "lesions.csv"))
    save(finished, finished.panel.segmentsSection.csvButton)
    assert finished.controller.is_error
    assert "missing" in finished.controller.message

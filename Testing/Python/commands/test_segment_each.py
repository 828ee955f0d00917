"""`segment --one-segment-each`: numbered segments, a table of them, and DICOM SEG."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation

sys.path.insert(0, str(Path(__file__).parents[1] / "imaging"))


def fiducials(write_markup, name, *places, label="F"):
    points = [{"label": label, "position": place, "positionStatus": "defined"} for place in places]
    return write_markup(name, type="Fiducial", controlPoints=points)


@pytest.fixture
def run(weights, capsys):
    def command(scan, *words):
        code = main(["segment", str(scan), "--weights", str(weights), "--propagate", "none", *map(str, words)])
        return (code, *capsys.readouterr())

    return command


def test_each_point_is_a_segment_and_a_line_of_the_table(run, scan, write_markup, tmp_path):
    places = [[16.0, 16.0, 12.0], [10.0, 16.0, 12.0], [16.0, 16.0, 6.0]]
    markups = fiducials(write_markup, "lesion.mrk.json", *places)
    output, table = tmp_path / "out.seg.nrrd", tmp_path / "out.csv"
    code, out, err = run(scan, "--prompts", markups, "--one-segment-each", "--output", output, "--table", table)
    assert code == 0, err
    assert [segment.name for segment in read_segmentation(output)] == ["lesion 1", "lesion 2", "lesion 3"]
    assert "lesion 3" in out
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["segment"] for row in rows] == ["lesion 1", "lesion 2", "lesion 3"]
    wanted = ("volume_ml", "longest_diameter_in_slice_mm", "short_axis_mm", "intensity_mean", "score_mean")
    filled = [row for row in rows if row["empty"] == "False"]
    assert filled
    assert all(float(row[name]) >= 0 for row in filled for name in wanted)


def test_without_it_they_are_one_segment(run, scan, write_markup, tmp_path):
    markups = fiducials(write_markup, "lesion.mrk.json", [16.0, 16.0, 12.0], [10.0, 16.0, 12.0])
    run(scan, "--prompts", markups, "--output", tmp_path / "out.seg.nrrd")
    assert [segment.name for segment in read_segmentation(tmp_path / "out.seg.nrrd")] == ["lesion"]


@pytest.mark.parametrize(
    ("label", "extra", "reason"),
    [("neg", (), "exclude"), ("F", ("--mask", "x.seg.nrrd"), "give one of them")],
)
def test_what_does_not_go_together_is_said_before_any_work(run, scan, write_markup, tmp_path, label, extra, reason):
    markups = fiducials(write_markup, "lesion.mrk.json", [16.0, 16.0, 12.0], label=label)
    output = tmp_path / "out.seg.nrrd"
    code, _, err = run(scan, "--prompts", markups, "--one-segment-each", "--output", output, *extra)
    assert code == 2
    assert reason in err
    assert not output.exists()


def test_a_dicom_series_gets_a_dicom_seg_with_all_segments(run, write_markup, tmp_path):
    import dicom_files
    import pydicom
    from phantom import grid, sample

    ijk_to_ras = grid()
    array = sample(ijk_to_ras)
    folder = tmp_path / "series"
    folder.mkdir()
    dicom_files.write(dicom_files.slices(array, ijk_to_ras), folder)
    middle = (ijk_to_ras @ [array.shape[2] / 2, array.shape[1] / 2, array.shape[0] // 2, 1])[:3] * [-1, -1, 1]
    markups = fiducials(write_markup, "lesion.mrk.json", middle.tolist(), (middle + np.array([4.0, 0.0, 0.0])).tolist())
    output = tmp_path / "out.dcm"
    code, _, err = run(folder, "--prompts", markups, "--one-segment-each", "--output", output)
    assert (code, err) == (0, "")
    read = pydicom.dcmread(output)
    assert [str(segment.SegmentLabel) for segment in read.SegmentSequence] == ["lesion 1", "lesion 2"]
    assert np.any(read.pixel_array)


def test_dicom_seg_of_anything_else_is_refused_before_any_work(run, scan, point, tmp_path):
    code, _, err = run(scan, "--prompts", point, "--output", tmp_path / "out.dcm")
    assert code == 2
    assert "DICOM series" in err


def test_others_are_looked_for_and_are_numbered(run, scan, point, tmp_path, monkeypatch):
    from EfficientMedSAM2Lib.interaction import PointPrompt

    asked = []

    def find(session, _volume, examples, most):
        asked.append((examples, most))
        session.add_prompt(PointPrompt((3, 16, 16), True, 0), "ball 1")
        return ["ball 1"]

    monkeypatch.setattr("EfficientMedSAM2Lib.pipeline.case.find_others", find)
    output = tmp_path / "out.seg.nrrd"
    code, _, err = run(scan, "--prompts", point, "--find-rest", "5", "--output", output)
    assert code == 0, err
    assert asked == [(["ball"], 5)]
    assert [segment.name for segment in read_segmentation(output)] == ["ball", "ball 1"]
    code, _, err = run(scan, "--prompts", point, "--find-rest", "-1", "--output", output)
    assert (code, "--find-rest" in err) == (2, True)

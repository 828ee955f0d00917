"""What a cohort leaves: DICOM SEG that highdicom reads back, scenes that Slicer opens, tables, sheet and review."""

from __future__ import annotations

import numpy as np
import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.cohort.records.outcome import CaseOutcome
from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
from EfficientMedSAM2Lib.cohort.results.contact_sheet import by_uncertainty, write_contact_sheet
from EfficientMedSAM2Lib.cohort.results.tables import write_tables
from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions
from EfficientMedSAM2Lib.cohort.run.cohort import run_cohort


def run(cohort, manifest, **settings):
    from EfficientMedSAM2Lib.cohort.manifest.read import read_cohort_manifest

    settings = RunSettings(engine="cheap_engine:build_session", **settings)
    return run_cohort(read_cohort_manifest(manifest), cohort.output, settings, ClusterOptions(in_process=True))


def dicom_array():
    array = np.zeros((5, 9, 11), dtype=np.int16)
    array[1:3, 2:6, 3:9] = 100
    array[3:5, 4:8, 1:4] = 200
    return array


def test_dicom_seg_lies_where_the_segments_lie(cohort, dicom_series):
    import highdicom

    array = dicom_array()
    series = dicom_series(cohort.folder / "ct", array)
    manifest = cohort.folder / "m.csv"
    manifest.write_text(
        'case,image,segment,points_ijk\np,ct,liver,"4,3,1"\np,ct,something,"2,5,4"\nq,ct,liver,"0,0,0"\n'
    )
    summary = run(cohort, manifest, output_format="dicom-seg")
    assert not summary.failed, summary.failed
    seg = highdicom.seg.segread(cohort.output / "cases" / "p" / "segmentation.dcm")
    uids = {float(file.ImagePositionPatient[2]): file.SOPInstanceUID for file in map(_read, series.iterdir())}
    ordered = [uids[5.0 * k] for k in range(5)]
    pixels = seg.get_pixels_by_source_instance(ordered, assert_missing_frames_are_empty=True)
    assert np.array_equal(pixels[..., 0] > 0, array == 100)
    assert np.array_equal(pixels[..., 1] > 0, array == 200)
    liver = seg.get_segment_description(1)
    assert (liver.segment_label, liver.segmented_property_type.value) == ("liver", "10200004")
    assert liver.algorithm_type.value == "SEMIAUTOMATIC"
    assert seg.PatientID == "1"


@pytest.mark.parametrize(
    "missing",
    [
        ["SliceThickness"],
        ["PatientBirthDate"],
        ["PatientName", "PatientID", "PatientSex", "StudyID", "StudyDate"],
        ["StudyTime", "AccessionNumber", "ReferringPhysicianName", "SliceThickness"],
    ],
)
def test_dicom_seg_of_a_series_without_attributes_that_may_be_empty(cohort, dicom_series, missing):
    """Anonymisers leave them out instead of emptying them."""
    import highdicom

    array = dicom_array()
    series = dicom_series(cohort.folder / "ct", array)
    for file in series.iterdir():
        slice_ = _read(file)
        for keyword in missing:
            delattr(slice_, keyword)
        slice_.save_as(file)
    (cohort.folder / "m.csv").write_text('case,image,segment,points_ijk\np,ct,肝臓,"4,3,1"\n', encoding="utf-8")
    summary = run(cohort, cohort.folder / "m.csv", output_format="dicom-seg")
    assert not summary.failed, summary.failed
    seg = highdicom.seg.segread(cohort.output / "cases" / "p" / "segmentation.dcm")
    assert all(seg.get(keyword) in (None, "") for keyword in missing)
    assert seg.get_segment_description(1).segment_label == "肝臓"
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SliceThickness) == 5, "the distance of the slices, where no thickness is stated"


def test_what_dicom_seg_cannot_hold_is_refused_before_the_work(cohort, dicom_series, monkeypatch):
    from EfficientMedSAM2Lib.cohort.worker import compute_case

    dicom_series(cohort.folder / "ct", dicom_array())
    (cohort.folder / "m.csv").write_text(f'case,image,segment,points_ijk\np,ct,{"n" * 65},"4,3,1"\n')
    monkeypatch.setattr(compute_case, "segment_case", lambda *arguments: pytest.fail("it was segmented all the same"))
    summary = run(cohort, cohort.folder / "m.csv", output_format="dicom-seg")
    ((_, reason),) = [(outcome.name, outcome.reason) for outcome in summary.outcomes]
    assert "has 65 characters; a DICOM SEG holds 64" in reason


def _read(path):
    import pydicom

    return pydicom.dcmread(path)


def test_an_empty_result_has_no_dicom_seg_and_is_still_reported(cohort, dicom_series):
    dicom_series(cohort.folder / "ct", dicom_array())
    manifest = cohort.folder / "m.csv"
    # the second point, on the same value, takes the first away
    manifest.write_text('case,image,segment,points_ijk,negative_points_ijk\nq,ct,s,"4,3,1","5,4,1"\n')
    summary = run(cohort, manifest, output_format="dicom-seg")
    (outcome,) = summary.outcomes
    assert outcome.status == "done"
    assert outcome.record["segments"][0]["empty"]
    assert not (cohort.output / "cases" / "q" / "segmentation.dcm").exists()


def test_dicom_seg_of_a_file_is_refused_before_anything_is_done(cohort, capsys):
    cohort.add("a")
    code = main(["cohort", "run", str(cohort.manifest), "--output", str(cohort.output), "--format", "dicom-seg"])
    assert code == 2
    assert "line 2" in capsys.readouterr().err
    assert not cohort.output.exists()


@pytest.fixture
def reviewed(cohort, capsys, write_roi, write_points):
    """Three cases, the middle one empty; the output of `cohort review`."""
    cohort.add("a")
    cohort.add("b", np.zeros((6, 12, 14), dtype=np.int16), points="99,99,99")
    cohort.add("c")
    text = cohort.manifest.read_text()
    manifest = cohort.folder / "with markups.csv"
    roi = write_roi("block.mrk.json", (2, 3, 3), (2, 4, 4))
    lasso = write_points("lasso.mrk.json", (2, 1, 1), (2, 1, 9), (2, 9, 9), (2, 9, 1))
    lasso.write_text(lasso.read_text().replace("Fiducial", "ClosedCurve"))
    manifest.write_text(text.replace("points_ijk", "points_ijk,prompts").replace('2"\n', f'2",{roi};{lasso}\n', 1))
    run(cohort, manifest)
    capsys.readouterr()
    assert main(["cohort", "review", str(cohort.output)]) == 0
    return capsys.readouterr().out


def test_review_writes_scenes_that_slicer_opens(cohort, reviewed, dicom_series):
    slicer = pytest.importorskip("slicer")
    scene_file = cohort.output / "cases" / "a" / "scene.mrml"
    assert str(scene_file) in reviewed
    scene = _opened(slicer, scene_file)
    volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    assert volume.GetName() == "a"
    assert volume.GetImageData().GetDimensions() == (14, 12, 6)
    assert volume.GetDisplayNode().GetColorNode().GetName() == "Grey"  # without colours Slicer draws it black
    segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    found = segmentation.GetSegmentation()
    assert [found.GetNthSegment(n).GetName() for n in range(found.GetNumberOfSegments())] == ["block"]
    assert segmentation.GetNodeReferenceID("referenceImageGeometryRef") == volume.GetID()
    points = scene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
    assert points.GetNumberOfControlPoints() == 1
    roi = scene.GetFirstNodeByClass("vtkMRMLMarkupsROINode")
    assert not roi.GetDisplayNode().GetFillVisibility()
    lasso = scene.GetFirstNodeByClass("vtkMRMLMarkupsClosedCurveNode")
    assert lasso.GetNumberOfControlPoints() == 4
    assert lasso.GetDisplayNode().GetVisibility()
    matrix = [0.0, 0.0, 0.0]
    points.GetNthControlPointPosition(0, matrix)
    import SimpleITK as sitk

    x, y, z = sitk.ReadImage(str(cohort.folder / "a.nrrd")).TransformIndexToPhysicalPoint((3, 3, 2))
    assert matrix == pytest.approx([-x, -y, z])


def test_a_scene_of_a_dicom_series_holds_all_its_slices(cohort, dicom_series):
    slicer = pytest.importorskip("slicer")
    import vtk

    from EfficientMedSAM2Lib.cohort.results.review import review_cases

    dicom_series(cohort.folder / "ct", dicom_array())
    manifest = cohort.folder / "m.csv"
    manifest.write_text('case,image,segment,points_ijk\np,ct,liver,"4,3,1"\n')
    run(cohort, manifest)
    (case,) = review_cases(cohort.output)
    scene = _opened(slicer, case.scene)
    volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    assert volume.GetImageData().GetDimensions() == (11, 9, 5)
    # the segment, by position in the patient, lies on the voxels with its value
    points = scene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
    position, matrix = [0.0, 0.0, 0.0], vtk.vtkMatrix4x4()
    points.GetNthControlPointPosition(0, position)
    volume.GetRASToIJKMatrix(matrix)
    index = np.round(matrix.MultiplyPoint([*position, 1.0])[:3]).astype(int)
    assert volume.GetImageData().GetScalarComponentAsDouble(*index, 0) == 100
    beyond = [*index[:2], index[2] + 1 if index[2] == 1 else index[2] - 1]
    assert volume.GetImageData().GetScalarComponentAsDouble(*beyond, 0) == 100
    assert abs(matrix.GetElement(2, 2)) == pytest.approx(1 / 5)


def _opened(slicer, path):
    """The scene with all that its nodes refer to."""
    scene, colors = slicer.vtkMRMLScene(), slicer.vtkSlicerColorLogic()
    colors.SetMRMLScene(scene)  # as in Slicer, every scene has colours
    _scenes.extend((scene, colors))
    for name in (
        "Segmentation",
        "SegmentationStorage",
        "SegmentationDisplay",
        "MarkupsFiducial",
        "MarkupsROI",
        "MarkupsFiducialDisplay",
        "MarkupsROIDisplay",
        "MarkupsJsonStorage",
    ):
        scene.RegisterNodeClass(getattr(slicer, f"vtkMRML{name}Node")())
    scene.SetURL(str(path))
    assert scene.Import()
    return scene


_scenes: list[object] = []


def test_review_lists_the_least_certain_first(cohort, reviewed):
    import csv

    with (cohort.output / "failures.csv").open() as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == ["b"]
    lines = [line for line in reviewed.splitlines() if line[:1].isdigit()]
    assert [line.split()[1] for line in lines] == ["a:", "c:"]


def test_next_is_the_least_certain_case_that_nobody_has_seen(cohort, reviewed, capsys):
    from EfficientMedSAM2Lib.cohort.results.corrections import save_review
    from EfficientMedSAM2Lib.cohort.results.review import review_cases

    waiting = [case.name for case in review_cases(cohort.output)]
    while waiting:
        capsys.readouterr()
        assert main(["cohort", "next", str(cohort.output)]) == 0
        said = capsys.readouterr().out
        assert said.splitlines()[0].split("  ")[1].startswith(f"{waiting[0]}: ")
        assert said.splitlines()[1].strip().endswith(".mrml")
        save_review(cohort.output, waiting.pop(0))
    assert main(["cohort", "next", str(cohort.output)]) == 0
    assert capsys.readouterr().out == "Every case has been reviewed.\n"


def test_review_without_a_run_is_a_clear_line(tmp_path, capsys):
    assert main(["cohort", "review", str(tmp_path)]) == 2
    assert "ledger" in capsys.readouterr().err


def outcome(name, score, **segment):
    segment = {
        "segment": "s",
        "empty": False,
        "volume_ml": 1.0,
        "slices": 2,
        "score_lowest": score,
        "slice_lowest": 4,
        "message": "",
        **segment,
    }
    return CaseOutcome(name, "k", "done", record={"segments": [segment], "image": "i", "weights_sha256": "w"})


def test_the_sheet_shows_the_least_certain_first_and_escapes_names(tmp_path):
    outcomes = [outcome("sure", 0.9), outcome("<b>", 0.2), outcome("given", None), outcome("none", 0.0, empty=True)]
    outcomes.append(CaseOutcome("bad & gone", "", "failed", "input", "no <image>"))
    assert [o.name for o in by_uncertainty(outcomes)] == ["none", "<b>", "sure", "given"]
    write_contact_sheet(tmp_path, outcomes)
    page = (tmp_path / "contact-sheet.html").read_text()
    places = [page.index(name) for name in ("none", "&lt;b&gt;", "sure", "given", "bad &amp; gone")]
    assert places == sorted(places)
    assert "<b>" not in page
    assert "<script" not in page


def test_the_sheet_says_whose_outline_has_which_colour(cohort, dicom_series):
    """The legend's colours are those of the picture beside it."""
    import re

    from PIL import Image

    array = dicom_array()
    array[1:3, 7:9, 1:9] = 200
    dicom_series(cohort.folder / "ct", array)
    manifest = cohort.folder / "m.csv"
    manifest.write_text('case,image,segment,points_ijk\np,ct,liver,"4,3,1"\np,ct,something,"2,8,1"\n')
    run(cohort, manifest)
    page = (cohort.output / "contact-sheet.html").read_text()
    found = re.findall(r'background: rgb\((\d+), (\d+), (\d+)\)"></span>(\w+):', page)
    assert [name for *_, name in found] == ["liver", "something"]
    drawn = set(Image.open(cohort.output / "cases" / "p" / "picture.png").getdata())
    assert {tuple(map(int, color)) for *color, _ in found} <= drawn


def test_parquet_says_the_same_as_csv_and_knows_types_without_rows(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_tables(tmp_path, [])
    empty = parquet.read_schema(tmp_path / "measurements.parquet")
    write_tables(tmp_path, [outcome("a", 0.5), outcome("b", None)])
    table = parquet.read_table(tmp_path / "measurements.parquet")
    assert table.schema == empty
    assert table["case"].to_pylist() == ["a", "b"]
    assert table["score_lowest"].to_pylist() == [0.5, None]
    header = (tmp_path / "measurements.csv").read_text().splitlines()[0].split(",")
    assert header == table.column_names


def test_the_picture_shows_the_least_certain_slice_with_its_outline(tmp_path):
    from PIL import Image

    from EfficientMedSAM2Lib.cohort.results.picture import PANEL_PIXELS, write_picture
    from EfficientMedSAM2Lib.core.windows import IntensityWindow
    from EfficientMedSAM2Lib.imaging.segmentations import Segment
    from EfficientMedSAM2Lib.imaging.volumes import Volume
    from EfficientMedSAM2Lib.pipeline.case import SegmentResult

    array = np.zeros((4, 40, 40), dtype=np.int16)
    array[2] = 50  # the uncertain slice is grey, the others black
    mask = np.zeros(array.shape, dtype=bool)
    mask[1:3, 15:25, 15:25] = mask[1, 10:30, 10:30] = True
    results = [SegmentResult("s", mask, {0: 0.0, 1: 0.9, 2: 0.4}, 0)]
    path = tmp_path / "p.png"
    write_picture(
        path, Volume(array, np.eye(4)), [Segment("s", mask, (1.0, 0.0, 0.0))], results, IntensityWindow(0, 100)
    )
    picture = np.asarray(Image.open(path)).astype(int)
    assert picture.shape == (PANEL_PIXELS, 2 * PANEL_PIXELS, 3)
    left, right = picture[:, :PANEL_PIXELS], picture[:, PANEL_PIXELS:]
    middle = PANEL_PIXELS // 2
    assert left[middle, middle].tolist() == [128, 128, 128]
    assert right[middle, middle].tolist() == [0, 0, 0]
    red = [(panel == (255, 0, 0)).all(axis=-1) for panel in (left, right)]
    width = [np.ptp(np.flatnonzero(outline.any(axis=0))) + 1 for outline in red]
    assert width[1] == pytest.approx(2 * width[0], abs=2)


def test_help_names_the_three_tasks(capsys):
    with pytest.raises(SystemExit):
        main(["cohort", "--help"])
    out = capsys.readouterr().out
    assert all(task in out for task in ("init", "run", "review"))


def test_an_accepted_correction_is_what_the_tables_say(cohort, capsys):
    import csv
    import json

    from EfficientMedSAM2Lib.imaging.segmentations import Segment, write_segmentation
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    scans = [cohort.add("a"), cohort.add("b")]
    run(cohort, cohort.manifest)
    volume = read_volume(scans[0])
    mask = np.zeros(volume.shape_kji, dtype=bool)
    mask[0, :2, :3] = True
    path = cohort.output / "cases" / "a" / "segmentation.seg.nrrd"
    segments = [Segment("block", mask), Segment("added", ~mask), Segment("none", mask & ~mask)]
    write_segmentation(path, segments, volume)
    corrected = path.read_bytes()
    assert main(["cohort", "accept", str(cohort.output)]) == 0
    assert capsys.readouterr().out.splitlines() == ["a: corrected"]
    with (cohort.output / "measurements.csv").open() as stream:
        voxels = [(row["case"], row["segment"], row["voxels"], row["score_lowest"]) for row in csv.DictReader(stream)]
    assert voxels[:3] == [("a", "block", "6", ""), ("a", "added", str(6 * 12 * 14 - 6), ""), ("a", "none", "0", "")]
    assert voxels[3][:2] == ("b", "block")
    record = json.loads((path.parent / "provenance.json").read_text())
    assert record["corrected"]
    assert record["before_correction"][0]["voxels"] == 4 * 4 * 4

    assert main(["cohort", "accept", str(cohort.output)]) == 0  # nothing new
    assert capsys.readouterr().out == ""
    run(cohort, cohort.manifest)
    assert path.read_bytes() == corrected
    cohort.lines[0] = cohort.lines[0].replace("3,3,2", "3,3,3")
    run(cohort, cohort.manifest)
    (kept,) = (cohort.output / "corrected").glob("a */segmentation.seg.nrrd")
    assert kept.read_bytes() == corrected

    path.write_bytes(b"broken")
    assert main(["cohort", "accept", str(cohort.output)]) == 1
    assert "correction of a cannot be accepted" in capsys.readouterr().err

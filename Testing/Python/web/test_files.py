"""Files that come in through the browser: formats, wrong ones, too large ones."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

pytestmark = pytest.mark.browser


def refused(user, *files):
    text = user.send(*files)
    assert "error" in user.page.get_attribute("#transfer", "class")
    assert "/" not in text.replace("MHA/MHD", "")  # no path of the server
    return text


def write_image(path, shape=(20, 40, 50), dtype=np.int16):
    import SimpleITK as sitk

    image = sitk.GetImageFromArray((np.indices(shape).sum(axis=0) % 200).astype(dtype))
    image.SetSpacing((1.0, 1.5, 3.0))
    sitk.WriteImage(image, str(path))
    return path


def write_dicom(folder, count=6, series="1.2.3.4", **tags):
    import SimpleITK as sitk

    folder.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(count):
        image = sitk.GetImageFromArray(np.full((32, 32), 10 * k, dtype=np.int16))
        for tag, value in {
            "0008|0060": "MR",
            "0020|000e": series,
            "0020|000d": "1.2.3",
            "0008|0018": f"{series}.{k}",
            "0020|0032": f"0\\0\\{4 * k}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(k),
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            **tags,
        }.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"slice{k}.dcm"))
        writer.Execute(image)
    return folder


@pytest.mark.slow
def test_a_nifti_file_is_opened(user, tmp_path):
    assert "scan.nii.gz is open" in user.send(write_image(tmp_path / "scan.nii.gz"))
    user.wait("volume_name", "value === 'scan'")
    assert user.state("volume_text").startswith("50 × 40 × 20 · 1 × 1.5 × 3 mm")


@pytest.mark.slow
def test_a_dicom_series_is_opened_as_files_and_as_an_archive(user, tmp_path):
    files = sorted(write_dicom(tmp_path / "series").iterdir())
    user.send(*files)
    user.wait("volume_text", "value.startsWith('32 × 32 × 6')")
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for file in files:
            opened.write(file, f"patient/../../series/{file.name}")
        opened.writestr("patient/README.txt", "no image")
    assert "study is open" in user.send(archive)
    user.wait("volume_name", "value === 'study 1.2.3.4'")


@pytest.mark.slow
def test_scans_of_two_patients_are_called_by_what_they_are(user, tmp_path):
    names = []
    for patient, series in (("A-17", "1.2.840.1.1001"), ("B-18", "1.2.840.1.1002")):
        said = {"0010|0020": patient, "0008|1030": "Head", "0020|0011": "4", "0008|103e": "T1 ax/3D"}
        folder = write_dicom(tmp_path / patient, 3, series, **said)
        for file in folder.iterdir():
            file.rename(file.with_name(f"IM{file.stem[-1]}"))
        user.send(*folder.iterdir())
        user.wait("volume_name", f"value.startsWith('{patient}')")
        user.key("x")
        user.wait("tool", "value === 'box'")
        user.drag("Red", (0.4, 0.4), (0.6, 0.6))
        user.wait_for_volume()
        names.append((user.state("volume_name"), user.save("segmentation", tmp_path).name))
    assert names == [
        ("A-17 Head 4 T1 ax/3D 0.1.1001", "A-17 Head 4 T1 ax_3D 0.1.1001.seg.nrrd"),
        ("B-18 Head 4 T1 ax/3D 0.1.1002", "B-18 Head 4 T1 ax_3D 0.1.1002.seg.nrrd"),
    ]


@pytest.mark.slow
def test_of_several_series_one_is_chosen_by_patient_study_and_series(user, tmp_path):
    said = {"0010|0020": "A-17", "0008|1030": "Head"}
    large = write_dicom(tmp_path / "t1", 6, "1.2.840.1.1001", **said, **{"0020|0011": "4", "0008|103e": "T1 ax"})
    small = write_dicom(tmp_path / "t2", 3, "1.2.840.1.1002", **said, **{"0020|0011": "7", "0008|103e": "T2 ax"})
    for folder in (large, small):
        for file in folder.iterdir():
            file.rename(file.with_name(f"{folder.name}-{file.name}"))
    files = [*large.iterdir(), *small.iterdir()]
    user.reply = "2"
    assert "is open" in user.send(*files)
    (question,) = (text for text in user.asked if "holds 2 series" in text)
    assert question.splitlines()[1:] == [
        "1: A-17 Head 4 T1 ax 0.1.1001 (6 images)",
        "2: A-17 Head 7 T2 ax 0.1.1002 (3 images)",
    ]
    user.wait("volume_text", "value.startsWith('32 × 32 × 3 ')")
    user.reply = "9"
    assert "no series 9" in user.send(*files)
    user.reply = False
    assert user.send(*files) == "Nothing was opened."
    user.wait("volume_name", "value === 'A-17 Head 7 T2 ax 0.1.1002'")


@pytest.mark.slow
def test_wrong_files_are_refused_and_nothing_is_lost(sample, tmp_path):
    user = sample
    volume = user.draw_box()
    text, broken, empty = (tmp_path / name for name in ("notes.txt", "scan.nii.gz", "empty.nrrd"))
    text.write_text("no image\n" * 50)
    write_image(broken)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    empty.write_bytes(b"")
    assert "not an image" in refused(user, text)
    assert "scan.nii.gz" in refused(user, broken)
    assert "Nothing was sent" in refused(user, empty)
    thief = tmp_path / "thief.mhd"
    thief.write_text("NDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nElementDataFile = /etc/passwd\n")
    assert "only files beside it" in refused(user, thief)
    archive = tmp_path / "broken.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.txt", "no image")
    refused(user, archive)
    assert user.state("volume_name") == "CTChest4"
    assert user.volume() == volume
    user.picture("refused")


@pytest.mark.slow
def test_too_large_files_are_refused(sample, tmp_path, gateway):
    from web_user import MAX_UPLOAD_MB

    user = sample
    large = tmp_path / "large.nrrd"
    large.write_bytes(bytes((MAX_UPLOAD_MB + 3) * 2**20))
    assert f"larger than {MAX_UPLOAD_MB} MB" in refused(user, large)
    # the page only saves the way: the server refuses by itself
    status, text = user.page.evaluate(
        """async size => {
            const form = new FormData();
            form.append("file", new Blob([new Uint8Array(size)]), "large.nrrd");
            const answer = await fetch("upload", {method: "POST", body: form});
            return [answer.status, await answer.text()];
        }""",
        large.stat().st_size,
    )
    assert status == 413
    assert "limit" in text
    # small to send, but not in memory: 2000 x 2000 x 2000 voxels announced by a header
    bomb = tmp_path / "bomb.nrrd"
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2000 2000 2000\nencoding: gzip\nendian: little\n\n"
    bomb.write_bytes(header.encode() + bytes(100))
    assert "in memory" in refused(user, bomb)
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.dcm", bytes(5 * MAX_UPLOAD_MB * 2**20))
    assert "unpacks to" in refused(user, archive)
    assert all(not list((folder / "files").iterdir()) for folder in gateway.folders())
    assert user.state("volume_name") == "CTChest4"


@pytest.mark.slow
def test_prompts_are_opened_again(sample, tmp_path):
    """What the page saves, several segments and kinds of prompts, gives the same masks on the scan opened anew."""
    user = sample
    user.draw_box()
    user.rest()
    user.key("p", "n")
    user.wait("settings", "value.include === false")
    before = user.volume()
    user.drag("Red", (0.51, 0.30))
    user.wait("segments", f"Number(value[0].volume) !== {before}")
    user.rename("heart")
    user.command("add_segment")
    user.wait("segments", "value.length === 2 && value[1].selected")
    user.command("setting", "include", True)
    user.key("l")
    user.wait("tool", "value === 'line'")
    user.drag("Red", (0.30, 0.60), (0.39, 0.42))
    user.wait_for_volume()
    user.rest()
    user.rename("right lung")
    known = [(segment["name"], segment["volume"]) for segment in user.state("segments")]
    saved = user.save("prompts", tmp_path)
    assert saved.name == "CTChest4 prompts.zip"

    user.open_sample()
    assert "The prompts for heart, right lung were used" in user.send(saved)
    user.wait("segments", "value.length === 2 && value.every(s => Number(s.volume) > 0)")
    assert [(segment["name"], segment["volume"]) for segment in user.state("segments")] == known
    user.picture("prompts-opened")
    user.key("Control+z")  # the answer, and not the other segment
    user.wait("segments", "value.length === 2 && Number(value[0].volume) > 0 && value[1].volume === '0'")

    user.open_sample()
    with zipfile.ZipFile(saved) as archive:
        archive.extract("heart.mrk.json", tmp_path)
    user.send(tmp_path / "heart.mrk.json")
    user.wait("segments", f"value.length === 1 && value[0].name === 'heart' && value[0].volume === '{known[0][1]}'")


@pytest.mark.slow
def test_prompts_that_slicer_saved_are_opened(sample, tmp_path):
    """Points, ROI and line by Slicer's own writers; the points in RAS, one of them excludes."""
    slicer = pytest.importorskip("slicer", reason="needs PyPI's slicer-core")
    import vtk

    vtk.vtkObject.GlobalWarningDisplayOff()
    scene, logic = slicer.vtkMRMLScene(), slicer.vtkSlicerMarkupsLogic()
    logic.SetMRMLScene(scene)  # makes markups storable
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "heart")
    roi.SetSize(120.0, 125.0, 10.0)
    roi.SetCenter(-14.0, 11.0, -180.25)
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F")
    points.AddControlPoint(vtk.vtkVector3d(88.0, -22.0, -180.25), "F-1")
    points.AddControlPoint(vtk.vtkVector3d(-14.0, 11.0, -180.25), "not here")
    points.SetNthControlPointDescription(1, "bg")
    files = []
    for node in (roi, points):
        node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetCoordinateSystem(storage.CoordinateSystemRAS if node is points else storage.CoordinateSystemLPS)
        files.append(tmp_path / f"{node.GetName()}.mrk.json")
        storage.SetFileName(str(files[-1]))
        assert storage.WriteData(node)
    user = sample
    user.send(*files)
    heart, lung = user.wait("segments", "value.length === 2 && value.every(s => Number(s.volume) > 0) && value")
    assert (heart["name"], lung["name"]) == ("heart", "F")
    assert float(heart["mean"]) > -100 > -600 > float(lung["mean"])


@pytest.mark.slow
def test_prompts_that_cannot_be_used_are_refused(sample, tmp_path):
    user = sample
    volume = user.draw_box()
    user.rest()
    files = {
        "text.mrk.json": "no prompts",
        "other.json": '{"measurements": []}',
        "far.mrk.json": '{"markups": [{"type": "Fiducial", "controlPoints": [{"position": [9000, 0, 0]}]}]}',
        "empty.mrk.json": '{"markups": [{"type": "Fiducial", "controlPoints": []}]}',
        "plane.mrk.json": '{"markups": [{"type": "Plane"}]}',
        "long.mrk.json": '{"markups": []}' + " " * 9 * 2**20,
    }
    said = {}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        said[name] = refused(user, tmp_path / name)
    assert "not a markups file" in said["text.mrk.json"]
    assert "no list of markups" in said["other.json"]
    assert "outside" in said["far.mrk.json"]
    assert "no point, box, line or curve" in said["empty.mrk.json"]
    assert "cannot be a prompt" in said["plane.mrk.json"]
    assert "too large for prompts" in said["long.mrk.json"]
    assert [segment["name"] for segment in user.state("segments")] == ["Segment_1"]
    assert user.volume() == volume
    user.command("undo")
    user.wait("segments", "value[0].volume === '0'")  # the box: nothing else has been done


@pytest.mark.slow
def test_segments_are_not_lost_unasked(sample, tmp_path):
    user = sample
    volume = user.draw_box()
    user.reply = False
    assert user.send(write_image(tmp_path / "other.nii.gz")) == "Nothing was opened."
    user.page.click(".header [data-action=open-sample]")
    user.page.wait_for_function("document.querySelector('#transfer').textContent === 'Nothing was opened.'")
    assert ["takes the place of the open scan, whose 1 segment" in text for text in user.asked[-2:]] == [True, True]
    assert user.state("volume_name") == "CTChest4"
    assert user.volume() == volume
    user.reply = True
    assert "other.nii.gz is open" in user.send(tmp_path / "other.nii.gz")
    user.wait("volume_name", "value === 'other'")
    asked = len(user.asked)
    assert "again.nii.gz is open" in user.send(write_image(tmp_path / "again.nii.gz"))
    assert len(user.asked) == asked, "there was nothing to lose"


@pytest.mark.slow
def test_a_saved_label_map_comes_back_as_segments_or_as_a_scan(sample, tmp_path):
    user = sample
    user.draw_box()
    saved = user.save("nifti", tmp_path)
    assert saved.name == "CTChest4-label.nii.gz"
    assert "1 segment was added" in user.send(saved)
    assert "looks like labels on the open scan" in user.asked[-1]
    user.wait("segments", "value.length === 2")
    user.reply = False
    assert user.send(saved) == "Nothing was opened."  # as a scan, and then not at the price of the segments
    assert "takes the place" in user.asked[-1]


@pytest.mark.slow
def test_a_time_point_is_chosen(user, tmp_path):
    import SimpleITK as sitk

    series = [
        sitk.GetImageFromArray(np.full((4, 6, 8), value, np.int16) + np.arange(8, dtype=np.int16)) for value in (0, 50)
    ]
    sitk.WriteImage(sitk.JoinSeries(series), str(tmp_path / "series.nii.gz"))
    user.reply = "1"
    assert "series.nii.gz is open" in user.send(tmp_path / "series.nii.gz")
    assert "series.nii.gz holds 2 volumes. Which one, from 0 to 1?" in user.asked
    user.reply = "7"
    assert "no time point 7" in refused(user, tmp_path / "series.nii.gz")
    user.reply = "the last"
    assert "whole number" in refused(user, tmp_path / "series.nii.gz")
    user.reply = False
    assert user.send(tmp_path / "series.nii.gz") == "Nothing was opened."


@pytest.mark.slow
def test_a_coronal_point_comes_back_as_a_coronal_point(sample, tmp_path):
    user = sample
    user.key("p")
    user.wait("tool", "value === 'point'")
    user.drag("Green", (0.5, 0.5))
    volume = user.wait_for_volume()
    user.rest()
    saved = user.save("prompts", tmp_path)
    (markup,) = json.loads(saved.read_text())["markups"]
    (point,) = markup["controlPoints"]
    assert point["description"].startswith("plane: coronal")
    user.open_sample()
    user.wait("segments", "value.length === 1 && value[0].volume === '0'")
    user.send(saved)
    assert user.wait_for_volume() == volume

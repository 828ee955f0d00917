"""Segmentations: Slicer itself opens what we write, and we read what Slicer wrote."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import slicerio
from slicerio.segmentation import terminology_entry_from_string

from EfficientMedSAM2Lib.core import files
from EfficientMedSAM2Lib.core.geometry import lps_to_ras
from EfficientMedSAM2Lib.imaging.segmentations import Segment, read_segmentation, write_segmentation
from EfficientMedSAM2Lib.imaging.terminology import terminology_entry
from EfficientMedSAM2Lib.imaging.volumes import Volume, read_volume

DATA = Path(slicerio.__file__).parent / "data"
SHAPE = (5, 6, 7)


@pytest.fixture
def volume(oblique) -> Volume:
    return Volume(np.zeros(SHAPE, dtype=np.int16), oblique)


def block(*box) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[tuple(slice(*bounds) for bounds in box)] = True
    return mask


@pytest.fixture
def segments() -> list[Segment]:
    """Two that overlap, one apart from them, one empty; names and colours given and not."""
    return [
        Segment("right lung", block((0, 3), (1, 4), (2, 5))),
        Segment("Läsion µ", block((2, 5), (3, 6), (4, 7)), (0.25, 0.5, 0.75)),
        Segment("liver", block((4, 5), (0, 1), (0, 2))),
        Segment("nothing", np.zeros(SHAPE, dtype=bool)),
    ]


def test_slicer_opens_it(tmp_path, slicer_files, volume, segments):
    path = tmp_path / "result.seg.nrrd"
    write_segmentation(path, segments, volume)
    slicer, vtk = slicer_files.slicer, slicer_files.vtk
    node = slicer_files.read("vtkMRMLSegmentationNode", path)
    found = node.GetSegmentation()
    assert found.GetNumberOfSegments() == 4
    for number, written in enumerate(segments):
        segment = found.GetNthSegment(number)
        assert segment.GetName() == written.name
        if written.color:
            np.testing.assert_allclose(segment.GetColor(), written.color)
        tag = vtk.mutable("")
        assert segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), tag)
        assert str(tag).startswith(terminology_entry(written.name)[:-6])
        labelmap = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(found.GetNthSegmentID(number), labelmap)
        np.testing.assert_array_equal(mask_in(slicer_files, labelmap, volume), written.mask)


def mask_in(slicer_files, labelmap, volume) -> np.ndarray:
    """A Slicer labelmap on the volume's grid, by world position: voxel for voxel, whatever extent it was cut to."""
    mask = np.zeros(SHAPE, dtype=bool)
    matrix = slicer_files.vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    to_volume = np.linalg.inv(volume.ijk_to_ras) @ slicer_files.get_matrix(matrix)
    i0, i1, j0, j1, k0, k1 = labelmap.GetExtent()
    for k, j, i in np.ndindex(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1):
        if labelmap.GetScalarComponentAsDouble(i0 + i, j0 + j, k0 + k, 0):
            index = to_volume @ [i0 + i, j0 + j, k0 + k, 1]
            np.testing.assert_allclose(index, np.round(index), atol=1e-3)
            mask[tuple(np.round(index[2::-1]).astype(int))] = True
    return mask


def test_what_slicer_shows_by_name(tmp_path, slicer_files, volume):
    write_segmentation(tmp_path / "s.seg.nrrd", [Segment("right lung", block((0, 1), (0, 1), (0, 1)))], volume)
    segment = slicer_files.read("vtkMRMLSegmentationNode", tmp_path / "s.seg.nrrd").GetSegmentation().GetNthSegment(0)
    tag = slicer_files.vtk.mutable("")
    segment.GetTag("TerminologyEntry", tag)
    entry = slicer_files.slicer.vtkSlicerTerminologyEntry()
    logic = slicer_files.slicer.vtkSlicerTerminologiesModuleLogic
    assert logic.DeserializeTerminologyEntry(str(tag), entry)
    assert entry.GetTypeObject().GetCodeMeaning() == "Lung"
    assert entry.GetTypeModifierObject().GetCodeMeaning() == "Right"
    np.testing.assert_allclose(segment.GetColor(), np.array([197, 165, 145]) / 255, atol=1e-5)


def test_seg_nrrd_keeps_overlaps(tmp_path, volume, segments):
    path = tmp_path / "result.seg.nrrd"
    write_segmentation(path, segments, volume)
    for written, read in zip(segments, read_segmentation(path, volume)):
        assert read.name == written.name
        np.testing.assert_array_equal(read.mask, written.mask)
        assert terminology_entry_from_string(read.terminology) == terminology_entry_from_string(
            terminology_entry(written.name)
        )


@pytest.mark.parametrize("name", ["a\\nb", "c\\d", "ends\\", "e:=f", "#g", '"h"', "肝臓", "a\\\\b"])
def test_names_of_any_characters_are_the_same_for_slicer_and_for_us(tmp_path, slicer_files, volume, name):
    """NRRD knows escapes, in which a name with a backslash would read as one with a new line."""
    segment = Segment(name, block((0, 1), (0, 1), (0, 1)))
    write_segmentation(tmp_path / "ours.seg.nrrd", [segment], volume)
    node = slicer_files.read("vtkMRMLSegmentationNode", tmp_path / "ours.seg.nrrd")
    assert node.GetSegmentation().GetNthSegment(0).GetName() == name
    assert read_segmentation(tmp_path / "ours.seg.nrrd")[0].name == name
    storage = node.GetScene().AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "slicers.seg.nrrd"))
    assert storage.WriteData(node)
    assert read_segmentation(tmp_path / "slicers.seg.nrrd")[0].name == name


def test_segments_apart_share_one_layer(tmp_path, volume, segments):
    path = tmp_path / "result.seg.nrrd"
    write_segmentation(path, [segments[0], segments[2]], volume)
    assert slicerio.read_segmentation(str(path))["voxels"].ndim == 3


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_labelmap_keeps_the_smaller_of_segments_that_overlap_and_says_so(tmp_path, volume, ending):
    segments = [
        Segment("lesion", block((2, 3), (2, 4), (2, 5))),
        Segment("liver", block((0, 5), (1, 5), (1, 6))),
        Segment("spleen", block((4, 5), (5, 6), (0, 2))),
    ]
    path = tmp_path / f"labels{ending}"
    result = write_segmentation(path, segments, volume)
    (note,) = result.notes
    assert note.startswith("'liver' overlaps 'lesion' in 6 of its 100 voxels; a label map holds each voxel once")
    assert [int(segment.mask.sum()) for segment in result.segments] == [6, 94, 2]
    written = read_volume(path)
    np.testing.assert_allclose(written.ijk_to_ras, volume.ijk_to_ras, atol=1e-4)
    expected = np.zeros(SHAPE, dtype=np.uint8)
    for value, segment in ((1, segments[1]), (2, segments[0])):
        expected[segment.mask] = 3 - value
    expected[segments[2].mask] = 3
    assert written.array.dtype == np.uint8
    np.testing.assert_array_equal(written.array, expected)
    read = read_segmentation(path)
    assert [segment.name for segment in read] == ["Segment_1", "Segment_2", "Segment_3"]
    for found, kept in zip(read, result.segments):
        np.testing.assert_array_equal(found.mask, kept.mask)


def test_of_equal_segments_a_labelmap_keeps_the_later(tmp_path, volume):
    twice = [Segment("a", block((0, 2), (0, 2), (0, 2))), Segment("b", block((0, 2), (0, 2), (0, 2)))]
    result = write_segmentation(tmp_path / "o.nii.gz", twice, volume)
    assert [int(segment.mask.sum()) for segment in result.segments] == [0, 8]
    assert "'a' overlaps 'b' in 8 of its 8 voxels" in result.notes[0]


@pytest.mark.parametrize("ending", [".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_sheared_grid_comes_back_as_it_is(tmp_path, ending):
    """ITK's own NIfTI writer drops the shear without a word."""
    sheared = np.array([[-4.0, 0, 0.8, 60], [0, -4, 1.6, 50], [0, 0, 4, -30], [0, 0, 0, 1]])
    volume = Volume(np.zeros(SHAPE, dtype=np.int16), sheared)
    path = tmp_path / f"o{ending}"
    write_segmentation(path, [Segment("a", block((0, 2), (0, 2), (0, 2)))], volume)
    if ".nii" in ending:
        image = nibabel.load(path)
        np.testing.assert_allclose(image.get_sform(), sheared, atol=1e-5)
        assert image.get_qform(coded=True)[1] == 0, "a qform cannot be sheared, so there must be none"
    elif ending == ".seg.nrrd":
        np.testing.assert_allclose(lps_to_ras(slicerio.read_segmentation(str(path))["ijkToLPS"]), sheared, atol=1e-6)
    else:
        np.testing.assert_allclose(read_volume(path).ijk_to_ras, sheared, atol=1e-5)


def test_a_nifti_that_is_not_sheared_has_both_forms(tmp_path, volume, segments):
    write_segmentation(tmp_path / "o.nii.gz", segments[:1], volume)
    image = nibabel.load(tmp_path / "o.nii.gz")
    for matrix, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
        assert code == 1
        np.testing.assert_allclose(matrix, volume.ijk_to_ras, atol=1e-4)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".seg.nrrd"])
def test_upper_case_endings_are_written_and_leave_no_litter(tmp_path, volume, segments, ending):
    path = tmp_path / f"O{ending.upper()}"
    write_segmentation(path, segments[:1], volume)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".seg.nrrd"])
def test_a_file_that_was_cut_off_while_written_is_noticed(tmp_path, volume, segments, monkeypatch, ending):
    """As on a full disk, of which ITK's NIfTI writer says nothing."""
    path = tmp_path / f"o{ending}"
    path.write_text("the result of yesterday")
    monkeypatch.setattr(files, "_flush", lambda written: os.truncate(written, written.stat().st_size - 20))
    with pytest.raises(ValueError) as error:  # noqa: PT011 (each library has its own words)
        write_segmentation(path, segments[:1], volume)
    assert len(str(error.value).splitlines()) == 1
    assert path.read_text() == "the result of yesterday"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_what_no_file_can_hold_is_refused(tmp_path, volume):
    wide = Volume(np.zeros((1, 1, 40000), dtype=np.uint8), np.eye(4))
    mask = np.zeros((1, 1, 40000), dtype=bool)
    with pytest.raises(ValueError, match=r"at most 32767 voxels along an axis; this scan has 40000; use \.nrrd"):
        write_segmentation(tmp_path / "o.nii.gz", [Segment("a", mask)], wide)
    with pytest.raises(ValueError, match="65536 segments are more than the 65535"):
        write_segmentation(tmp_path / "o.nrrd", [Segment("a", np.zeros(SHAPE, dtype=bool))] * 65536, volume)
    name = os.fsdecode(b"M\xfcller")
    with pytest.raises(ValueError, match=r"'M\\\\xfcller' is not UTF-8 text"):
        write_segmentation(tmp_path / "o.seg.nrrd", [Segment(name, np.zeros(SHAPE, dtype=bool))], volume)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_more_segments_than_a_byte_counts(tmp_path, volume):
    many = []
    for number in range(210):
        mask = np.zeros(SHAPE, dtype=bool)
        mask.flat[number] = True
        many.append(Segment(f"cell {number}", mask))
    many += [Segment(f"more {number}", segment.mask) for number, segment in enumerate(many[:60])]
    for name in ("many.seg.nrrd", "many.nrrd"):
        write_segmentation(tmp_path / name, many, volume)
    read = read_segmentation(tmp_path / "many.seg.nrrd")
    assert len(read) == 270
    assert all((a.mask == b.mask).all() for a, b in zip(many, read))
    assert read_volume(tmp_path / "many.nrrd").array.max() == 270


def test_one_slice(tmp_path, slicer_files):
    volume = Volume(np.zeros((1, 6, 7), dtype=np.uint8), np.diag([-1.0, -1, 1, 1]))
    mask = np.zeros((1, 6, 7), dtype=bool)
    mask[0, 1:3, 2:6] = True
    write_segmentation(tmp_path / "flat.seg.nrrd", [Segment("cell", mask)], volume)
    node = slicer_files.read("vtkMRMLSegmentationNode", tmp_path / "flat.seg.nrrd")
    assert node.GetSegmentation().GetNumberOfSegments() == 1
    np.testing.assert_array_equal(read_segmentation(tmp_path / "flat.seg.nrrd")[0].mask, mask)


def test_reference_written_by_slicer():
    volume = read_volume(DATA / "CTChest4.nrrd")
    read = {segment.name: segment for segment in read_segmentation(DATA / "Segmentation.seg.nrrd", volume)}
    assert len(read) == 7
    assert int(read["right lung"].mask.sum()) == 34450
    assert volume.array[read["right lung"].mask].mean() < -600, "lung is where the scan is dark"
    assert volume.array[read["ribs"].mask].mean() > 100
    assert read["right lung"].color == (0.0862745, 0.772549, 0.278431)
    overlapping = {s.name: s.mask for s in read_segmentation(DATA / "SegmentationOverlapping.seg.nrrd")}
    assert (overlapping["overlapping sphere"] & overlapping["tissue"]).any()


def test_cropped_segmentation_is_put_on_the_grid_of_the_volume(tmp_path, oblique, volume):
    mask = block((2, 4), (1, 5), (3, 6))
    shifted = oblique.copy()
    shifted[:3, 3] = (oblique @ [3, 1, 2, 1])[:3]
    cropped = Volume(np.zeros((2, 4, 3), dtype=np.int16), shifted)
    for name in ("crop.seg.nrrd", "crop.nii.gz"):
        write_segmentation(tmp_path / name, [Segment("liver", np.ones((2, 4, 3), dtype=bool))], cropped)
        np.testing.assert_array_equal(read_segmentation(tmp_path / name, volume)[0].mask, mask)


def test_write_is_whole_or_not_at_all(tmp_path, volume, segments, monkeypatch):
    path = tmp_path / "result.seg.nrrd"
    path.write_text("what was there before")

    def fail(name, *args, **kwargs):
        Path(name).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(slicerio.segmentation, "write_segmentation", fail)
    with pytest.raises(ValueError, match=r"Cannot write .*result.seg.nrrd: No space left on device"):
        write_segmentation(path, segments, volume)
    assert path.read_text() == "what was there before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.seg.nrrd"]


def test_places_that_cannot_be_written(tmp_path, volume, segments):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.nrrd").mkdir()
    for path in (tmp_path / "none" / "a.seg.nrrd", tmp_path / "file" / "a.nrrd", tmp_path / "folder.nrrd"):
        with pytest.raises(ValueError, match="Cannot write"):
            write_segmentation(path, segments, volume)
    with pytest.raises(ValueError, match=r"Cannot tell the format of 'a.stl'; end it in one of .seg.nrrd, .nii.gz"):
        write_segmentation(tmp_path / "a.stl", segments, volume)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.nrrd"]


def test_segments_that_do_not_fit(tmp_path, volume):
    with pytest.raises(ValueError, match="no segment"):
        write_segmentation(tmp_path / "a.nrrd", [], volume)
    with pytest.raises(ValueError, match=r"The mask of 'x' has shape \(2, 2, 2\), the volume \(5, 6, 7\)"):
        write_segmentation(tmp_path / "a.nrrd", [Segment("x", np.zeros((2, 2, 2), dtype=bool))], volume)


def test_files_that_are_no_segmentation(tmp_path, capfd):
    for name in ("a.seg.nrrd", "a.nii.gz", "a.mha"):
        (tmp_path / name).write_text("no segmentation")
        with pytest.raises(ValueError, match=f"{name} cannot be read as a segmentation") as error:
            read_segmentation(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="check the name"):
        read_segmentation(tmp_path / "none.seg.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(20, 20, 20))), str(tmp_path / "s.nii"))
    with pytest.raises(ValueError, match="a scan rather than a labelmap"):
        read_segmentation(tmp_path / "s.nii")
    assert capfd.readouterr().err == ""


def test_world_of_the_file_is_lps(tmp_path, volume, segments):
    write_segmentation(tmp_path / "a.seg.nrrd", segments[:1], volume)
    np.testing.assert_allclose(
        slicerio.read_segmentation(str(tmp_path / "a.seg.nrrd"))["ijkToLPS"], lps_to_ras(volume.ijk_to_ras), atol=1e-6
    )


def test_equal_segmentations_are_equal_files_whenever_they_are_written(tmp_path, volume, segments):
    """No time of writing in the file, which would make a repeated run look like another result."""
    first, second = tmp_path / "first.seg.nrrd", tmp_path / "second.seg.nrrd"
    for path in (first, second):
        write_segmentation(path, segments, volume)
    assert first.read_bytes() == second.read_bytes()
    header = first.read_bytes().partition(b"\n\n")[0]
    assert header.startswith(b"NRRD0")
    assert b"GMT" not in header


def test_segments_keep_their_ids(tmp_path, volume, segments):
    path = tmp_path / "s.seg.nrrd"
    write_segmentation(path, [replace(s, segment_id=f"S_{n}") for n, s in enumerate(segments)], volume)
    assert [s.segment_id for s in read_segmentation(path)] == [f"S_{n}" for n in range(len(segments))]
    odd = ["", "a b", "Segment_1"]
    given = [replace(segments[0], name=f"n{n}", segment_id=segment_id) for n, segment_id in enumerate(odd)]
    write_segmentation(path, given, volume)
    found = [s.segment_id for s in read_segmentation(path)]
    assert len(set(found)) == 3  # whoever has none gets one that no other has


def test_segments_keep_their_ids_on_another_grid(tmp_path, volume, segments):
    path = tmp_path / "s.seg.nrrd"
    write_segmentation(path, [replace(segments[0], segment_id="S_kept")], volume)
    larger = Volume(np.zeros([size + 2 for size in SHAPE], dtype=np.int16), volume.ijk_to_ras)
    (found,) = read_segmentation(path, larger)
    assert (found.mask.shape, found.segment_id) == (larger.shape_kji, "S_kept")

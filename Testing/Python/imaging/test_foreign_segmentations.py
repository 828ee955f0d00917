"""Segmentations of other programs and other times: old layers, DICOM SEG of any frames, and what results say."""

from __future__ import annotations

import gzip

import nrrd
import numpy as np
import pytest
from pydicom.dataset import Dataset

from EfficientMedSAM2Lib.imaging.segmentations import Segment, read_segmentation, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import Volume, read_volume

from . import dicom_files as dicom
from .phantom import grid, sample


def write_nrrd(path, voxels, names, **fields):
    """A .seg.nrrd of Slicer 4.10 and older: segments in layers, without labels or numbers of layers."""
    kinds = ["list"] * (voxels.ndim - 3) + ["domain"] * 3
    header = {
        "space": "left-posterior-superior",
        "kinds": kinds,
        "space directions": np.vstack([[np.nan] * 3] * (voxels.ndim - 3) + [np.eye(3) * 2]),
        "space origin": [1, 2, 3],
    }
    for number, name in enumerate(names):
        header[f"Segment{number}_ID"], header[f"Segment{number}_Name"] = f"S{number}", name
        header[f"Segment{number}_Color"] = "1 0 0"
        header[f"Segment{number}_Extent"] = " ".join(f"0 {size - 1}" for size in voxels.shape[-3:])
    nrrd.write(str(path), voxels, header)


@pytest.mark.parametrize("count", [2, 3, 4, 11])
def test_segments_of_slicer_4_10_are_in_layers_of_their_order(tmp_path, slicer_files, count):
    from vtkmodules.util.numpy_support import vtk_to_numpy

    masks = np.random.default_rng(0).random((count, 7, 6, 5)) < np.linspace(0.1, 0.9, count)[:, None, None, None]
    path = tmp_path / "old.seg.nrrd"
    write_nrrd(path, masks.astype(np.uint8), [f"part {n}" for n in range(count)])
    found = read_segmentation(path)
    assert [segment.name for segment in found] == [f"part {n}" for n in range(count)]
    for segment, mask in zip(found, masks):
        np.testing.assert_array_equal(segment.mask, mask.T)
    node = slicer_files.read("vtkMRMLSegmentationNode", path)
    for n, mask in enumerate(masks):
        image = slicer_files.slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(node.GetSegmentation().GetNthSegmentID(n), image)
        values = vtk_to_numpy(image.GetPointData().GetScalars())
        assert int((values != 0).sum()) == int(mask.sum())


def dicom_seg(path, masks, matrix, names, kept=None, order=None, kind=None):
    """DICOM SEG of masks (N,D,H,W): the frames of ``kept`` slices, in any order."""
    depth = masks.shape[1]
    frames = [(n, k) for n in range(len(masks)) for k in (kept or range(depth)) if masks[n, k].any() or kept]
    frames = [frames[n] for n in order(len(frames))] if order else frames
    data = dicom.enhanced(np.zeros(masks.shape[1:], int), matrix)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    items = []
    for n, k in frames:
        item = data.PerFrameFunctionalGroupsSequence[k]
        copied = Dataset()
        copied.PlanePositionSequence = item.PlanePositionSequence
        copied.SegmentIdentificationSequence = [Dataset()]
        copied.SegmentIdentificationSequence[0].ReferencedSegmentNumber = n + 1
        items.append(copied)
    data.PerFrameFunctionalGroupsSequence = items
    step = round(float(np.linalg.norm(matrix[:3, 2])), 6)
    data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = step
    data.NumberOfFrames, data.SegmentSequence = len(frames), []
    for n, name in enumerate(names):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = n + 1, name
        data.SegmentSequence.append(segment)
    pixels = np.stack([masks[n, k] for n, k in frames])
    if kind == "FRACTIONAL":
        data.SegmentationType, data.MaximumFractionalValue = kind, 200
        data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
        data.PixelData = np.where(pixels, 180, 60).astype(np.uint8).tobytes()
    else:
        data.SegmentationType = "BINARY"
        data.BitsAllocated, data.BitsStored, data.HighBit = 1, 1, 0
        data.PixelData = np.packbits(pixels.ravel(), bitorder="little").tobytes()
        data.PixelData += b"\0" * (len(data.PixelData) % 2)
    data["PixelData"].VR = "OB"
    data.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("kind", [None, "FRACTIONAL"])
@pytest.mark.parametrize("tilt", [0.0, 0.2])
def test_dicom_seg_of_several_segments(tmp_path, tilt, kind):
    """Frames in any order, slices without a frame, more than one segment, a tilted series."""
    matrix = grid(axes=np.array([[1, 0, 0], [0, 1, tilt], [0, 0, 1]]))
    ball = sample(matrix) > 200
    other = np.zeros_like(ball)
    other[2:14:5, 3:6, 2:9] = True
    order = np.random.default_rng(0).permutation
    dicom_seg(tmp_path / "s.dcm", np.stack([ball, other]), matrix, ["ball", "bars"], order=order, kind=kind)
    volume = Volume(sample(matrix), matrix)
    first, second = read_segmentation(tmp_path / "s.dcm", volume)
    assert (first.name, second.name) == ("ball", "bars")
    np.testing.assert_array_equal(first.mask, ball)
    np.testing.assert_array_equal(second.mask, other)


def test_dicom_seg_of_two_slices_far_apart(tmp_path):
    """What lies between them stays empty."""
    matrix = grid()
    mask = np.zeros((1, 16, 20, 18), bool)
    mask[0, [3, 12], 4:9, 5:8] = True
    dicom_seg(tmp_path / "s.dcm", mask, matrix, ["spots"])
    (found,) = read_segmentation(tmp_path / "s.dcm", Volume(sample(matrix), matrix))
    np.testing.assert_array_equal(found.mask, mask[0])


def test_a_dicom_image_is_no_dicom_seg(tmp_path):
    (path,) = dicom.write(dicom.slices(sample(grid())[:1], grid()), tmp_path)
    with pytest.raises(ValueError, match="not a DICOM SEG"):
        read_segmentation(path)


@pytest.mark.parametrize("ending", [".seg.nrrd", ".nrrd", ".mha", ".nii.gz"])
def test_what_was_done_to_the_scan_stands_in_its_result(tmp_path, ending):
    data = dicom.slices(sample(grid()), grid())
    dicom.write([dataset for k, dataset in enumerate(data) if k != 5], tmp_path / "scan")
    volume = read_volume(tmp_path / "scan")
    path = tmp_path / f"out{ending}"
    write_segmentation(path, [Segment("ball", volume.array > 200)], volume)
    content = gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes()
    assert b"not evenly spaced" in content
    assert len(read_segmentation(path, volume)) == 1

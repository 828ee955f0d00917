"""Uploads are read in a process of their own: what comes back, and what hostile files do to that process only."""

from __future__ import annotations

import asyncio
import gzip
import io
import struct
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from web_user import run_async

from EfficientMedSAM2Lib.imaging.segmentations import Segment, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import Volume, read_volume
from EfficientMedSAM2Lib.web.session.reader import read_upload
from EfficientMedSAM2Lib.web.session.workspace import TooLarge, Workspace

sys.path.insert(0, str(Path(__file__).parents[1]))

MEGABYTE = 2**20
AFFINE = np.diag([-1.0, -2.0, 3.0, 1.0])


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "session"
    folder.mkdir()
    return Workspace(folder, 20 * MEGABYTE)


def read(workspace, content, grid=None, seconds=None, **choices):
    """Send files, given by name and bytes; returns what was read, and how often the loop came round every 20 ms."""
    inbox = workspace.inbox()
    for name, data in content.items():
        inbox.create(name).write_bytes(data)

    async def beside():
        turns = 0

        async def turn():
            nonlocal turns
            while True:
                await asyncio.sleep(0.02)
                turns += 1

        turning = asyncio.ensure_future(turn())
        try:
            return await read_upload(workspace, inbox.files, grid, seconds, **choices)
        finally:
            turning.cancel()
            read.turns = turns

    return run_async(beside())


def nifti(shape_ijk, voxels=b"", start=352.0):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape_ijk), *shape_ijk, *[1] * (7 - len(shape_ijk)))
    struct.pack_into("<2h", header, 70, 2, 8)
    struct.pack_into("<8f", header, 76, *[1.0] * 8)
    struct.pack_into("<f", header, 108, start)
    header[344:348] = b"n+1\0"
    return bytes(header) + voxels


@pytest.mark.slow
def test_a_volume_comes_back(workspace):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    found = read(workspace, {"a scan.nii.gz": gzip.compress(nifti((4, 3, 2), array.tobytes()))})
    assert np.array_equal(found.volume.array, array)
    assert (found.name, found.volume.name) == ("a scan.nii.gz", "a scan")


@pytest.mark.slow
def test_segments_come_back_on_the_grid(workspace, tmp_path):
    grid = Volume(np.zeros((4, 5, 6), np.int16), AFFINE)
    first, second = np.zeros((2, 4, 5, 6), bool)
    first[1:3, 1:3, 1:3] = second[2:4, 2:4, 2:4] = True
    given = [Segment("heart", first, (1.0, 0.0, 0.0)), Segment("Lunge äöü", second)]
    write_segmentation(tmp_path / "s.seg.nrrd", given, grid)
    content = {"s.seg.nrrd": (tmp_path / "s.seg.nrrd").read_bytes()}
    found = read(workspace, content, grid).segments
    assert [(s.name, int(s.mask.sum())) for s in found] == [("heart", 8), ("Lunge äöü", 8)]
    assert np.array_equal(found[1].mask, second)
    assert found[0].color == (1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="open the volume first"):
        read(workspace, content)


def test_reading_ends_when_its_time_is_up(workspace):
    begun = time.perf_counter()
    with pytest.raises(TooLarge, match="was stopped"):
        read(workspace, {"a.nii": nifti((4, 3, 2), bytes(24))}, seconds=0.01)
    assert time.perf_counter() - begun < 10


@pytest.fixture
def thousand(workspace):
    """A labelmap with a thousand values makes a thousand masks: 3 GB out of 3 MB."""
    labels = np.arange(150**3, dtype=np.uint32) % 1000
    header = b"NRRD0004\ntype: ushort\ndimension: 3\nsizes: 150 150 150\nencoding: gzip\nendian: little\n\n"
    grid = Volume(np.broadcast_to(np.uint8(0), (150, 150, 150)), AFFINE)
    return {"a.seg.nrrd": header + gzip.compress(labels.astype("<u2").tobytes(), 1)}, grid


def test_the_session_goes_on_while_a_file_takes_long(workspace, thousand):
    with pytest.raises(TooLarge, match="was stopped"):
        read(workspace, *thousand, seconds=1.0)
    assert read.turns > 10


@pytest.mark.slow
def test_reading_ends_where_memory_does(workspace, thousand):
    pytest.importorskip("resource", reason="no limits here")
    with pytest.raises(TooLarge, match="memory"):
        read(workspace, *thousand)


@pytest.mark.slow
def test_unpacking_stops_at_what_the_header_announces(workspace, monkeypatch, tmp_path):
    from EfficientMedSAM2Lib.imaging.formats.files import check_complete

    path = tmp_path / "long.nii.gz"
    path.write_bytes(gzip.compress(nifti((8, 4, 4), bytes(128)) + bytes(64 * MEGABYTE), 1))
    unpacked = 0
    plain = gzip.GzipFile.read

    def counted(self, size=-1):
        nonlocal unpacked
        data = plain(self, size)
        unpacked += len(data)
        return data

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    check_complete(path)
    assert unpacked <= 2 * 480
    assert read(workspace, {"long.nii.gz": path.read_bytes()}).volume.shape_kji == (4, 4, 8)


@pytest.mark.slow
def test_segments_are_unpacked_no_further_than_announced(workspace):
    """A gigabyte of zeros behind 64 voxels would take that much memory."""
    fields = (
        "Segment0_ID:=a\nSegment0_Name:=a\nSegment0_LabelValue:=1\nSegment0_Layer:=0\nSegment0_Extent:=0 3 0 3 0 3\n"
    )
    header = (
        "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 4 4\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nencoding: gzip\n" + fields + "\n"
    )
    packer = gzip.compress(b"\1" * 64 + bytes(64 * MEGABYTE), 1)
    grid = Volume(np.zeros((4, 4, 4), np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]))
    (segment,) = read(workspace, {"a.seg.nrrd": header.encode() + packer}, grid).segments
    assert segment.mask.all()


def rle(size):
    """Zeros, size x size x 16 bits, as DICOM packs them: runs of 128 in two segments."""
    run = b"\x81\0" * -(-size * size // 128)
    return struct.pack("<16I", 2, 64, 64 + len(run), *[0] * 13) + run * 2


@pytest.mark.slow
def test_every_dicom_file_counts(workspace, tmp_path):
    """Slices that are packed to nothing, behind a small file of another series: 300 kB that take 100 MB."""
    pydicom = pytest.importorskip("pydicom", reason="needs pydicom, of the extra cohort")
    from pydicom.encaps import encapsulate
    from pydicom.uid import MRImageStorage, RLELossless

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for number in range(14):
            size = 16 if number == 0 else 2000
            dataset = pydicom.Dataset()
            dataset.file_meta = pydicom.dataset.FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = RLELossless
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"1.2.3.{number + 1}"
            dataset.SeriesInstanceUID = "1.2.3" if number else "1.2.4"
            dataset.StudyInstanceUID, dataset.Modality = "1.2", "MR"
            dataset.ImagePositionPatient, dataset.InstanceNumber = [0, 0, number], number
            dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
            dataset.Rows = dataset.Columns = size
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
            dataset.BitsAllocated = dataset.BitsStored = 16
            dataset.HighBit, dataset.PixelRepresentation = 15, 0
            dataset.PixelData = encapsulate([rle(size)])
            dataset["PixelData"].VR = "OB"
            packed = io.BytesIO()
            dataset.save_as(packed, enforce_file_format=True)
            opened.writestr(f"{number:02}.dcm", packed.getvalue())
    assert len(archive.getvalue()) < MEGABYTE
    with pytest.raises(TooLarge, match="in memory"):
        read(workspace, {"study.zip": archive.getvalue()})


@pytest.mark.slow
def test_a_time_point_is_asked_for_and_read(workspace):
    array = np.arange(2 * 2 * 3 * 4, dtype=np.uint8).reshape(2, 2, 3, 4)
    content = {"series.nii": nifti((4, 3, 2, 2), array.tobytes())}
    found = read(workspace, content)
    assert (found.name, found.volume, found.time_points) == ("series.nii", None, 2)
    np.testing.assert_array_equal(read(workspace, content, time_point=1).volume.array, array[1])


@pytest.mark.slow
def test_labels_on_the_open_grid_are_known_as_such(workspace):
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[0, 1], labels[1, 2] = 1, 4
    content = {"labels.nii": nifti((4, 3, 2), labels.tobytes())}
    grid = Volume(np.zeros((2, 3, 4)), read(workspace, content).volume.ijk_to_ras)
    assert read(workspace, content, grid).is_labelmap
    segments = read(workspace, content, grid, as_segments=True).segments
    assert [segment.name for segment in segments] == ["Segment_1", "Segment_4"]
    np.testing.assert_array_equal(segments[1].mask, labels == 4)
    elsewhere = Volume(np.zeros((2, 3, 4)), np.diag([2.0, 1, 1, 1]))
    assert not read(workspace, content, elsewhere).is_labelmap
    empty = {"empty.nii": nifti((4, 3, 2), bytes(24))}
    assert not read(workspace, empty, grid).is_labelmap


@pytest.mark.slow
def test_dicom_segmentations_open_on_the_open_grid_and_with_their_scan(workspace, dicom_series, tmp_path):
    pytest.importorskip("highdicom")
    from EfficientMedSAM2Lib.imaging.dicom.seg_writer import dicom_series as open_series
    from EfficientMedSAM2Lib.imaging.dicom.seg_writer import write_dicom_seg

    rng = np.random.default_rng(5)
    folder = dicom_series(tmp_path / "ct", np.zeros((4, 6, 5), dtype=np.int16))
    masks = {name: rng.random((4, 6, 5)) > 0.6 for name in ("liver", "spleen")}
    segments = [Segment(name, mask) for name, mask in masks.items()]
    write_dicom_seg(tmp_path / "seg.dcm", segments, open_series(folder), "key")
    content = {"seg.dcm": (tmp_path / "seg.dcm").read_bytes()}
    with pytest.raises(ValueError, match="open the volume first"):
        read(workspace, content)
    found = read(workspace, content, read_volume(folder)).segments
    assert [segment.name for segment in found] == ["liver", "spleen"]
    assert all(np.array_equal(segment.mask, masks[segment.name]) for segment in found)

    both = {f"ct{n}.dcm": path.read_bytes() for n, path in enumerate(sorted(folder.iterdir()))}
    came = read(workspace, {**both, **content})  # exported together
    assert came.volume.shape_kji == (4, 6, 5)
    assert [segment.name for segment in came.segments] == ["liver", "spleen"]


@pytest.mark.slow
def test_contours_open_on_the_open_grid_and_with_their_scan(workspace, dicom_series, tmp_path):
    from imaging.contour_files import outlines, write_rtstruct

    folder = dicom_series(tmp_path / "ct", np.zeros((4, 40, 50), dtype=np.int16))
    scan = read_volume(folder)
    middle = (scan.ijk_to_ras @ [25, 20, 1, 1])[:3]
    rings = {"GTV": outlines(middle, 12.0, [0.0, 5.0]), "points": [middle.reshape(1, 3)]}
    content = {"rt.dcm": write_rtstruct(tmp_path / "rt.dcm", rings).read_bytes()}
    with pytest.raises(ValueError, match="open the volume first"):
        read(workspace, content)
    (segment,) = read(workspace, content, scan).segments
    assert segment.name == "GTV"
    assert np.flatnonzero(segment.mask.any(axis=(1, 2))).tolist() == [1, 2]
    assert segment.mask[1].sum() * 2 == pytest.approx(np.pi * 144, rel=0.05)
    both = {f"ct{n}.dcm": path.read_bytes() for n, path in enumerate(sorted(folder.iterdir()))}
    (again,) = read(workspace, {**both, **content}).segments
    assert np.array_equal(again.mask, segment.mask)
    with pytest.raises(ValueError, match="one after the other"):
        read(workspace, {**content, "rt2.dcm": content["rt.dcm"]}, scan)

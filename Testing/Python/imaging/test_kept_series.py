"""Headers of a DICOM series, kept without its pixels: a DICOM SEG made from them is that of the series itself."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from EfficientMedSAM2Lib.imaging.dicom.kept_series import unpacked_series, with_headers
from EfficientMedSAM2Lib.imaging.segment import Segment
from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
from EfficientMedSAM2Lib.imaging.volumes import read_volume

from . import dicom_files as dicom
from .phantom import grid, sample

LEANING = np.array([[0.96, 0.28, 0.0], [-0.28, 0.96, 0.0], [0.0, 0.0, 1.0]]).T


@pytest.fixture
def kept(tmp_path):
    """Write datasets, read them, remove them; what is left."""

    def read(datasets, time_point=None):
        paths = dicom.write(datasets, tmp_path / "ct")
        volume = with_headers(read_volume(tmp_path / "ct", time_point), time_point)
        for path in paths:
            os.remove(path)
        assert volume.headers is not None
        assert volume.dicom is None
        return volume

    return read


def saved(volume, folder):
    """Write the ball as a DICOM SEG, by the headers alone; the file."""
    highdicom = pytest.importorskip("highdicom")
    from EfficientMedSAM2Lib.imaging.dicom.seg_writer import content_key, write_dicom_seg

    segments = [Segment("ball", volume.array % 1000 > 140), Segment("none", np.zeros(volume.shape_kji, bool))]
    with unpacked_series(volume.headers, volume.ijk_to_ras) as scan:
        write_dicom_seg(folder / "seg.dcm", segments, scan, content_key(segments))
    found = read_segmentation(folder / "seg.dcm", volume)
    assert [segment.name for segment in found] == ["ball", "none"]
    np.testing.assert_array_equal(found[0].mask, segments[0].mask)
    return highdicom.seg.segread(folder / "seg.dcm")


def test_a_series_of_files(kept, tmp_path):
    matrix = grid(axes=LEANING)
    slices = dicom.slices(sample(matrix), matrix, PatientName="Müller^Änne", SpecificCharacterSet="ISO_IR 100")
    uids = {data.SOPInstanceUID for data in slices}
    volume = kept(slices)
    assert len(volume.headers) < 20_000  # the pixels are 11 kB, of which nothing is left
    found = saved(volume, tmp_path)
    referred = found.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {item.ReferencedSOPInstanceUID for item in referred} <= uids
    assert str(found.PatientName) == "Müller^Änne"
    assert found.FrameOfReferenceUID == slices[0].FrameOfReferenceUID


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "RLE"])
def test_every_way_of_writing_dicom(kept, tmp_path, syntax):
    slices = dicom.slices(sample(grid()), grid())
    for data in slices:
        if syntax == "RLE":
            data.compress(pydicom.uid.RLELossless)
        else:
            if syntax.endswith(".2.2"):
                data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
            data.file_meta.TransferSyntaxUID = syntax
    saved(kept(slices), tmp_path)


def test_one_file_of_several_volumes(kept, tmp_path):
    data = dicom.enhanced(sample(grid()), grid(), times=2)
    data.FrameOfReferenceUID = "1.2.4"
    data.PatientName, data.PatientID = "Doe^J", "1"
    data.Manufacturer = "X"
    volume = kept([data], 1)
    assert volume.array.min() >= 1000
    with unpacked_series(volume.headers, volume.ijk_to_ras) as scan:
        assert [frame.labels["TemporalPositionIndex"] for frame in scan.frames] == [2] * len(scan.frames)


def test_headers_of_another_scan_or_damaged_ones_are_refused(kept):
    volume = kept(dicom.slices(sample(grid()), grid()))
    with (
        pytest.raises(ValueError, match="are not those of this scan"),
        unpacked_series(volume.headers, grid((3, 3, 3))),
    ):
        pass
    damaged = replace(volume, headers=volume.headers[:200])
    with pytest.raises(ValueError, match="damaged"), unpacked_series(damaged.headers, volume.ijk_to_ras):
        pass

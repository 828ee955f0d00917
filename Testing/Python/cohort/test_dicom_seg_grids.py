"""Series in any orientation, tilted or not: a DICOM SEG lies where they lie, or is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from EfficientMedSAM2Lib.imaging.dicom.seg_writer import check_dicom_seg, write_dicom_seg
from EfficientMedSAM2Lib.imaging.dicom.seg_writer import dicom_series as open_series
from EfficientMedSAM2Lib.imaging.segmentations import Segment

SHAPE = (4, 6, 5)


def rotation(angles) -> np.ndarray:
    turned = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(angles)):
        a, b = (n for n in range(3) if n != axis)
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        turned = turned @ turn
    return turned


def place(series, directions, step, origin, spacing) -> None:
    """Give the slices of a series other positions; the files are numbered against their order."""
    import pydicom

    for file in series.iterdir():
        slice_ = pydicom.dcmread(file)
        position = origin + (int(slice_.InstanceNumber) - 1) * step
        slice_.ImagePositionPatient = [f"{value:.8g}"[:16] for value in position]
        slice_.ImageOrientationPatient = [f"{value:.10f}"[:16] for value in (*directions[:, 0], *directions[:, 1])]
        slice_.PixelSpacing = [f"{value:.6g}" for value in spacing]
        slice_.save_as(file)


@pytest.mark.slow
@given(
    st.tuples(*[st.sampled_from([0.0, 90.0]) | st.floats(-170, 170)] * 3),
    st.tuples(st.floats(0.2, 5), st.floats(0.2, 5), st.floats(0.5, 8)),
    st.sampled_from([0.0, 0.0, 5.0, 20.0]),
    st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_dicom_seg_lies_where_its_series_lies(tmp_path_factory, dicom_series, angles, spacing, tilt, seed):
    import highdicom
    import pydicom

    folder, rng = tmp_path_factory.mktemp("series"), np.random.default_rng(seed)
    series = dicom_series(folder / "ct", np.zeros(SHAPE, dtype=np.int16))
    directions = rotation(angles)
    step = spacing[2] * (directions[:, 2] + np.tan(np.deg2rad(tilt)) * directions[:, 1])
    place(series, directions, step, rng.uniform(-200, 200, 3), spacing[:2])
    segments = [Segment(name, rng.random(SHAPE) > 0.6) for name in ("a", "肝臓")]
    refused = ""
    try:
        scan = open_series(series)
        check_dicom_seg(scan, [segment.name for segment in segments])
        write_dicom_seg(folder / "o.dcm", segments, scan, "key")
    except ValueError as error:
        refused = str(error)
    if refused:
        assert len(refused.splitlines()) == 1
        assert not (folder / "o.dcm").exists()
        return
    found = highdicom.seg.segread(folder / "o.dcm")
    sources = {slice_.SOPInstanceUID: slice_ for slice_ in map(pydicom.dcmread, scan.files)}
    pixels = found.get_pixels_by_source_instance(list(sources), assert_missing_frames_are_empty=True)
    for number, segment in enumerate(segments):
        assert np.array_equal(pixels[..., number] > 0, segment.mask)
    for frame in found.PerFrameFunctionalGroupsSequence:
        source = sources[frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        written = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        assert np.linalg.norm(written - np.array(source.ImagePositionPatient, dtype=float)) < 0.01


@pytest.mark.parametrize("bad", ["a" * 65, "a\\b"])
def test_names_that_dicom_cannot_hold_are_refused(tmp_path, dicom_series, bad):
    series = dicom_series(tmp_path / "ct", np.zeros(SHAPE, dtype=np.int16))
    with pytest.raises(ValueError, match="a DICOM SEG holds 64, and no backslash"):
        check_dicom_seg(open_series(series), [bad])

"""One scan of a DICOM folder: which files it is made of, where its slices lie, what its voxels are, what is said."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import generate_uid

from EfficientMedSAM2Lib.imaging.dicom.reader import dicom_files
from EfficientMedSAM2Lib.imaging.volumes import read_volume

from . import dicom_files as dicom
from .phantom import BALL, grid, offset_in_voxels, sample

MATRIX = grid()
ARRAY = sample(MATRIX)


def tilted(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    axes = np.eye(3)
    axes[:, 1] = (0, np.cos(angle), np.sin(angle))
    return grid(axes=axes)


def notes_of(volume) -> str:
    return " ".join(volume.notes)


def test_any_order_of_files_and_nothing_to_say(tmp_path):
    dicom.write(dicom.slices(ARRAY, MATRIX), tmp_path)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.ijk_to_ras, MATRIX, atol=1e-5)
    assert (volume.array.dtype, volume.modality, volume.notes, volume.spacing_known) == (np.int16, "CT", (), True)


@pytest.mark.parametrize("degrees", [-20, 0.5, 15, 30])
def test_gantry_tilt_shears_the_grid(tmp_path, degrees):
    matrix = tilted(degrees)
    dicom.write(dicom.slices(sample(matrix), matrix), tmp_path)
    volume = read_volume(tmp_path)
    np.testing.assert_allclose(volume.ijk_to_ras, matrix, atol=1e-4)
    assert f"tilted by {abs(degrees):.1f} degrees" in notes_of(volume)


@pytest.mark.parametrize("cut", [-900, 0, 200, 300, 350, 380, 400, 500, 700])
def test_a_slice_that_cannot_be_read_stops_it(tmp_path, cut):
    paths = dicom.write(dicom.slices(ARRAY, MATRIX), tmp_path)
    paths[4].write_bytes(paths[4].read_bytes()[:cut])
    with pytest.raises(ValueError, match=paths[4].name):
        read_volume(tmp_path)


def test_a_slice_that_is_no_dicom_any_more_stops_it(tmp_path):
    """Zeros, or a link to what was not fetched, among files without an ending."""
    paths = [
        path.rename(path.with_name(f"IM{path.stem}")) for path in dicom.write(dicom.slices(ARRAY, MATRIX), tmp_path)
    ]
    (tmp_path / "README").write_text("exported")
    (tmp_path / "Thumbs.db").write_bytes(b"\0" * 99)
    assert read_volume(tmp_path).shape_kji == ARRAY.shape
    paths[7].write_bytes(b"\0" * 5000)
    with pytest.raises(ValueError, match=paths[7].name):
        read_volume(tmp_path)
    paths[7].unlink()
    paths[7].symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match=f"{paths[7].name}.*broken link"):
        read_volume(tmp_path)


def test_a_damaged_file_of_another_series_does_not_matter(tmp_path):
    dicom.write(dicom.slices(ARRAY, MATRIX), tmp_path)
    (other,) = dicom.write(dicom.slices(ARRAY[:1], MATRIX), tmp_path, "other")
    other.write_bytes(other.read_bytes()[:-300])
    assert read_volume(tmp_path).shape_kji == ARRAY.shape


def test_one_series_in_two_folders(tmp_path):
    data = dicom.slices(ARRAY, MATRIX)
    dicom.write(data[:7], tmp_path / "A")
    dicom.write(data[7:], tmp_path / "B" / "C")
    np.testing.assert_array_equal(read_volume(tmp_path).array, ARRAY)


def test_copies_count_once(tmp_path):
    data = dicom.slices(ARRAY, MATRIX)
    dicom.write(data, tmp_path)
    dicom.write(data, tmp_path / "copy", shuffle=False)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert "16 images were copies" in notes_of(volume)


def test_an_anonymiser_that_gave_all_slices_one_uid(tmp_path):
    dicom.write(dicom.slices(ARRAY, MATRIX, SOPInstanceUID="1.2.3.4"), tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path).array, ARRAY)


@pytest.mark.parametrize(
    "tags",
    [
        {"AcquisitionNumber": 2},
        {"EchoTime": 20.0},
        {"EchoNumbers": 2},
        {"TemporalPositionIdentifier": 2},
        {"TriggerTime": 500.0},
        {"ImageType": ["ORIGINAL", "PRIMARY", "P"]},
        {},
    ],
)
def test_phases_and_echoes_are_time_points(tmp_path, tags):
    first = {
        name: value for name, value in {"EchoTime": 10.0, "EchoNumbers": 1, "TriggerTime": 0.0}.items() if name in tags
    }
    uid = generate_uid()
    dicom.write(dicom.slices(ARRAY, MATRIX, uid, **first), tmp_path)
    dicom.write(dicom.slices(ARRAY + 100, MATRIX, uid, first_number=17, **tags), tmp_path, "b")
    with pytest.raises(ValueError, match=r"holds 2 volumes .*--time-point 0 to 1"):
        read_volume(tmp_path)
    for index, expected in enumerate((ARRAY, ARRAY + 100)):
        volume = read_volume(tmp_path, time_point=index)
        np.testing.assert_array_equal(volume.array, expected)
        assert f"Time point {index} of 2" in notes_of(volume)
    with pytest.raises(ValueError, match="no time point 2"):
        read_volume(tmp_path, time_point=2)


def test_phases_numbered_slice_by_slice(tmp_path):
    """Both images of a slice have neighbouring numbers, and nothing else tells the phases apart."""
    uid = generate_uid()
    for phase in range(2):
        data = dicom.slices(
            ARRAY + 100 * phase, MATRIX, uid, per_slice=lambda k, p=phase: {"InstanceNumber": 2 * k + p}
        )
        dicom.write(data, tmp_path, f"p{phase}-")
    np.testing.assert_array_equal(read_volume(tmp_path, time_point=1).array, ARRAY + 100)


def test_phases_of_different_length(tmp_path):
    uid = generate_uid()
    dicom.write(dicom.slices(ARRAY, MATRIX, uid), tmp_path)
    dicom.write(dicom.slices(ARRAY[:9] + 100, MATRIX, uid, AcquisitionNumber=2), tmp_path, "b")
    np.testing.assert_array_equal(read_volume(tmp_path, time_point=0).array, ARRAY)
    np.testing.assert_array_equal(read_volume(tmp_path, time_point=1).array, ARRAY[:9] + 100)


def test_phases_that_cannot_be_told_apart(tmp_path):
    uid = generate_uid()
    dicom.write(dicom.slices(ARRAY, MATRIX, uid), tmp_path)
    dicom.write(dicom.slices(ARRAY[:9], MATRIX, uid), tmp_path, "b")
    with pytest.raises(ValueError, match="nothing in them tells which belong together"):
        read_volume(tmp_path)


def test_phases_whose_slices_lie_between_each_others(tmp_path):
    uid, moved = generate_uid(), MATRIX.copy()
    moved[2, 3] += 1.3
    dicom.write(dicom.slices(ARRAY, MATRIX, uid), tmp_path)
    dicom.write(dicom.slices(ARRAY + 100, moved, uid, AcquisitionNumber=2), tmp_path, "b")
    volume = read_volume(tmp_path, time_point=1)
    np.testing.assert_array_equal(volume.array, ARRAY + 100)
    np.testing.assert_allclose(volume.ijk_to_ras, moved, atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 18), (70, 64), (20, 18)])
@pytest.mark.parametrize("kind", [["ORIGINAL", "PRIMARY", "LOCALIZER"], ["ORIGINAL", "PRIMARY"]])
def test_localizers_in_the_series_are_left_out_and_said(tmp_path, shape, kind):
    data = dicom.slices(ARRAY, MATRIX)
    dicom.write(data, tmp_path)
    sagittal = grid(axes=np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]).astype(float))
    scout = dicom.slices(np.full((1, *shape), 20), sagittal, data[0].SeriesInstanceUID, ImageType=kind)
    dicom.write(scout, tmp_path, "loc")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert "1 image of another orientation" in notes_of(volume)
    assert "loc0000.dcm" in notes_of(volume)


def test_a_localizer_that_lies_like_the_slices_is_left_out_by_its_type(tmp_path):
    data = dicom.slices(
        ARRAY, MATRIX, per_slice=lambda k: {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]} if k == 15 else {}
    )
    dicom.write(data, tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path).array, ARRAY[:15])


def test_two_series_of_one_uid(tmp_path):
    """As a careless anonymiser leaves them."""
    uid = generate_uid()
    dicom.write(dicom.slices(ARRAY, MATRIX, uid), tmp_path)
    dicom.write(dicom.slices(ARRAY + 100, MATRIX, uid, SeriesNumber=8), tmp_path, "b")
    with pytest.raises(ValueError, match=r"holds 2 volumes \(a time series; SeriesNumber 3, 8\)"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["SOPInstanceUID", "InstanceNumber", "SeriesNumber", "Modality"],
        ["SliceThickness", "AcquisitionNumber", "ImageType"],
        ["RescaleSlope", "PhotometricInterpretation", "SamplesPerPixel"],
        ["BitsStored", "HighBit", "PixelRepresentation"],
        ["SeriesInstanceUID", "StudyInstanceUID"],
    ],
)
def test_tags_that_are_missing(tmp_path, names):
    dicom.write(dicom.slices(ARRAY, MATRIX, **dict.fromkeys(names)), tmp_path)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.ijk_to_ras, MATRIX, atol=1e-5)


@pytest.mark.parametrize("syntax", ["implicit", "big endian", "bare", "RLE"])
def test_ways_of_writing(tmp_path, syntax):
    from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

    for k, data in enumerate(dicom.slices(ARRAY, MATRIX)):
        path = tmp_path / f"{k}.bin"
        if syntax == "RLE":
            data.compress(RLELossless)
        elif syntax == "implicit":
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        elif syntax == "big endian":
            data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
            data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
            data["PixelData"].VR = "OW"
        if syntax == "bare":
            del data.file_meta
            data.save_as(path, implicit_vr=True, little_endian=True)
        else:
            data.save_as(path, enforce_file_format=True)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.ijk_to_ras, MATRIX, atol=1e-5)


def test_three_planes_of_as_many_images_are_not_guessed(tmp_path):
    uid = generate_uid()
    for n, axes in enumerate((np.eye(3), np.eye(3)[[1, 2, 0]], np.eye(3)[[2, 0, 1]])):
        dicom.write(dicom.slices(ARRAY[:5], grid(axes=axes), uid), tmp_path, f"plane{n}-")
    with pytest.raises(ValueError, match="3 sets of images of different orientation"):
        read_volume(tmp_path)


def test_an_image_without_position_among_others_stops_it(tmp_path):
    data = dicom.slices(ARRAY, MATRIX)
    del data[3].ImagePositionPatient
    paths = dicom.write(data, tmp_path)
    with pytest.raises(ValueError, match=f"{paths[3].name} has no position"):
        read_volume(tmp_path)


def test_every_slice_has_its_own_rescale(tmp_path):
    values = ARRAY.astype(float) / 7
    slopes = [1.0, *(float(f"{values[k].max() / 60000:.6g}") for k in range(1, len(values)))]
    data = dicom.slices(ARRAY, MATRIX, per_slice=lambda k: {"RescaleSlope": str(slopes[k]), "RescaleIntercept": 0})
    for k, dataset in enumerate(data):
        dataset.PixelData = np.rint(values[k] / slopes[k]).astype("<u2").tobytes()
    dicom.write(data, tmp_path)
    volume = read_volume(tmp_path)
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array[1:], values[1:], atol=max(slopes[1:]))


@pytest.mark.parametrize("first", [-1024, 0, 70000])
def test_the_type_holds_the_values_of_all_slices(tmp_path, first):
    data = dicom.slices(ARRAY, MATRIX, per_slice=lambda k: {"RescaleIntercept": first if k == 0 else -1024})
    dicom.write(data, tmp_path)
    expected = ARRAY.astype(np.int32)
    expected[0] += 1024 + first
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, expected)
    assert volume.array.dtype == (np.int32 if first == 70000 else np.int16)


def test_bits_above_the_highest_are_no_values(tmp_path):
    """Old files keep overlays there; signed values of 12 bits end with their own sign."""
    data = dicom.slices(ARRAY, MATRIX, RescaleIntercept=0, BitsStored=12, HighBit=11, PixelRepresentation=1)
    for k, dataset in enumerate(data):
        stored = (ARRAY[k] - 100).astype("<i2").view("<u2") & 0x0FFF
        stored[0, 0] |= 0x7000
        dataset.PixelData = stored.tobytes()
    dicom.write(data, tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path).array, ARRAY - 100)


@pytest.mark.parametrize("between", [0.0, -4.0, 9.0])
def test_positions_count_not_the_stated_distance(tmp_path, between):
    dicom.write(dicom.slices(ARRAY, MATRIX, SpacingBetweenSlices=between, SliceThickness=7.0), tmp_path)
    np.testing.assert_allclose(read_volume(tmp_path).ijk_to_ras, MATRIX, atol=1e-5)


@pytest.mark.parametrize("missing", [(5,), (2, 3), (1, 6, 7, 8)])
@pytest.mark.parametrize("tilt", [0, 12])
def test_missing_slices_are_filled_and_said(tmp_path, caplog, missing, tilt):
    matrix = tilted(tilt)
    array = sample(matrix)
    kept = [data for k, data in enumerate(dicom.slices(array, matrix)) if k not in missing]
    dicom.write(kept, tmp_path)
    volume = read_volume(tmp_path)
    np.testing.assert_allclose(volume.ijk_to_ras, matrix, atol=1e-4)
    others = [k for k in range(len(array)) if k not in missing]
    np.testing.assert_array_equal(volume.array[others], array[others])
    assert f"not evenly spaced (4 to {4 * (2 if len(missing) == 1 else 3 if len(missing) == 2 else 4)}" in notes_of(
        volume
    )
    assert caplog.text.count("not evenly spaced") == 1


def test_slices_of_two_thicknesses(tmp_path):
    """Thin through the skull base, thick above, as in old heads."""
    fine = grid(spacing=(4, 4, 2), shape_ijk=(18, 20, 32))
    array = sample(fine, (18, 20, 32))
    taken = [*range(16), *range(16, 32, 2)]
    data = dicom.slices(array, fine)
    dicom.write([data[k] for k in taken], tmp_path)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array[taken], array[taken])
    assert offset_in_voxels(volume) < 0.1


def test_steps_that_follow_no_rule(tmp_path):
    places = np.cumsum([0, *np.random.default_rng(2).uniform(1.5, 4.5, 25)])
    matrix = grid(spacing=(4, 4, 1))
    matrix[2, 3] = 8 - places.mean()
    array = np.concatenate([sample(matrix @ shifted(place), (18, 20, 1)) for place in places])
    dicom.write(dicom.slices(array, matrix, per_slice=lambda k: position(matrix, places[k])), tmp_path)
    volume = read_volume(tmp_path)
    assert "not evenly spaced" in notes_of(volume)
    assert offset_in_voxels(volume) < 0.1


def test_slices_beside_the_line_of_the_others(tmp_path):
    """Each was acquired at its own place in the plane, as after a patient has moved."""
    beside = np.random.default_rng(3).uniform(-6, 6, (16, 2))
    beside -= beside.mean(axis=0)
    moved = [MATRIX @ shifted(k, *beside[k] / 4) for k in range(16)]
    array = np.concatenate([sample(matrix, (18, 20, 1)) for matrix in moved])
    dicom.write(dicom.slices(array, MATRIX, per_slice=lambda k: position(moved[k], 0)), tmp_path)
    volume = read_volume(tmp_path)
    assert "lay beside the line" in notes_of(volume)
    assert offset_in_voxels(volume) < 0.1


def test_a_gap_that_is_too_large_is_refused(tmp_path):
    data = dicom.slices(ARRAY[:4], MATRIX, per_slice=lambda k: position(MATRIX, k if k < 3 else 400))
    dicom.write(data, tmp_path)
    with pytest.raises(ValueError, match="gaps are too large"):
        read_volume(tmp_path)


def shifted(k: float, i: float = 0.0, j: float = 0.0) -> np.ndarray:
    step = np.eye(4)
    step[:3, 3] = i, j, k
    return step


def position(matrix: np.ndarray, k: float) -> dict:
    return {"ImagePositionPatient": dicom.plane(matrix, k)[0]}


def test_of_several_series_the_one_that_was_read_is_said(tmp_path):
    dicom.write(dicom.slices(ARRAY, MATRIX, SeriesDescription="portal"), tmp_path)
    dicom.write(dicom.slices(ARRAY[:4], MATRIX, SeriesNumber=7), tmp_path, "b")
    volume = read_volume(tmp_path)
    assert volume.shape_kji == ARRAY.shape
    assert "series 3 CT portal (16 images) was read; left out: series 7 CT (4 images)" in notes_of(volume)


def test_series_as_large_as_each_other_are_asked_for(tmp_path):
    first, second = dicom.slices(ARRAY, MATRIX), dicom.slices(ARRAY * 0, MATRIX, SeriesNumber=4)
    dicom.write(first, tmp_path)
    dicom.write(second, tmp_path, "b")
    with pytest.raises(ValueError, match=r"series 3 CT \(16 images\).*--series"):
        read_volume(tmp_path)
    assert read_volume(tmp_path, series="3").array.max() == BALL
    assert read_volume(tmp_path, series=second[0].SeriesInstanceUID).array.max() == 0
    with pytest.raises(ValueError, match=r"no series '9'; it has series"):
        read_volume(tmp_path, series="9")


def test_scouts_are_no_scan_where_there_is_another(tmp_path):
    dicom.write(dicom.slices(ARRAY, MATRIX, SeriesNumber=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), tmp_path)
    dicom.write(dicom.slices(ARRAY[:6], MATRIX, SeriesNumber=2), tmp_path, "b")
    assert len(read_volume(tmp_path).array) == 6


@pytest.mark.parametrize("spacing", [True, False])
def test_without_positions_nothing_is_told_in_mm(tmp_path, spacing):
    removed = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", *([] if spacing else ["PixelSpacing"])))
    dicom.write(dicom.slices(ARRAY, MATRIX, **removed), tmp_path)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert not volume.spacing_known
    assert "no position" in notes_of(volume)


def test_without_pixel_spacing_nothing_is_told_in_mm(tmp_path):
    dicom.write(dicom.slices(ARRAY, MATRIX, PixelSpacing=None), tmp_path)
    assert not read_volume(tmp_path).spacing_known


@pytest.mark.parametrize("tilt", [0, 12])
def test_enhanced_multi_frame_by_its_functional_groups(tmp_path, tilt):
    matrix = tilted(tilt)
    array = sample(matrix)
    order = list(np.random.default_rng(1).permutation(len(array)))
    (path,) = dicom.write([dicom.enhanced(array, matrix, order)], tmp_path)
    for place in (path, tmp_path):
        volume = read_volume(place)
        np.testing.assert_array_equal(volume.array, array)
        np.testing.assert_allclose(volume.ijk_to_ras, matrix, atol=1e-4)


def test_enhanced_multi_frame_with_time_points(tmp_path):
    dicom.write([dicom.enhanced(ARRAY, MATRIX, times=3)], tmp_path)
    with pytest.raises(ValueError, match=r"holds 3 volumes .*TemporalPositionIndex 1, 2, 3"):
        read_volume(tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path, time_point=2).array, ARRAY + 2000)


def test_mosaics_are_refused(tmp_path):
    dicom.write(dicom.slices(ARRAY[:1], MATRIX, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), tmp_path)
    with pytest.raises(ValueError, match="mosaic"):
        read_volume(tmp_path)


def test_objects_that_are_no_images_are_named(tmp_path):
    pydicom = pytest.importorskip("pydicom.data")
    report, index = (pydicom.get_testdata_file(name) for name in ("reportsi.dcm", "rtplan.dcm"))
    with pytest.raises(ValueError, match="Basic Text SR"):
        read_volume(report)
    with pytest.raises(ValueError, match="RT Plan"):
        read_volume(index)


def test_files_of_the_scan_in_its_order(tmp_path):
    paths = dicom.write(dicom.slices(ARRAY, MATRIX), tmp_path)
    assert dicom_files(tmp_path) == tuple(map(str, paths))
    (tmp_path / "empty").mkdir()
    assert dicom_files(tmp_path / "empty") == ()


@pytest.mark.parametrize("name", [b"M\xfcller", b"M\xfcller.dcm"])
def test_names_that_are_not_utf8(tmp_path, name):
    import os

    place = tmp_path / os.fsdecode(name)
    try:
        place.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    dicom.write(dicom.slices(ARRAY, MATRIX), place)
    for path in (tmp_path, place):
        with pytest.raises(ValueError, match=r"M\\xfcller.* is not UTF-8"):
            read_volume(path)

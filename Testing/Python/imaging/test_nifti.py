"""NIfTI as programs write it: both places of a file, sheared ones, units, versions, packing, scaling, and damage."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from EfficientMedSAM2Lib.imaging.segmentations import Segment, read_segmentation, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import read_volume

from .phantom import grid, offset_in_voxels, sample

MATRIX = grid()
ARRAY = sample(MATRIX)


def save(path, sform=None, qform=None, array=ARRAY, kind=nibabel.Nifti1Image, codes=(1, 1), units="mm"):
    image = kind(array.T, MATRIX)
    image.header.set_xyzt_units(units)
    image.set_sform(sform, codes[0] if sform is not None else 0)
    image.set_qform(qform, codes[1] if qform is not None else 0)
    nibabel.save(image, path)
    return path


def sheared(amount: float) -> np.ndarray:
    axes = np.eye(3)
    axes[:, 2] = (0, amount, 1)
    return grid(axes=axes)


@pytest.mark.parametrize("amount", [1e-4, 2e-4, 0.01, 0.4])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_an_sform_off_square_is_read_as_it_is(tmp_path, amount, ending):
    matrix = sheared(amount)
    volume = read_volume(save(tmp_path / f"s{ending}", matrix, array=sample(matrix)))
    np.testing.assert_allclose(volume.ijk_to_ras, matrix, atol=1e-5)
    assert offset_in_voxels(volume) < 0.1
    assert volume.notes == ()


@pytest.mark.parametrize("codes", [(2, 1), (4, 1), (1, 1), (1, 2), (3, 4)])
@pytest.mark.parametrize("shear", [0.0, 0.3])
def test_where_both_forms_differ_it_is_said_and_both_are_kept(tmp_path, codes, shear):
    sform, qform = sheared(shear), MATRIX.copy()
    qform[:3, 3] += (30, 20, -15)
    volume = read_volume(save(tmp_path / "s.nii.gz", sform, qform, sample(sform), codes=codes))
    np.testing.assert_allclose(volume.ijk_to_ras, sform, atol=1e-4)
    (note,) = volume.notes
    assert f"sform (code {codes[0]}) and qform (code {codes[1]})" in note
    assert "39.1 mm apart" in note or shear
    write_segmentation(tmp_path / "out.nii.gz", [Segment("ball", volume.array > 200)], volume)
    header = nibabel.load(tmp_path / "out.nii.gz").header
    np.testing.assert_allclose(header.get_sform(), sform, atol=1e-4)
    np.testing.assert_allclose(header.get_qform(), qform, atol=1e-4)
    assert (int(header["sform_code"]), int(header["qform_code"])) == codes
    assert "sform (code" in str(header.extensions[0].get_content())


def test_equal_forms_need_no_word(tmp_path):
    assert read_volume(save(tmp_path / "s.nii", MATRIX, MATRIX)).notes == ()


def test_only_a_qform(tmp_path):
    np.testing.assert_allclose(read_volume(save(tmp_path / "s.nii", None, MATRIX)).ijk_to_ras, MATRIX, atol=1e-4)


def test_an_sform_of_zeros_gives_way_to_the_qform(tmp_path):
    path = save(tmp_path / "s.nii", MATRIX, MATRIX)
    content = bytearray(path.read_bytes())
    content[280:328] = bytes(48)
    path.write_bytes(content)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.ijk_to_ras, MATRIX, atol=1e-4)
    assert "sform is no matrix" in volume.notes[0]


def test_no_form_is_where_itk_puts_it_and_said(tmp_path):
    path = save(tmp_path / "s.nii")
    volume = read_volume(path)
    np.testing.assert_allclose(volume.ijk_to_ras, np.diag([-4, -4, 4, 1]), atol=1e-5)
    np.testing.assert_allclose(sitk.ReadImage(str(path)).GetSpacing(), 4)
    assert "nothing of its place" in volume.notes[0]
    assert volume.spacing_known


def test_no_form_and_no_size_of_voxels(tmp_path):
    path = save(tmp_path / "s.nii")
    content = bytearray(path.read_bytes())
    content[80:92] = bytes(12)
    path.write_bytes(content)
    assert not read_volume(path).spacing_known


@pytest.mark.parametrize(("units", "scale"), [("mm", 1), ("meter", 1000), ("micron", 0.001), ("unknown", 1)])
def test_units(tmp_path, units, scale):
    volume = read_volume(save(tmp_path / "s.nii", MATRIX, units=units))
    np.testing.assert_allclose(volume.ijk_to_ras, np.diag([scale, scale, scale, 1]) @ MATRIX, rtol=1e-5)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_versions(tmp_path, kind, ending):
    volume = read_volume(save(tmp_path / f"s{ending}", MATRIX, kind=kind))
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.array.dtype == np.int16


def test_packed_or_not_whatever_it_is_called(tmp_path):
    plain = save(tmp_path / "s.nii", MATRIX).read_bytes()
    (tmp_path / "packed.nii").write_bytes(gzip.compress(plain))
    (tmp_path / "plain.nii.gz").write_bytes(plain)
    (tmp_path / "scan.img").write_bytes(plain)
    for name in ("packed.nii", "plain.nii.gz", "scan.img"):
        np.testing.assert_array_equal(read_volume(tmp_path / name).array, ARRAY)


@pytest.mark.parametrize("name", ["s.hdr", "s.img"])
def test_a_pair_of_header_and_voxels(tmp_path, name):
    nibabel.save(nibabel.Nifti1Pair(sample(sheared(0.3)).T, sheared(0.3)), tmp_path / "s.img")
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.array, sample(sheared(0.3)))
    np.testing.assert_allclose(volume.ijk_to_ras, sheared(0.3), atol=1e-5)


def test_big_endian(tmp_path):
    image = nibabel.Nifti1Image(ARRAY.T.astype(">i2"), MATRIX, nibabel.Nifti1Header(endianness=">"))
    nibabel.save(image, tmp_path / "s.nii")
    volume = read_volume(tmp_path / "s.nii")
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.array.dtype.isnative


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_scaled_values(tmp_path, kind):
    stored = np.clip(ARRAY, 0, 200).astype(kind)
    image = nibabel.Nifti1Image(stored.T, MATRIX)
    image.header.set_slope_inter(0.5, -1000)
    image.header.set_data_dtype(kind)
    path = tmp_path / "s.nii"
    nibabel.save(image, path)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.array, np.asarray(nibabel.load(path).dataobj).T, rtol=1e-6)
    assert volume.array.dtype == (np.float64 if np.dtype(kind).itemsize > 2 and kind != np.float32 else np.float32)


def test_nan_stays(tmp_path):
    values = ARRAY.astype(np.float32)
    values[0, 0, :2] = np.nan, np.inf
    np.testing.assert_array_equal(read_volume(save(tmp_path / "s.nii.gz", MATRIX, array=values)).array, values)


def test_a_time_series_of_any_length(tmp_path):
    """Three and four volumes are no colours: the file says that the axis is time."""
    for count in (2, 3, 4, 6):
        series = np.stack([ARRAY + 10 * n for n in range(count)])
        path = save(tmp_path / f"{count}.nii.gz", MATRIX, array=series)
        with pytest.raises(ValueError, match=f"holds {count} volumes"):
            read_volume(path)
        np.testing.assert_array_equal(read_volume(path, time_point=count - 1).array, series[-1])


def test_a_time_point_of_one_volume(tmp_path):
    path = save(tmp_path / "s.nii", MATRIX)
    assert read_volume(path, time_point=0).shape_kji == ARRAY.shape
    with pytest.raises(ValueError, match="one volume, without a time point 7"):
        read_volume(path, time_point=7)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("cut", [100, 348, 400, 2000, -1])
def test_cut_off(tmp_path, packed, cut):
    noise = np.random.default_rng(0).integers(0, 999, ARRAY.shape).astype(np.int16)
    content = save(tmp_path / "s.nii", MATRIX, array=noise).read_bytes()
    content = gzip.compress(content) if packed else content
    path = tmp_path / ("t.nii.gz" if packed else "t.nii")
    path.write_bytes(content[:cut])
    with pytest.raises(ValueError, match=r"cut off|no known format"):
        read_volume(path)


def test_displacement_fields_are_no_pictures(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4, 1, 3), np.float32), MATRIX)
    image.header.set_intent("displacement vector")
    nibabel.save(image, tmp_path / "warp.nii.gz")
    with pytest.raises(ValueError, match="no picture"):
        read_volume(tmp_path / "warp.nii.gz")


def test_a_label_map_lies_where_its_sform_says(tmp_path):
    """Masks are read by the same rule as scans."""
    matrix = sheared(0.3)
    volume = read_volume(save(tmp_path / "scan.nii.gz", matrix, MATRIX, sample(matrix)))
    save(tmp_path / "mask.nii.gz", matrix, MATRIX, (volume.array > 200).astype(np.uint8))
    (segment,) = read_segmentation(tmp_path / "mask.nii.gz", volume)
    np.testing.assert_array_equal(segment.mask, volume.array > 200)

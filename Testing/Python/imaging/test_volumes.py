"""Reading scans of every kind that SimpleITK can write, on any grid; and things that are no scans."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from EfficientMedSAM2Lib.imaging.labelmaps import array_to_image
from EfficientMedSAM2Lib.imaging.volumes import Volume, read_volume, volume_name

rng = np.random.default_rng(1)


def ramp(dtype=np.int16, shape=(5, 6, 7)) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def write_dicom_series(folder: Path, count: int, uid: str, modality: str = "CT", first_value: int = 0) -> None:
    """Slices of 5 mm, file names in reverse of their order along the patient."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number in range(count):
        image = sitk.GetImageFromArray(np.full((1, 4, 6), first_value + number, dtype=np.int16))
        image.SetSpacing((0.5, 0.75, 5.0))
        tags = {
            "0008|0060": modality,
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{uid}.{number + 1}",
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0020|0013": str(number + 1),
            "0020|0032": f"10\\20\\{5.0 * number}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0018|0050": "5",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid}-{count - number:03d}.dcm"))
        writer.Execute(image)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_values_types_and_place_are_kept(tmp_path, oblique, ending, dtype):
    path = tmp_path / f"scan.v2{ending}"
    sitk.WriteImage(array_to_image(ramp(dtype), oblique), str(path))
    volume = read_volume(path)
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, ramp(dtype))
    np.testing.assert_allclose(volume.ijk_to_ras, oblique, atol=1e-4)
    assert (volume.name, volume.modality, volume.shape_kji) == ("scan.v2", None, (5, 6, 7))


def test_place_is_that_of_simpleitk(tmp_path, oblique):
    path = tmp_path / "scan.nrrd"
    image = array_to_image(ramp(), oblique)
    sitk.WriteImage(image, str(path))
    point_lps = np.array(image.TransformContinuousIndexToPhysicalPoint((1.5, 2.5, 3.5)))
    point_ras = read_volume(path).ijk_to_ras @ [1.5, 2.5, 3.5, 1.0]
    np.testing.assert_allclose(point_ras[:3], point_lps * (-1, -1, 1), atol=1e-6)


def test_place_is_that_of_slicer(tmp_path, slicer_files, oblique):
    path = tmp_path / "scan.nrrd"
    sitk.WriteImage(array_to_image(ramp(), oblique), str(path))
    node = slicer_files.slicer.vtkMRMLScalarVolumeNode()
    storage = slicer_files.slicer.vtkMRMLNRRDStorageNode()
    slicer_files.scene.AddNode(node)
    slicer_files.scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    matrix = slicer_files.vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    np.testing.assert_allclose(read_volume(path).ijk_to_ras, slicer_files.get_matrix(matrix), atol=1e-6)


def test_a_scan_is_read_only(tmp_path):
    path = tmp_path / "scan.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(ramp()), str(path))
    with pytest.raises(ValueError, match="read-only"):
        read_volume(path).array[0] = 0


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_nan_is_kept(tmp_path, ending):
    values = ramp(np.float32)
    values[0, 0, :2] = np.nan, np.inf
    path = tmp_path / f"scan{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    np.testing.assert_array_equal(read_volume(path).array, values)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".nrrd"])
def test_a_2d_image_is_one_slice(tmp_path, ending):
    path = tmp_path / f"image{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((8, 9), 50, np.uint8)), str(path))
    volume = read_volume(path)
    assert volume.array.shape == (1, 8, 9)
    assert volume.array.dtype == np.uint8
    np.testing.assert_allclose(volume.ijk_to_ras, np.diag([-1, -1, 1, 1]))


@pytest.mark.parametrize("ending", [".png", ".nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize("components", [3, 4])
def test_colour(tmp_path, ending, components):
    shape = (8, 9) if ending == ".png" else (2, 8, 9)
    pixels = rng.integers(0, 256, (*shape, components)).astype(np.uint8)
    path = tmp_path / f"photo{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(path))
    np.testing.assert_array_equal(read_volume(path).array, pixels.reshape(-1, 8, 9, components)[..., :3])


def test_grey_with_opacity(tmp_path):
    pixels = rng.integers(0, 256, (8, 9, 2)).astype(np.uint8)
    path = tmp_path / "grey.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(path))
    np.testing.assert_array_equal(read_volume(path).array[0], pixels[..., 0])


@pytest.mark.parametrize("as_components", [False, True])
def test_time_series_needs_a_time_point(tmp_path, as_components):
    series = rng.integers(0, 99, (6, 3, 4, 5)).astype(np.int16)
    path = tmp_path / "perfusion.nrrd"
    image = (
        sitk.GetImageFromArray(np.ascontiguousarray(np.moveaxis(series, 0, -1)), isVector=True)
        if as_components
        else sitk.GetImageFromArray(series, isVector=False)
    )
    sitk.WriteImage(image, str(path))
    with pytest.raises(ValueError, match="holds 6 volumes"):
        read_volume(path)
    with pytest.raises(ValueError, match="no time point 6; it has 0 to 5"):
        read_volume(path, time_point=6)
    np.testing.assert_array_equal(read_volume(path, time_point=4).array, series[4])


def test_dicom_folder_largest_series_in_the_order_of_the_patient(tmp_path):
    write_dicom_series(tmp_path / "study" / "scout", 2, "1.2.3.1", "CT", first_value=900)
    write_dicom_series(tmp_path / "study" / "axial", 4, "1.2.3.2", "MR")
    (tmp_path / "study" / "README.txt").write_text("exported")
    volume = read_volume(tmp_path / "study")
    assert (volume.array.shape, volume.modality, volume.name) == ((4, 4, 6), "MR", "study")
    np.testing.assert_array_equal(volume.array[:, 0, 0], [0, 1, 2, 3])
    np.testing.assert_allclose(np.abs(np.diag(volume.ijk_to_ras)[:3]), (0.5, 0.75, 5.0))
    np.testing.assert_allclose(volume.ijk_to_ras[:3, 3], (-10, -20, 0))


def test_two_series_in_one_folder(tmp_path):
    write_dicom_series(tmp_path, 2, "1.2.3.1", first_value=900)
    write_dicom_series(tmp_path, 3, "1.2.3.2")
    assert read_volume(tmp_path).array.shape == (3, 4, 6)


def test_single_dicom_file(tmp_path):
    write_dicom_series(tmp_path, 2, "1.2.3.1")
    volume = read_volume(tmp_path / "1.2.3.1-001.dcm")
    assert (volume.array.shape, volume.modality) == ((1, 4, 6), "CT")


@pytest.mark.parametrize(
    "name", ["scan.nii.gz", "scan.nii", "scan.nrrd", "scan.mha", "scan.png", "scan.dcm", "scan", "x.txt"]
)
@pytest.mark.parametrize("content", [b"", b"this is no image\n" * 50, bytes(range(256)) * 20])
def test_what_is_no_image_gives_one_line_and_nothing_on_the_terminal(tmp_path, capfd, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=name) as error:
        read_volume(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400 + len(str(path)) * 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_truncated_file(tmp_path, capfd, ending):
    path = tmp_path / f"scan{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(rng.integers(0, 999, (20, 30, 40)).astype(np.int16)), str(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        read_volume(path)
    assert capfd.readouterr() == ("", "")


def test_complete_nifti_of_every_kind(tmp_path):
    whole = tmp_path / "scan.nii"
    sitk.WriteImage(sitk.GetImageFromArray(ramp()), str(whole))
    content = whole.read_bytes()
    several = tmp_path / "members.nii.gz"  # as parallel compressors write them
    several.write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    not_packed = tmp_path / "misnamed.nii"
    not_packed.write_bytes(content + b"extension")
    for path in (several, not_packed):
        np.testing.assert_array_equal(read_volume(path).array, ramp())


def test_nothing_there(tmp_path):
    with pytest.raises(ValueError, match=r"There is no file or folder .*none.nii; check the name"):
        read_volume(tmp_path / "none.nii")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match="holds no DICOM images"):
        read_volume(tmp_path)


def test_complex_values(tmp_path):
    path = tmp_path / "k.mha"
    sitk.WriteImage(sitk.Image([3, 3, 3], sitk.sitkComplexFloat32), str(tmp_path / "k.nrrd".replace("nrrd", "nii")))
    with pytest.raises(ValueError, match="complex"):
        read_volume(path.with_suffix(".nii"))


def test_volumes_that_are_none():
    with pytest.raises(ValueError, match="axes k, j, i"):
        Volume(np.zeros((3, 4)), np.eye(4))
    with pytest.raises(ValueError, match="no voxels"):
        Volume(np.zeros((0, 4, 4)), np.eye(4))
    with pytest.raises(ValueError, match="ijk_to_ras"):
        Volume(np.zeros((3, 4, 4)), np.zeros((4, 4)))


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/CT.nii.gz", "CT"), ("x.NRRD", "x"), ("t.seg.nrrd", "t"), ("1.2.3", "1.2.3"), (".nii", ".nii")],
)
def test_volume_name(path, name):
    assert volume_name(path) == name

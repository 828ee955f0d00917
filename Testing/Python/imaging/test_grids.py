"""Any grid in any format that can hold it: the ball comes back where it was, to a tenth of a voxel."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from EfficientMedSAM2Lib.imaging.labelmaps import array_to_image
from EfficientMedSAM2Lib.imaging.segmentations import Segment, read_segmentation, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import read_volume

from . import dicom_files as dicom
from .phantom import BALL, BODY, centre, grid, offset_in_voxels, sample

SHAPE = (24, 26, 22)
numbers = st.floats(-1, 1, allow_nan=False)


@st.composite
def grids(draw, square: bool = False) -> np.ndarray:
    """Orthogonal, oblique, left-handed, anisotropic; sheared unless ``square``."""
    turned = draw(st.sampled_from(["straight", "permuted", "oblique"]))
    axes = np.eye(3)
    if turned == "permuted":
        axes = axes[list(draw(st.permutations(range(3))))] * draw(st.sampled_from([1, -1]))
    elif turned == "oblique":
        axes = Rotation.from_rotvec([2 * draw(numbers), 2 * draw(numbers), 2 * draw(numbers)]).as_matrix()
    if draw(st.booleans()):
        axes = axes * (1, -1, 1)
    if not square and draw(st.booleans()):
        lean = draw(st.sampled_from([2e-4, 0.01, 0.1, 0.4]))
        axes = axes.copy()
        axes[:, 2] = axes[:, 2] + lean * (draw(numbers) * axes[:, 0] + draw(numbers) * axes[:, 1])
    spacing = [draw(st.floats(1.8, 3.2)) for _ in range(2)] + [draw(st.floats(2.0, 4.5))]
    return grid(spacing, SHAPE, axes)


def write(folder: Path, form: str, array: np.ndarray, matrix: np.ndarray) -> Path:
    path = folder / f"scan{form}"
    if form.startswith(".nii"):
        image = nibabel.Nifti1Image(array.T, matrix)
        image.set_sform(matrix, 1)
        image.set_qform(None, 0)
        nibabel.save(image, path)
    elif form == "qform.nii":
        image = nibabel.Nifti1Image(array.T, matrix)
        image.set_qform(matrix, 1)
        image.set_sform(None, 0)
        nibabel.save(image, path)
    elif form == ".nrrd":
        header = {
            "space": "right-anterior-superior",
            "kinds": ["domain"] * 3,
            "space directions": matrix[:3, :3].T,
            "space origin": matrix[:3, 3],
        }
        nrrd.write(str(path), array.T, header)
    elif form == "dicom":
        dicom.write(dicom.slices(array, matrix), path)
    elif form == "enhanced":
        dicom.write([dicom.enhanced(array, matrix)], path)
    else:
        sitk.WriteImage(array_to_image(array, matrix), str(path), useCompression=form == "packed.mha")
    return path


def check(form: str, matrix: np.ndarray) -> None:
    array = sample(matrix, SHAPE)
    with tempfile.TemporaryDirectory() as folder:
        volume = read_volume(write(Path(folder), form, array, matrix))
        assert offset_in_voxels(volume) < 0.1
        assert volume.array.shape == array.shape or form in ("dicom", "enhanced")
        segment = Segment("ball", volume.array > (BALL + BODY) / 2)
        expected = centre(segment.mask * BALL, volume.ijk_to_ras)
        for ending in (".seg.nrrd", ".nii.gz", ".nrrd", ".mha"):
            write_segmentation(Path(folder) / f"result{ending}", [segment], volume)
            (found,) = read_segmentation(Path(folder) / f"result{ending}", volume)
            apart = np.linalg.solve(matrix[:3, :3], centre(found.mask * BALL, volume.ijk_to_ras) - expected)
            assert np.abs(apart).max() < 0.1, ending


SHEARED = [".nii", ".nii.gz", ".nrrd", "packed.mha", ".mha", "dicom", "enhanced"]
SQUARE = ["qform.nii", ".nhdr", ".mhd"]
quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.slow
@pytest.mark.parametrize("form", SHEARED)
@settings(max_examples=6, deadline=None, suppress_health_check=quiet, derandomize=True)
@given(data=st.data())
def test_sheared_grids(form, data):
    check(form, data.draw(grids()))


@pytest.mark.parametrize("form", SQUARE)
@settings(max_examples=6, deadline=None, suppress_health_check=quiet, derandomize=True)
@given(data=st.data())
def test_square_grids(form, data):
    check(form, data.draw(grids(square=True)))


@pytest.mark.nightly
@pytest.mark.parametrize("form", SHEARED + SQUARE)
@settings(max_examples=150, deadline=None, suppress_health_check=quiet)
@given(data=st.data())
def test_many_grids(form, data):
    check(form, data.draw(grids(square=form in SQUARE)))

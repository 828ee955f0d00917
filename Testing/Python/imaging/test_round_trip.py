"""Whatever grid, segments and format: what is written comes back where it was, or is refused in one line."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import slicerio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from EfficientMedSAM2Lib.core.geometry import lps_to_ras
from EfficientMedSAM2Lib.imaging.segmentations import Segment, read_segmentation, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import Volume

ENDINGS = (".seg.nrrd", ".nrrd", ".mha", ".nii", ".nii.gz", ".NII.GZ", ".SEG.NRRD")
#: Largest distance, in voxels, between where a voxel was and where it comes back.
TOLERANCE = 0.1


@st.composite
def grids(draw) -> np.ndarray:
    """ijk_to_ras: orthogonal or oblique, left- or right-handed, sheared or not, of any spacing, anywhere."""
    angles = [draw(st.sampled_from([0.0, 90.0]) | st.floats(-180, 180)) for _ in range(3)]
    rotation = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(angles)):
        a, b = (n for n in range(3) if n != axis)
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ turn
    shear = np.eye(3)
    for row, column in ((0, 1), (0, 2), (1, 2)):
        shear[row, column] = draw(st.sampled_from([0.0, 0.0, 4e-4]) | st.floats(-0.6, 0.6))
    spacing = [draw(st.floats(0.05, 12)) for _ in range(3)]
    flips = [draw(st.sampled_from([1.0, -1.0])) for _ in range(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ shear @ np.diag(np.multiply(spacing, flips))
    matrix[:3, 3] = [draw(st.floats(-2000, 2000)) for _ in range(3)]
    return matrix


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=40)


@st.composite
def segments_on(draw, shape) -> list[Segment]:
    """Boxes that may overlap, be empty or fill everything, and names in any script."""
    listed = []
    for name in draw(st.lists(NAMES.map(lambda text: " ".join(text.split())).filter(bool), min_size=1, max_size=5)):
        mask = np.zeros(shape, dtype=bool)
        low = [draw(st.integers(0, size - 1)) for size in shape]
        high = [draw(st.integers(start, size)) for start, size in zip(low, shape)]
        mask[tuple(slice(a, b) for a, b in zip(low, high))] = True
        listed.append(Segment(name, mask))
    return listed


def read_matrix(path) -> np.ndarray:
    """ijk_to_ras as another library reads it: that of nibabel, ITK or slicerio, not our own reader's."""
    name = path.name.lower()
    if ".nii" in name:
        image = nibabel.load(path)
        if image.get_qform(coded=True)[1]:  # readers differ in which form they take
            np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-2, rtol=1e-3)
        return np.asarray(image.get_sform())
    if name.endswith(".seg.nrrd"):
        return lps_to_ras(slicerio.read_segmentation(str(path))["ijkToLPS"])
    image = sitk.ReadImage(str(path))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return lps_to_ras(matrix)


def check(tmp_path_factory, matrix, shape, segments, ending) -> None:
    folder = tmp_path_factory.mktemp("files")
    path = folder / f"result{ending}"
    volume = Volume(np.zeros(shape, dtype=np.uint8), matrix)
    refused = ""
    try:
        written = write_segmentation(path, segments, volume)
    except ValueError as error:
        refused = str(error)
    if refused:
        assert len(refused.splitlines()) == 1
        assert list(folder.iterdir()) == []
        return
    assert [entry.name for entry in folder.iterdir()] == [path.name]
    # geometry: every voxel where it was, in voxels of the scan
    corners = np.array(np.meshgrid(*([0, size - 1] for size in shape[::-1]))).reshape(3, -1)
    homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
    moved = np.linalg.inv(matrix) @ read_matrix(path) @ homogeneous
    assert np.abs(moved - homogeneous).max() < TOLERANCE
    # voxels, names and volumes: what the writer says is in the file
    read = read_segmentation(path)
    is_labelmap = not ending.lower().endswith(".seg.nrrd")
    by_name = {segment.name: segment for segment in read}
    for label, (given_, kept) in enumerate(zip(segments, written.segments), start=1):
        assert given_.name == kept.name
        assert not (kept.mask & ~given_.mask).any()
        if is_labelmap:
            found = by_name.get(f"Segment_{label}")
            assert np.array_equal(kept.mask, np.zeros(shape, bool) if found is None else found.mask)
        else:
            assert np.array_equal(read[label - 1].mask, given_.mask)
            assert read[label - 1].name == given_.name
    lost = sum(int((a.mask & ~b.mask).any()) for a, b in zip(segments, written.segments))
    assert len(written.notes) == lost, "each loss is said"


ONCE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
SHAPE = (5, 7, 6)


@pytest.mark.slow
@given(grids(), segments_on(SHAPE), st.sampled_from(ENDINGS))
@settings(deadline=None, max_examples=60, suppress_health_check=ONCE)
def test_what_is_written_comes_back_where_it_was(tmp_path_factory, matrix, segments, ending):
    check(tmp_path_factory, matrix, SHAPE, segments, ending)


@pytest.mark.nightly
@given(grids(), st.data(), st.sampled_from(ENDINGS))
@settings(deadline=None, max_examples=2000, suppress_health_check=ONCE)
def test_what_is_written_comes_back_where_it_was_for_long(tmp_path_factory, matrix, data, ending):
    shape = tuple(data.draw(st.integers(1, 40)) for _ in range(3))
    check(tmp_path_factory, matrix, shape, data.draw(segments_on(shape)), ending)

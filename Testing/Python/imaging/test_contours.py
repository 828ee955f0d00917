"""RTSTRUCT: contours become voxels where they lie in the patient, on any grid."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from EfficientMedSAM2Lib.core.geometry import transform_points
from EfficientMedSAM2Lib.imaging.segmentations import read_segment, read_segmentation
from EfficientMedSAM2Lib.imaging.volumes import Volume

from .contour_files import outlines, write_rtstruct

CENTER, RADIUS = np.array([-12.0, 7.0, 30.0]), 9.0
HEIGHTS = np.arange(-6.0, 6.1, 3.0)
TILTED = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.3, 1.0, 0.2], [0.1, -0.2, 1.0]]))[0]
AXIAL, SAGITTAL, CORONAL = np.eye(3), np.eye(3)[:, [1, 2, 0]], np.eye(3)[:, [0, 2, 1]] * (1, -1, 1)


def volume(axes=AXIAL, spacing=(1.0, 1.0, 3.0), shape_kji=(16, 40, 40), shear=0.0):
    """A scan whose middle voxel is at the centre of the structure; its slices may be pushed aside, as by a tilt."""
    matrix = np.eye(4)
    matrix[:3, :3] = axes @ np.array([[1, 0, 0], [0, 1, shear], [0, 0, 1.0]]) * np.array(spacing)
    matrix[:3, 3] = CENTER - matrix[:3, :3] @ (np.array(shape_kji[::-1]) // 2)
    return Volume(np.zeros(shape_kji, np.int16), matrix)


def cylinder(scan, radius, low, high, axes=AXIAL):
    """Voxels whose centres are inside of it, and those where rounding, or a polygon of 180 sides, may decide."""
    kji = np.stack(np.meshgrid(*map(np.arange, scan.shape_kji), indexing="ij"), axis=-1)
    places = (transform_points(kji[..., ::-1].reshape(-1, 3).astype(float), scan.ijk_to_ras) - CENTER) @ axes
    places = places.reshape(kji.shape)
    apart = np.hypot(places[..., 0], places[..., 1])
    inside = (apart < radius) & (places[..., 2] >= low) & (places[..., 2] < high)
    unclear = np.abs(apart - radius) < 0.02
    unclear |= (np.abs(places[..., 2] - low) < 0.02) | (np.abs(places[..., 2] - high) < 0.02)
    return inside, unclear


def check(mask, expected):
    inside, unclear = expected
    assert inside.sum() > 200
    assert np.array_equal(mask[~unclear], inside[~unclear])


@pytest.mark.parametrize("shear", [0.0, 0.3])
@pytest.mark.parametrize("grid_axes", [AXIAL, SAGITTAL, CORONAL, -AXIAL, TILTED], ids=list("ASC-T"))
@pytest.mark.parametrize("axes", [AXIAL, SAGITTAL, TILTED], ids=list("AST"))
def test_a_structure_lies_where_its_contours_lie(tmp_path, axes, grid_axes, shear):
    path = write_rtstruct(tmp_path / "rt.dcm", {"Tumour": outlines(CENTER, RADIUS, HEIGHTS, axes)})
    scan = volume(grid_axes, spacing=(1.1, 0.9, 1.3), shape_kji=(32, 44, 40), shear=shear)
    (segment,) = read_segmentation(path, scan)
    assert segment.name == "Tumour"
    assert segment.color == (1.0, 0.0, 0.0)
    check(segment.mask, cylinder(scan, RADIUS, -7.5, 7.5, axes))


def test_contours_on_the_slices_of_their_scan(tmp_path):
    """Each slice with a contour, and no other."""
    path = write_rtstruct(tmp_path / "rt.dcm", {"a": outlines(CENTER, RADIUS, HEIGHTS)})
    scan = volume()
    (segment,) = read_segmentation(path, scan)
    assert np.flatnonzero(segment.mask.any(axis=(1, 2))).tolist() == [6, 7, 8, 9, 10]
    area = segment.mask.sum() / 5
    assert area == pytest.approx(np.pi * RADIUS**2, rel=0.02)


@pytest.mark.parametrize("spacing", [1.0, 1.5, 2.0, 4.5, 6.0])
def test_slices_of_another_thickness_hold_the_same_volume(tmp_path, spacing):
    path = write_rtstruct(tmp_path / "rt.dcm", {"a": outlines(CENTER, RADIUS, HEIGHTS + 0.4)})
    scan = volume(spacing=(0.7, 0.7, spacing), shape_kji=(40, 60, 60))
    (segment,) = read_segmentation(path, scan)
    milliliters, meant = segment.mask.sum() * scan.voxel_mm3 / 1000, np.pi * RADIUS**2 * 15 / 1000
    assert abs(milliliters - meant) <= np.pi * RADIUS**2 * spacing / 1000 + 0.03 * meant


def test_holes_islands_and_gaps(tmp_path):
    """Contours in contours are holes, in these again islands; a slice without a contour between others is empty."""
    heights = [-6.0, -3.0, 3.0, 6.0]
    rings = list(itertools.chain(*(outlines(CENTER, radius, heights) for radius in (16.0, 11.0, 5.0))))
    keyhole = [
        np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
        for outer, inner in zip(outlines(CENTER, 16.0, heights), outlines(CENTER, 11.0, heights))
    ]
    path = write_rtstruct(tmp_path / "rt.dcm", {"ring": rings, "keyhole": keyhole})
    scan = volume()
    ring, hole = (segment.mask for segment in read_segmentation(path, scan))
    assert np.flatnonzero(ring.any(axis=(1, 2))).tolist() == [6, 7, 9, 10]
    for mask, radii in ((ring, (16.0, 11.0, 5.0)), (hole, (16.0, 11.0))):
        inside, unclear = np.zeros(mask.shape, bool), np.zeros(mask.shape, bool)
        for radius in radii:
            found, doubtful = cylinder(scan, radius, -8, 8)
            inside, unclear = inside ^ found, unclear | doubtful
        inside[8] = False
        assert np.array_equal(mask[~unclear], inside[~unclear])


def test_one_contour_is_one_slice(tmp_path):
    path = write_rtstruct(tmp_path / "rt.dcm", {"a": outlines(CENTER, RADIUS, [0.7])})
    segment, note = read_segment(path, volume(), "a")
    assert np.flatnonzero(segment.mask.any(axis=(1, 2))).tolist() == [8]
    assert note == ""


def test_points_are_left_out_and_what_cannot_be_filled_is_said(tmp_path):
    scan, ring = volume(), outlines(CENTER, RADIUS, HEIGHTS)
    path = write_rtstruct(tmp_path / "rt.dcm", {"isocentre": [ring[0][:1]], "tumour": ring})
    assert [segment.name for segment in read_segmentation(path, scan)] == ["tumour"]
    with pytest.raises(ValueError, match="need the grid of their scan"):
        read_segmentation(path)
    bent = ring[0] + np.linspace(0, 5, len(ring[0]))[:, None] * (0, 0, 1)
    for structures, kind, message in (
        ({"points": ring}, "POINT", "holds no closed contour"),
        ({"bent": [bent]}, "CLOSED_PLANAR", "contours of 'bent' are not flat"),
        ({"a": [*ring, *outlines(CENTER, 5.0, HEIGHTS, SAGITTAL)]}, "CLOSED_PLANAR", "lie in several directions"),
    ):
        with pytest.raises(ValueError, match=message):
            read_segmentation(write_rtstruct(path, structures, kind), scan)
    from pydicom import dcmread

    write_rtstruct(path, {"a": ring})
    dataset = dcmread(path)
    dataset.ROIContourSequence[0].ContourSequence[0].ContourData = ["1", "2", "3", "4"]
    dataset.save_as(path)
    with pytest.raises(ValueError, match="is damaged; export it again"):
        read_segmentation(path, scan)
    del dataset.ROIContourSequence
    dataset.save_as(path)
    with pytest.raises(ValueError, match="damaged or missing"):
        read_segmentation(path, scan)

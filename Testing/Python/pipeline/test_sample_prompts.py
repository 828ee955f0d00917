"""Prompts of every kind on the sample CT with the shipped weights, beside its reference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from EfficientMedSAM2Lib.core.geometry import ijk_to_ras_points
from EfficientMedSAM2Lib.core.metrics import dice
from EfficientMedSAM2Lib.imaging.markups import Markup, write_markups
from EfficientMedSAM2Lib.imaging.sample import sample_scan, sample_segmentation
from EfficientMedSAM2Lib.imaging.segmentations import Segment, read_segmentation, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import read_volume

#: The slice through the middle of the lungs, where the prompts of the demo are.
SLICE = 20
#: What a lasso or a scribble on that slice reaches at least in the whole lung.
LEAST_DICE = 0.85


@pytest.fixture(scope="module")
def sample():
    """The scan, and the reference mask of each structure."""
    volume = read_volume(sample_scan())
    return volume, {segment.name: segment.mask for segment in read_segmentation(sample_segmentation(), volume)}


def around(mask):
    """Twelve points (x, y), about three pixels outside of a mask."""
    rows, columns = np.nonzero(mask)
    centre = np.array([(columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2])
    wide = ndimage.binary_dilation(mask, iterations=3)
    points = []
    for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False):
        ray = centre + np.arange(0, 60, 0.5)[:, None] * [np.cos(angle), np.sin(angle)]
        x, y = ray.round().astype(int).clip(0, len(mask) - 1).T
        points.append(ray[np.flatnonzero(wide[y, x])[-1]])
    return np.array(points)


def inside(mask):
    """Five points (x, y) down the middle of a mask."""
    depth = ndimage.distance_transform_edt(mask)
    rows = np.flatnonzero(mask.any(axis=1))
    chosen = np.quantile(rows, np.linspace(0.2, 0.8, 5)).round().astype(int)
    return np.array([(depth[row].argmax(), row) for row in chosen])


@pytest.mark.slow
@pytest.mark.parametrize("lung", ["left lung", "right lung"])
@pytest.mark.parametrize(("kind", "draw"), [("lasso", around), ("scribble", inside)])
def test_a_curve_on_one_slice_segments_a_lung(sample, tmp_path, kind, draw, lung, capsys):
    from EfficientMedSAM2Lib.cli import main

    volume, reference = sample
    points_xy = draw(reference[lung][SLICE])
    points_ras = ijk_to_ras_points(np.insert(points_xy.astype(float), 2, SLICE, axis=1), volume.ijk_to_ras)
    prompts, output, picture = tmp_path / f"{lung}.mrk.json", tmp_path / "out.seg.nrrd", tmp_path / "out.png"
    write_markups(prompts, [Markup(kind, lung, points_ras)])
    options = ["--prompts", prompts, "--output", output, "--preview", picture]
    assert main(["segment", *map(str, [sample_scan(), *options])]) == 0
    assert capsys.readouterr().out.startswith(f"{lung}: ")
    (found,) = read_segmentation(output, volume)
    assert dice(found.mask, reference[lung]) >= LEAST_DICE
    if kind == "scribble":
        x, y = points_xy[2]
        assert found.mask[SLICE, y, x]
    assert picture.stat().st_size > 10_000


def test_a_point_repairs_an_earlier_mask_on_the_slices_around(sample, tmp_path):
    """A lung without its lower half on seven slices: one click brings most of that back."""
    from EfficientMedSAM2Lib.cli import main

    volume, reference = sample
    lung = reference["right lung"]
    rows = np.flatnonzero(lung[SLICE].any(axis=1))
    wrong = lung.copy()
    wrong[SLICE - 3 : SLICE + 4, int(rows.mean()) :] = False
    mask, prompts, output = tmp_path / "lungs.seg.nrrd", tmp_path / "right lung.mrk.json", tmp_path / "out.seg.nrrd"
    write_segmentation(mask, [Segment("right lung", wrong), Segment("left lung", reference["left lung"])], volume)
    x, y = inside(lung[SLICE])[-1]
    write_markups(
        prompts, [Markup("point", "P", ijk_to_ras_points(np.array([[x, y, SLICE]], float), volume.ijk_to_ras))]
    )
    options = ["--mask", mask, "--prompts", prompts, "--output", output, "--quiet"]
    assert main(["segment", *map(str, [sample_scan(), *options])]) == 0
    (found,) = read_segmentation(output, volume)
    around_it = slice(SLICE - 3, SLICE + 4)
    assert dice(found.mask[around_it], lung[around_it]) > 0.9 > 0.75 > dice(wrong[around_it], lung[around_it])
    assert dice(found.mask, lung) > dice(wrong, lung)
    far = np.r_[0 : SLICE - 12, SLICE + 13 : len(lung)]
    assert dice(found.mask[far], lung[far]) > 0.9

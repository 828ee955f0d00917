"""The scan to time on: from labelled images, of any length, to a file and back."""

from __future__ import annotations

import numpy as np
import pytest

from EfficientMedSAM2Lib.evaluation.benchmark.scans import images_of, make_scan, read_scan


def test_the_sample_scan_has_its_object_on_every_slice():
    scan = make_scan(images_of(None), size=96)
    assert scan.voxels.shape[1:] == scan.labels.shape[1:] == (96, 96)
    assert scan.voxels.dtype == np.int16
    assert scan.labels.any(axis=(1, 2)).all()
    assert len(scan.voxels) > 20
    x0, y0, x1, y1 = scan.box
    rows, columns = np.nonzero(scan.labels[0])
    assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max(), rows.max())
    assert scan.labels[0, int(scan.click[1]), int(scan.click[0])]
    assert (x1 - x0) * (y1 - y0) < 0.35 * 96 * 96


def test_the_sample_scan_is_shown_as_radiologists_look_at_it():
    (image,) = images_of(None)
    spine = next(value for value, name in image.label_names.items() if "vertebral" in name)
    right_lung = next(value for value, name in image.label_names.items() if name == "right lung")
    _, rows, columns = np.nonzero(image.labels == spine)
    assert rows.mean() > image.labels.shape[1] / 2  # behind is below
    assert np.nonzero(image.labels == right_lung)[2].mean() < columns.mean()  # the patient's right is on the left


def test_a_scan_goes_forth_and_back_to_any_length(small_scan):
    longer = small_scan.of_length(14)
    brightness = longer.voxels[longer.labels].reshape(14, -1).mean(axis=1)
    order = [int(np.abs(brightness[k] - brightness[:6]).argmin()) for k in range(14)]
    assert order == [0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 1, 2, 3]
    assert len(small_scan.of_length(2).voxels) == 2


def test_a_scan_comes_back_from_its_files(small_scan, tmp_path):
    small_scan.save(tmp_path)
    found = read_scan(tmp_path)
    assert np.array_equal(found.voxels, small_scan.voxels)
    assert (found.box, found.click, found.window) == (small_scan.box, small_scan.click, small_scan.window)
    assert found.spacing_mm == small_scan.spacing_mm
    assert found.windowed(0).dtype == np.float32
    assert 0 <= found.windowed(0).min() < found.windowed(0).max() <= 1


def test_images_without_an_object_to_follow_are_refused(ball_image):
    flat = type(ball_image)(
        **{**vars(ball_image), "labels": np.where(np.arange(21)[:, None, None] < 2, ball_image.labels * 0 + 1, 0)}
    )
    with pytest.raises(ValueError, match="three slices"):
        make_scan([flat])
    assert make_scan([ball_image], size=64).voxels.shape[1:] == (64, 64)

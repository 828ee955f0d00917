from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage, is_overflowed, load_image, windowed
from EfficientMedSAM2Lib.evaluation.dataset.label_groups import unions_of
from EfficientMedSAM2Lib.evaluation.dataset.manifest import read_manifest
from EfficientMedSAM2Lib.learning.samples.batches import load_training_images
from EfficientMedSAM2Lib.learning.samples.random_window import random_window
from EfficientMedSAM2Lib.learning.samples.sources.components import continued_part, random_part, tight_box
from EfficientMedSAM2Lib.learning.samples.sources.object_index import MIN_AREA_PX, MIN_SIDE_PX, ObjectIndex


def test_every_row_describes_its_mask(manifest_path: Path) -> None:
    images, index = load_training_images(manifest_path)
    axes = set()
    for row in range(0, len(index), 3):
        key = index.key(row)
        mask = index.mask(key)
        axes.add((key.image, key.axis))
        assert tight_box(mask) == key.box_rc
        assert mask.sum() == index.rows[row, 5] >= MIN_AREA_PX
        assert min(key.box_rc[1] - key.box_rc[0], key.box_rc[3] - key.box_rc[2]) >= MIN_SIDE_PX
    isotropic = next(number for number, image in enumerate(images) if image.name == "organ/case0.nii.gz")
    slab = next(number for number, image in enumerate(images) if image.name == "organ/case2.nii.gz")
    assert {axis for image, axis in axes if image == isotropic} == {0, 1, 2}
    assert {axis for image, axis in axes if image == slab} == {0}


def test_unions_are_objects_too(manifest_path: Path) -> None:
    images, index = load_training_images(manifest_path)
    assert images[0].unions == {"cell": (1, 2)}
    keys = [index.key(row) for row in range(len(index))]
    cell = next(key for key in keys if key.union == 0)
    assert set(np.unique(images[cell.image].slice_labels(cell.axis, cell.slice)[index.mask(cell)])) <= {1, 2}
    assert unions_of({1: "liver", 2: "spleen"}) == {}
    assert unions_of({1: "lung_upper_lobe_left", 5: "lung_lower_lobe_left"}) == {"lung left": (1, 5)}


def test_draws_balance_data_sets_and_prefer_compact_objects(manifest_path: Path) -> None:
    images, index = load_training_images(manifest_path)
    assert index.probability.sum() == pytest.approx(1.0)
    assert (index.probability > 0).all()
    names = np.array([images[number].dataset for number in index.rows[:, 0]])
    shares = {str(name): float(index.probability[names == name].sum()) for name in np.unique(names)}
    assert set(shares) == {"organ", "photo", "nuclei"}
    # The organ has hundreds of rows, the photograph one: unbalanced, the latter would hardly ever be seen.
    assert shares["photo"] > 0.05
    rng = np.random.default_rng(0)
    drawn = Counter(images[index.draw(rng).image].dataset for _ in range(4000))
    for dataset, share in shares.items():
        assert drawn[dataset] / 4000 == pytest.approx(share, abs=0.03)
    core = index.roundness[index.rows[:, 4] == 1]
    assert core.mean() > 0.8


def test_nothing_large_enough_is_an_error() -> None:
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 3:5, 3:5] = 1
    image = LoadedImage("x", "x", "", np.zeros((1, 20, 20), np.uint8), labels, (1.0, 1.0, 1.0), (0.0, 1.0))
    with pytest.raises(ValueError, match="large enough"):
        ObjectIndex([image])


def test_loading_keeps_the_type_and_spacing(manifest_path: Path) -> None:
    manifest = read_manifest(manifest_path)
    entries = {entry.image: entry for entry in manifest.entries}
    image = load_image(manifest, entries["organ/case2.nii.gz"])
    assert image.voxels.dtype == np.int16
    assert image.spacing_mm == pytest.approx((3.0, 1.6, 0.8))
    assert image.slice_spacing(0) == pytest.approx((1.6, 0.8))
    assert image.slice_spacing(1) == pytest.approx((3.0, 0.8))
    photograph = load_image(manifest, entries["photo/p1.png"])
    assert photograph.voxels.shape == (1, 60, 80, 3)
    assert not photograph.is_volume


def test_shape_mismatch_is_an_error(manifest_path: Path) -> None:
    rows = json.loads(manifest_path.read_text())
    rows[0]["label"] = "photo/p1_mask.png"
    manifest_path.write_text(json.dumps(rows))
    manifest = read_manifest(manifest_path)
    with pytest.raises(ValueError, match="resample the labels"):
        load_image(manifest, manifest.entries[0])


def test_overflowed_images_are_recognised() -> None:
    voxels = np.full((4, 8, 8), 32767, np.int16)
    voxels[0] = 5
    assert is_overflowed(voxels)
    assert not is_overflowed((voxels // 2).astype(np.int16))


def test_random_windows_never_hide_the_object() -> None:
    rng = np.random.default_rng(1)
    values = np.full((40, 40), 60, np.int16)
    inside = np.zeros((40, 40), bool)
    inside[10:30, 10:30] = True
    values[inside] = 110
    image = LoadedImage(
        "x",
        "x",
        "CT",
        values[None],
        inside[None].astype(np.uint8),
        (1.0, 1.0, 1.0),
        (-400.0, 400.0),
        is_hounsfield=True,
    )
    windows = {random_window(image, values, inside, rng, probability=1.0) for _ in range(100)}
    assert len(windows) > 20
    for window in windows:
        shown = windowed(values, window)
        assert shown[inside].mean() - shown[~inside].mean() > 0.03


def test_parts_are_connected_and_continue_on_the_next_slice() -> None:
    rng = np.random.default_rng(2)
    mask = np.zeros((40, 40), bool)
    mask[4:14, 4:14] = mask[25:35, 25:35] = True
    seen = {tight_box(random_part(mask, rng)) for _ in range(60)}
    assert seen == {(4, 14, 4, 14), (25, 35, 25, 35), (4, 35, 4, 35)}
    part = np.zeros_like(mask)
    part[4:14, 4:14] = True
    assert tight_box(continued_part(np.roll(mask, 3, axis=0), part)) == (7, 17, 4, 14)
    assert not continued_part(np.roll(mask, 12, axis=1), part).any()

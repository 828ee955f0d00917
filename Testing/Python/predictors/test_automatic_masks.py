"""The automatic mask generator: SAM2's arguments in, SAM2's records out, and masks that are there."""

from __future__ import annotations

import inspect
from importlib.util import find_spec

import numpy as np
import pytest

from EfficientMedSAM2Lib import EfficientMedSAM2AutomaticMaskGenerator, build_efficient_medsam2_model
from EfficientMedSAM2Lib.predictors.mask_grid import (
    crop_boxes,
    layer_grids,
    point_grid,
    run_lengths,
    stability_score,
    suppressed,
    touches_crop,
)

DEFAULTS = {
    "points_per_side": 32,
    "points_per_batch": 64,
    "pred_iou_thresh": 0.8,
    "stability_score_thresh": 0.95,
    "stability_score_offset": 1.0,
    "mask_threshold": 0.0,
    "box_nms_thresh": 0.7,
    "crop_n_layers": 0,
    "crop_nms_thresh": 0.7,
    "crop_overlap_ratio": 512 / 1500,
    "crop_n_points_downscale_factor": 1,
    "point_grids": None,
    "min_mask_region_area": 0,
    "output_mode": "binary_mask",
    "use_m2m": False,
    "multimask_output": True,
}
KEYS = {"segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box"}


@pytest.fixture(scope="module")
def model():
    return build_efficient_medsam2_model("efficientnet", device="cpu", runtime="onnx")


@pytest.fixture(scope="module")
def image():
    """Four bright disks, uint8 (H,W,3)."""
    y, x = np.ogrid[:160, :200]
    picture = np.full((160, 200), 40.0)
    for cy, cx, radius in DISKS:
        picture[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = 200
    picture += np.random.default_rng(0).normal(0, 5, picture.shape)
    return np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)


DISKS = ((40, 50, 22), (45, 140, 26), (120, 60, 24), (115, 150, 20))


def generator(model, **options):
    return EfficientMedSAM2AutomaticMaskGenerator(model, **{"points_per_side": 6, **options})


def test_arguments_are_sam2s():
    parameters = inspect.signature(EfficientMedSAM2AutomaticMaskGenerator).parameters
    assert {name: value.default for name, value in parameters.items() if name not in ("model", "kwargs")} == DEFAULTS
    assert next(iter(parameters)) == "model"


@pytest.mark.skipif(find_spec("sam2") is None, reason="needs PyPI's sam2")
def test_arguments_are_those_of_the_installed_sam2():
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

    theirs = inspect.signature(SAM2AutomaticMaskGenerator).parameters
    ours = inspect.signature(EfficientMedSAM2AutomaticMaskGenerator).parameters
    assert {name: theirs[name].default for name in theirs} == {name: ours[name].default for name in theirs}


@pytest.mark.slow
def test_each_disk_is_found_once_with_the_default_thresholds(model, image):
    records = generator(model).generate(image)
    y, x = np.ogrid[:160, :200]
    for cy, cx, radius in DISKS:
        disk = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        overlaps = [
            np.count_nonzero(r["segmentation"] & disk) / np.count_nonzero(r["segmentation"] | disk) for r in records
        ]
        assert sum(overlap > 0.85 for overlap in overlaps) == 1
    scores = [record["predicted_iou"] for record in records]
    assert scores == sorted(scores, reverse=True)
    for record in records:
        mask, (left, top, width, height) = record["segmentation"], record["bbox"]
        assert set(record) == KEYS
        assert (mask.dtype, mask.shape) == (bool, (160, 200))
        assert record["area"] == mask.sum()
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert [left, top, left + width, top + height] == [columns[0], rows[0], columns[-1], rows[-1]]
        assert record["predicted_iou"] > 0.8
        assert record["stability_score"] >= 0.95
        assert record["crop_box"] == [0.0, 0.0, 200.0, 160.0]
        ((px, py),) = record["point_coords"]
        assert 0 < px < 200
        assert 0 < py < 160


def test_thresholds_and_given_points(model, image):
    grids = [np.array([[50 / 200, 40 / 160], [140 / 200, 45 / 160]])]
    given = {"points_per_side": None, "point_grids": grids}
    records = generator(model, **given).generate(image[..., 0].astype(np.float32))
    assert {tuple(record["point_coords"][0]) for record in records} == {(50.0, 40.0), (140.0, 45.0)}
    assert generator(model, **given, pred_iou_thresh=0.999).generate(image) == []
    every = {"pred_iou_thresh": 0, "stability_score_thresh": 0, "box_nms_thresh": 1.0}
    scores = [record["stability_score"] for record in generator(model, **given, **every).generate(image)]
    assert len(scores) == 6
    between = (min(scores) + max(scores)) / 2
    stable = generator(model, **given, **{**every, "stability_score_thresh": between}).generate(image)
    expected = sorted(score for score in scores if score >= between)
    assert 0 < len(expected) < 6
    assert sorted(record["stability_score"] for record in stable) == expected
    assert len(generator(model, **given, **every, multimask_output=False).generate(image)) == 2
    refined = generator(model, **given, use_m2m=True).generate(image)
    assert {tuple(record["point_coords"][0]) for record in refined} == {(50.0, 40.0), (140.0, 45.0)}


@pytest.mark.slow
def test_crops_add_masks_in_the_pixels_of_the_image(model, image):
    records = generator(model, points_per_side=4, crop_n_layers=1).generate(image)
    crops = {tuple(record["crop_box"]) for record in records}
    assert any(crop != (0.0, 0.0, 200.0, 160.0) for crop in crops), "masks of smaller crops are preferred"
    y, x = np.ogrid[:160, :200]
    for cy, cx, radius in DISKS:
        disk = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        assert any(
            np.count_nonzero(r["segmentation"] & disk) / np.count_nonzero(r["segmentation"] | disk) > 0.85
            for r in records
        )


def test_small_regions_are_cleaned(model, image):
    """Of all masks, good or not, some have specks and holes; none has when they are to go."""
    grids = [np.array([[50, 40], [100, 80], [5, 150], [150, 115]]) / (200, 160)]
    every = {"pred_iou_thresh": 0, "stability_score_thresh": 0, "box_nms_thresh": 1.0}
    smallest = []
    for area in (0, 40):
        options = {"points_per_side": None, "point_grids": grids, **every, "min_mask_region_area": area}
        masks = [record["segmentation"] for record in generator(model, **options).generate(image)]
        # With a border, since what is open to the outside is not a hole.
        outside = [np.pad(~mask, 1, constant_values=True) for mask in masks]
        areas = [areas_of(mask, 8)[1:] + areas_of(rest, 4)[1:] for mask, rest in zip(masks, outside)]
        smallest.append(min(min(parts, default=999) for parts in areas))
    assert smallest[0] <= 40 < smallest[1]


def areas_of(mask, neighbours):
    """Areas of the separate parts of a mask, the largest first."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)) if neighbours == 8 else None)
    return sorted(np.bincount(labels.ravel())[1:].tolist(), reverse=True)


def test_run_lengths_and_coco(model, image):
    options = {"points_per_side": None, "point_grids": [np.array([[50 / 200, 40 / 160]])]}
    (mask, *_), (runs, *_) = (
        [r["segmentation"] for r in generator(model, **options, output_mode=mode).generate(image)]
        for mode in ("binary_mask", "uncompressed_rle")
    )
    assert runs["size"] == [160, 200]
    values = np.repeat(np.arange(len(runs["counts"])) % 2 == 1, runs["counts"])
    assert np.array_equal(values.reshape(200, 160).T, mask)
    if find_spec("pycocotools") is None:
        with pytest.raises(ValueError, match="pip install pycocotools"):
            generator(model, output_mode="coco_rle")
        return
    from pycocotools import mask as coco

    record, *_ = generator(model, **options, output_mode="coco_rle").generate(image)
    assert isinstance(record["segmentation"]["counts"], str)
    assert np.array_equal(coco.decode(record["segmentation"]).astype(bool), mask)


def test_from_pretrained():
    made = EfficientMedSAM2AutomaticMaskGenerator.from_pretrained("mobilenet", device="cpu", points_per_side=2)
    assert made.predictor.model.config.encoder_type == "mobilenet"
    assert len(made.point_grids[0]) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"points_per_side": None}, "point_grids"),
        ({"point_grids": [np.zeros((1, 2))]}, "points_per_side=None"),
        ({"output_mode": "png"}, "output_mode"),
        ({"points_per_side": None, "point_grids": [np.zeros((1, 2))], "crop_n_layers": 1}, "give 2"),
        ({"points_per_side": 2, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2}, "no point"),
    ],
)
def test_bad_arguments_are_refused(model, options, words):
    with pytest.raises(ValueError, match=words):
        generator(model, **options)


def test_grid_is_in_the_middles_of_cells():
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert [len(grid) for grid in layer_grids(8, 2, 2)] == [64, 16, 4]


def test_crops_cover_the_image_and_overlap():
    boxes = crop_boxes(100, 160, 1, 0.3)
    assert boxes[0] == (0, (0, 0, 160, 100))
    assert [layer for layer, _ in boxes] == [0, 1, 1, 1, 1]
    assert [box for _, box in boxes[1:]] == [(0, 0, 95, 65), (0, 35, 95, 100), (65, 0, 160, 65), (65, 35, 160, 100)]


def test_suppression_keeps_the_best_of_those_that_overlap():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [5, 5, 5, 9], [5, 5, 5, 9]], float)
    # 9/11 of the first two are common: the better one stays at 0.7, both at 0.9; equal boxes without area are one
    assert suppressed(boxes, np.array([0.5, 0.9, 0.1, 0.3, 0.2]), 0.7) == [1, 3, 2]
    assert suppressed(boxes, np.array([0.5, 0.9, 0.1, 0.3, 0.2]), 0.9) == [1, 0, 3, 2]


def test_masks_at_a_crops_own_sides_are_cut_off():
    image = (0, 0, 200, 160)
    crop = (80, 0, 200, 100)
    assert touches_crop(np.array([85.0, 40, 130, 70]), crop, image)
    assert touches_crop(np.array([120.0, 40, 130, 95]), crop, image)
    assert not touches_crop(np.array([120.0, 0, 199, 70]), crop, image)


def test_stability_and_run_lengths():
    logits = np.array([[-2.0, -0.5, 0.5, 2.0]])
    assert stability_score(logits, 0, 1) == 1 / 3
    assert stability_score(logits - 10, 0, 1) == 0
    assert run_lengths(np.array([[True, False], [True, True]])) == {"size": [2, 2], "counts": [0, 2, 1, 1]}
    assert run_lengths(np.zeros((2, 3), bool)) == {"size": [2, 3], "counts": [6]}

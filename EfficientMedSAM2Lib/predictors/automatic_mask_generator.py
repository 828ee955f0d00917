"""Masks of everything in an image: SAM2AutomaticMaskGenerator's arguments and records on this network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.predictors.image_predictor import EfficientMedSAM2ImagePredictor
from EfficientMedSAM2Lib.predictors.inputs import as_image
from EfficientMedSAM2Lib.predictors.mask_cleaning import clean_mask
from EfficientMedSAM2Lib.predictors.mask_grid import (
    CropBox,
    crop_boxes,
    layer_grids,
    run_lengths,
    stability_score,
    suppressed,
    touches_crop,
)
from EfficientMedSAM2Lib.runtimes.network import Network

LOGIT_STEEPNESS = 1 / 8
"""How steeply logits of this network cross zero, beside SAM2's, whose units `stability_score_offset` is in. On the
sample CT nine of ten masks with a Dice above 0.85 then reach SAM2's 0.95, and half of all masks; unscaled none does."""
OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")
_BUILD_ARGUMENTS = ("device", "use_half_precision", "encoder_type", "runtime", "precision")


class _Found(NamedTuple):
    mask: PackedMask
    box: np.ndarray  # XYXY of first and last pixels
    predicted_iou: float
    stability: float
    point: tuple[float, float]
    crop: CropBox


class EfficientMedSAM2AutomaticMaskGenerator:
    """Clicks on a grid of points, and keeps the masks that are sure, stable and no duplicates.

    Arguments, their defaults and the records are those of SAM2's generator.

    Args:
        model: The network, from `build_efficient_medsam2_model`.
        points_per_side: Points along a side of the image; None where `point_grids` gives them.
        points_per_batch: Points handed to the predictor at once. It makes no difference to the masks.
        pred_iou_thresh: Masks whose predicted IoU is not above it are dropped; 0 keeps all.
        stability_score_thresh: So are masks that change more than this with the threshold of the logits; 0 keeps all.
        stability_score_offset: How far the threshold is moved for that, in SAM2's logits; see `LOGIT_STEEPNESS`.
        mask_threshold: Logit above which a pixel belongs to a mask.
        box_nms_thresh: Of two masks whose boxes have a larger IoU, the one with the lower predicted IoU is dropped.
        crop_n_layers: Layers of crops, segmented like the image; layer n has 2**n crops a side.
        crop_nms_thresh: `box_nms_thresh` between crops, where masks of smaller crops are preferred.
        crop_overlap_ratio: Overlap of the first layer's crops as a share of the image's shorter side.
        crop_n_points_downscale_factor: Points a side of layer n are divided by this to the power of n.
        point_grids: For each layer points (N,2) in 0...1, instead of `points_per_side`.
        min_mask_region_area: Holes and separate parts of a mask up to so many pixels are filled and removed.
        output_mode: "binary_mask", "uncompressed_rle" or "coco_rle" (needs PyPI's pycocotools).
        use_m2m: Hand each mask back to the network once, with its point.
        multimask_output: Three candidates a point instead of the best one.
        **kwargs: Ignored, for scripts written for SAM2.

    Raises:
        UserError: Both or none of `points_per_side` and `point_grids`, an unknown `output_mode`, or one whose library
            is not installed.
    """

    def __init__(
        self,
        model: Network,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.8,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        mask_threshold: float = 0.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[np.ndarray] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
        use_m2m: bool = False,
        multimask_output: bool = True,
        **kwargs: Any,
    ) -> None:
        if (points_per_side is None) == (point_grids is None):
            raise UserError("Give points_per_side, or point_grids and points_per_side=None.")
        if output_mode not in OUTPUT_MODES:
            raise UserError(f"Unknown output_mode {output_mode!r}; use one of {', '.join(OUTPUT_MODES)}.")
        if output_mode == "coco_rle" and find_spec("pycocotools") is None:
            raise UserError("output_mode='coco_rle' needs pycocotools; run: pip install pycocotools")
        if points_per_side is not None:
            self.point_grids = layer_grids(points_per_side, crop_n_layers, crop_n_points_downscale_factor)
        else:
            self.point_grids = [np.asarray(grid, float).reshape(-1, 2) for grid in point_grids or ()]
            if len(self.point_grids) <= crop_n_layers:
                raise UserError(f"point_grids has {len(self.point_grids)} grids; give {crop_n_layers + 1}.")
        self.predictor = EfficientMedSAM2ImagePredictor(model)
        self.points_per_batch = points_per_batch
        self.pred_iou_thresh = pred_iou_thresh
        self.stability_score_thresh = stability_score_thresh
        self.stability_score_offset = stability_score_offset
        self.mask_threshold = mask_threshold
        self.box_nms_thresh = box_nms_thresh
        self.crop_n_layers = crop_n_layers
        self.crop_nms_thresh = crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.crop_n_points_downscale_factor = crop_n_points_downscale_factor
        self.min_mask_region_area = min_mask_region_area
        self.output_mode = output_mode
        self.use_m2m = use_m2m
        self.multimask_output = multimask_output

    @classmethod
    def from_pretrained(cls, model_id: str | os.PathLike[str], **kwargs: Any) -> EfficientMedSAM2AutomaticMaskGenerator:
        """A generator with shipped or own weights; arguments as those of the predictors and of the constructor."""
        build = {name: kwargs.pop(name) for name in _BUILD_ARGUMENTS if name in kwargs}
        return cls(EfficientMedSAM2ImagePredictor.from_pretrained(model_id, **build).model, **kwargs)

    def generate(
        self, image: Any, window: Any = None, modality: str | None = None, spacing: Any = None
    ) -> list[dict[str, Any]]:
        """Masks of everything that is found in an image.

        Args:
            image: As `EfficientMedSAM2ImagePredictor.set_image` takes it, e.g. (H,W) or (H,W,3) of any real type.
            window: See there; chosen once for the image and all of its crops.
            modality: See there.
            spacing: See there.

        Returns:
            A record for each mask, the surest first: `segmentation` (bool (H,W), or run lengths as `output_mode` says),
            `area` in pixels, `bbox` [x, y, width, height] from the first to the last pixel, `predicted_iou`,
            `point_coords` [[x, y]], `stability_score` and `crop_box` [x, y, width, height].

        Raises:
            UserError: Not an image.
        """
        array = as_image(image)
        height, width = array.shape[:2]
        self.predictor.set_image(array, window, modality, spacing)
        window = self.predictor.images[0].window
        crops = crop_boxes(height, width, self.crop_n_layers, self.crop_overlap_ratio)
        found: list[_Found] = []
        for layer, crop in crops:
            x0, y0, x1, y1 = crop
            self.predictor.set_image(array[y0:y1, x0:x1], window, modality, spacing)
            points = self.point_grids[layer] * (x1 - x0, y1 - y0)
            candidates = self._of_crop(points, crop, (0, 0, width, height))
            found += self._without_duplicates(candidates, [c.predicted_iou for c in candidates], self.box_nms_thresh)
        self.predictor.reset_predictor()
        if len(crops) > 1:
            areas = [(f.crop[2] - f.crop[0]) * (f.crop[3] - f.crop[1]) for f in found]
            found = self._without_duplicates(found, [1 / area for area in areas], self.crop_nms_thresh)
        return [self._record(each, (height, width)) for each in found]

    def _of_crop(self, points: np.ndarray, crop: CropBox, image: CropBox) -> list[_Found]:
        """Good masks of all points (N,2) in the pixels of a crop, duplicates among them."""
        found: list[_Found] = []
        offset = self.stability_score_offset * LOGIT_STEEPNESS
        for start in range(0, len(points), self.points_per_batch):
            for point in points[start : start + self.points_per_batch]:
                for logits, score in self._asked(point):
                    stability = stability_score(logits, self.mask_threshold, offset)
                    if self.stability_score_thresh > 0 and stability < self.stability_score_thresh:
                        continue
                    mask = logits > self.mask_threshold
                    if self.min_mask_region_area > 0:
                        mask = clean_mask(mask, self.min_mask_region_area, self.min_mask_region_area)
                    packed = PackedMask.pack(mask, (crop[1], crop[0]))
                    if packed.box_xyxy is None or touches_crop(np.array(packed.box_xyxy), crop, image):
                        continue
                    x, y = (float(at) for at in point + crop[:2])
                    found.append(_Found(packed, np.array(packed.box_xyxy), score, stability, (x, y), crop))
        return found

    def _asked(self, point: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """Logits (H,W) and predicted IoU of the masks for a point that are sure enough."""
        click: dict[str, Any] = {"point_coords": point[None], "point_labels": np.ones(1, int), "return_logits": True}
        logits, scores, low_res = self.predictor.predict(**click, multimask_output=self.multimask_output)
        answers = list(zip(logits, scores))
        if self.use_m2m:
            again = [self.predictor.predict(**click, mask_input=one[None], multimask_output=False) for one in low_res]
            answers = [(refined[0], iou[0]) for refined, iou, _ in again]
        return [
            (mask, float(score)) for mask, score in answers if self.pred_iou_thresh <= 0 or score > self.pred_iou_thresh
        ]

    @staticmethod
    def _without_duplicates(found: list[_Found], scores: list[float], threshold: float) -> list[_Found]:
        boxes = np.array([each.box for each in found]).reshape(-1, 4)
        return [found[index] for index in suppressed(boxes, np.array(scores), threshold)]

    def _record(self, found: _Found, shape: tuple[int, int]) -> dict[str, Any]:
        mask = found.mask.full(shape)
        x0, y0, x1, y1 = found.box.tolist()
        left, top, right, bottom = (float(side) for side in found.crop)
        return {
            "segmentation": self._encoded(mask),
            "area": found.mask.area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "predicted_iou": found.predicted_iou,
            "point_coords": [list(found.point)],
            "stability_score": found.stability,
            "crop_box": [left, top, right - left, bottom - top],
        }

    def _encoded(self, mask: np.ndarray) -> Any:
        if self.output_mode == "binary_mask":
            return mask
        runs = run_lengths(mask)
        if self.output_mode == "uncompressed_rle":
            return runs
        from pycocotools import mask as coco

        encoded = coco.frPyObjects(runs, *runs["size"])
        return {"size": encoded["size"], "counts": encoded["counts"].decode()}

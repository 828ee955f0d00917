"""What automatic mask generation needs besides a predictor: grids of points, crops, box suppression, run lengths."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError

CropBox = tuple[int, int, int, int]


def point_grid(per_side: int) -> np.ndarray:
    """Points (N,2) in 0...1, in the middles of per_side x per_side equal cells, row by row."""
    middles = (np.arange(per_side) + 0.5) / per_side
    return np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)


def layer_grids(per_side: int, layers: int, downscale: float) -> list[np.ndarray]:
    """A grid for the image, and one for each layer of crops, with `downscale` times fewer points a side each time.

    Raises:
        UserError: A layer would have no point.
    """
    counts = [int(per_side / downscale**layer) for layer in range(layers + 1)]
    if min(counts) < 1:
        raise UserError(
            f"points_per_side={per_side} leaves no point in {layers} layers of crops; give more points or fewer layers."
        )
    return [point_grid(side) for side in counts]


def crop_boxes(height: int, width: int, layers: int, overlap_ratio: float) -> list[tuple[int, CropBox]]:
    """The image and its crops as (layer, (x0, y0, x1, y1)), half-open; layer n has 2**n crops a side.

    Args:
        height: Of the image.
        width: Of the image.
        layers: Layers of crops; 0 gives the image alone.
        overlap_ratio: Share of the image's shorter side by which crops of the first layer overlap.
    """
    found: list[tuple[int, CropBox]] = [(0, (0, 0, width, height))]
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(overlap_ratio * min(height, width) * 2 / count)
        crop_width, crop_height = (math.ceil((overlap * (count - 1) + length) / count) for length in (width, height))
        for column, row in itertools.product(range(count), repeat=2):
            x0, y0 = column * (crop_width - overlap), row * (crop_height - overlap)
            found.append((layer, (x0, y0, min(x0 + crop_width, width), min(y0 + crop_height, height))))
    return found


def touches_crop(box: np.ndarray, crop: CropBox, image: CropBox, margin: float = 20.0) -> bool:
    """Whether a box XYXY ends within a margin in pixels of a side of the crop that is no side of the image."""
    near_crop = np.abs(box - np.asarray(crop)) <= margin
    near_image = np.abs(box - np.asarray(image)) <= margin
    return bool((near_crop & ~near_image).any())


def suppressed(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """Non-maximum suppression: which boxes stay, best first.

    Args:
        boxes: (N,4) XYXY.
        scores: (N,).
        threshold: A box goes when its intersection over union with a better one is larger.
    """
    corners = np.asarray(boxes, float).reshape(-1, 4)
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    order = np.argsort(-np.asarray(scores), kind="stable")
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(corners[best, :2], corners[order, :2])
        high = np.minimum(corners[best, 2:], corners[order, 2:])
        common = np.prod(np.clip(high - low, 0, None), axis=1)
        union = areas[best] + areas[order] - common
        # Boxes of one row have no area: equal ones are one all the same.
        overlap = np.where(
            union > 0, common / np.where(union > 0, union, 1), (corners[order] == corners[best]).all(axis=1)
        )
        order = order[overlap <= threshold]
    return kept


def stability_score(logits: np.ndarray, threshold: float, offset: float) -> float:
    """IoU of the masks (H,W) that a higher and a lower threshold give; 0 where both are empty."""
    union = np.count_nonzero(logits > threshold - offset)
    return float(np.count_nonzero(logits > threshold + offset) / union) if union else 0.0


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run lengths of a mask bool (H,W): column by column, outside first."""
    flat = np.asarray(mask, bool).ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}

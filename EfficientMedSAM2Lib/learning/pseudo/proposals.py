"""Box proposals without a network: bright and dark blobs at many thresholds, ranked by the contrast of their rim."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

WORK_SIZE = 256  # longest side on which blobs are looked for
THRESHOLDS = 10
MIN_SIDE_PX = 7
MAX_AREA_SHARE = 0.4
SAME_BOX_IOU = 0.6
SIZE_CLASSES = (0.004, 0.02, 1.0)  # upper ends, box area as a share of the slice


def propose_boxes(image: np.ndarray, count: int, dark_only: bool = False) -> np.ndarray:
    """Propose boxes around things that stand out.

    Args:
        image: (H, W) with values in 0..1.
        count: how many boxes at most, shared between small, middle and large ones.
        dark_only: look for dark blobs only, as lesions are in ultrasound.

    Returns:
        (N, 4) XYXY inclusive corners in pixels.
    """
    scale = min(1.0, WORK_SIZE / max(image.shape))
    work = ndimage.zoom(image.astype(np.float32), scale, order=1) if scale < 1 else image.astype(np.float32)
    boxes, scores = [], []
    for sigma in (1.0, 2.5):
        smooth = ndimage.gaussian_filter(work, sigma)
        gradient = ndimage.gaussian_gradient_magnitude(work, sigma)
        foreground = smooth[smooth > 0.04]
        if foreground.size < 100:
            continue
        for level in np.unique(np.quantile(foreground, np.linspace(0.06, 0.96, THRESHOLDS))):
            for blobs in [smooth < level] if dark_only else [smooth > level, smooth < level]:
                found_boxes, found_scores = _blobs_to_boxes(blobs, gradient)
                boxes += found_boxes
                scores += found_scores
    if not boxes:
        return np.zeros((0, 4), np.float32)
    chosen = _choose(np.asarray(boxes, np.float32), np.asarray(scores), count, work.size)
    return chosen / scale if scale < 1 else chosen


def _blobs_to_boxes(blobs: np.ndarray, gradient: np.ndarray) -> tuple[list[list[float]], list[float]]:
    boxes, scores = [], []
    height, width = blobs.shape
    for opening in (1, 4):
        opened = ndimage.binary_opening(blobs, _disk(opening))
        labels, number = ndimage.label(opened)
        if number == 0:
            continue
        areas = np.bincount(labels.ravel())[1:]
        for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            h, w = rows.stop - rows.start, columns.stop - columns.start
            touches = rows.start == 0 or columns.start == 0 or rows.stop == height or columns.stop == width
            fill = areas[label - 1] / (h * w)
            if min(h, w) < MIN_SIDE_PX or h * w > MAX_AREA_SHARE * blobs.size or fill < 0.35 or touches:
                continue
            own = labels[rows, columns] == label
            rim = own & ~ndimage.binary_erosion(own)
            boxes.append([columns.start, rows.start, columns.stop - 1, rows.stop - 1])
            # Full blobs make better prompts than branching ones.
            scores.append(float(gradient[rows, columns][rim].mean()) * fill)
    return boxes, scores


def _choose(boxes: np.ndarray, scores: np.ndarray, count: int, image_area: int) -> np.ndarray:
    kept: list[np.ndarray] = []
    area = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1) / image_area
    size_class = np.searchsorted(SIZE_CLASSES, area)
    # Large ones first: few exist, so what they leave unused goes to the smaller ones.
    for rank, wanted_class in enumerate((2, 1, 0)):
        quota = (count - len(kept)) // (3 - rank)
        of_class: list[np.ndarray] = []
        for index in np.flatnonzero(size_class == wanted_class)[np.argsort(-scores[size_class == wanted_class])]:
            if len(of_class) == quota:
                break
            if all(box_iou(boxes[index], other) < SAME_BOX_IOU for other in kept + of_class):
                of_class.append(boxes[index])
        kept += of_class
    return np.asarray(kept, np.float32).reshape(-1, 4)


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two boxes with inclusive XYXY corners."""
    w = min(a[2], b[2]) - max(a[0], b[0]) + 1
    h = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if w <= 0 or h <= 0:
        return 0.0
    area_a, area_b = ((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
    return float(w * h / (area_a + area_b - w * h))


def jitter_box(box: np.ndarray, amount: float, generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Move each side of a box by up to `amount` of its extent, within the image."""
    x0, y0, x1, y1 = box
    size = np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0]) + 1
    moved = box + generator.uniform(-amount, amount, 4) * size
    moved = np.clip(moved, 0, [shape[1] - 1, shape[0] - 1] * 2)
    # Sides of a box of a pixel or two may cross.
    return np.array([*np.minimum(moved[:2], moved[2:]), *np.maximum(moved[:2], moved[2:])], np.float32)


def _disk(radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return x * x + y * y <= radius * radius + radius * 0.5

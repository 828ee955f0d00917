"""Prompts as people give them, made from a mask of the network's size.

Coordinates are (x, y) in network pixels, as pixel edges: pixel (row r, column c) covers [c, c + 1) x [r, r + 1).
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from EfficientMedSAM2Lib.core.metrics import largest_error

COARSE_SIZE = 64  # distance transforms run on a grid of about this size


def random_boxes(
    masks: torch.Tensor,
    rng: np.random.Generator,
    jitter: float = 0.05,
    loose_probability: float = 0.15,
    pixel_scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """Boxes drawn around the masks by hand.

    Args:
        masks: (B, H, W), none empty (an empty mask gives the middle quarter of the image).
        rng: source of randomness.
        jitter: largest error per side as a share of the box's side; every third box has twice that.
        loose_probability: share of boxes with up to 20 % margin on every side.
        pixel_scale: (B,) network pixels per voxel. A part of the boxes is then one voxel too long or too short at the
            right and at the bottom: whether a box names its last voxel or the one behind is understood both ways.

    Returns:
        (B, 4) float x0, y0, x1, y1.
    """
    boxes = tight_boxes(masks)
    size = masks.shape[-1]
    spans = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    count = len(boxes)
    doubled = torch.from_numpy((rng.random((count, 1)) < 0.33).astype(np.float32))
    reach = jitter * (1.0 + doubled)
    error = torch.from_numpy(rng.uniform(-1.0, 1.0, (count, 4)).astype(np.float32)) * reach
    outward = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    loose = torch.from_numpy((rng.random((count, 1)) < loose_probability).astype(np.float32))
    margin = torch.from_numpy(rng.uniform(0.05, 0.2, (count, 4)).astype(np.float32))
    jittered = boxes + spans * (error + loose * margin * outward)
    if pixel_scale is not None:
        voxels = torch.from_numpy(rng.choice([-1.0, 0.0, 1.0], count, p=[0.15, 0.6, 0.25]).astype(np.float32))
        # A box of one voxel must not vanish.
        jittered[:, 2:] += torch.maximum((voxels * pixel_scale.to(voxels.dtype))[:, None], -0.4 * spans[:, 2:])
    jittered[:, 2:] = torch.maximum(jittered[:, 2:], jittered[:, :2] + 1.0)
    return jittered.clamp(0.0, float(size))


def tight_boxes(masks: torch.Tensor) -> torch.Tensor:
    """Tight boxes (B, 4) x0, y0, x1, y1 of masks (B, H, W), half-open; the middle quarter for an empty mask."""
    present = masks > 0.5
    boxes = torch.empty((len(masks), 4))
    for position, axis in ((0, 1), (1, 2)):
        line = present.any(dim=axis).to(torch.uint8)
        size = line.shape[1]
        boxes[:, position] = line.argmax(dim=1)
        boxes[:, position + 2] = size - line.flip(1).argmax(dim=1)
        empty = line.sum(dim=1) == 0
        boxes[empty, position], boxes[empty, position + 2] = 0.25 * size, 0.75 * size
    return boxes


def random_click(mask: np.ndarray, rng: np.random.Generator) -> tuple[float, float] | None:
    """A first click inside the object: at its middle, near it, anywhere inside, or near the rim.

    Args:
        mask: (H, W) bool.
        rng: source of randomness.

    Returns:
        (x, y), or None when the mask is empty.
    """
    depth, stride, origin = _depth(mask)
    if depth is None:
        return None
    flat = depth.ravel()
    kind = rng.random()
    if kind < 0.35:
        chosen = int(flat.argmax())
    else:
        # Deep pixels are likelier; the rim has its own share, for people do click badly.
        weights = flat**2 if kind < 0.7 else (flat > 0).astype(float)
        if kind > 0.9:
            weights = ((flat > 0) & (flat <= max(1.0, 0.3 * float(flat.max())))).astype(float)
        chosen = int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum()))
    return _to_point(min(chosen, flat.size - 1), depth.shape[1], stride, origin, mask, rng)


def negative_click(mask: np.ndarray, rng: np.random.Generator) -> tuple[float, float] | None:
    """A click outside the object, mostly close to its border; None when there is no outside.

    Args:
        mask: (H, W) bool.
        rng: source of randomness.
    """
    from scipy import ndimage

    stride = _stride(mask)
    coarse = _shrunk(mask, stride) > 0
    if coarse.all():
        return None
    distance = ndimage.distance_transform_edt(~coarse)
    if not coarse.any():
        weights = np.ones(coarse.size)
    else:
        reach = max(2.0, 0.15 * float(np.sqrt(coarse.sum())))
        weights = np.where(coarse, 0.0, np.exp(-distance / reach) if rng.random() < 0.75 else 1.0).ravel()
    chosen = int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum()))
    row, column = divmod(min(chosen, coarse.size - 1), coarse.shape[1])
    return (column + 0.5) * stride, (row + 0.5) * stride


def corrective_click(
    predicted: np.ndarray, truth: np.ndarray, rng: np.random.Generator | None = None
) -> tuple[float, float, int] | None:
    """The next click of someone who corrects a mask: the deepest point of the largest error.

    Args:
        predicted: (H, W) bool.
        truth: (H, W) bool.
        rng: with one, every fourth click lands somewhere else in the same error, as people do.

    Returns:
        (x, y, label) with label 1 where the object was missed and 0 where there is none; None when nothing is wrong.
    """
    missed, excess = truth & ~predicted, predicted & ~truth
    stride = _stride(truth)
    found = largest_error(*(_shrunk(part, stride) >= 0.5 for part in (missed, excess)))
    if found is None:
        stride, found = 1, largest_error(missed, excess)
    if found is None:
        return None
    depth, is_missed = found
    flat = depth.ravel()
    chosen = int(flat.argmax())
    if rng is not None and rng.random() < 0.25:
        chosen = int(np.searchsorted(np.cumsum(flat), rng.random() * flat.sum()))
    row, column = divmod(min(chosen, flat.size - 1), depth.shape[1])
    return (column + 0.5) * stride, (row + 0.5) * stride, int(is_missed)


def corrective_clicks(
    predicted: torch.Tensor, truth: torch.Tensor, rng: np.random.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Corrective clicks of a batch.

    Args:
        predicted: (B, H, W) bool.
        truth: (B, H, W), above 0.5 is the object.
        rng: see `corrective_click`.

    Returns:
        points (B, 1, 2) and labels (B, 1) long; where nothing is wrong the label is -1 (padding).
    """
    points = torch.zeros((len(truth), 1, 2))
    labels = torch.full((len(truth), 1), -1, dtype=torch.long)
    for number, (found, true) in enumerate(zip(predicted.cpu().numpy(), truth.cpu().numpy())):
        click = corrective_click(found > 0.5, true > 0.5, rng)
        if click is not None:
            points[number, 0] = torch.tensor(click[:2])
            labels[number, 0] = click[2]
    return points, labels


def recist_line(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """The longest diameter of the object as radiologists measure it, with small errors at its ends.

    Args:
        mask: (H, W) bool.
        rng: source of randomness.

    Returns:
        Both end points (2, 2) as (x, y); None when the mask is empty.
    """
    from scipy import ndimage

    if not mask.any():
        return None
    rows, columns = np.nonzero(mask & ~ndimage.binary_erosion(mask))
    points = np.stack([columns, rows], axis=1).astype(float) + 0.5
    angles = np.linspace(0.0, np.pi, 36, endpoint=False)
    along = points @ np.stack([np.cos(angles), np.sin(angles)])
    extent = along.max(axis=0) - along.min(axis=0)
    # The support width is largest in the direction of the longest diameter.
    best = along[:, int(extent.argmax())]
    ends = points[[int(best.argmin()), int(best.argmax())]]
    return np.clip(ends + rng.normal(0.0, 0.03 * float(extent.max()) + 0.3, (2, 2)), 0.0, float(mask.shape[1]))


def degraded_masks(masks: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Masks somebody would want to correct: grown, shrunk, shifted, with a bite out or a blob too much.

    Args:
        masks: (B, H, W) of 0 and 1.
        rng: source of randomness.

    Returns:
        (B, H, W) of 0 and 1.
    """
    boxes = tight_boxes(masks)
    result = masks.clone()
    for number in range(len(masks)):
        if not bool(masks[number].any()):
            continue
        reach = float((boxes[number, 2:] - boxes[number, :2]).mean())
        changed = result[number]
        if rng.random() < 0.6:
            radius = max(1, round(reach * float(rng.uniform(0.01, 0.1))))
            sign = 1.0 if rng.random() < 0.5 else -1.0
            grown = F.max_pool2d(sign * changed[None, None], (2 * radius + 1, 1), stride=1, padding=(radius, 0))
            grown = F.max_pool2d(grown, (1, 2 * radius + 1), stride=1, padding=(0, radius))[0, 0]
            changed = sign * grown
        if rng.random() < 0.5:
            shift = np.rint(rng.normal(0.0, 0.06, 2) * reach).astype(int)
            changed = torch.roll(changed, (int(shift[0]), int(shift[1])), (0, 1))
        if rng.random() < 0.5:
            inside = torch.nonzero(masks[number] > 0.5)
            row, column = (int(value) for value in inside[int(rng.integers(len(inside)))])
            half = max(1, round(reach * float(rng.uniform(0.08, 0.3))))
            changed = changed.clone()
            area = changed[max(row - half, 0) : row + half, max(column - half, 0) : column + half]
            area[:] = 1.0 if rng.random() < 0.5 else 0.0
        result[number] = changed
    return result


def _stride(mask: np.ndarray) -> int:
    return max(1, mask.shape[0] // COARSE_SIZE)


def _shrunk(mask: np.ndarray, factor: int) -> np.ndarray:
    """Share of the object in each block of factor x factor pixels; sizes must be multiples of the factor."""
    height, width = mask.shape
    blocks = mask.reshape(height // factor, factor, width // factor, factor)
    return blocks.mean(axis=(1, 3), dtype=np.float32)


def _depth(mask: np.ndarray) -> tuple[np.ndarray | None, int, tuple[int, int]]:
    """Distance to the rim on the object's box, thinned out to about 64 pixels: depth, stride, first row and column."""
    from scipy import ndimage

    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0:
        return None, 1, (0, 0)
    columns = np.flatnonzero(mask.any(axis=0))
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    stride = max(1, max(crop.shape) // 64)
    thin = crop[stride // 2 :: stride, stride // 2 :: stride]
    if not thin.any():
        stride, thin = 1, crop
    depth = ndimage.distance_transform_edt(np.pad(thin, 1))[1:-1, 1:-1]
    return depth, stride, (int(rows[0]) + stride // 2, int(columns[0]) + stride // 2)


def _to_point(
    chosen: int, width: int, stride: int, origin: tuple[int, int], mask: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    row, column = divmod(chosen, width)
    row, column = row * stride + origin[0], column * stride + origin[1]
    # Anywhere in the coarse cell, as long as it is still the object.
    moved = np.array([row, column]) + rng.integers(-(stride // 2), stride // 2 + 1, 2)
    moved = np.clip(moved, 0, np.array(mask.shape) - 1)
    if mask[moved[0], moved[1]]:
        row, column = int(moved[0]), int(moved[1])
    return column + 0.5, row + 0.5

"""A training sample, and the step all sources share: resample a slice into a view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from EfficientMedSAM2Lib.learning.samples.augment import View, augment_intensity, sample_planes

MIN_VISIBLE_PX = 40  # of 65536: less of an object is nothing to learn from


@dataclass(frozen=True)
class SliceSample:
    """One object as the network sees it."""

    image: torch.Tensor  # (1 or 3, S, S) in [0, 1]
    mask: torch.Tensor  # (S, S) float, 0 or 1
    neighbour_mask: torch.Tensor  # (S, S) float, the same object on a nearby slice
    neighbour_valid: bool
    neighbour_distance_mm: float
    pixel_scale: float  # network pixels per slice pixel
    confidence: float  # 1 for labels made by people and for synthesis, the score of a pseudo-label
    name: str


def resample(
    image: np.ndarray, masks: Sequence[np.ndarray], view: View, origin_rc: tuple[int, int]
) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor | None]:
    """Resample a crop of a slice and its masks into a view.

    Args:
        image: (h, w) or (h, w, 3) float32 in [0, 1].
        masks: masks (h, w) bool of the same crop.
        view: where to look.
        origin_rc: first pixel of the crop in the slice.

    Returns:
        Image (C, S, S), masks (S, S) of 0 and 1, and validity (S, S), which is None when all of the view is inside.
    """
    channels = 1 if image.ndim == 2 else image.shape[2]
    height, width = image.shape[:2]
    planes = np.empty((channels + len(masks) + 1, height, width), np.float32)
    planes[:channels] = image if channels == 1 else np.moveaxis(image, 2, 0)
    for number, mask in enumerate(masks):
        planes[channels + number] = mask
    corners = view.corners_xy() - np.array([origin_rc[1], origin_rc[0]])
    inside = corners.min() >= 0 and (corners <= (width, height)).all()
    planes[-1] = 1.0
    seen = sample_planes(torch.from_numpy(planes[:-1] if inside else planes), view, origin_rc)
    found = [(seen[channels + number] > 0.5).float() for number in range(len(masks))]
    return seen[:channels], found, None if inside else (seen[-1] > 0.5).float()


def finish(image: torch.Tensor, valid: torch.Tensor | None, rng: np.random.Generator) -> torch.Tensor:
    """Augment intensities, now and then drop colour, and keep what is outside the slice at 0."""
    if image.shape[0] == 3 and rng.random() < 0.35:
        image = image.mean(dim=0, keepdim=True)
    image = augment_intensity(image, rng)
    return image if valid is None else image * valid


def sample_without_neighbour(
    pixels: np.ndarray,
    mask: np.ndarray,
    view: View,
    origin_rc: tuple[int, int],
    rng: np.random.Generator,
    confidence: float,
    name: str,
    least_px: float = MIN_VISIBLE_PX,
) -> SliceSample | None:
    """A sample of an object that is known on one slice only; None when too little of it is in view.

    Args:
        pixels: (h, w) or (h, w, 3) float32 in [0, 1], a crop of the slice.
        mask: (h, w) bool of the same crop.
        view: where to look.
        origin_rc: first pixel of the crop in the slice.
        rng: source of randomness.
        confidence: as in the sample.
        name: as in the sample.
        least_px: network pixels of the object that have to be in view; 0 also takes a view without it.
    """
    seen, found, valid = resample(pixels, [mask], view, origin_rc)
    if float(found[0].sum()) < least_px:
        return None
    return SliceSample(
        image=finish(seen, valid, rng),
        mask=found[0],
        neighbour_mask=torch.zeros_like(found[0]),
        neighbour_valid=False,
        neighbour_distance_mm=0.0,
        pixel_scale=view.pixel_scale,
        confidence=confidence,
        name=name,
    )

"""Clips: a few slices of a volume with one object on each, for training the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage, windowed
from EfficientMedSAM2Lib.learning.samples.augment import View, augment_intensity, crop_bounds, random_view
from EfficientMedSAM2Lib.learning.samples.random_window import random_window
from EfficientMedSAM2Lib.learning.samples.sources.components import continued_part, random_part, tight_box
from EfficientMedSAM2Lib.learning.samples.sources.object_index import ObjectIndex, ObjectKey
from EfficientMedSAM2Lib.learning.samples.sources.sample import MIN_VISIBLE_PX, resample
from EfficientMedSAM2Lib.learning.samples.synthesis import random_scene

MIN_CLIP_AREA_PX = 30
LARGEST_STEP_MM = 10.0
SHARE_OF_ENDS = 0.75
"""Share of drawn clips that must run past the object's end. Without it one frame in ten was empty, and after 200 steps
the object-present head told empty slices from others no better than AUC 0.72."""


@dataclass(frozen=True)
class Clip:
    """Slices in the order in which they are propagated; the first is the one that gets the prompt."""

    images: torch.Tensor  # (T, S, S) in [0, 1]
    masks: torch.Tensor  # (T, S, S) of 0 and 1; empty where the object has ended
    distance_mm: torch.Tensor  # (T,) signed, from the first slice
    pixel_scale: float  # network pixels per slice pixel
    pixel_mm: float  # side of a network pixel
    name: str


class LabelledClips:
    """Clips from labelled volumes."""

    def __init__(self, index: ObjectIndex, length: int = 4, wide_probability: float = 0.2):
        """Choose what clips start from.

        Args:
            index: the objects; those of 2D images are never drawn.
            length: slices per clip, T.
            wide_probability: share of views larger than about 2.6 times the object.

        Raises:
            UserError: there is no volume.
        """
        self.index = index
        self.length = length
        self.wide_probability = wide_probability
        is_volume = np.array([image.is_volume for image in index.images])
        usable = is_volume[index.rows[:, 0]] & (index.rows[:, 5] >= MIN_CLIP_AREA_PX)
        self._cumulative = np.cumsum(np.where(usable, index.probability, 0.0))
        if self._cumulative[-1] <= 0:
            raise UserError("Clips need labelled volumes: there are only 2D images.")

    def draw(self, rng: np.random.Generator) -> Clip:
        """A random clip."""
        while True:
            row = int(np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1], side="right"))
            clip = self.clip(self.index.key(min(row, len(self.index) - 1)), rng)
            if clip is not None:
                return clip

    def clip(self, key: ObjectKey, rng: np.random.Generator) -> Clip | None:
        """A clip that starts at one object, None when too little of it is in view or the volume is too thin."""
        image = self.index.images[key.image]
        count = image.voxels.shape[key.axis]
        spacing_mm = image.spacing_mm[key.axis]
        slices = random_slices(key.slice, count, self.length, spacing_mm, rng)
        if slices is None:
            return None
        part = random_part(self.index.mask(key), rng, whole_probability=0.1)
        masks = [part]
        # Every slice on the way is followed, also those the clip skips, else fast-moving objects are lost.
        step, current, continued = (1 if slices[1] > slices[0] else -1), key.slice, part
        for wanted in slices[1:]:
            while current != wanted:
                current += step
                continued = continued_part(self.index.mask(key, current), continued)
            masks.append(continued)
        if rng.random() < SHARE_OF_ENDS and bool(masks[-1].any()):
            return None
        box = _union_box(masks) if rng.random() < 0.5 else tight_box(part)
        shape = (part.shape[0], part.shape[1])
        if box is None:
            return None
        row_mm, column_mm = image.slice_spacing(key.axis)
        view = random_view(box, shape, (row_mm, column_mm), rng, self.wide_probability)
        planes = [image.slice_voxels(key.axis, number) for number in slices]
        seen = _resampled_slices(image, planes, masks, view, rng)
        if seen is None:
            return None
        distance = torch.tensor([(number - slices[0]) * spacing_mm for number in slices], dtype=torch.float32)
        pixel_mm = (row_mm * column_mm) ** 0.5 / view.pixel_scale
        return Clip(seen[0], seen[1], distance, view.pixel_scale, pixel_mm, f"{image.name}:{key.axis}:{slices[0]}")


class SyntheticClips:
    """Clips of synthetic scenes whose shapes move, swell and end."""

    def __init__(self, images: Sequence[LoadedImage] = (), length: int = 4):
        """Choose the material.

        Args:
            images: loaded images whose label maps are used as shapes, beside the random ones.
            length: slices per clip, T.
        """
        self.images = [image for image in images if image.is_volume]
        self.length = length

    def draw(self, rng: np.random.Generator) -> Clip:
        """A random clip."""
        while True:
            scene = random_scene(rng, self.length, 0, self.images)
            box = _union_box(list(scene.masks)) if rng.random() < 0.5 else tight_box(scene.masks[0])
            if box is None:
                continue
            size = scene.images.shape[1]
            view = random_view(box, (size, size), (1.0, 1.0), rng, wide_probability=0.15)
            seen = _resampled_slices(None, list(scene.images), list(scene.masks), view, rng)
            if seen is None:
                continue
            spacing_mm = float(rng.uniform(0.8, 5.0)) * (1 if rng.random() < 0.5 else -1)
            distance = torch.arange(self.length, dtype=torch.float32) * spacing_mm
            return Clip(seen[0], seen[1], distance, view.pixel_scale, 1 / view.pixel_scale, "synthetic")


def random_slices(start: int, count: int, length: int, spacing_mm: float, rng: np.random.Generator) -> list[int] | None:
    """Slice numbers of a clip from a start slice: up or down, sometimes skipping one or two slices at a time.

    Args:
        start: first slice.
        count: slices in the volume.
        length: slices in the clip.
        spacing_mm: distance of the slices; steps stay within LARGEST_STEP_MM where that is possible.
        rng: source of randomness.

    Returns:
        `length` numbers, or None when the volume is too thin in both directions.
    """
    direction = 1 if rng.random() < 0.5 else -1
    stride = min(int(rng.choice([1, 2, 3, 5, 8])), max(1, int(LARGEST_STEP_MM / spacing_mm)))
    for step in (direction * stride, -direction * stride, direction, -direction):
        last = start + step * (length - 1)
        if 0 <= last < count:
            return list(range(start, last + (1 if step > 0 else -1), step))
    return None


def _resampled_slices(
    image: LoadedImage | None, planes: list[np.ndarray], masks: list[np.ndarray], view: View, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Resample all slices through one view that may drift slowly, and change their intensities alike."""
    shape = (planes[0].shape[0], planes[0].shape[1])
    drift = rng.normal(0.0, 4.0, 2) / view.pixel_scale if rng.random() < 0.3 else np.zeros(2)
    window: tuple[float, float] | None = None
    images, found, valid_parts = [], [], []
    for number, (plane, mask) in enumerate(zip(planes, masks)):
        moved = view.moved((float(drift[0]) * number, float(drift[1]) * number))
        bounds = crop_bounds(moved, shape)
        if bounds is None:
            return None
        crop = (slice(bounds[0], bounds[1]), slice(bounds[2], bounds[3]))
        pixels = np.ascontiguousarray(plane[crop])
        if image is not None:
            if window is None:
                window = random_window(image, pixels, mask[crop], rng)
            pixels = windowed(pixels, window)
        if pixels.ndim == 3:
            pixels = pixels.mean(axis=2)
        seen, (mask_seen,), valid = resample(pixels, [mask[crop]], moved, (bounds[0], bounds[2]))
        if number == 0 and float(mask_seen.sum()) < MIN_VISIBLE_PX:
            return None
        images.append(seen[0])
        found.append(mask_seen)
        valid_parts.append(torch.ones_like(mask_seen) if valid is None else valid)
    stack = augment_intensity(torch.stack(images), rng) * torch.stack(valid_parts)
    return stack, torch.stack(found)


def _union_box(masks: list[np.ndarray]) -> tuple[int, int, int, int] | None:
    boxes = [box for box in (tight_box(mask) for mask in masks) if box is not None]
    if not boxes:
        return None
    corners = np.array(boxes)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return int(low[0]), int(high[1]), int(low[2]), int(high[3])

"""Synthetic samples: random label maps painted with random contrast, texture, blur, bias and noise.

They teach what an object's border is in images nobody labelled: any contrast, soft or hidden borders, textured
interiors. Nothing in them is specific to an organ or a scanner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage
from EfficientMedSAM2Lib.learning.samples.augment import blur, crop_bounds, random_view
from EfficientMedSAM2Lib.learning.samples.sources.components import continued_part, random_part, tight_box
from EfficientMedSAM2Lib.learning.samples.sources.sample import MIN_VISIBLE_PX, SliceSample, finish, look
from EfficientMedSAM2Lib.learning.samples.sources.shapes import random_label_stack, smooth_noise

SIZES_PX = (64, 96, 128, 128, 160)


@dataclass(frozen=True)
class Scene:
    """A painted stack with one of its objects: images (T, N, N) in [0, 1], masks (T, N, N) bool."""

    images: np.ndarray
    masks: np.ndarray


class SyntheticSource:
    """Draws synthetic samples."""

    def __init__(self, images: Sequence[LoadedImage] = (), wide_probability: float = 0.15):
        """Choose the material.

        Args:
            images: loaded images whose label maps are used as shapes, beside the random ones.
            wide_probability: share of views larger than about 2.6 times the object.
        """
        # One label in a small crop is an ellipse at best: shapes come from images with several labels.
        self.images = [image for image in images if image.is_instance_map or len(image.label_names) >= 3]
        self.wide_probability = wide_probability

    def draw(self, rng: np.random.Generator) -> SliceSample:
        """A random sample."""
        while True:
            sample = self._sample(rng)
            if sample is not None:
                return sample

    def _sample(self, rng: np.random.Generator) -> SliceSample | None:
        scene = random_scene(rng, 2 if rng.random() < 0.5 else 1, 0, self.images)
        size = scene.images.shape[1]
        box = tight_box(scene.masks[0])
        if box is None:
            return None
        view = random_view(box, (size, size), (1.0, 1.0), rng, self.wide_probability)
        bounds = crop_bounds(view, (size, size))
        if bounds is None:
            return None
        crop = (slice(None), slice(bounds[0], bounds[1]), slice(bounds[2], bounds[3]))
        seen, found, valid = look(scene.images[crop][0], list(scene.masks[crop]), view, (bounds[0], bounds[2]))
        if float(found[0].sum()) < MIN_VISIBLE_PX:
            return None
        neighbour = found[1] if len(found) > 1 else torch.zeros_like(found[0])
        return SliceSample(
            image=finish(seen, valid, rng),
            mask=found[0],
            neighbour_mask=neighbour,
            neighbour_valid=bool(neighbour.any()),
            neighbour_distance_mm=float(rng.uniform(1.0, 6.0)) * (1 if rng.random() < 0.5 else -1),
            pixel_scale=view.pixel_scale,
            confidence=1.0,
            name="synthetic",
        )


def random_scene(rng: np.random.Generator, depth: int, reference: int, images: Sequence[LoadedImage] = ()) -> Scene:
    """A painted stack with a target that is present on the reference slice.

    Args:
        rng: source of randomness.
        depth: number of slices.
        reference: slice on which the target is chosen.
        images: loaded images whose label maps may serve as shapes.
    """
    size = int(rng.choice(SIZES_PX))
    while True:
        labels = random_label_stack(rng, depth, size, images)
        chosen = _choose_target(labels[reference], rng)
        if chosen is not None:
            break
    value, part = chosen
    masks = np.zeros(labels.shape, bool)
    masks[reference] = part
    # Outwards from the reference slice, each slice continues what overlaps the one before.
    for order in (range(reference + 1, depth), range(reference - 1, -1, -1)):
        previous = part
        for t in order:
            masks[t] = previous = continued_part(labels[t] == value, previous)
    return Scene(_paint(labels, value, part, reference, rng), masks)


def _choose_target(labels: np.ndarray, rng: np.random.Generator) -> tuple[int, np.ndarray] | None:
    """A label value and one compact part of it (N, N), or None when there is nothing compact."""
    areas = np.bincount(labels.ravel())
    fitting = np.flatnonzero((areas >= 20) & (areas <= 0.4 * labels.size))
    if len(fitting) == 0:
        return None
    for _ in range(4):
        value = int(fitting[int(rng.integers(len(fitting)))])
        part = random_part(labels == value, rng, whole_probability=0.0)
        area = int(part.sum())
        inner = part[1:-1, 1:-1] & part[:-2, 1:-1] & part[2:, 1:-1] & part[1:-1, :-2] & part[1:-1, 2:]
        roundness = 3.2 * area**0.5 / max(area - int(inner.sum()), 1)
        on_rim = part[0].any() or part[-1].any() or part[:, 0].any() or part[:, -1].any()
        # Shapes cut off by the image's edge, ribbons and crumbs are rarely what somebody prompts.
        if area >= 20 and rng.random() < min(1.0, roundness) ** 2 * (0.15 if on_rim else 1.0):
            return value, part
    return None


def _paint(labels: np.ndarray, target: int, part: np.ndarray, reference: int, rng: np.random.Generator) -> np.ndarray:
    """Give every class a mean and a texture and blur the borders: (T, N, N) in [0, 1]."""
    count = int(labels.max()) + 1
    means = rng.uniform(0.0, 1.0, count).astype(np.float32)
    if rng.random() < 0.3:
        # Few grey levels, as in a scan with two or three tissues.
        means = rng.uniform(0.0, 1.0, 3).astype(np.float32)[rng.integers(0, 3, count)]
    if rng.random() < 0.4:
        means[0] = 0.0
    texture = (rng.uniform(0.0, 0.06, count) * (rng.random(count) < 0.7)).astype(np.float32)
    around = _surrounding_value(labels[reference], part)
    _contrast(means, texture, target, around, rng)

    depth, size = labels.shape[0], labels.shape[1]
    across = int(rng.choice([size // 12, size // 6, size // 3, size - 1]))
    grain = smooth_noise(rng, depth, size, max(2, across))
    image = means[labels] + texture[labels] * grain
    if depth > 1 and rng.random() < 0.4:
        # Thick slices hold some of their neighbours.
        share = np.float32(rng.uniform(0.1, 0.4))
        image = (1 - share) * image + share * np.concatenate([image[1:], image[-1:]])
    canvas = torch.from_numpy(np.ascontiguousarray(image, np.float32))
    canvas = blur(canvas, int(rng.choice([0, 1, 1, 2])))  # partial volume at borders
    if rng.random() < 0.5:
        field = smooth_noise(rng, 1, size, int(rng.integers(2, 5))) * float(rng.uniform(0.05, 0.3))
        canvas = canvas * torch.from_numpy(np.exp(field))
    result = canvas.numpy()
    if rng.random() < 0.6:
        # Noise may hide a border from a pixel, not from the eye.
        most = min(0.1, 0.02 + 0.6 * abs(float(means[target] - means[around])))
        result = result + rng.standard_normal(result.shape, dtype=np.float32) * float(rng.uniform(0.01, most))
    return np.clip(result, 0.0, 1.0)


def _contrast(means: np.ndarray, texture: np.ndarray, target: int, around: int, rng: np.random.Generator) -> None:
    """Set how the target differs from what surrounds it, in place: plainly, hardly, or by its texture."""
    kind = rng.random()
    difference = 0.0
    if kind < 0.3:
        # A weak border: little contrast, little noise.
        difference = rng.uniform(0.05, 0.13)
        texture[target] = texture[around] = rng.uniform(0.0, 0.02)
    elif kind < 0.45:
        # Told by its texture at least as much as by its mean.
        difference = rng.uniform(0.08, 0.3)
        texture[target], texture[around] = rng.uniform(0.1, 0.3), rng.uniform(0.0, 0.05)
    elif abs(means[target] - means[around]) < 0.15:
        difference = rng.uniform(0.15, 0.5)
    if difference:
        side = 1.0 if rng.random() < 0.5 else -1.0
        fits = 0.0 <= means[around] + side * difference <= 1.0
        means[target] = means[around] + (side if fits else -side) * difference


def _surrounding_value(labels: np.ndarray, part: np.ndarray) -> int:
    """The label that most of the pixels just outside a part (N, N) have."""
    grown = part.copy()
    grown[1:] |= part[:-1]
    grown[:-1] |= part[1:]
    grown[:, 1:] |= part[:, :-1]
    grown[:, :-1] |= part[:, 1:]
    ring = labels[grown & ~part]
    return int(np.bincount(ring).argmax()) if len(ring) else 0

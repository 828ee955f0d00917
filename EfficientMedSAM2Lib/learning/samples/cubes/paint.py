"""Painting a 3D label map with random contrast, texture, bias and blur (after SynthSeg, arXiv 2107.09559)."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

BACKGROUND_TISSUES = 4
LEAST_CONTRAST = 0.08
"""Difference of the object's mean from that of its rim: nobody prompts what cannot be seen."""
LARGEST_BEND = 0.05
"""Of displacements, in parts of the cube's side."""


def smooth_noise(rng: np.random.Generator, count: int, shape: tuple[int, ...], bumps: int) -> np.ndarray:
    """Smooth random fields (count,D,H,W), about normal, with about so many bumps along the longest side."""
    sizes = [max(2, round(bumps * length / max(shape)) + 1) for length in shape]
    coarse = torch.from_numpy(rng.standard_normal((1, count, *sizes), dtype=np.float32))
    return F.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0].numpy()


def bent(labels: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A label map (N,N,N) and the share of an object (N,N,N) uint8, both bent alike."""
    from scipy import ndimage

    size = len(labels)
    shift = smooth_noise(rng, 3, labels.shape, int(rng.integers(2, 6))) * rng.uniform(0, LARGEST_BEND) * size
    places = np.indices(labels.shape, np.float32) + shift
    nearest = ndimage.map_coordinates(labels, places, order=0, mode="nearest")
    return nearest, ndimage.map_coordinates(mask, places, order=1, mode="nearest", output=np.uint8)


def painted(labels: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paint a label map.

    Args:
        labels: (D,H,W) non-negative; 0 is divided into several tissues.
        target: (D,H,W) bool, the object, which is to be told from its rim.
        rng: Source of randomness.

    Returns:
        (D,H,W) float32 in 0...1.
    """
    shape = labels.shape
    field = smooth_noise(rng, 1, shape, int(rng.integers(3, 9)))[0]
    tissue = np.digitize(field, np.quantile(field[::4, ::4, ::4], np.linspace(0, 1, BACKGROUND_TISSUES + 1)[1:-1]))
    values, numbers = np.unique(np.where(labels == 0, -1 - tissue, labels.astype(np.int64)), return_inverse=True)
    numbers = numbers.reshape(shape)
    means = rng.uniform(0, 1, len(values)).astype(np.float32)
    if rng.random() < 0.3:
        # Few grey levels, as in a scan with two or three tissues.
        means = rng.uniform(0, 1, 3).astype(np.float32)[rng.integers(0, 3, len(values))]
    textures = rng.uniform(0, 0.1, len(values)).astype(np.float32)
    grain = smooth_noise(rng, 1, shape, int(rng.choice([8, 16, 32, max(shape) - 1])))[0]
    image = means[numbers] + textures[numbers] * grain
    _tell_apart(image, target, rng)
    canvas = torch.from_numpy(image)[None, None]
    for _ in range(int(rng.choice([0, 1, 1, 2, 3]))):
        canvas = F.avg_pool3d(F.pad(canvas, [1] * 6, mode="replicate"), 3, stride=1)
    image = canvas[0, 0].numpy()
    if rng.random() < 0.5:
        image = image * np.exp(smooth_noise(rng, 1, shape, int(rng.integers(1, 4)))[0] * rng.uniform(0.05, 0.3))
    if rng.random() < 0.6:
        image = image + rng.standard_normal(shape, dtype=np.float32) * rng.uniform(0.01, 0.06)
    return np.asarray(image.clip(0, 1), np.float32)


def _tell_apart(image: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> None:
    """Make the object lighter or darker, in place, where its mean is that of its surroundings."""
    near = F.max_pool3d(torch.from_numpy(target.astype(np.float32))[None, None], 5, 1, 2)[0, 0].numpy() > 0
    rim = near & ~target
    if not target.any() or not rim.any():
        return
    difference = float(image[target].mean() - image[rim].mean())
    if abs(difference) < LEAST_CONTRAST:
        image[target] += (1 if difference >= 0 else -1) * rng.uniform(LEAST_CONTRAST, 0.35)

"""Random label maps: blobs, deformed ellipses, cells, tubes, nested shapes, and real label maps bent out of shape.

All functions make a short stack of slices (T, N, N), in which shapes move, grow and vanish from slice to slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional as F

from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage


def random_label_stack(
    rng: np.random.Generator, depth: int, size: int, images: Sequence[LoadedImage] = ()
) -> np.ndarray:
    """A random scene.

    Args:
        rng: source of randomness.
        depth: number of slices T.
        size: side N of the square slices.
        images: loaded images whose label maps may serve as shapes.

    Returns:
        (T, N, N) int16 of small non-negative labels.
    """
    kind = rng.random()
    if images and kind < 0.3:
        return real_labels(rng, depth, size, images)
    x, y = warped_coordinates(rng, size)
    if kind < 0.42:
        return cells(rng, depth, x, y)
    if kind < 0.6:
        labels = blobs(rng, depth, size, int(rng.integers(2, 6)))
    else:
        labels = np.zeros((depth, size, size), np.int16)
        if rng.random() < 0.6:
            labels[:] = blobs(rng, depth, size, int(rng.integers(2, 4)))
    for _ in range(int(rng.integers(1, 8))):
        add_ellipse(rng, labels, x, y)
    for _ in range(int(rng.integers(0, 3))):
        add_tube(rng, labels, x, y)
    return labels


def smooth_noise(rng: np.random.Generator, count: int, size: int, cells_across: int) -> np.ndarray:
    """Smooth random fields (count, size, size), about normal, with about `cells_across` bumps per side."""
    coarse = torch.from_numpy(rng.standard_normal((1, count, cells_across + 1, cells_across + 1), dtype=np.float32))
    mode = "bicubic" if cells_across < size // 4 else "bilinear"
    return F.interpolate(coarse, size=(size, size), mode=mode, align_corners=True)[0].numpy()


def warped_coordinates(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x, y (N, N), 0..1 over the image, bent smoothly."""
    bend = smooth_noise(rng, 2, size, int(rng.integers(3, 8))) * float(rng.uniform(0.0, 0.045))
    x, y = _coordinates(size)
    return x + bend[0], y + bend[1]


@lru_cache(maxsize=16)
def _coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(line, line)
    return x, y


def blobs(rng: np.random.Generator, depth: int, size: int, count: int) -> np.ndarray:
    """Regions where one of `count` smooth fields is the largest (T, N, N)."""
    across = int(rng.integers(2, 9))
    first = smooth_noise(rng, count, size, across)
    if depth == 1:
        return first.argmax(axis=0).astype(np.int16)[None]
    drift = smooth_noise(rng, count, size, across) * float(rng.uniform(0.05, 0.35))
    return np.stack([(first + t * drift).argmax(axis=0) for t in range(depth)]).astype(np.int16)


def add_ellipse(rng: np.random.Generator, labels: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Paint a deformed superellipse, now and then with another one inside, over a stack."""
    depth, size = labels.shape[0], labels.shape[1]
    center = rng.uniform(0.12, 0.88, 2)
    drift = rng.normal(0.0, 0.012, 2)
    radius = float(np.exp(rng.uniform(np.log(0.03), np.log(0.32))))
    aspect = float(np.exp(rng.uniform(-0.6, 0.6)))
    power = float(rng.choice([1.6, 2.0, 2.0, 2.5, 4.0]))
    angle = float(rng.uniform(0, np.pi))
    waves = rng.normal(0.0, 1.0, 3) * float(rng.choice([0.0, 0.05, 0.12])) / np.arange(1, 4)
    phases = rng.uniform(0, 2 * np.pi, 3)
    # Along the stack the shape is an ellipsoid: it may begin, swell and end inside the clip.
    middle, half = float(rng.uniform(-1, depth)), float(rng.uniform(1.5, 10.0)) * max(1.0, 8.0 * radius)
    inner = float(rng.uniform(0.4, 0.8)) if rng.random() < 0.3 else None
    label = int(labels.max()) + 1
    for t in range(depth):
        scale = 1.0 - ((t - middle) / half) ** 2
        if scale <= 0.0:
            continue
        reach = radius * scale**0.5
        place = center + t * drift
        # Only the part of the image that the shape can reach, with room for the bent coordinates.
        span = 2.0 * reach + 0.12
        (left, top), (right, bottom) = (
            np.clip(np.rint((place + side * span) * size), 0, size).astype(int) for side in (-1.0, 1.0)
        )
        area = (slice(top, bottom), slice(left, right))
        dx, dy = x[area] - np.float32(place[0]), y[area] - np.float32(place[1])
        cosine, sine = float(np.cos(angle)), float(np.sin(angle))
        u = (cosine * dx + sine * dy) / (reach * aspect**0.5)
        v = (cosine * dy - sine * dx) / (reach / aspect**0.5)
        level = np.abs(u) ** power + np.abs(v) ** power if power != 2.0 else u * u + v * v
        if waves.any():
            direction = np.arctan2(v, u)
            for order in range(3):
                swing = np.cos((order + 2) * direction + np.float32(phases[order]))
                level = level * (1.0 + 2.0 * float(waves[order]) * swing)
        canvas = labels[t][area]
        canvas[level < 1.0] = label
        if inner is not None:
            canvas[level < inner**power] = label + 1


def add_tube(rng: np.random.Generator, labels: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Paint a bent tube of changing width over a stack."""
    size = labels.shape[1]
    nodes = rng.uniform(-0.1, 1.1, (3, 2))
    nodes[1] = 0.5 * (nodes[0] + nodes[2]) + rng.normal(0, 0.25, 2)
    s = np.linspace(0, 1, 64)[:, None]
    curve = (1 - s) ** 2 * nodes[0] + 2 * s * (1 - s) * nodes[1] + s**2 * nodes[2]
    width = float(np.exp(rng.uniform(np.log(0.012), np.log(0.06))))
    drift = rng.normal(0.0, 0.01, 2)
    label = int(labels.max()) + 1
    thin = max(1, size // 64)
    coarse = np.stack([x[::thin, ::thin].ravel(), y[::thin, ::thin].ravel()], axis=1).astype(np.float32)
    for t in range(labels.shape[0]):
        line = (curve + t * drift).astype(np.float32)
        squared = (coarse**2).sum(1)[:, None] - 2 * coarse @ line.T + (line**2).sum(1)[None]
        distance = np.sqrt(np.maximum(squared.min(axis=1), 0.0)).reshape(x[::thin, ::thin].shape)
        fine = F.interpolate(torch.from_numpy(distance)[None, None], size=(size, size), mode="bilinear")[0, 0].numpy()
        labels[t][fine < width] = label


def cells(rng: np.random.Generator, depth: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Voronoi cells (T, N, N), with walls between them half the time (label 0)."""
    count = int(rng.integers(4, 22))
    seeds = rng.uniform(0.0, 1.0, (count, 2)).astype(np.float32)
    drift = rng.normal(0.0, 0.015, (count, 2)).astype(np.float32)
    wall = float(rng.uniform(0.01, 0.05)) if rng.random() < 0.6 else 0.0
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    stack = []
    for t in range(depth):
        places = seeds + t * drift
        squared = (places**2).sum(1)[:, None] - 2.0 * places @ points.T
        labels = squared.argmin(axis=0).astype(np.int16) + 1
        if wall:
            ordered = np.partition(squared + (points**2).sum(1)[None], 1, axis=0)[:2]
            labels[np.sqrt(np.maximum(ordered[1], 0)) - np.sqrt(np.maximum(ordered[0], 0)) < wall] = 0
        stack.append(labels.reshape(x.shape))
    return np.stack(stack)


def real_labels(rng: np.random.Generator, depth: int, size: int, images: Sequence[LoadedImage]) -> np.ndarray:
    """Consecutive slices of a real label map (T, N, N), scaled, turned and bent."""
    image = images[int(rng.integers(len(images)))]
    axis = int(rng.integers(3)) if image.is_volume else 0
    count = image.labels.shape[axis]
    first = int(rng.integers(count)) if count == 1 else int(np.clip(rng.normal(0.5, 0.2) * count, 0, count - 1))
    step = int(rng.choice([-1, 1]))
    x, y = warped_coordinates(rng, size)
    angle, zoom = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.5, 1.3))
    u, v = (x - 0.5) * zoom, (y - 0.5) * zoom * float(np.exp(rng.uniform(-0.3, 0.3)))
    height, width = image.slice_labels(axis, 0).shape
    columns = ((np.cos(angle) * u - np.sin(angle) * v + 0.5) * width).astype(int)
    rows = ((np.sin(angle) * u + np.cos(angle) * v + 0.5) * height).astype(int)
    outside = (columns < 0) | (columns >= width) | (rows < 0) | (rows >= height)
    columns, rows = columns.clip(0, width - 1), rows.clip(0, height - 1)
    stack = []
    for t in range(depth):
        plane = image.slice_labels(axis, int(np.clip(first + t * step, 0, count - 1)))[rows, columns].astype(np.int16)
        plane[outside] = 0
        stack.append(plane)
    labels = np.stack(stack)
    # Compact numbering: an instance map may have hundreds of values.
    values, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape).astype(np.int16)
    return compact if values[0] == 0 else compact + 1

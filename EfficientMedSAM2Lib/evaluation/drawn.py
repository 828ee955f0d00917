"""Scribbles and lassos as people draw them, made from a mask.

Kinds of scribbles after Wong et al. 2024 (arXiv 2312.07381, section 3): lines, centre lines, and contours, broken and
wavy, of different thickness.
"""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.core.metrics import depth_inside


def scribble_inside(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A scribble on the object of a mask (h,w) bool; empty where the mask is. Returns (h,w) bool."""
    from scipy import ndimage

    if not mask.any():
        return np.zeros_like(mask)
    depth = depth_inside(mask)
    kind = rng.random()
    if kind < 0.5:
        line = _line(depth, rng)
    elif kind < 0.75:
        line = (depth >= ndimage.maximum_filter(depth, 3) - 0.5) & (depth > 0.4 * depth.max())
        line = _broken(line, rng)
    else:
        level = rng.uniform(0.25, 0.7) * depth.max()
        line = _broken((np.abs(depth - level) < 0.8) & mask, rng)
    line = _thick(line, rng) & mask
    if not line.any():
        line[np.unravel_index(int(depth.argmax()), depth.shape)] = True
    return np.asarray(line, bool)


def scribble_outside(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A scribble beside the object, mostly near its border; empty where there is no room. Returns (h,w) bool."""
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, 10.0)
    reach = rng.uniform(3.0, 14.0)
    if rng.random() < 0.5:
        line = _broken(np.abs(distance - reach) < 0.8, rng)
    else:
        line = _line(np.where(distance < 2 * reach, np.minimum(distance, reach), 0.0), rng)
    return np.asarray(_thick(line, rng) & (distance > 1), bool)


def random_lasso(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The filled outline that somebody drew loosely around an object (h,w) bool; empty where the mask is."""
    from scipy import ndimage

    if not mask.any():
        return np.zeros_like(mask)
    radius = float(np.sqrt(mask.sum() / np.pi))
    solid = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(mask, 12), iterations=int(rng.integers(1, 7))))
    solid = solid[12:-12, 12:-12] | mask
    signed = ndimage.distance_transform_edt(~solid) - ndimage.distance_transform_edt(solid)
    margin = rng.uniform(0.0, 0.25) * radius
    wobble = _smooth_noise(mask.shape, rng) * rng.uniform(0.02, 0.1) * radius
    return np.asarray(signed + wobble < margin, bool)


def scribbled_part(part: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A scribble on the largest piece of what is wrong (h,w) bool, as a correction."""
    from scipy import ndimage

    pieces, count = ndimage.label(part)
    if count == 0:
        return np.zeros_like(part)
    return scribble_inside(pieces == int(np.bincount(pieces.ravel())[1:].argmax()) + 1, rng)


def _line(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A bent line between two to four places, the deep ones likelier, where depth is above 0."""
    weights = np.cumsum(depth.ravel() ** 1.5)
    line = np.zeros(depth.shape, bool)
    if weights[-1] <= 0:
        return line
    chosen = np.searchsorted(weights, rng.random(int(rng.integers(2, 5))) * weights[-1])
    nodes = np.stack(np.unravel_index(np.minimum(chosen, depth.size - 1), depth.shape), axis=1).astype(float)
    steps = np.linspace(0, len(nodes) - 1, 64 * len(nodes))
    path = np.stack([np.interp(steps, np.arange(len(nodes)), nodes[:, axis]) for axis in (0, 1)], axis=1)
    # A running mean rounds the corners, as a hand does.
    width = int(rng.integers(1, 40))
    kernel = np.ones(width) / width
    padded = np.pad(path, ((width // 2, width - 1 - width // 2), (0, 0)), mode="edge")
    path = np.stack([np.convolve(padded[:, axis], kernel, "valid") for axis in (0, 1)], axis=1)
    rows, columns = np.rint(path).astype(int).T
    line[rows, columns] = True
    return line & (depth > 0)


def _broken(line: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kept = line & (_smooth_noise(line.shape, rng) > rng.uniform(-1.0, 0.6))
    return kept if kept.any() else line


def _thick(line: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    from scipy import ndimage

    passes = int(rng.choice([0, 0, 1, 1, 2, 3]))
    return np.asarray(ndimage.binary_dilation(line, iterations=passes) if passes else line, bool)


def _smooth_noise(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    from scipy import ndimage

    cells = int(rng.integers(3, 9))
    coarse = rng.normal(size=(cells, cells))
    return np.asarray(ndimage.zoom(coarse, [size / cells for size in shape], order=1))

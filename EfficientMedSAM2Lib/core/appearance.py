"""How much each pixel looks like the object, by intensity histograms fitted where object and surroundings are known.

A small network has no name for most anatomy. What it can be given instead is a model of the object at hand, fitted on
the slice that was prompted, as GrabCut (Rother et al. 2004) and video object segmentation (Robinson et al. 2020, arXiv
2003.00908) do.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import NamedTuple

import numpy as np

CHANNELS = 2
"""Maps that `AppearanceModel.maps` gives: from the intensity alone, and from intensity and blurred intensity."""
_BINS = 28
_FINE_SIGMA = 1.0
_COARSE_SIGMA = 3.5
"""Blur of the two intensities in pixels of the grid."""
_BIN_SIGMAS = (1.2, 1.5)
"""Smoothing of the histograms in bins, of one and of two dimensions."""
_FLOOR = 0.2
"""Share of a uniform distribution added to both, so that a rare intensity proves nothing."""
_LARGEST_RATIO = 3.0
"""Logarithms of ratios are cut here."""
_LEAST_WEIGHT = 4.0
"""Pixels of object, and of surroundings, below which nothing is fitted."""


class Intensities(NamedTuple):
    """Intensities of B images, on grids of two or three dimensions: (B,...) blurred a little, and more."""

    fine: np.ndarray
    coarse: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray) -> Intensities:
        """From images (B,...)."""
        return cls(blurred(images, _FINE_SIGMA), blurred(images, _COARSE_SIGMA))

    @property
    def nbytes(self) -> int:
        """Bytes of the two images."""
        return self.fine.nbytes + self.coarse.nbytes


@dataclasses.dataclass(frozen=True)
class AppearanceModel:
    """Log ratios of the histograms of B objects and their surroundings.

    Attributes:
        low: (B,) intensity at the lower edge of the first bin.
        width: (B,) of a bin.
        ratio: (B,bins) cut and scaled to -1...1; 0 where too little was known.
        joint_ratio: (B,bins,bins) the same of intensity and blurred intensity.
    """

    low: np.ndarray
    width: np.ndarray
    ratio: np.ndarray
    joint_ratio: np.ndarray

    @classmethod
    def fit(cls, seen: Intensities, inside: np.ndarray, outside: np.ndarray) -> AppearanceModel:
        """Fit B models.

        Args:
            seen: Of B images (B,...).
            inside: (B,...) how much each pixel counts as object, 0 or more.
            outside: (B,...) how much it counts as surroundings.
        """
        fine, coarse = seen
        count = len(fine)
        known = (inside + outside) > 0
        low, width = np.zeros(count, np.float32), np.ones(count, np.float32)
        for i in range(count):
            if known[i].any():
                low[i], high = np.percentile(fine[i][known[i]], (0.5, 99.5))
                width[i] = max(high - low[i], 1e-3) / _BINS
        first, second = _bins(fine, low, width), _bins(coarse, low, width)
        offset = np.arange(count).reshape(-1, *[1] * (fine.ndim - 1))
        ratios = []
        for bins, size, shape in (
            (first + offset * _BINS, _BINS, (_BINS,)),
            ((first + offset * _BINS) * _BINS + second, _BINS * _BINS, (_BINS, _BINS)),
        ):
            densities = []
            for weight in (inside, outside):
                histogram = np.bincount(bins.ravel(), weight.ravel(), count * size).reshape(count, *shape)
                histogram = blurred(histogram, _BIN_SIGMAS[len(shape) - 1])
                total = histogram.sum(axis=tuple(range(1, histogram.ndim)), keepdims=True)
                densities.append(histogram / np.maximum(total, 1e-6) + _FLOOR / size)
            ratio = np.log(densities[0] / densities[1]).clip(-_LARGEST_RATIO, _LARGEST_RATIO) / _LARGEST_RATIO
            ratios.append(ratio.astype(np.float32))
        enough = [weight.reshape(count, -1).sum(axis=1) >= _LEAST_WEIGHT for weight in (inside, outside)]
        fitted = (enough[0] & enough[1]).astype(np.float32)
        return cls(low, width, ratios[0] * fitted[:, None], ratios[1] * fitted[:, None, None])

    def maps(self, seen: Intensities) -> np.ndarray:
        """How much each pixel of images (B,...) looks like its object: (B,2,...) float32 in -1...1, 0 where unknown."""
        first, second = (_bins(part, self.low, self.width) for part in seen)
        number = np.arange(len(first)).reshape(-1, *[1] * (first.ndim - 1))
        return np.stack([self.ratio[number, first], self.joint_ratio[number, first, second]], axis=1)


def blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of (B,...) along all axes but the first, borders repeated; float32.

    A sum of shifted copies: scipy need not be loaded, and no threads of a matrix library wait for busy cores.
    """
    values = np.asarray(values, np.float32)
    kernel = _kernel(sigma)
    reach = len(kernel) - 1
    for axis in range(1, values.ndim):
        line = np.moveaxis(values, axis, -1)
        size = line.shape[-1]
        padded = np.pad(line, [(0, 0)] * (line.ndim - 1) + [(reach, reach)], mode="edge")
        total = kernel[0] * line
        for step in range(1, reach + 1):
            pair = padded[..., reach - step : reach - step + size] + padded[..., reach + step : reach + step + size]
            pair *= kernel[step]
            total += pair
        values = np.moveaxis(total, -1, axis)
    return values


@lru_cache(maxsize=32)
def _kernel(sigma: float) -> tuple[np.float32, ...]:
    """Weights of a Gaussian from its middle on one side."""
    steps = np.arange(int(np.ceil(3 * sigma)) + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    weights /= weights[0] + 2 * weights[1:].sum()
    return tuple(np.float32(weight) for weight in weights)


def _bins(images: np.ndarray, low: np.ndarray, width: np.ndarray) -> np.ndarray:
    shape = (-1, *[1] * (images.ndim - 1))
    return ((images - low.reshape(shape)) / width.reshape(shape)).clip(0, _BINS - 1).astype(np.int64)

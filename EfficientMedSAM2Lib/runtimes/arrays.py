"""What predictors do with a network's arrays, whichever these are: torch tensors on some device, or numpy's own.

Predictors compute in numpy. Of a network's arrays they only know how to bring them there and back, to keep them, and
to put some together.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from EfficientMedSAM2Lib.models.bundles import Array, Rectangle
from EfficientMedSAM2Lib.runtimes.network import Network
from EfficientMedSAM2Lib.runtimes.torch_arrays import TorchArrays


class Arrays(Protocol):
    """The operations. `TorchArrays` and `NumpyArrays` have them."""

    def inference(self) -> AbstractContextManager[Any]:
        """Where networks are asked: without a record for gradients."""

    def to_device(self, values: Array) -> Array:
        """Numpy's values, or an array made earlier, on the device that the network computes on now."""

    def to_numpy(self, *arrays: Array) -> list[np.ndarray]:
        """Bring arrays to numpy as float32, all with a single wait for the device."""

    def join(self, parts: Sequence[Array]) -> Array:
        """Put arrays together along their first axis."""

    def stack(self, parts: Sequence[Array]) -> Array:
        """Put arrays of one shape together along a new first axis."""

    def copy(self, array: Array) -> Array:
        """An array of its own, that keeps nothing else alive."""

    def resample_map(self, memory: Array, source: Rectangle, target: Rectangle) -> Array:
        """A memory map (C,h,h) of one viewport as seen in another; zeros where that leaves the first."""

    def as_tensor(self, values: Array) -> Any:
        """What a caller of SAM2's methods expects of numpy's or the network's values: float32, and a torch tensor where
        torch is installed."""


class NumpyArrays:
    """Of a network that runs on ONNX Runtime."""

    def inference(self) -> AbstractContextManager[Any]:
        """See `Arrays`; there is nothing to switch off."""
        return nullcontext()

    def to_device(self, values: np.ndarray) -> np.ndarray:
        """See `Arrays`."""
        return np.ascontiguousarray(values)

    def to_numpy(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """See `Arrays`."""
        return [np.asarray(array, np.float32) for array in arrays]

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """See `Arrays`."""
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def stack(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """See `Arrays`."""
        return np.stack(parts)

    def copy(self, array: np.ndarray) -> np.ndarray:
        """See `Arrays`."""
        return array.copy()

    def resample_map(self, memory: np.ndarray, source: Rectangle, target: Rectangle) -> np.ndarray:
        """See `Arrays`."""
        if source == target:
            return memory
        rows = _bilinear(memory.shape[1], source[1], source[3], target[1], target[3])
        columns = _bilinear(memory.shape[2], source[0], source[2], target[0], target[2])
        # A product of 16 x 16 for each channel is too small to wake the threads of numpy's BLAS, and takes an eighth of
        # einsum's time (0.04 and 0.31 ms).
        resampled: np.ndarray = rows @ memory @ columns.T
        return resampled

    def as_tensor(self, values: np.ndarray) -> Any:
        """See `Arrays`; torch is loaded with the first of these."""
        torch, values = _torch(), np.asarray(values, np.float32)
        return values if torch is None else torch.from_numpy(np.require(values, requirements=("C", "W")))


@lru_cache(maxsize=1)
def _torch() -> Any:
    """Torch, or None where it is not installed, or broken."""
    try:
        import torch
    except (ImportError, OSError):
        return None
    return torch


def _bilinear(count: int, source_start: float, source_size: float, target_start: float, target_size: float) -> Any:
    """Weights (count,count) of the source's cells for the target's along one axis, nothing beyond the source."""
    centres = (target_start - source_start + (np.arange(count) + 0.5) * target_size / count) * count / source_size - 0.5
    return (1 - np.abs(centres[:, None] - np.arange(count))).clip(0).astype(np.float32)


def arrays_of(model: Network) -> Arrays:
    """The operations for a network."""
    return NumpyArrays() if model.array_library == "numpy" else TorchArrays(model)


__all__ = ["Arrays", "NumpyArrays", "arrays_of"]

"""What the networks share: slices of a volume one after the other, and facts about a torch module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.core.files import sha256_of
from EfficientMedSAM2Lib.core.windows import IntensityWindow, apply_window
from EfficientMedSAM2Lib.evaluation.methods.interface import (
    BOX,
    CLICKS,
    VOLUME,
    WHOLE_RANGE,
    BoxPredictions,
    Prediction,
    SliceEmbedding,
    VolumePrediction,
)

if TYPE_CHECKING:
    import torch


class NetworkMethod(ABC):
    """A promptable network: a `SegmentationMethod`, whose steps can be timed one by one, and which can teach.

    Attributes:
        name: What it is, in a word.
        channels: Channels of each map of `encode`.
        weights: The file that it was loaded from, None for random weights.
        variant: What else changes its answers, such as the precision; part of the fingerprint.
    """

    name: str
    protocols: tuple[str, ...] = (BOX, CLICKS, VOLUME)
    channels: tuple[int, ...]
    weights: Path | None = None
    variant: str = ""

    @abstractmethod
    def encode(self, image: np.ndarray) -> SliceEmbedding:
        """Embed a whole slice (H, W) or (H, W, 3) with values in 0..1."""

    @abstractmethod
    def predict(self, embedding: SliceEmbedding, boxes: np.ndarray, full_resolution: bool = True) -> BoxPredictions:
        """Segment one object per box; boxes are (N, 4) XYXY in pixels of the slice.

        The logits have the size of the slice, or else that of the network's own, coarser masks.
        """

    @abstractmethod
    def set_volume(
        self,
        volume: np.ndarray,
        spacing_mm: tuple[float, float, float],
        axis: int = 0,
        window: IntensityWindow = WHOLE_RANGE,
    ) -> None:
        """Begin with a volume (D, H, W) or (D, H, W, 3); nothing of an earlier one is kept."""

    @abstractmethod
    def prompt_slice(
        self,
        index: int,
        box: np.ndarray | None = None,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        clear_old_points: bool = True,
    ) -> np.ndarray:
        """Mask (H, W) bool of an object from a box, or clicks, on a slice of the volume."""

    @abstractmethod
    def propagate(self, index: int, reverse: bool = False) -> Iterator[tuple[int, Prediction]]:
        """Go on from the prompted slice, which comes first, to an end of the volume; slice and prediction each."""

    @abstractmethod
    def forget(self) -> None:
        """Forget the object; features of slices may stay."""

    def segment_volume(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, index: int, box: np.ndarray
    ) -> VolumePrediction:
        """Propagate from the boxed slice to both ends."""
        found = VolumePrediction(np.zeros(volume.shape[:3], bool))
        target = np.moveaxis(found.mask, axis, 0)
        self.set_volume(volume, spacing_mm, axis)
        self.prompt_slice(index, box=box)
        for reverse in (False, True):
            for number, prediction in self.propagate(index, reverse):
                target[number] = prediction.mask
                if prediction.score is not None:
                    found.scores[number] = prediction.score
        return found

    @cached_property
    def fingerprint(self) -> str:
        """The name and a hash of the weights: two networks with one fingerprint give the same answers."""
        assert self.weights is not None
        return f"{self.name}-{sha256_of(self.weights)[:16]}{self.variant}"

    @abstractmethod
    def compute_features(
        self, image: np.ndarray, spacing_mm: tuple[float, float], window: IntensityWindow = WHOLE_RANGE
    ) -> None:
        """From the voxels of a slice to its features."""

    @abstractmethod
    def bare_encoder(self) -> Callable[[], object]:
        """The encoder alone, on a prepared input."""

    @abstractmethod
    def parameter_count(self) -> int:
        """Parameters, those of frozen batch normalisation folded into convolutions where that was done."""

    @abstractmethod
    def computation(self) -> Mapping[str, object]:
        """`device` and `precision`, and `threads` where the network knows."""

    @abstractmethod
    def parts(self) -> dict[str, tuple[Any, str]]:
        """What a propagated slice is spent in: name -> object and name of its method."""

    @abstractmethod
    def file_bytes(self) -> int:
        """Size of the file of its weights; without one, of its parameters as they are in memory."""


class TorchMethod(NetworkMethod):
    """A network that is a torch module and computes as it is stored."""

    network: Any

    def parameter_count(self) -> int:
        """See `NetworkMethod`."""
        return sum(p.numel() for p in self.network.parameters())

    def computation(self) -> Mapping[str, object]:
        """See `NetworkMethod`."""
        parameter = next(self.network.parameters())
        return {"device": str(parameter.device), "precision": str(parameter.dtype).replace("torch.", "")}

    def parts(self) -> dict[str, tuple[Any, str]]:
        """See `NetworkMethod`: the module's children."""
        return {name.replace("_", " "): (child, "forward") for name, child in self.network.named_children()}

    def file_bytes(self) -> int:
        """See `NetworkMethod`."""
        return weights_bytes(self.network, self.weights)


def weights_bytes(network: Any, weights: Path | None) -> int:
    """Size of a weights file; without one, of a torch module's parameters as they are in memory."""
    if weights is not None:
        return weights.stat().st_size
    return sum(p.numel() * p.element_size() for p in network.parameters())


class VolumeSlices:
    """Slices of a volume with its window applied, made one by one: a float copy of all would count as a network's."""

    def __init__(self, volume: np.ndarray, axis: int = 0, window: IntensityWindow = WHOLE_RANGE) -> None:
        self._slices, self._window = np.moveaxis(volume, axis, 0), window
        self.shape = self._slices.shape

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, index: int) -> np.ndarray:
        return windowed_slice(self._slices[index], self._window)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))


def windowed_slice(image: np.ndarray, window: IntensityWindow) -> np.ndarray:
    """A slice float32 with the window spread over 0..1; one that is so already as it is."""
    return image if window is WHOLE_RANGE else apply_window(image, window)


def image_tensor(image: np.ndarray) -> torch.Tensor:
    """A slice (H, W) or (H, W, 3) as (1, 3, H, W) float32.

    Raises:
        ValueError: It has another shape.
    """
    import torch

    array = np.asarray(image, dtype=np.float32)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=-1)
    if array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise ValueError(f"A slice of shape {array.shape} cannot be encoded; give (H, W) or (H, W, 3).")
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))[None]


def scaled_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Rows and columns of a slice whose longest side becomes `side` pixels."""
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))

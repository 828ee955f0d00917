"""The one small interface behind which every teacher stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from EfficientMedSAM2Lib.core.files import sha256_of


@dataclass(frozen=True)
class TeacherEmbedding:
    """What a teacher knows about one slice.

    Attributes:
        maps: (1, C, h, w) each, embeddings of the whole square input, coarsest first.
        image_size: (H, W) of the slice in pixels.
        valid_size: (H', W') of the part of the square input that holds the slice, the rest is padding.
    """

    maps: tuple[torch.Tensor, ...]
    image_size: tuple[int, int]
    valid_size: tuple[int, int]


@dataclass(frozen=True)
class TeacherPrediction:
    """Masks for N boxes.

    Attributes:
        logits: (N, H, W) float32 at the resolution asked for; above 0 is the object.
        iou: (N,) the teacher's own estimate of the IoU of each mask, nominally in 0..1.
    """

    logits: np.ndarray
    iou: np.ndarray


class Teacher(Protocol):
    """A promptable network with an image embedding.

    Attributes:
        name: What it is, in a word.
        fingerprint: The name and a hash of the weights: two teachers with one fingerprint give the same answers.
        channels: Channels of each map of an embedding.
    """

    name: str
    fingerprint: str
    channels: tuple[int, ...]

    def encode(self, image: np.ndarray) -> TeacherEmbedding:
        """Embed a slice (H, W) or (H, W, 3) with values in 0..1."""
        ...

    def predict(
        self, embedding: TeacherEmbedding, boxes: np.ndarray, full_resolution: bool = True
    ) -> TeacherPrediction:
        """Segment one object per box; boxes are (N, 4) XYXY in pixels of the slice.

        The logits have the size of the slice, or else that of the teacher's own, coarser masks.
        """
        ...


def image_tensor(image: np.ndarray) -> torch.Tensor:
    """A slice (H, W) or (H, W, 3) as (1, 3, H, W) float32.

    Raises:
        ValueError: It has another shape.
    """
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


def fingerprint(name: str, weights: str | Path) -> str:
    """The name with a hash of the weights file."""
    return f"{name}-{sha256_of(Path(weights))[:16]}"

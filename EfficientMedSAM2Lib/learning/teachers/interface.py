"""What a teacher has to be able to do; every network of `evaluation/methods` is one."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from EfficientMedSAM2Lib.evaluation.methods.interface import BoxPredictions, SliceEmbedding


class Teacher(Protocol):
    """A promptable network with an image embedding.

    Attributes:
        channels: Channels of each map of an embedding.
    """

    channels: tuple[int, ...]

    @property
    def fingerprint(self) -> str:
        """Two teachers with one fingerprint give the same answers."""
        ...

    def encode(self, image: np.ndarray) -> SliceEmbedding:
        """Embed a slice (H, W) or (H, W, 3) with values in 0..1."""
        ...

    def predict(self, embedding: SliceEmbedding, boxes: np.ndarray, full_resolution: bool = True) -> BoxPredictions:
        """Segment one object per box; boxes are (N, 4) XYXY in pixels of the slice.

        The logits have the size of the slice, or else that of the teacher's own, coarser masks.
        """
        ...

"""EfficientMedSAM2, through its volume predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..scans import Scan
from .interface import NetworkOptions
from .video import VideoNetwork

if TYPE_CHECKING:
    from ...contestants.interface import Contestant


class OurNetwork(VideoNetwork):
    """One of our variants.

    Args:
        encoder: Name of the encoder.
        options: Weights and device.
    """

    def __init__(self, encoder: str, options: NetworkOptions) -> None:
        self._encoder, self._options = encoder, options
        self.has_weights = not options.random

    def import_libraries(self) -> None:
        """See `TimedNetwork`."""
        from ....models import build_efficient_medsam2_model  # noqa: F401
        from ....models.timm_import import import_timm
        from ....predictors import EfficientMedSAM2VolumePredictor  # noqa: F401

        import_timm()

    def load(self) -> None:
        """See `TimedNetwork`."""
        from ....models import build_efficient_medsam2_model
        from ....predictors import EfficientMedSAM2VolumePredictor

        weights = "random" if self._options.random else self._options.weights
        self._model = build_efficient_medsam2_model(self._encoder, weights, self._options.device)
        self._predictor = EfficientMedSAM2VolumePredictor(self._model)

    def module(self) -> Any:
        """See `TimedNetwork`."""
        return self._model

    def file_bytes(self) -> int:
        """See `TimedNetwork`."""
        from ....models.builder import shipped_weights

        if self._options.random:
            return sum(p.numel() * p.element_size() for p in self._model.parameters())
        return (self._options.weights or shipped_weights(self._encoder)).stat().st_size

    def open(self, scan: Scan) -> None:
        """See `TimedNetwork`."""
        self._scan = scan
        self._state = self._predictor.init_state(scan.voxels, spacing=scan.spacing_mm, window=scan.window)

    def encode(self, index: int) -> None:
        """See `TimedNetwork`."""
        from ....predictors import EfficientMedSAM2ImagePredictor

        predictor = EfficientMedSAM2ImagePredictor(self._model)
        predictor.set_image(self._scan.voxels[index], window=self._scan.window, spacing=self._scan.spacing_mm[1:])
        predictor.get_image_embedding()

    def encoder(self) -> Callable[[], object]:
        """See `TimedNetwork`."""
        import torch

        side = self._model.config.image_size
        image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(self._model.device)
        return torch.inference_mode()(lambda: self._model.encode_image(image))

    def follow(self) -> Iterator[np.ndarray]:
        """See `TimedNetwork`."""
        for index, _, logits in self._predictor.propagate_in_video(self._state, start_frame_idx=0):
            if index > 0:
                yield logits[0, 0].cpu().numpy() > 0

    def contestant(self) -> Contestant:
        """See `TimedNetwork`."""
        from ...contestants import OurContestant

        return OurContestant(self._model)

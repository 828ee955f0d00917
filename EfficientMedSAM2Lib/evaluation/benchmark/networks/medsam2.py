"""MedSAM2's network (SAM2.1-Hiera-T at 512 pixels), through sam2's own video predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.evaluation.benchmark.networks.interface import (
    NetworkOptions,
    best_device,
    of_module,
    parts_of_module,
)
from EfficientMedSAM2Lib.evaluation.benchmark.networks.video import VideoNetwork
from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.evaluation.methods.interface import Contestant


class MedSAM2Network(VideoNetwork):
    """MedSAM2; its time and memory do not depend on its weights, which are random unless a checkpoint is given.

    Args:
        options: Checkpoint and device.
        image_size: Side of its input; smaller for quick tests only.
    """

    def __init__(self, options: NetworkOptions, image_size: int = 512) -> None:
        self._options, self._image_size = options, image_size
        self.has_weights = options.weights is not None

    def import_libraries(self) -> None:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib.models.timm_import import import_timm

        import_timm()  # sam2 imports torchvision too
        import sam2.sam2_video_predictor  # noqa: F401

    def load(self) -> None:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib.learning.teachers.medsam2_network import build_medsam2

        device = best_device(self._options.device)
        self._predictor = build_medsam2(self._options.weights, self._image_size, device)

    def parameter_count(self) -> int:
        """See `TimedNetwork`."""
        return sum(p.numel() for p in self._predictor.parameters())

    def computation(self) -> Mapping[str, object]:
        """See `TimedNetwork`."""
        return of_module(self._predictor)

    def parts(self) -> dict[str, tuple[Any, str]]:
        """See `TimedNetwork`."""
        return parts_of_module(self._predictor)

    def file_bytes(self) -> int:
        """See `TimedNetwork`."""
        if self._options.weights is not None:
            return self._options.weights.stat().st_size
        return sum(p.numel() * p.element_size() for p in self._predictor.parameters())

    def open(self, scan: Scan) -> None:
        """All slices resized and normalised first, as MedSAM2 does."""
        from EfficientMedSAM2Lib.evaluation.methods.medsam2 import init_state

        self._scan = scan
        self._state = init_state(self._predictor, WindowedSlices(scan))

    def encode(self, index: int) -> None:
        """See `TimedNetwork`."""
        import torch

        from EfficientMedSAM2Lib.learning.teachers.medsam2_network import model_input

        with torch.inference_mode():
            image = model_input(self._scan.windowed(index)[None], self._image_size)
            self._predictor.forward_image(image.to(self._predictor.device))

    def encoder(self) -> Callable[[], object]:
        """See `TimedNetwork`."""
        import torch

        generator = torch.Generator().manual_seed(0)
        image = torch.randn(1, 3, self._image_size, self._image_size, generator=generator).to(self._predictor.device)
        return torch.inference_mode()(lambda: self._predictor.forward_image(image))

    def follow(self) -> Iterator[np.ndarray]:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib.evaluation.methods.medsam2 import follow

        for index, logits in follow(self._predictor, self._state, 0):
            if index > 0:
                yield logits.cpu().numpy() > 0

    def contestant(self) -> Contestant:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib.evaluation.methods.medsam2 import MedSAM2Contestant

        return MedSAM2Contestant(self._predictor)


class WindowedSlices:
    """Slices of a scan with its window applied, made one by one: a float copy of all would count as MedSAM2's."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self.shape = scan.voxels.shape

    def __len__(self) -> int:
        return len(self._scan.voxels)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self._scan.windowed(index) for index in range(len(self)))

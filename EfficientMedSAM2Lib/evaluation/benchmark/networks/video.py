"""What our predictor and sam2's share: `SAM2VideoPredictor`'s methods."""

from __future__ import annotations

from typing import Any

import numpy as np

from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan

OBJECT = 1


class VideoNetwork:
    """Prompts on slices, through a predictor with SAM2's names. Subclasses set `_predictor` and `_state`."""

    takes_clicks = True
    _predictor: Any
    _state: Any
    _scan: Scan

    def box(self, index: int) -> np.ndarray:
        """See `TimedNetwork`."""
        return self._prompt(index, box=np.array(self._scan.box, np.float32))

    def click(self, index: int) -> np.ndarray:
        """See `TimedNetwork`."""
        return self._prompt(index, points=np.array([self._scan.click], np.float32), labels=np.array([1], np.int32))

    def correct(self, index: int) -> np.ndarray:
        """See `TimedNetwork`."""
        corner = np.array([self._scan.box[:2]], np.float32)
        return self._prompt(index, points=corner, labels=np.array([0], np.int32), clear_old_points=False)

    def forget(self) -> None:
        """See `TimedNetwork`."""
        self._predictor.reset_state(self._state)

    def _prompt(self, index: int, **prompt: Any) -> np.ndarray:
        _, _, logits = self._predictor.add_new_points_or_box(self._state, index, OBJECT, **prompt)
        return to_mask(logits)


def to_mask(logits: Any) -> np.ndarray:
    """Mask (H, W) bool of the first object, from logits (N,1,H,W) of torch or numpy, on any device."""
    first = logits[0, 0]
    mask: np.ndarray = (first.cpu().numpy() if hasattr(first, "cpu") else first) > 0
    return mask

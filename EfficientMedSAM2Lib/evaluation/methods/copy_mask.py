"""The known mask, unchanged, on every slice: what a mask given as a prompt has to be followed better than."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.evaluation.methods.interface import MASK, Prediction, VolumePrediction


class CopyMaskMethod:
    """Copies the mask to all slices of the object."""

    name = "copymask"
    protocols: tuple[str, ...] = (MASK,)

    def set_image(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> None:
        """Nothing of the picture matters."""

    def segment_box(self, box: np.ndarray) -> Prediction:
        """Refuse."""
        raise UserError(f"'{self.name}' needs a mask; choose another model for the protocol 'box'.")

    def segment_clicks(self, points_xy: np.ndarray, labels: np.ndarray) -> Prediction:
        """Refuse."""
        raise UserError(f"'{self.name}' needs a mask; choose another model for the protocol 'clicks'.")

    def segment_volume(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, index: int, box: np.ndarray
    ) -> VolumePrediction:
        """Refuse."""
        raise UserError(f"'{self.name}' needs a mask; choose another model for the protocol 'volume'.")

    def propagate_mask(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, slices: range, mask: np.ndarray
    ) -> VolumePrediction:
        """Copy the mask."""
        found = VolumePrediction(np.zeros(volume.shape[:3], bool))
        np.moveaxis(found.mask, axis, 0)[slices.start : slices.stop] = mask
        return found

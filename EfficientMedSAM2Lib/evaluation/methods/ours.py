"""Our network, through the predictors that everything else uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.evaluation.methods.interface import BOX, CLICKS, VOLUME, Guess, VolumeGuess

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.models import EfficientMedSAM2

WHOLE_RANGE = IntensityWindow(0.0, 1.0, "as given")


class OurContestant:
    """EfficientMedSAM2, through the predictors that everything else uses."""

    name = "ours"
    protocols: tuple[str, ...] = (BOX, CLICKS, VOLUME)

    def __init__(self, model: EfficientMedSAM2) -> None:
        from EfficientMedSAM2Lib.predictors.image_predictor import EfficientMedSAM2ImagePredictor

        self._model = model
        self._predictor = EfficientMedSAM2ImagePredictor(model)
        self._earlier: np.ndarray | None = None

    def set_image(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> None:
        """Hand over a slice."""
        self._predictor.set_image(image, window=WHOLE_RANGE, spacing=spacing_mm)
        self._earlier = None

    def segment_box(self, box: np.ndarray) -> Guess:
        """Ask for a single mask."""
        masks, scores, _ = self._predictor.predict(box=box, multimask_output=False)
        return Guess(masks[0] > 0, float(scores[0]))

    def segment_clicks(self, points_xy: np.ndarray, labels: np.ndarray) -> Guess:
        """Take the best of three for the first click, then refine it."""
        first = len(points_xy) == 1
        masks, scores, logits = self._predictor.predict(
            point_coords=points_xy,
            point_labels=labels,
            mask_input=None if first else self._earlier,
            multimask_output=first,
        )
        best = int(np.argmax(scores))
        self._earlier = logits[best : best + 1]
        return Guess(masks[best] > 0, float(scores[best]))

    def segment_volume(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, index: int, box: np.ndarray
    ) -> VolumeGuess:
        """Propagate from the boxed slice to both ends."""
        from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
        from EfficientMedSAM2Lib.predictors.inputs import to_numpy

        predictor = EfficientMedSAM2VolumePredictor(self._model)
        state = predictor.init_state(volume, spacing=spacing_mm, axis=axis, window=WHOLE_RANGE)
        found = VolumeGuess(np.zeros(volume.shape[:3], bool))
        target = np.moveaxis(found.mask, axis, 0)
        predictor.add_new_points_or_box(state, index, 1, box=box)
        for reverse in (False, True):
            for number, _, logits in predictor.propagate_in_video(state, start_frame_idx=index, reverse=reverse):
                target[number] = to_numpy(logits[0, 0]) > 0
                score = predictor.slice_score(state, 1, number)
                if score is not None:
                    found.scores[number] = float(score)
        return found

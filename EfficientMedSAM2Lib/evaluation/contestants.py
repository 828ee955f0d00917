"""What is compared: our network, LiteMedSAM, and the ellipse inscribed in the box, behind one small interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from EfficientMedSAM2Lib.evaluation.prompts import tight_box
from EfficientMedSAM2Lib.imaging.windows import IntensityWindow

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.models import EfficientMedSAM2
    from EfficientMedSAM2Lib.training.pseudo.teachers import Teacher

BOX, CLICKS, VOLUME = "box", "clicks", "volume"
WHOLE_RANGE = IntensityWindow(0.0, 1.0, "as given")
LOST_SCORE = 0.5
LOST_AREA_PX = 10


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


class EllipseContestant(BoxOnly):
    """The ellipse inscribed in the box; in volumes an ellipsoid as deep as the box is wide on average."""

    name = "ellipse"

    def set_image(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> None:  # noqa: ARG002
        """Remember the size; nothing else of the picture matters."""
        self._shape = image.shape[:2]

    def segment_box(self, box: np.ndarray) -> Guess:
        """Fill the ellipse."""
        return Guess(inscribed_ellipse(box, self._shape), None)

    def segment_volume(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, index: int, box: np.ndarray
    ) -> VolumeGuess:
        """Fill the ellipsoid."""
        mask = np.zeros(volume.shape[:3], bool)
        slices = np.moveaxis(mask, axis, 0)
        row_mm, column_mm = (spacing_mm[other] for other in range(3) if other != axis)
        depth_mm = ((box[2] - box[0] + 1) * column_mm + (box[3] - box[1] + 1) * row_mm) / 4
        for number in range(len(slices)):
            offset = (number - index) * spacing_mm[axis] / depth_mm
            if abs(offset) < 1:
                slices[number] = inscribed_ellipse(box, slices.shape[1:], float(np.sqrt(1 - offset**2)))
        return VolumeGuess(mask)


class LiteMedSAMContestant(BoxOnly):
    """A teacher with box prompts; through volumes it hands the box of each mask on to the next slice."""

    def __init__(self, teacher: Teacher | None = None) -> None:
        from EfficientMedSAM2Lib.training.pseudo.teachers import LiteMedSAMTeacher

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
        return Guess(masks[0], float(scores[0]))

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
        return Guess(masks[best], float(scores[best]))

    def segment_volume(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, index: int, box: np.ndarray
    ) -> VolumeGuess:
        """Propagate from the boxed slice to both ends."""
        from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor

        predictor = EfficientMedSAM2VolumePredictor(self._model)
        state = predictor.init_state(volume, spacing=spacing_mm, axis=axis, window=WHOLE_RANGE)
        found = VolumeGuess(np.zeros(volume.shape[:3], bool))
        target = np.moveaxis(found.mask, axis, 0)
        predictor.add_new_points_or_box(state, index, 1, box=box)
        for reverse in (False, True):
            for number, _, logits in predictor.propagate_in_video(state, start_frame_idx=index, reverse=reverse):
                target[number] = logits[0, 0].float().cpu().numpy() > 0
                score = predictor.slice_score(state, 1, number)
                if score is not None:
                    found.scores[number] = float(score)
        return found


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


def contestant_builders(build_model: Callable[[], Any]) -> dict[str, Callable[[], Contestant]]:
    """Name every contestant; nothing is loaded before it is asked for."""
    from EfficientMedSAM2Lib.evaluation.grow_from_seeds import GrowFromSeedsContestant

    return {
        "ours": lambda: OurContestant(build_model()),
        "litemedsam": LiteMedSAMContestant,
        "ellipse": EllipseContestant,
        "growfromseeds": GrowFromSeedsContestant,
    }

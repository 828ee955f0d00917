from __future__ import annotations

import numpy as np
import pytest

from EfficientMedSAM2Lib.evaluation.cases import choose_cases
from EfficientMedSAM2Lib.evaluation.methods import EfficientMedSAM2Method, EllipseMethod, GrowFromSeedsMethod
from EfficientMedSAM2Lib.evaluation.methods.copy_mask import CopyMaskMethod
from EfficientMedSAM2Lib.evaluation.methods.ellipse import inscribed_ellipse
from EfficientMedSAM2Lib.evaluation.methods.interface import (
    BOX,
    CLICKS,
    LASSO,
    SCRIBBLE,
    VOLUME,
    BoxPredictions,
    Prediction,
    VolumePrediction,
)
from EfficientMedSAM2Lib.evaluation.methods.litemedsam import LiteMedSAM
from EfficientMedSAM2Lib.evaluation.protocols import run_protocol


class BrightThings:
    """Knows that objects are bright: the connected bright part under the prompt."""

    name = "oracle"
    protocols = (BOX, CLICKS, VOLUME)

    def __init__(self, clicks_until_found: int = 1) -> None:
        self.clicks_until_found = clicks_until_found
        self.boxes: list[list[float]] = []

    def set_image(self, image, spacing_mm):
        self.image, self.spacing_mm = image, spacing_mm

    def segment_box(self, box):
        self.boxes.append(box.tolist())
        found = np.zeros(self.image.shape, bool)
        window = (slice(max(0, int(box[1]) - 2), int(box[3]) + 4), slice(max(0, int(box[0]) - 2), int(box[2]) + 4))
        found[window] = self.image[window] > 0.5
        return Prediction(found, 0.9)

    def segment_clicks(self, points_xy, labels):
        from scipy import ndimage

        assert len(points_xy) == len(labels)
        if len(points_xy) < self.clicks_until_found:
            return Prediction(np.zeros(self.image.shape, bool), 0.1)
        parts, _ = ndimage.label(self.image > 0.5)
        x, y = points_xy[-1].astype(int)
        return Prediction(parts == parts[y, x], 0.9)

    def segment_volume(self, volume, spacing_mm, axis, index, box):
        self.set_image(np.moveaxis(volume, axis, 0)[index], spacing_mm)
        found = np.zeros(volume.shape, bool)
        np.moveaxis(found, axis, 0)[index] = self.segment_box(box).mask
        return VolumePrediction(found, {index: 0.9})


def test_box_protocol_is_perfect_for_who_sees_the_object(ball_image):
    cases = choose_cases([ball_image])
    records = list(run_protocol("box", BrightThings(), cases))
    assert [record.values["dice"] for record in records] == [1.0] * len(cases)
    assert records[0].score_pairs == [(0.9, 1.0)]


def test_every_method_gets_the_same_boxes(ball_image):
    cases, first, second = choose_cases([ball_image]), BrightThings(), BrightThings()
    list(run_protocol("box", first, cases, seed=5))
    list(run_protocol("box", second, cases[::-1], seed=5))
    assert first.boxes == second.boxes[::-1]


@pytest.mark.parametrize("needed", [1, 2, 4])
def test_dice_after_clicks_rises_when_the_object_is_found(ball_image, needed):
    values = next(run_protocol("clicks", BrightThings(needed), choose_cases([ball_image]))).values
    dices = [values["dice_1"], values["dice_3"], values["dice_5"]]
    assert dices == [float(needed <= number) for number in (1, 3, 5)]
    assert values["clicks_to_85"] == needed
    assert values["auc"] == pytest.approx(4.0 if needed == 1 else 5 - needed + 0.5)


def test_volume_protocol_compares_with_boxes_on_every_slice(ball_image):
    ball = [case for case in choose_cases([ball_image], as_volumes=True) if case.label == "ball"]
    values = next(run_protocol("volume", BrightThings(), ball)).values
    assert values["dice_of_boxes"] == 1.0
    assert 0.0 < values["dice"] < 0.5  # the oracle stays on one slice


def test_a_mask_is_followed_from_the_first_slice_of_an_object_to_its_last(ball_image):
    ball = [case for case in choose_cases([ball_image], as_volumes=True) if case.label == "ball"]
    truth = np.moveaxis(ball[0].volume_mask, ball[0].axis, 0)
    present = np.flatnonzero(truth.any(axis=(1, 2)))

    class Sees(CopyMaskMethod):
        def propagate_mask(self, volume, spacing_mm, axis, slices, mask):
            assert (slices.start, slices[-1]) == (present[0], present[-1])
            np.testing.assert_array_equal(mask, truth[slices.start])
            return VolumePrediction(ball[0].volume_mask, dict.fromkeys(slices, 0.5))

    record = next(run_protocol("mask", Sees(), ball))
    assert record.values == {"dice": 1.0, "nsd": 1.0}
    assert record.score_pairs == [(0.5, 1.0)] * (len(present) - 1)  # the mask that was given has no score
    copied = next(run_protocol("mask", CopyMaskMethod(), ball)).values["dice"]
    behind, first = truth[present[1:]], truth[present[0]].sum()
    assert copied == pytest.approx(2 * first * len(behind) / (first * len(behind) + behind.sum()))


class UnsureBehindTheEnd(BrightThings):
    """Scores every slice of the volume, those without the object low."""

    def segment_volume(self, volume, spacing_mm, axis, index, box):
        found = super().segment_volume(volume, spacing_mm, axis, index, box)
        return VolumePrediction(found.mask, {number: 0.9 if number == index else 0.0 for number in range(len(volume))})


def test_scores_of_slices_that_rightly_stay_empty_have_no_true_iou(ball_image):
    ball = [case for case in choose_cases([ball_image], as_volumes=True) if case.label == "ball"]
    record = next(run_protocol("volume", UnsureBehindTheEnd(), ball))
    with_object = int(ball[0].volume_mask.any(axis=(1, 2)).sum())
    assert with_object < ball_image.voxels.shape[0]
    assert len(record.score_pairs) == with_object
    assert sorted(iou for _, iou in record.score_pairs)[:-1] == [0.0] * (with_object - 1)


def test_the_ellipse_is_the_disk_and_the_ellipsoid_nearly_the_ball(ball_image):
    balls = [case for case in choose_cases([ball_image]) if case.label == "ball" and case.index == 10]
    record = next(run_protocol("box", EllipseMethod(), balls))
    assert record.values["dice"] > 0.9
    assert record.score_pairs == []
    volumes = [case for case in choose_cases([ball_image], as_volumes=True) if case.label == "ball"]
    assert next(run_protocol("volume", EllipseMethod(), volumes)).values["dice"] > 0.88


def test_inscribed_ellipse_touches_the_sides_of_its_box():
    mask = inscribed_ellipse(np.array([5, 10, 25, 20]), (40, 40))
    rows, columns = np.nonzero(mask)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (5, 10, 25, 20)
    assert mask.sum() == pytest.approx(np.pi * 10.5 * 5.5, rel=0.04)


def test_unsuitable_protocols_are_refused(ball_image):
    cases = choose_cases([ball_image])
    with pytest.raises(ValueError, match="clicks"):
        next(run_protocol("clicks", EllipseMethod(), cases))
    with pytest.raises(ValueError, match="unknown"):
        next(run_protocol("scribbles", EllipseMethod(), cases))


class ThresholdInBox(LiteMedSAM):
    """LiteMedSAM's procedure with bright pixels in the box for its network."""

    def __init__(self):
        pass

    def encode(self, image):
        return image

    def predict(self, embedding, boxes, full_resolution=True):
        x0, y0, x1, y1 = (round(value) for value in boxes[0])
        logits = np.full((1, *embedding.shape), -1.0, np.float32)
        logits[0, max(0, y0 - 3) : y1 + 4, max(0, x0 - 3) : x1 + 4] = 1.0
        logits[0][embedding < 0.5] = -1.0
        return BoxPredictions(logits, np.array([0.9 if (logits > 0).any() else 0.0], np.float32))


def test_boxes_are_handed_on_through_the_volume_until_the_object_ends(ball_image):
    volumes = [case for case in choose_cases([ball_image], as_volumes=True) if case.label == "ball"]
    record = next(run_protocol("volume", ThresholdInBox(), volumes))
    assert record.values["dice"] > 0.97
    assert len(record.score_pairs) < ball_image.voxels.shape[0]


def test_grow_from_seeds_finds_a_bright_ball(ball_image):
    pytest.importorskip("slicer")
    volumes = [case for case in choose_cases([ball_image], as_volumes=True) if case.label == "ball"]
    values = next(run_protocol("volume", GrowFromSeedsMethod(), volumes)).values
    assert values["dice"] > 0.95
    assert values["dice_of_boxes"] > 0.8


@pytest.mark.slow
def test_the_network_goes_through_a_volume(ball_image):
    from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model

    method = EfficientMedSAM2Method(build_efficient_medsam2_model(checkpoint="random", device="cpu"))
    volumes = choose_cases([ball_image], as_volumes=True)[:1]
    record = next(run_protocol("volume", method, volumes))
    assert 0.0 <= record.values["dice"] <= 1.0
    assert all(0.0 <= score <= 1.0 for score, _ in record.score_pairs)
    assert len(record.score_pairs) >= 1


class CopiesDrawings(BrightThings):
    """Takes what was drawn for the object."""

    protocols = (SCRIBBLE, LASSO)

    def segment_scribbles(self, image, spacing_mm, inside, outside):
        assert not (inside & outside).any()
        self.drawn = inside, outside
        return Prediction(inside, None)

    def segment_lasso(self, image, spacing_mm, region):
        return Prediction(region, 0.7)


def test_scribbles_are_on_the_object_and_beside_it_and_a_lasso_is_around_it(ball_image):
    cases = [case for case in choose_cases([ball_image]) if case.mask[20, 24]][:1]  # a slice of the ball
    method = CopiesDrawings()
    (record,) = run_protocol(SCRIBBLE, method, cases)
    inside, outside = method.drawn
    assert inside.any()
    assert not (inside & ~cases[0].mask).any()
    assert not (outside & cases[0].mask).any()
    assert record.score_pairs == []
    (record,) = run_protocol(LASSO, method, cases)
    assert 0.6 < record.values["dice"] < 1
    assert record.picture.prediction[cases[0].mask].mean() > 0.95
    (again,) = run_protocol(LASSO, method, cases)
    assert again.values == record.values  # every method gets the same drawings

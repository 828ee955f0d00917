"""Reliability of scores, and corrections that hurt."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from EfficientMedSAM2Lib.evaluation.cases import choose_cases
from EfficientMedSAM2Lib.evaluation.methods.interface import Prediction
from EfficientMedSAM2Lib.evaluation.protocols import run_protocol
from EfficientMedSAM2Lib.evaluation.report.corrections import corrections, corrections_text
from EfficientMedSAM2Lib.evaluation.report.reliability import reliability, reliability_text
from EfficientMedSAM2Lib.evaluation.report.tables import summarise


def record(*pairs, dataset="a", dices=()):
    case = SimpleNamespace(image=SimpleNamespace(dataset=dataset))
    return SimpleNamespace(score_pairs=list(pairs), click_dices=list(dices), case=case)


def test_bins_hold_the_means_of_their_pairs():
    found = reliability([record((0.91, 0.5), (0.95, 0.9)), record((1.0, 0.95), (0.3, 0.4)), record()])
    assert found["pairs"] == 4
    assert [(row["low"], row["high"], row["pairs"]) for row in found["bins"]] == [(0.3, 0.4, 1), (0.9, 1.0, 3)]
    assert found["bins"][1]["predicted"] == pytest.approx(2.86 / 3)
    assert found["bins"][1]["true"] == pytest.approx(2.35 / 3)
    assert found["calibration_error"] == pytest.approx((0.1 + 0.51) / 4)
    assert found["correlation"] is None, "four pairs are too few"


def test_correlation_needs_scores_that_differ():
    falling = [record((number / 20, 1 - number / 20)) for number in range(20)]
    assert reliability(falling)["correlation"] == pytest.approx(-1.0)
    assert reliability([record((0.5, 0.5)) for _ in range(20)])["correlation"] is None


def test_who_has_no_scores_and_no_corrections_prints_nothing():
    found = reliability([record()])
    assert found == {"pairs": 0, "correlation": None, "calibration_error": None, "bins": []}
    nothing = corrections([record(dices=[0.9])])
    assert nothing["share"] is None
    summary = {"reliability": found, "compact_reliability": found}
    assert reliability_text("x", summary) == ""
    assert corrections_text("x", {"corrections": nothing, "compact_corrections": nothing}) == ""


def test_sets_count_alike_and_the_first_click_corrects_nothing():
    records = [
        record(dices=[0.5, 0.4, 0.6, 0.6, 0.3]),  # two of four
        record(dices=[0.5, 0.6]),
        record(dataset="b", dices=[0.9, 0.95]),
        record(dataset="c", dices=[0.2]),  # no correction: does not count
    ]
    found = corrections(records)
    assert (found["clicks"], found["hurting"]) == (6, 2)
    assert found["datasets"] == {"a": pytest.approx(0.4), "b": 0.0}
    assert found["share"] == pytest.approx(0.2)
    assert found["mean_drop"] == pytest.approx(0.2)
    assert found["worst_drop"] == pytest.approx(0.3)


class LosesTheObject:
    """Finds the bright thing with the first click and again with the third, and loses half of it with the second."""

    name = "forgetful"
    protocols = ("clicks",)

    def set_image(self, image, spacing_mm):
        self.bright = image > 0.5

    def segment_clicks(self, points_xy, labels):
        mask = self.bright.copy()
        if len(points_xy) != 3:
            mask[:10] = False
        if len(points_xy) == 2:
            mask[::2] = False
        return Prediction(mask, 0.8)


def test_the_clicks_protocol_tells_them(ball_image):
    balls = dataclasses.replace(ball_image, labels=(ball_image.labels == 1).astype("uint8"))
    balls = dataclasses.replace(balls, voxels=balls.labels * 100.0)
    cases = [case for case in choose_cases([balls]) if case.index == 10]
    records = list(run_protocol("clicks", LosesTheObject(), cases))
    (dices,) = (found.click_dices for found in records)
    assert len(dices) == 3, "perfect after the third: nobody clicks again"
    assert dices[1] < dices[0] < dices[2] == 1.0
    summary = summarise(records)
    assert summary["corrections"]["share"] == 0.5
    assert summary["compact_corrections"]["worst_drop"] == pytest.approx(dices[0] - dices[1])
    assert "50.0 % (macro over sets; 1 of 2)" in corrections_text("forgetful", summary)
    assert "0.8 to 0.9" in reliability_text("forgetful", summary)

"""The score of a whole segment: what it says of slices with prompts, without them, and without any score."""

from __future__ import annotations

import pytest

from EfficientMedSAM2Lib.pipeline.volume_score import MIDDLE, volume_score

AREAS = {1: 10, 2: 30, 3: 0}


def test_slices_with_prompts_decide():
    """A small last slice is always less sure than the rest, and does not bring a good case to the head of the list."""
    good = volume_score({1: 0.1, 2: 0.9}, [2], AREAS)
    assert good == pytest.approx(volume_score({1: 0.8, 2: 0.9}, [2], AREAS))
    assert good > 0.8
    assert volume_score({1: 0.9, 2: MIDDLE}, [2], AREAS) == pytest.approx(0.5)
    assert volume_score({1: 0.5, 2: 0.3}, [1, 2], AREAS) == pytest.approx(volume_score({1: 0.4}, [1], AREAS))


def test_without_a_score_on_them_slices_count_by_their_area():
    expected = volume_score({1: (10 * 0.2 + 30 * 0.6) / 40}, [1], AREAS)
    assert volume_score({1: 0.2, 2: 0.6, 3: 0.0}, [7], AREAS) == pytest.approx(expected)


def test_nothing_found_and_nothing_computed():
    assert volume_score({1: 0.9}, [1], {1: 0}) == 0.0
    assert volume_score({}, [], AREAS) is None

"""Where a proposal is searched: viewports that cover the slice, as wide as training saw them; and what it takes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.models import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.predictors.slices import proposals
from EfficientMedSAM2Lib.predictors.slices.proposals import SEARCH_RATIO, _viewports, search_side_mm
from EfficientMedSAM2Lib.predictors.slices.slice_data import SliceImage
from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model


@pytest.mark.parametrize(
    ("shape", "spacing", "size_mm"),
    [((200, 300), (1.5, 1.0), 12.0), ((64, 64), (1.0, 1.0), 30.0), ((9, 500), (1.0, 1.0), 5.0)],
)
def test_viewports_cover_the_slice_and_are_square_in_mm(shape, spacing, size_mm):
    image = SliceImage(np.zeros(shape), IntensityWindow(0, 1, ""), spacing)
    seen = np.zeros(shape, bool)
    side = search_side_mm(shape, spacing, size_mm)
    assert side <= SEARCH_RATIO * size_mm
    for viewport in _viewports(image, size_mm):
        assert viewport.height * spacing[0] == pytest.approx(side, abs=max(spacing))
        assert viewport.width * spacing[1] == pytest.approx(side, abs=max(spacing))
        rows, columns = slice(max(viewport.y0, 0), viewport.y0 + viewport.height), slice(max(viewport.x0, 0), None)
        seen[rows, columns][:, : viewport.width + min(viewport.x0, 0)] = True
    assert seen.all()


def test_a_structure_of_unknown_size_is_searched_in_whole_slices():
    assert search_side_mm((100, 50), (1.0, 4.0), 0.0) == 200.0


def test_what_is_found_in_a_wide_viewport_is_looked_at_closely():
    """The second answer is the one that counts: its contour is finer, and less of what is beside it is in view."""
    size_mm, seen = 20.0, []

    class Slices:
        heuristics = HeuristicsConfig()

        def predict(self, image, prompts, cache, viewport):
            assert prompts.box is None
            assert not len(prompts.points)
            seen.append(viewport)
            logits = np.full((1, 64, 64), -9.0)
            if len(seen) == 2:  # of the wide ones the second one
                logits[0, 40:50, 30:34] = 9
            elif viewport.width < 50:
                logits[0, 20:40, 20:40] = 9
            there = (logits > 0).any()
            iou = np.array([0.9 if viewport.width > 50 else 0.7])
            return SimpleNamespace(presence=9.0 if there else -9.0, iou=iou, logits=logits), 0

    image = SliceImage(np.zeros((200, 300)), IntensityWindow(0, 1, ""), (1.0, 1.0))
    volume = SimpleNamespace(image=lambda index: image, cache=None)
    score, box = proposals._best_on(Slices(), volume, 0, size_mm)
    wide, close = seen[1], seen[-1]
    assert close.width == pytest.approx(Slices.heuristics.task_view_zoom * size_mm, rel=0.1)
    middle = (wide.x0 + wide.width / 2, wide.y0 + wide.height * 45 / 64)
    assert (close.x0 + close.width / 2, close.y0 + close.height / 2) == pytest.approx(middle, abs=3)
    assert score == pytest.approx(0.7, abs=0.01)
    assert box[2] - box[0] == pytest.approx(close.width * 20 / 64, abs=1.5)


def test_a_network_without_a_task_has_nothing_to_search():
    predictor = EfficientMedSAM2VolumePredictor(build_efficient_medsam2_model(runtime="onnx"))
    with pytest.raises(UserError, match="has learnt no structure"):
        predictor.propose_object(predictor.init_state(np.zeros((2, 16, 16))))

"""Where a proposal is searched: viewports that cover the slice, as wide as training saw them; and what it takes."""

from __future__ import annotations

import numpy as np
import pytest

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
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


def test_a_network_without_a_task_has_nothing_to_search():
    predictor = EfficientMedSAM2VolumePredictor(build_efficient_medsam2_model(runtime="onnx"))
    with pytest.raises(UserError, match="has learnt no structure"):
        predictor.propose_object(predictor.init_state(np.zeros((2, 16, 16))))

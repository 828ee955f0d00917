"""What decoding several objects at once would save: that it is measured, and adds up."""

from __future__ import annotations

import pytest

from EfficientMedSAM2Lib.evaluation.benchmark.batches import BATCHES, BatchTimes, measure_batches
from EfficientMedSAM2Lib.evaluation.lesions import lesion_phantom


@pytest.mark.slow
def test_shares_and_batches_are_measured():
    from EfficientMedSAM2Lib.pipeline.engine import build_session

    session = build_session(encoder="mobilenet", runtime="onnx", threads=2)
    times = measure_batches(session, lesion_phantom(2, shape_kji=(24, 96, 96)), rounds=1)
    assert tuple(times.object_ms) == BATCHES
    assert 0 < times.share_clicks < 1
    assert 0 < times.share_propagation < 1
    assert session.segments == ("Lesion 1", "Lesion 2")


def test_what_is_saved_is_the_share_of_a_share():
    text = str(BatchTimes(0.4, 0.3, {1: 10.0, 2: 8.0, 4: 9.0}))
    assert "40% of the processor's time of the clicks and 30% of that of propagation" in text
    assert "1 at once 10.0, 2 at once 8.0, 4 at once 9.0" in text
    assert "save 8% of the clicks' time and 6% of propagation's, at most" in text

"""The phantom of many lesions, and its measurement."""

from __future__ import annotations

import numpy as np
import pytest

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.evaluation.lesions import lesion_phantom, measure_find_rest, measure_lesions

SMALL = (24, 96, 96)


@pytest.mark.slow
def test_lesions_are_where_they_are_said_to_be():
    phantom = lesion_phantom(4, shape_kji=SMALL)
    assert np.unique(phantom.labels).tolist() == [0, 1, 2, 3, 4]
    assert phantom.labels[tuple(phantom.centres.T)].tolist() == [1, 2, 3, 4]
    outside, inside = (phantom.volume[phantom.labels == n].mean() for n in (0, 1))
    assert outside == pytest.approx(50, abs=1)
    assert inside > 100
    assert np.array_equal(lesion_phantom(4, shape_kji=SMALL).volume, phantom.volume)
    with pytest.raises(UserError, match="do not fit"):
        lesion_phantom(400, shape_kji=SMALL)


@pytest.mark.slow
def test_clicks_on_lesions_find_them():
    from EfficientMedSAM2Lib.pipeline.engine import build_session

    times = measure_lesions(build_session(encoder="mobilenet", threads=2), lesion_phantom(3, shape_kji=SMALL))
    assert (times.count, len(times.dice)) == (3, 3)
    assert times.dice.mean() > 0.7
    assert "3 lesions, a click each" in str(times)


@pytest.mark.slow
def test_others_like_the_examples_are_proposed_and_no_more():
    from EfficientMedSAM2Lib.pipeline.engine import build_session

    phantom = lesion_phantom(6, shape_kji=(30, 128, 128))
    found = measure_find_rest(build_session(threads=2), phantom, examples=2)
    assert found.count == 4
    assert found.right >= 2
    assert found.proposed <= found.right + 2
    assert "precision" in str(found)

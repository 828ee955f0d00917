"""Masks of a box are drawn towards its ellipse as far as they agree with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from EfficientMedSAM2Lib.models import HeuristicsConfig
from EfficientMedSAM2Lib.predictors.image_predictor import EfficientMedSAM2ImagePredictor
from EfficientMedSAM2Lib.predictors.slices.roundness import rounded

SIZE, SIDE = 256, 64


def grid():
    return np.mgrid[:SIDE, :SIDE].astype(np.float32) * 4 + 1.5


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_a_frayed_disc_gets_smoother():
    y, x = grid()
    disc = np.hypot(x - 127.5, y - 127.5) <= 64
    frayed = np.where(disc, 3, -3) + np.random.default_rng(0).normal(0, 3, (SIDE, SIDE)).astype(np.float32)
    box = np.array([64, 64, 191, 191], np.float32)
    after = rounded(frayed[None], box, SIZE, HeuristicsConfig())[0] > 0
    assert dice(after, disc) > dice(frayed > 0, disc) + 0.03


def test_a_thin_diagonal_hardly_changes():
    y, x = grid()
    cord = np.where((abs(x - y) < 10) & (x > 64) & (x < 191), 3, -3).astype(np.float32)
    after = rounded(cord[None], np.array([64, 64, 191, 191], np.float32), SIZE, HeuristicsConfig())[0]
    assert ((after > 0) == (cord > 0)).all()


@given(st.tuples(st.floats(0, 120), st.floats(0, 120), st.floats(0, 130), st.floats(0, 130)), st.integers(0, 2**32 - 1))
def test_nothing_grows_beyond_the_ellipse(corner_and_extent, seed):
    x0, y0, width, height = corner_and_extent
    logits = np.random.default_rng(seed).normal(0, 2, (4, SIDE, SIDE)).astype(np.float32)
    after = rounded(logits, np.array([x0, y0, x0 + width, y0 + height]), SIZE, HeuristicsConfig())
    y, x = grid()
    u, v = (2 * x - 2 * x0 - width) / max(width + 1, 1), (2 * y - 2 * y0 - height) / max(height + 1, 1)
    outside = u * u + v * v >= 1
    assert after.dtype == np.float32
    assert (after[:, outside] <= logits[:, outside]).all()
    assert (after[:, ~outside] >= logits[:, ~outside]).all()


@pytest.mark.parametrize("more", [{"point_coords": [[50, 50]], "point_labels": [1]}, {"mask_input": True}])
def test_only_a_box_alone_is_rounded(model, more, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "EfficientMedSAM2Lib.predictors.slices.slice_predictor.rounded", lambda masks, *_: calls.append(1) or masks
    )
    predictor = EfficientMedSAM2ImagePredictor(model)
    predictor.set_image(np.zeros((100, 100), np.float32))
    _, _, low_res = predictor.predict(box=[30, 30, 70, 70], multimask_output=False)
    assert calls == [1]
    if "mask_input" in more:
        more = {"mask_input": low_res}
    predictor.predict(box=[30, 30, 70, 70], multimask_output=False, **more)
    assert calls == [1]

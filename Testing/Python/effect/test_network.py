"""The effect on a real network: any weights will do for speed, threads and errors; shapes are the oracle's business."""

from __future__ import annotations

import time

import numpy as np
import pytest
from effect_user import INSIDE, start_user, truth

pytest.importorskip("torch")


def test_a_cpu_computes_on_onnx_runtime():
    from EfficientMedSAM2Lib.mrml.effect.predictor_loader import load_predictor

    assert load_predictor(device="cpu").model.array_library == "numpy"
    assert load_predictor(checkpoint="random", device="cpu").model.runtime == "PyTorch"  # never exported


@pytest.mark.slow
def test_random_network_answers_and_propagates(slicer_host, segment_editor, monkeypatch):
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    real = loader.load_predictor
    monkeypatch.setattr(
        loader, "load_predictor", lambda **arguments: real(**{**arguments, "checkpoint": "random", "device": "cpu"})
    )
    volume = np.where(truth(), 60, -80).astype(np.int16)
    user = start_user(slicer_host, segment_editor, None, volume, wait=False)
    user.wait()
    assert user.controller.is_ready
    user.click(INSIDE, wait=False)
    user.wait()
    assert user.prompt_count() == 1
    assert not user.controller.is_error
    assert 0 < user.controller.first_latency_s < 10
    user.parameter("StopWhenLost", "0")
    longest, last = 0.0, time.perf_counter()
    user.press(user.panel.propagateButton, wait=False)
    while user.controller.is_busy:
        user.host.process_events(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert not user.controller.is_error, user.controller.message
    assert set(user.controller.scores.scores) == set(range(24))
    assert longest < 3.0  # the window was never left alone for long, on a busy machine
    assert user.voxels() == volume.tobytes()
    user.undo()
    user.undo()
    assert user.count() == 0

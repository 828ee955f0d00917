"""The effect on a real network: any weights will do for speed, threads and errors; shapes are the oracle's business."""

from __future__ import annotations

import time

import numpy as np
import pytest
from desk import INSIDE, open_desk, truth

pytest.importorskip("torch")


def test_a_cpu_computes_on_onnx_runtime():
    from EfficientMedSAM2Lib.mrml.effect.predictor_loader import load_predictor

    assert load_predictor(device="cpu").model.array_library == "numpy"
    assert load_predictor(checkpoint="random", device="cpu").model.runtime == "PyTorch"  # never exported


def test_random_network_answers_and_propagates(slicer_host, segment_editor, monkeypatch):
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    real = loader.load_predictor
    monkeypatch.setattr(
        loader, "load_predictor", lambda **arguments: real(**{**arguments, "checkpoint": "random", "device": "cpu"})
    )
    volume = np.where(truth(), 60, -80).astype(np.int16)
    desk = open_desk(slicer_host, segment_editor, None, volume, wait=False)
    desk.wait(60000)
    assert desk.controller.is_ready
    desk.click(INSIDE, wait=False)
    desk.wait(20000)
    assert desk.prompt_count() == 1
    assert not desk.controller.is_error
    assert 0 < desk.controller.first_latency_s < 10
    desk.parameter("StopWhenLost", "0")
    longest, last = 0.0, time.perf_counter()
    desk.press(desk.panel.propagateButton, wait=False)
    while desk.controller.is_busy:
        desk.host.process_events(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert not desk.controller.is_error, desk.controller.message
    assert set(desk.controller.scores.scores) == set(range(24))
    assert longest < 3.0  # the window was never left alone for long, on a busy machine
    assert desk.voxels() == volume.tobytes()
    desk.undo()
    desk.undo()
    assert desk.count() == 0

"""A fork of a process with a network: an error at once, never a wait without end."""

from __future__ import annotations

import multiprocessing
import sys

import numpy as np
import pytest

from EfficientMedSAM2Lib import EfficientMedSAM2ImagePredictor, build_efficient_medsam2_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


def answer(predictor, connection):
    try:
        connection.send(predictor.predict(box=[20, 20, 40, 40], multimask_output=False)[0].shape)
    except RuntimeError as error:
        connection.send(str(error))


def in_a_fork(predictor):
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=answer, args=(predictor, there))
    process.start()
    try:
        return here.recv() if here.poll(30) else "no answer"
    finally:
        process.kill()
        process.join()


@pytest.mark.slow
@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_a_fork_is_told_at_once(runtime, used, request):
    checkpoint = request.getfixturevalue("exported") if runtime == "onnx" else None
    predictor = EfficientMedSAM2ImagePredictor(build_efficient_medsam2_model(checkpoint=checkpoint, runtime=runtime))
    predictor.set_image(np.zeros((64, 64), np.uint8))
    if used:
        predictor.predict(box=[20, 20, 40, 40], multimask_output=False)
    assert "forked after the network was built" in in_a_fork(predictor)

"""INT8: smaller, and nearly the same masks, on the slices of a real CT."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from EfficientMedSAM2Lib.models import MemoryBank, PromptBatch
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2ImagePredictor
from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model
from EfficientMedSAM2Lib.runtimes.onnx.calibration import calibration_images


def test_calibration_sees_many_kinds_of_pictures():
    images = calibration_images(64, count=6)
    assert images.shape == (12, 3, 64, 64)
    assert images.min() >= 0
    assert images.max() <= 1
    assert len({round(float(image.mean()), 4) for image in images}) == 12
    assert np.array_equal(images, calibration_images(64, count=6))


@pytest.mark.slow
def test_every_graph_of_int8_runs(cache):
    """ONNX Runtime's quantiser makes graphs that cannot be loaded of a matrix product with a vector of weights."""
    network = build_efficient_medsam2_model("efficientnet", runtime="onnx", precision="int8")
    generator = np.random.default_rng(0)
    features = network.encode_image(generator.random((1, 3, 256, 256), np.float32))
    maps, pointers = np.zeros((1, 2, 64, 16, 16), np.float32), np.zeros((1, 2, 192), np.float32)
    bank = MemoryBank(maps, pointers, np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32))
    box = PromptBatch(np.zeros((1, 0, 2)), np.zeros((1, 0)), np.array([[40.0, 50, 120, 160]]))
    decoded = network.decode(network.attend(features, bank), network.encode_prompts(box))
    size = network.config.low_res_size
    assert decoded.logits.shape == (1, 4, size, size)
    assert np.isfinite(decoded.logits).all()
    assert network.encode_memory(features, decoded.logits[:, :1]).shape == (1, 64, 16, 16)


@pytest.mark.nightly
@pytest.mark.parametrize("encoder", ["efficientnet", "mobilenet"])
def test_int8_is_smaller_and_as_good(cache, chest, encoder):
    networks = {
        name: build_efficient_medsam2_model(encoder, runtime="onnx", precision=name) for name in ("fp32", "int8")
    }
    assert networks["int8"].compute_dtype == "int8"
    assert networks["int8"].path.stat().st_size < 0.6 * networks["fp32"].path.stat().st_size
    volume, labels = chest
    scores = {name: [] for name in networks}
    for value in (3, 5, 6):
        truth = labels == value
        for k in np.flatnonzero(truth.sum(axis=(1, 2)) > 100)[::3].tolist():
            rows, columns = np.flatnonzero(truth[k].any(axis=1)), np.flatnonzero(truth[k].any(axis=0))
            for name, network in networks.items():
                predictor = EfficientMedSAM2ImagePredictor(network)
                predictor.set_image(volume[k], modality="CT")
                box = [columns[0], rows[0], columns[-1], rows[-1]]
                mask = predictor.predict(box=box, multimask_output=False)[0][0] > 0
                scores[name].append(2 * (mask & truth[k]).sum() / (mask.sum() + truth[k].sum()))
    assert np.mean(scores["fp32"]) - np.mean(scores["int8"]) <= 0.01


@pytest.mark.slow
def test_int8_is_made_without_torch(tmp_path):
    """Of the shipped network in float32; what is missing for it is onnx alone."""
    code = (
        f"import sys, os; os.environ['EFFICIENT_MEDSAM2_CACHE'] = {str(tmp_path)!r}\n"
        "from work import Blocked; sys.meta_path.insert(0, Blocked({blocked}))\n"
        "from EfficientMedSAM2Lib import build_efficient_medsam2_model as build\n"
        "try: network = build('mobilenet', precision='int8')\n"
        "except ValueError as error: sys.exit(f'refused: {{error}}')\n"
        "import numpy as np\n"
        "print(network.compute_dtype, network.encode_image(np.zeros((1, 3, 256, 256), np.float32)).embedding.shape)\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code.format(blocked=blocked)],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
        )
        for blocked in ("", "'torch', 'torchvision', 'timm'")
    ]
    assert "refused: There is no exported network for mobilenet (int8), and onnx is not" in runs[0].stderr
    assert "pip install onnx" in runs[0].stderr
    assert runs[1].stdout.split(" ", 1) == ["int8", "(1, 192, 16, 16)\n"], runs[1].stderr

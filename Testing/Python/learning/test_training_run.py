"""A training runs, stops in time, leaves weights that load, and goes on from its checkpoint."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset

from EfficientMedSAM2Lib.models import EfficientMedSAM2, ModelConfig, load_model
from EfficientMedSAM2Lib.models.timm_import import import_timm

import_timm()
pytest.importorskip("lightning")

from EfficientMedSAM2Lib.learning import train as training  # noqa: E402
from EfficientMedSAM2Lib.learning.stages.clips import ClipTraining  # noqa: E402
from EfficientMedSAM2Lib.learning.stages.distil import DistilledTraining, feature_error  # noqa: E402
from EfficientMedSAM2Lib.learning.stages.slices import PromptTraining  # noqa: E402

OPTIONS: dict[str, Any] = {"compile_model": False, "rounds": 2, "learning_rate": 1e-3}


def disks(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Bright disks on dark noise: images (B,3,256,256) and masks (B,256,256)."""
    rows, columns = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    x, y = 90 + 70 * torch.rand(2, count, 1, 1, generator=generator)
    radius = 25 + 35 * torch.rand(count, 1, 1, generator=generator)
    masks = (((columns - x) ** 2 + (rows - y) ** 2) < radius**2).float()
    images = 0.3 + 0.4 * masks + 0.05 * torch.randn(count, 256, 256, generator=generator)
    return images[:, None].clamp(0, 1).expand(-1, 3, -1, -1), masks


class DiskSlices(IterableDataset[dict[str, Any]]):
    def __iter__(self) -> Iterator[dict[str, Any]]:
        generator = torch.Generator().manual_seed(0)
        while True:
            images, masks = disks(2, generator)
            yield {
                "image": images,
                "mask": masks,
                "neighbour_mask": masks,
                "neighbour_valid": torch.tensor([True, True]),
                "neighbour_distance_mm": torch.ones(2),
                "pixel_scale": torch.ones(2),
            }


class DiskClips(IterableDataset[dict[str, Any]]):
    def __iter__(self) -> Iterator[dict[str, Any]]:
        generator = torch.Generator().manual_seed(1)
        while True:
            images, masks = disks(2, generator)
            gone = torch.zeros_like(masks)
            yield {
                "images": images[:, None].expand(-1, 3, -1, -1, -1),
                "masks": torch.stack([masks, masks, gone], dim=1),
                "distance_mm": torch.tensor([[0.0, 2, 4], [0, -3, -6]]),
                "pixel_mm": torch.ones(2),
            }


@pytest.mark.slow
def test_run_stops_in_time_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_MINUTES", 1e-6)
    torch.manual_seed(0)
    module = PromptTraining(EfficientMedSAM2(ModelConfig("mobilenet")), max_minutes=1e-6, **OPTIONS)
    before = module.model.mask_decoder.iou_head.layers[0].weight.detach().clone()
    model = training.train(module, DiskSlices(), tmp_path, precision="32-true", workers=0)
    assert not torch.equal(model.mask_decoder.iou_head.layers[0].weight, before)
    torch.testing.assert_close(
        load_model(tmp_path / "model.safetensors").no_memory, model.no_memory.detach(), atol=1e-3, rtol=1e-2
    )
    checkpoint = tmp_path / "last.ckpt"
    assert checkpoint.is_file()

    again = PromptTraining(EfficientMedSAM2(ModelConfig("mobilenet")), max_minutes=1e-6, **OPTIONS)
    training.train(again, DiskSlices(), tmp_path / "again", resume=checkpoint, precision="32-true", workers=0)
    assert again.elapsed >= module.elapsed, "time spent before must count"


def test_curve_holds_means_of_the_steps_there_were(tmp_path: Path) -> None:
    class Trainer:
        global_step = 0
        is_global_zero = True
        callback_metrics: dict[str, torch.Tensor] = {}  # noqa: RUF012

    log, trainer, module = training.CurveLog(tmp_path / "curve.csv", every=4), Trainer(), PromptTraining(None)
    for step in (3, 4, 5, 6, 7, 8):  # as after resuming at step 2
        trainer.global_step, trainer.callback_metrics = step, {"loss": torch.tensor(float(step))}
        log.on_train_batch_end(trainer, module)
    rows = list(csv.DictReader((tmp_path / "curve.csv").open()))
    assert [(row["step"], float(row["loss"])) for row in rows] == [("4", 3.5), ("8", 6.5)]


@pytest.mark.slow
def test_every_parameter_learns_from_slices_and_clips() -> None:
    torch.manual_seed(0)
    module = ClipTraining(EfficientMedSAM2(ModelConfig("mobilenet")).train(), **OPTIONS)
    module.log = module.log_dict = lambda *args, **kwargs: None
    batch = {"slices": next(iter(DiskSlices())), "clips": next(iter(DiskClips()))}
    for _ in range(2):  # what follows a layer that starts at zero learns from the second step on
        module.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        with torch.no_grad():
            for parameter in module.model.parameters():
                if parameter.grad is not None:
                    parameter -= 1e-3 * parameter.grad.sign()
    assert loss.isfinite()
    idle = [name for name, p in module.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A candidate that was never the best, and the pointer of an object that was never absent, had nothing to learn.
    excused = ("mask_decoder.mask_heads.", "no_object_pointer")
    assert [name for name in idle if not name.startswith(excused)] == []


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
def test_of_a_long_clip_only_some_slices_are_learnt_from(frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = EfficientMedSAM2(ModelConfig("mobilenet")).train()
    module = ClipTraining(model, learned_slices=1, frozen_encoder=frozen, **OPTIONS)
    if frozen:
        model.image_encoder.eval().requires_grad_(False)
    learned: list[str] = []
    module.log = lambda name, *args, **kwargs: learned.append(name)
    with_gradient: list[bool] = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda *given: with_gradient.append(torch.is_grad_enabled()) or decode(*given))
    monkeypatch.setattr("EfficientMedSAM2Lib.learning.stages.clips.SHARE_OF_CORRECTIONS", 0.0)
    clip = next(iter(DiskClips()))
    seen = set()
    for _ in range(12):
        learned.clear()
        with_gradient.clear()
        assert module._clip_loss(clip).requires_grad
        (place,) = (int(name.rsplit("/", 1)[1]) for name in learned if name.startswith("clip_iou"))
        assert with_gradient == [False] * place + [True]
        seen.add(place)
    assert seen == {0, 1, 2}


def changed_by_training(folder: Path, **options: Any) -> set[str]:
    """Names of parameters and statistics that a step of training changes."""
    torch.manual_seed(0)
    model = EfficientMedSAM2(ModelConfig("mobilenet"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    module = PromptTraining(model, max_minutes=1e-6, **options, **OPTIONS)
    training.train(module, DiskSlices(), folder, precision="32-true", workers=0)
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def test_a_frozen_encoder_stays_as_it_is_while_the_rest_learns(tmp_path: Path) -> None:
    changed = changed_by_training(tmp_path, frozen_encoder=True)
    assert not [name for name in changed if name.startswith("image_encoder.")], "statistics of the trunk count, too"
    assert [name for name in changed if name.startswith("mask_decoder.")]


@pytest.mark.parametrize("fixed", [False, True])
def test_statistics_of_small_batches_can_be_left_out(fixed: bool, tmp_path: Path) -> None:
    changed = changed_by_training(tmp_path, fixed_statistics=fixed)
    statistics = [name for name in changed if name.endswith(("running_mean", "running_var"))]
    assert bool(statistics) != fixed
    assert [name for name in changed if name.startswith("image_encoder.trunk.") and name.endswith("weight")]


def test_only_chosen_parameters_learn(tmp_path: Path) -> None:
    changed = changed_by_training(tmp_path, train_only=("mask_decoder.iou_head",))
    names = EfficientMedSAM2(ModelConfig("mobilenet")).state_dict()
    assert changed == {name for name in names if name.startswith("mask_decoder.iou_head.")}


def test_a_part_that_is_not_there_cannot_learn() -> None:
    with pytest.raises(ValueError, match=r"begins with 'iou_head'.*mask_decoder"):
        PromptTraining(EfficientMedSAM2(ModelConfig("mobilenet")), train_only=("iou_head",), **OPTIONS)


def test_distillation_draws_the_student_to_the_teacher() -> None:
    torch.manual_seed(0)
    teacher = EfficientMedSAM2(ModelConfig("mobilenet"))
    module = DistilledTraining(
        EfficientMedSAM2(ModelConfig("mobilenet")).train(), teacher, output_weight=0.0, max_minutes=1.0, **OPTIONS
    )
    module.log = module.log_dict = lambda *args, **kwargs: None
    assert "_teacher" not in "".join(module.state_dict()), "the teacher must not be saved with the student"
    batch = next(iter(DiskSlices()))
    optimizer = torch.optim.AdamW(module.model.image_encoder.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    with torch.no_grad():
        same = teacher.encode_image(batch["image"])
    assert float(feature_error(same, same)) == 0

"""A smaller network learns to answer as an exported one does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from EfficientMedSAM2Lib.core.resources import resource_path, shipped_weights
from EfficientMedSAM2Lib.models import EfficientMedSAM2, ModelConfig, load_model
from EfficientMedSAM2Lib.models.timm_import import import_timm

import_timm()
pytest.importorskip("lightning")
pytest.importorskip("onnxruntime")

from EfficientMedSAM2Lib.learning.stages.imitation import STUDENT_PARTS, ImitationTraining  # noqa: E402
from EfficientMedSAM2Lib.runtimes.onnx.onnx_network import OnnxNetwork  # noqa: E402

Make = Callable[[EfficientMedSAM2], tuple[ImitationTraining, dict[str, float]]]


@pytest.fixture(scope="module")
def teacher() -> OnnxNetwork:
    """The shipped network, as any other that was exported."""
    return OnnxNetwork(resource_path("Models", "efficient_medsam2_mobilenet_fp32.onnx.zip"), streams=1)


@pytest.fixture
def make(teacher: OnnxNetwork) -> Make:
    """A training of a student, and a dict that gets what it logs last."""

    def made(model: EfficientMedSAM2) -> tuple[ImitationTraining, dict[str, float]]:
        module = ImitationTraining(model.train(), teacher, compile_model=False, rounds=2, max_minutes=1.0)
        model.image_encoder.eval()
        said: dict[str, float] = {}
        module.log = lambda *args, **kwargs: None  # type: ignore[assignment,method-assign]
        module.log_dict = lambda given, **kwargs: said.update(  # type: ignore[assignment,method-assign]
            {name: float(value) for name, value in given.items()}
        )
        return module, said

    return made


def batch(generator: torch.Generator) -> dict[str, Any]:
    """Two slices, and two clips of three slices of which the last is without the object."""
    rows, columns = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    x, y, radius = 80 + 60 * torch.rand(3, 2, 1, 1, generator=generator)
    masks = (((columns - x) ** 2 + (rows - y) ** 2) < (radius / 2) ** 2).float()
    images = (0.3 + 0.4 * masks)[:, None].expand(-1, 3, -1, -1)
    slices = {
        "image": images,
        "mask": masks,
        "neighbour_mask": masks,
        "neighbour_valid": torch.tensor([True, True]),
        "neighbour_distance_mm": torch.ones(2),
        "pixel_scale": torch.ones(2),
    }
    clips = {
        "images": images[:, None].expand(-1, 3, -1, -1, -1),
        "masks": torch.stack([masks, masks, torch.zeros_like(masks)], dim=1),
        "distance_mm": torch.tensor([[0.0, 2, 4], [0, -3, -6]]),
    }
    return {"slices": slices, "clips": clips}


def errors(said: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in said.items() if name.startswith("imitation/")}


def test_who_answers_as_the_teacher_has_nothing_to_learn_of_it(make: Make) -> None:
    module, said = make(load_model(shipped_weights("mobilenet")))
    assert "_teacher" not in "".join(module.state_dict()), "the teacher must not be saved with the student"
    module.training_step(batch(torch.Generator().manual_seed(0)), 0)
    assert set(errors(said)) == {f"imitation/{part}" for part in ("masks", "object", "scores", "pointers", "maps")}
    assert max(errors(said).values()) < 1e-3


@pytest.mark.slow
def test_a_student_is_drawn_to_the_teacher_and_its_encoders_stay(make: Make) -> None:
    torch.manual_seed(0)
    model = load_model(shipped_weights("mobilenet"))
    with torch.no_grad():
        for parameter in (*model.mask_decoder.parameters(), *model.memory_attention.parameters()):
            parameter += 0.03 * torch.randn_like(parameter)
    module, said = make(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-3)
    told = []
    for _ in range(8):
        optimizer.zero_grad()
        module.training_step(batch(torch.Generator().manual_seed(0)), 0).backward()
        optimizer.step()
        told.append(sum(errors(said).values()))
    assert min(told[-3:]) < 0.7 * told[0]
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(STUDENT_PARTS)


@pytest.mark.slow
def test_a_student_that_computes_in_bfloat16_can_ask_the_teacher(make: Make) -> None:
    module, said = make(load_model(shipped_weights("mobilenet")))
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.training_step(batch(torch.Generator().manual_seed(0)), 0)
    assert loss.isfinite()
    assert max(errors(said).values()) < 0.1, "the answers of bfloat16 and float32 hardly differ"


def test_a_teacher_of_other_sizes_is_refused(teacher: OnnxNetwork) -> None:
    for other in ({"encoder_type": "efficientnet"}, {"memory_dim": 32}):
        config = dataclasses.replace(ModelConfig("mobilenet"), **other)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"teacher's {next(iter(other))}.*behind the image encoder"):
            ImitationTraining(EfficientMedSAM2(config), teacher)

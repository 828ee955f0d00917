"""What Lightning trains when a network is to learn from a teacher of another kind: LiteMedSAM, MedSAM2, SAM2."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from EfficientMedSAM2Lib.learning.losses import low_resolution_target, round_loss
from EfficientMedSAM2Lib.learning.rounds import box_prompts, first_prompts, on_device, with_appearance
from EfficientMedSAM2Lib.learning.stages.distil import IMITATION_SCALE
from EfficientMedSAM2Lib.learning.stages.projection import FeatureProjection, embedding_error
from EfficientMedSAM2Lib.learning.stages.slices import PromptTraining
from EfficientMedSAM2Lib.learning.teachers.targets import TeacherTargets, TeacherTargetSource
from EfficientMedSAM2Lib.models import EfficientMedSAM2, ImageFeatures


class ForeignDistillation(PromptTraining):
    """Feature and output distillation from a teacher that shares nothing with the student but the view, beside labels.

    Features: through learned projections (`FeatureProjection`), squared error and cosine, as the efficient SAMs do it
    (MobileSAM, arXiv 2306.14289; EdgeTAM, arXiv 2501.07256). Outputs: the teacher's mask for a box, only where it is
    sure and agrees with itself when the box is moved.

    Args:
        model: The student.
        targets: What the teacher says.
        feature_weight: Weight of the error of the projected features.
        output_weight: Weight of the squared error of mask probabilities.
        options: Those of `PromptTraining`.
    """

    def __init__(
        self,
        model: EfficientMedSAM2,
        targets: TeacherTargetSource,
        feature_weight: float = 1.0,
        output_weight: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self._targets = targets
        self.feature_weight = feature_weight
        self.output_weight = output_weight
        # Beside the model: trained and checkpointed with it, but no part of its weights file.
        self.projection = FeatureProjection(model.config, targets.teacher.channels) if targets.features else None

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        count = len(batch["image"])
        taught = self._targets.of_batch(batch)
        features = self.model.encode_image(batch["image"])
        alone = self.model.without_memory(features)
        target = low_resolution_target(batch["mask"], self.model.config.low_res_size)
        prompts = with_appearance(first_prompts(batch, target.shape[-1], self.rng), batch["image"], self.rng)
        decoded = self.model.decode(alone, self.model.encode_prompts(prompts))
        result = round_loss(decoded, target)
        loss = result["loss"]
        if self.projection is not None:
            wanted = tuple(part.to(self.device) for part in taught.maps)
            error = embedding_error(self.projection(features, wanted), wanted)
            loss = loss + self.feature_weight * error
            self.log("feature_error", error.detach(), prog_bar=True, batch_size=count)
        if self._targets.masks:
            imitation = self._imitation(alone, taught)
            loss = loss + self.output_weight * IMITATION_SCALE * imitation
            self.log("imitation", imitation.detach(), batch_size=count)
            self.log("trusted", taught.trusted.float().mean(), batch_size=count)
        self.log("iou", result["iou"], prog_bar=True, batch_size=count)
        self.log("known", taught.hits / count, prog_bar=True, batch_size=count)
        return loss

    def _imitation(self, features: ImageFeatures, taught: TeacherTargets) -> Tensor:
        """Squared error of the single mask's probabilities where the teacher is trusted; 0 where it never is."""
        prompts = on_device(box_prompts(taught.boxes, self.model.config.low_res_size), self.device)
        shown = self.model.decode(features, self.model.encode_prompts(prompts)).logits[:, 0].sigmoid()
        error = F.mse_loss(shown, taught.logits.to(self.device).sigmoid(), reduction="none").mean(dim=(1, 2))
        trusted = taught.trusted.to(self.device).float()
        return (error * trusted).sum() / trusted.sum().clamp_min(1)

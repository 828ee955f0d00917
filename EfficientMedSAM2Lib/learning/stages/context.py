"""What Lightning trains when the 3D context network learns how far objects go."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from EfficientMedSAM2Lib.learning.stages.slices import PromptTraining
from EfficientMedSAM2Lib.models import EfficientMedSAM2

BCE_WEIGHT = 2.0
DICE_SMOOTHING = 20.0
"""Cells added to both sides of the Dice coefficient: objects of few cells do not outweigh the others."""
WEIGHT_DECAY = 0.02


class ContextTraining(PromptTraining):
    """Batches are those of `collate_cubes`. Only the context network learns; the 2D network stays as it is.

    Args:
        model: Network with a context part.
        options: Those of `PromptTraining`, but for the parts to train.
    """

    def __init__(self, model: EfficientMedSAM2, **options: Any) -> None:
        super().__init__(model, **{**options, "train_only": ("context.",)})

    def compile_parts(self) -> None:
        assert self.model.context is not None
        self.model.context.compile(dynamic=False)

    def on_train_start(self) -> None:
        super().on_train_start()
        assert self.model.context is not None
        self.model.context.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        logits = self.model.context_logits(batch["inputs"]).float()
        losses = context_loss(logits, batch["mask"], batch["valid"])
        self.log_dict({name: value.detach() for name, value in losses.items()}, prog_bar=True, batch_size=len(logits))
        return losses["loss"]

    def configure_optimizers(self) -> Any:
        assert self.model.context is not None
        parameters = list(self.model.context.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return self.scheduled(torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.98)))


def context_loss(logits: Tensor, mask: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Soft Dice and cross entropy over the cells that lie in the volume.

    Args:
        logits: (B,N,N,N).
        mask: (B,N,N,N) share of each cell that the object covers, 0...1.
        valid: (B,N,N,N) bool.

    Returns:
        Scalars: "loss" is the weighted sum, "dice" that of the hard masks.
    """
    cells = (1, 2, 3)
    counts = valid.float()
    entropy = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    entropy = (entropy * counts).sum(cells) / counts.sum(cells).clamp_min(1)
    found, truth = logits.sigmoid() * counts, mask * counts
    overlap = 2 * (found * truth).sum(cells) + DICE_SMOOTHING
    soft = 1 - overlap / (found.sum(cells) + truth.sum(cells) + DICE_SMOOTHING)
    hard, wanted = (logits > 0) & valid, (mask > 0.5) & valid
    dice = 2 * (hard & wanted).sum(cells) / (hard.sum(cells) + wanted.sum(cells)).clamp_min(1)
    return {"loss": (BCE_WEIGHT * entropy + soft).mean(), "dice": dice.mean()}


__all__ = ["ContextTraining", "context_loss"]

"""What Lightning trains: rounds of simulated prompts on single slices."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.models.timm_import import import_timm

import_timm()  # Lightning's torchmetrics imports torchvision, which may need the same help as timm.

import lightning  # noqa: E402

from EfficientMedSAM2Lib.learning.depthwise import compute_depthwise_in_float32  # noqa: E402
from EfficientMedSAM2Lib.learning.losses import low_resolution_target, round_loss  # noqa: E402
from EfficientMedSAM2Lib.learning.rounds import correct_prompts, first_prompts, with_appearance  # noqa: E402
from EfficientMedSAM2Lib.models import (  # noqa: E402
    DecodedMasks,
    EfficientMedSAM2,
    ImageFeatures,
    MemoryBank,
    PromptBatch,
)
from EfficientMedSAM2Lib.models.bundles import EncodedPrompts  # noqa: E402

WARMUP_STEPS = 100
FINAL_RATE = 0.01


class PromptTraining(lightning.LightningModule):
    """Teach a network masks from prompts: a first prompt, then corrective clicks on its own result.

    Args:
        model: Network that is not fused.
        learning_rate: Peak rate of everything behind the trunk.
        trunk_rate: Peak rate of the trunk over learning_rate: below 1 for one that starts from ImageNet.
        max_minutes: The rate falls along a cosine to FINAL_RATE of its peak at this time of training ...
        max_steps: ... or after so many steps, if that comes first; None for the time alone.
        rounds: Decoded rounds per sample.
        compile_model: Compile with torch.compile. On a 2-core CPU with bfloat16 a step of 16 samples and 2 rounds took
            1.05 s compiled and 7.8 s in eager float32. Without it, on a CPU, depthwise convolutions compute in float32.
        seed: Seed of the prompts.
        frozen_encoder: Leave the image encoder as it is and train what stands behind it: on a CPU without bfloat16 the
            encoder's backward pass is most of a step.
        fixed_statistics: Batch normalisations keep the mean and variance that the weights came with: for batches, or
            clips of one volume, too small to have their own.
        train_only: Beginnings of the names of the only parameters to train; none: all. The encoder is frozen where none
            of them is its own.

    Raises:
        UserError: No parameter is called so.
    """

    def __init__(
        self,
        model: EfficientMedSAM2,
        learning_rate: float = 1e-3,
        trunk_rate: float = 0.3,
        max_minutes: float = 60.0,
        rounds: int = 2,
        compile_model: bool = True,
        seed: int = 0,
        frozen_encoder: bool = False,
        fixed_statistics: bool = False,
        train_only: tuple[str, ...] = (),
        max_steps: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.frozen_encoder = frozen_encoder
        self.fixed_statistics = fixed_statistics
        if train_only:
            self._freeze_all_but(train_only)
        self.learning_rate = learning_rate
        self.trunk_rate = trunk_rate
        self.max_minutes = max_minutes
        self.max_steps = max_steps
        self.rounds = rounds
        self.compile_model = compile_model
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.elapsed = 0.0
        self._tick = time.monotonic()

    def _freeze_all_but(self, beginnings: tuple[str, ...]) -> None:
        names = [name for name, _ in self.model.named_parameters()]
        for beginning in beginnings:
            if not any(name.startswith(beginning) for name in names):
                parts = ", ".join(name for name, _ in self.model.named_children())
                raise UserError(f"No parameter's name begins with {beginning!r}; the network's parts are {parts}.")
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name.startswith(beginnings))
        self.frozen_encoder = not any(p.requires_grad for p in self.model.image_encoder.parameters())

    def on_train_start(self) -> None:
        if self.frozen_encoder:
            self.model.image_encoder.eval().requires_grad_(False)
        if self.fixed_statistics:
            for part in self.model.modules():
                if isinstance(part, torch.nn.BatchNorm2d):
                    part.eval()
        if self.compile_model:
            self.compile_parts()
        elif self.device.type == "cpu":
            compute_depthwise_in_float32(self.model)
        self._tick = time.monotonic()
        if self.trainer.world_size > 1:
            # Every process sees other samples; let it give them other prompts too.
            self.rng = np.random.default_rng([self.seed, self.global_rank])

    def compile_parts(self) -> None:
        """Compile what is trained, in place: state-dict names stay what they are."""
        for part in (self.model.image_encoder, self.model.prompt_encoder, self.model.mask_decoder):
            part.compile(dynamic=False)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        now = time.monotonic()
        self.elapsed += now - self._tick
        self._tick = now

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["elapsed"] = self.elapsed
        checkpoint["prompts"] = self.rng.bit_generator.state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.elapsed = float(checkpoint.get("elapsed", 0.0))
        if "prompts" in checkpoint:
            self.rng.bit_generator.state = checkpoint["prompts"]

    @property
    def progress_made(self) -> float:
        """Share of the minutes, or of the steps where that is more, that is used up, 0...1."""
        steps = self.global_step / self.max_steps if self.max_steps else 0.0
        return min(max(self.elapsed / (60 * self.max_minutes), steps), 1.0)

    def encode(self, images: Tensor) -> ImageFeatures:
        """Features of images (B,3,S,S)."""
        return self.model.encode_image(images)

    def ask(self, features: ImageFeatures, prompts: PromptBatch, bank: MemoryBank | None = None) -> DecodedMasks:
        """What the network says of B objects, with memories of other slices or without any."""
        return answer(self.model, features, prompts, bank)[0]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        target = low_resolution_target(batch["mask"], self.model.config.low_res_size)
        features = self.encode(batch["image"])
        prompts = first_prompts(batch, target.shape[-1], self.rng)
        total = torch.zeros((), device=target.device)
        for number in range(self.rounds):
            decoded = self.ask(features, with_appearance(prompts, batch["image"], self.rng))
            losses = round_loss(decoded, target)
            total = total + losses["loss"]
            self.log_dict({f"{name}/{number}": value for name, value in losses.items()}, batch_size=len(target))
            if number + 1 < self.rounds:
                prompts = correct_prompts(prompts, decoded, target, self.rng)
        self.log("loss", total.detach() / self.rounds, prog_bar=True, batch_size=len(target))
        self.log("iou", losses["iou"], prog_bar=True, batch_size=len(target))
        return total / self.rounds

    def configure_optimizers(self) -> Any:
        trunk = list(self.model.image_encoder.trunk.parameters())
        known = {id(p) for p in trunk}
        rest = [p for p in self.parameters() if id(p) not in known]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
            {"params": trunk, "weight_decay": 0.01, "lr": self.learning_rate * self.trunk_rate},
        ]
        return self.scheduled(torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.98)))

    def scheduled(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """An optimizer whose rates rise and fall with the time of training."""
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress_made))
        return min(1.0, (step + 1) / WARMUP_STEPS) * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


def answer(
    network: Any, features: ImageFeatures, prompts: PromptBatch, bank: MemoryBank | None = None
) -> tuple[DecodedMasks, EncodedPrompts]:
    """What a network, exported or not, says of B objects, and how it understood their prompts."""
    seen = network.attend(features, bank) if bank is not None else network.without_memory(features)
    encoded = network.encode_prompts(prompts)
    return network.decode(seen, encoded), encoded

"""What Lightning trains in the second stage: propagation through memory, beside single slices."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from EfficientMedSAM2Lib.core.appearance import AppearanceModel
from EfficientMedSAM2Lib.learning.losses import low_resolution_target, round_loss
from EfficientMedSAM2Lib.learning.rounds import (
    box_prompts,
    correct_prompts,
    mask_appearance,
    mask_as_logits,
    on_device,
    with_appearance,
)
from EfficientMedSAM2Lib.learning.samples.prompts import degraded_masks, random_boxes
from EfficientMedSAM2Lib.learning.stages.slices import PromptTraining
from EfficientMedSAM2Lib.models import DecodedMasks, EfficientMedSAM2, MemoryBank, PromptBatch
from EfficientMedSAM2Lib.predictors.slices.slice_data import MASK_LOGIT

CLIP_WEIGHT = 1.0
SHARE_OF_MASK_PROMPTS = 0.4
SHARE_OF_FAULTY_MASKS = 0.5
"""Share of the mask prompts that are not quite the truth, as masks from elsewhere seldom are."""
SHARE_WITHOUT_NEIGHBOUR = 0.3
"""Share of slices that must be told from memory alone: with the neighbour's mask at hand memory would stay unused."""
SHARE_OF_CORRECTIONS = 0.25


class ClipTraining(PromptTraining):
    """Batches are a dict of a slice batch, "slices", and a clip batch, "clips".

    Args:
        model: Network that is not fused.
        learned_slices: So many slices in a row, somewhere in each clip, are learnt from; those before are followed as
            in use, with whatever errors that brings, and those behind left out. None: all slices are learnt from, and
            the neighbour's mask comes with its true distance (in short clips it deserves more trust than in use).
        options: Those of `PromptTraining`.
    """

    def __init__(self, model: EfficientMedSAM2, learned_slices: int | None = None, **options: Any) -> None:
        super().__init__(model, **options)
        self.learned_slices = learned_slices

    def on_train_start(self) -> None:
        super().on_train_start()
        if self.compile_model:
            for part in (self.model.memory_attention, self.model.memory_encoder):
                part.compile(dynamic=False)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = super().training_step(batch["slices"], batch_idx)
        return loss + CLIP_WEIGHT * self._clip_loss(batch["clips"])

    def _clip_loss(self, batch: dict[str, Any]) -> Tensor:
        images, masks = batch["images"], batch["masks"].float()
        count, length = images.shape[:2]
        # A batch normalisation that learns wants many slices at once; a frozen one is spared those that nobody follows.
        encoded = None if self.frozen_encoder else self.encode(images.flatten(0, 1))
        size = self.model.config.low_res_size
        memories: list[tuple[Tensor, Tensor]] = []
        losses = []
        logits = torch.zeros(count, 1, size, size, device=masks.device)
        appearance: AppearanceModel | None = None
        learned = min(self.learned_slices or length, length)
        start = int(self.rng.integers(length - learned + 1))
        for t in range(start + learned):
            with torch.set_grad_enabled(t >= start):
                # Slice t of every clip, of which each has its slices in a row.
                now = encoded.select(slice(t, None, length)) if encoded is not None else self.encode(images[:, t])
                target = low_resolution_target(masks[:, t], size)
                prompts = self._clip_prompts(batch, masks, logits, t)
                bank = self._bank(batch, memories, t) if t else None
                decoded = self.ask(now, with_appearance(prompts, images[:, t], self.rng, appearance), bank)
                if t >= start:
                    result = round_loss(decoded, target)
                    losses.append(result["loss"])
                    self.log(f"clip_iou/{t}", result["iou"], batch_size=count)
                    self.log(f"clip_object/{t}", result["object"], batch_size=count)
                if t >= max(start, 1) and self.rng.random() < SHARE_OF_CORRECTIONS:
                    corrected = correct_prompts(prompts, decoded, target, self.rng)
                    decoded = self.ask(now, with_appearance(corrected, images[:, t], self.rng), bank)
                    losses.append(round_loss(decoded, target)["loss"])
                logits = _present_logits(decoded)
                if t == 0 and prompts.dense is not None:
                    appearance = mask_appearance(logits, images[:, 0])
                chosen = torch.zeros(count, dtype=torch.long, device=masks.device)
                memory = self.model.encode_memory(now, logits)
                memories.append((memory, self.model.object_pointer(decoded, chosen)))
        return torch.stack(losses).mean()

    def _clip_prompts(self, batch: dict[str, Any], masks: Tensor, logits: Tensor, t: int) -> PromptBatch:
        count, size = len(masks), logits.shape[-1]
        prompts = box_prompts(torch.full((count, 4), math.nan), size)
        if t == 0:
            first = masks[:, 0].cpu()
            boxes = random_boxes(first, self.rng)
            boxes[:, 2:] -= 1
            as_mask = torch.from_numpy(self.rng.random(count) < SHARE_OF_MASK_PROMPTS)
            prompts.boxes = torch.where(as_mask[:, None], prompts.boxes, boxes)
            faulty = as_mask & torch.from_numpy(self.rng.random(count) < SHARE_OF_FAULTY_MASKS)
            if bool(faulty.any()):
                first = first.clone()
                first[faulty] = degraded_masks(first[faulty], self.rng)
            prompts.mask_logits, prompts.has_mask = mask_as_logits(first, size), as_mask
        else:
            shown = torch.from_numpy(self.rng.random(count) >= SHARE_WITHOUT_NEIGHBOUR)
            step = (batch["distance_mm"][:, t] - batch["distance_mm"][:, t - 1]).float().cpu()
            prompts.neighbour_logits = logits.detach().clamp(-20, 20)
            if self.learned_slices is not None:
                # As it is given in use: in bits, and no nearer than a share of the object's size.
                prompts.neighbour_logits = torch.where(logits.detach() > 0, MASK_LOGIT, -MASK_LOGIT)
                step = self._as_far_as_in_use(step, logits.detach() > 0, batch["pixel_mm"])
            prompts.neighbour_mm = torch.where(shown, step, torch.tensor(math.nan))
        return on_device(prompts, masks.device)

    def _as_far_as_in_use(self, step_mm: Tensor, shown: Tensor, pixel_mm: Tensor) -> Tensor:
        """Distances (B,) in mm that neighbouring masks (B,1,h,h) bool count as."""
        heuristics = self.model.heuristics
        if not heuristics.neighbour_distance:
            return step_mm
        ratio = self.model.config.image_size / shown.shape[-1]
        radius_mm = (shown.flatten(1).sum(dim=1).cpu() / math.pi).sqrt() * ratio * pixel_mm.cpu()
        least = (heuristics.neighbour_distance_radii * radius_mm).clamp_max(heuristics.neighbour_distance_mm)
        return torch.copysign(torch.maximum(step_mm.abs(), least), step_mm)

    def _bank(self, batch: dict[str, Any], memories: list[tuple[Tensor, Tensor]], t: int) -> MemoryBank:
        """The first slice, which had the prompt, and those before slice t, as many as are remembered in use."""
        distance = batch["distance_mm"].float()
        # Always the same number of memories, for torch.compile; those that are not there are masked out.
        slots = min(distance.shape[1] - 1, self.model.config.max_memories)
        known = [*range(t - 1, max(0, t - slots), -1), 0]
        padded = known + [0] * (slots - len(known))
        order = torch.arange(slots, device=distance.device)
        return MemoryBank(
            maps=torch.stack([memories[i][0] for i in padded], dim=1),
            pointers=torch.stack([memories[i][1] for i in padded], dim=1),
            distance_mm=distance[:, padded] - distance[:, t : t + 1],
            conditioning=(order == len(known) - 1).float().expand(len(distance), -1),
            valid=(order < len(known)).expand(len(distance), -1),
        )


def _present_logits(decoded: DecodedMasks) -> Tensor:
    """The single mask (B,1,h,w); clearly empty where the network says that the object is absent."""
    present = (decoded.object_logit > 0)[:, :, None, None]
    return torch.where(present, decoded.logits[:, :1], torch.full_like(decoded.logits[:, :1], -10.0))

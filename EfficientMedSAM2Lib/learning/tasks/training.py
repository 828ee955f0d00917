"""Training of additions on kept features: rounds of simulated prompts, as in the other stages, and none at all."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from EfficientMedSAM2Lib.core.metrics import dice
from EfficientMedSAM2Lib.learning.losses import low_resolution_target, round_loss
from EfficientMedSAM2Lib.learning.rounds import box_prompts, correct_prompts, first_prompts, on_device, with_appearance
from EfficientMedSAM2Lib.learning.samples.prompts import random_boxes
from EfficientMedSAM2Lib.learning.tasks.additions import Additions
from EfficientMedSAM2Lib.learning.tasks.samples import CaseSamples, SampleBatches, batch_of
from EfficientMedSAM2Lib.models import EfficientMedSAM2, PromptBatch

LEARNING_RATE = 1e-3
FINAL_RATE = 0.05
WARMUP_STEPS = 10
BATCH, ROUNDS = 12, 2
SHARE_UNPROMPTED = 0.6
"""Of the views as a search sees them: there the network finds the structure by itself, or says that it is not there."""
SHARE_OF_LOOSE_BOXES = 0.3
LOOSE_MARGIN = 0.5
"""Most that a loose box is too large by on each side, over its own side: with a task it means the structure."""
EMA_DECAY = 0.97


class TaskTraining:
    """Trains the additions of one fold.

    Args:
        model: Network in evaluation mode, not fused; it gets additions, and keeps them.
        cases: What it learns from.
        steps: Of the whole training: the learning rate falls along a cosine to the end of it.
        seed: The same seed gives the same task.

    Attributes:
        step: Steps made.
        average: Moving average of what has been learnt, which is what a task is made of.
    """

    def __init__(self, model: EfficientMedSAM2, cases: Sequence[CaseSamples], steps: int, seed: int) -> None:
        self.model, self.steps, self.step = model, steps, 0
        self.additions = Additions(model, seed)
        self.average = self.additions.state()
        self.rng = np.random.default_rng([seed, 1])
        self.batches = SampleBatches(cases, BATCH, self.rng)
        known = self.additions.parameters().values()
        self.optimizer = torch.optim.AdamW(known, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)

    def advance(self) -> dict[str, float]:
        """One step; its losses."""
        batch, features = self.batches.draw()
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * self._rate()
        target = low_resolution_target(batch["mask"], self.model.config.low_res_size)
        seen = self.model.without_memory(features)
        prompts = task_prompts(batch, target.shape[-1], self.rng)
        total = torch.zeros(())
        for number in range(ROUNDS):
            shown = with_appearance(prompts, batch["image"], self.rng)
            decoded = self.model.decode(seen, self.model.encode_prompts(shown))
            losses = round_loss(decoded, target)
            total = total + losses["loss"]
            if number + 1 < ROUNDS:
                prompts = correct_prompts(prompts, decoded, target, self.rng)
        self.optimizer.zero_grad()
        (total / ROUNDS).backward()
        torch.nn.utils.clip_grad_norm_(self.additions.parameters().values(), 1.0)
        self.optimizer.step()
        self.step += 1
        self._average()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _average(self) -> None:
        decay = min(EMA_DECAY, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.additions.parameters().items():
                self.average[name].lerp_(value, 1 - decay)

    def _rate(self) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        return min(1.0, (self.step + 1) / WARMUP_STEPS) * (FINAL_RATE + (1 - FINAL_RATE) * cosine)

    def state(self) -> dict[str, Any]:
        """All that another process needs to go on as if nothing had happened."""
        return {
            "step": self.step,
            "additions": self.additions.state(),
            "average": {name: value.clone() for name, value in self.average.items()},
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.bit_generator.state,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.step, self.average = state["step"], state["average"]
        self.additions.load(state["additions"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = state["rng"]


def task_prompts(batch: dict[str, Any], size: int, rng: np.random.Generator) -> PromptBatch:
    """First prompts of a batch: as in other trainings, but for loose boxes, a lone click where a view is that of one,
    and no prompt at all where a search looks.

    Args:
        batch: As `SampleBatches` draws it.
        size: Side of the low-resolution masks.
        rng: Source of randomness.
    """
    prompts = first_prompts(batch, size, rng)
    searched, clicks = batch["searched"], torch.from_numpy(batch["clicks"]).float()
    loose = torch.from_numpy(rng.random(len(searched)) < SHARE_OF_LOOSE_BOXES)
    spans = (prompts.boxes[:, 2:] - prompts.boxes[:, :2]).repeat(1, 2)
    margin = torch.from_numpy(rng.uniform(0, LOOSE_MARGIN, prompts.boxes.shape)).float()
    outward = torch.tensor([-1.0, -1.0, 1.0, 1.0]) * margin * spans
    edge = float(batch["mask"].shape[-1] - 1)
    boxes = torch.where(loose[:, None], (prompts.boxes + outward).clamp(0, edge), prompts.boxes)
    absent = ~batch["mask"].flatten(1).any(dim=1)
    alone = torch.from_numpy(searched) & (absent | torch.from_numpy(rng.random(len(searched)) < SHARE_UNPROMPTED))
    clicked = clicks.isfinite().all(dim=1)
    points, labels = prompts.points.clone(), torch.where((alone | clicked)[:, None], -1, prompts.labels)
    points[clicked, 0], labels[clicked, 0] = clicks[clicked] - 0.5, 1
    others = ~(alone | clicked)
    assert prompts.has_mask is not None
    assert prompts.neighbour_mm is not None
    nowhere = torch.tensor(math.nan)
    dense = None if prompts.dense is None else prompts.dense * others[:, None, None, None]
    return dataclasses.replace(
        prompts,
        points=points,
        labels=labels,
        boxes=torch.where(others[:, None], boxes, nowhere),
        has_mask=prompts.has_mask & others,
        neighbour_mm=torch.where(others, prompts.neighbour_mm, nowhere),
        dense=dense,
    )


def quick_dice(model: EfficientMedSAM2, cases: Sequence[CaseSamples], count: int = 16) -> float:
    """Mean Dice of boxes on the first views of cases, without the way through a predictor: for choosing a step."""
    rng = np.random.default_rng(0)
    found: list[float] = []
    with torch.no_grad():
        for case in cases:
            numbers = [n for n, sample in enumerate(case.samples) if bool(sample.mask.any()) and case.is_drawn(n)]
            if not numbers:
                continue
            batch, features = batch_of([(case, number) for number in numbers[:count]])
            boxes = random_boxes(batch["mask"], rng)
            boxes[:, 2:] -= 1
            size = model.config.low_res_size
            prompts = on_device(box_prompts(boxes, size), boxes.device)
            shown = with_appearance(prompts, batch["image"], rng)
            decoded = model.decode(model.without_memory(features), model.encode_prompts(shown))
            target = low_resolution_target(batch["mask"], size) > 0.5
            found += [dice(a, b) for a, b in zip(_masks(decoded.logits), target.numpy())]
    return float(np.mean(found)) if found else 0.0


def _masks(logits: Tensor) -> np.ndarray:
    return (logits[:, 0] > 0).numpy()


__all__ = ["BATCH", "TaskTraining", "quick_dice", "task_prompts"]

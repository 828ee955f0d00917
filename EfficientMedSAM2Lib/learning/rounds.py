"""Rounds of simulated prompts for a batch of slices: what a person gives first, and the corrective clicks after it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from EfficientMedSAM2Lib.core.appearance import CHANNELS, AppearanceModel, Intensities
from EfficientMedSAM2Lib.evaluation.drawn import random_lasso, scribble_inside, scribble_outside, scribbled_part
from EfficientMedSAM2Lib.learning.samples import prompts as simulated
from EfficientMedSAM2Lib.learning.samples.augment import SIZE_PX
from EfficientMedSAM2Lib.models import DecodedMasks, PromptBatch
from EfficientMedSAM2Lib.models.bundles import DENSE_CHANNELS, LASSO, SCRIBBLE_INSIDE, SCRIBBLE_OUTSIDE
from EfficientMedSAM2Lib.predictors.slices.dense_prompts import grey, known_pixels

MAX_POINTS = 6
"""Clicks per object in a batch; a fixed number, since torch.compile compiles anew for every shape."""
KIND_SHARES = {
    "box": 0.36,
    "box+click": 0.04,
    "click": 0.19,
    "clicks": 0.05,
    "line": 0.04,
    "scribble": 0.08,
    "lasso": 0.05,
    "neighbour": 0.12,
    "neighbour+box": 0.03,
    "mask": 0.04,
}
SHARE_OF_FAULTY_NEIGHBOURS = 0.4
SHARE_OF_SCRIBBLED_CORRECTIONS = 0.15
SHARE_WITHOUT_APPEARANCE = 0.1
"""Samples whose appearance is not told, so that the network does not lean on it alone."""
_WITHOUT_NEIGHBOUR = {"neighbour": "box", "neighbour+box": "click"}
_WITHOUT_DENSE = {"scribble": "clicks", "lasso": "box"}


def first_prompts(batch: dict[str, Any], size: int, rng: np.random.Generator) -> PromptBatch:
    """The first prompt of every sample, of a random kind.

    Args:
        batch: `mask` (B,S,S), `neighbour_mask` (B,S,S), `neighbour_valid` (B,), `neighbour_distance_mm` (B,) and
            `pixel_scale` (B,) as `collate` makes them.
        size: Side of the low-resolution masks.
        rng: Source of randomness.

    Returns:
        The prompts; every sample has at least one. `dense` holds what is drawn, without appearance, where masks have
        stride 2.
    """
    device = batch["mask"].device
    # People are simulated with numpy, on the CPU.
    batch = {name: value.cpu() if isinstance(value, Tensor) else value for name, value in batch.items()}
    masks = batch["mask"]
    count = len(masks)
    kinds = rng.choice(list(KIND_SHARES), size=count, p=list(KIND_SHARES.values()))
    boxes = simulated.random_boxes(masks, rng, pixel_scale=batch["pixel_scale"])
    boxes[:, 2:] -= 1  # half-open edges to the last pixel inside
    points = torch.zeros(count, MAX_POINTS, 2)
    labels = torch.full((count, MAX_POINTS), -1, dtype=torch.long)
    has_box = torch.zeros(count, dtype=torch.bool)
    has_mask = torch.zeros(count, dtype=torch.bool)
    has_neighbour = torch.zeros(count, dtype=torch.bool)
    takes_dense = 2 * size == masks.shape[-1]
    drawn = torch.zeros(count, DENSE_CHANNELS, size, size) if takes_dense else None
    for i, kind in enumerate(kinds):
        valid, empty = bool(batch["neighbour_valid"][i]), not bool(masks[i].any())
        if empty:
            kind = "neighbour" if valid else "clicks"
        elif not valid:
            kind = _WITHOUT_NEIGHBOUR.get(kind, kind)
        if drawn is None:
            kind = _WITHOUT_DENSE.get(kind, kind)
        elif kind in _WITHOUT_DENSE:
            _draw(drawn[i], masks[i], kind, rng)
        has_box[i] = "box" in kind
        has_mask[i] = kind == "mask"
        has_neighbour[i] = kind.startswith("neighbour")
        for slot, (x, y, label) in enumerate(_clicks(masks[i].numpy() > 0.5, kind, rng)):
            points[i, slot] = torch.tensor([x - 0.5, y - 0.5])
            labels[i, slot] = label
    # A neighbour's mask is seldom perfect where it is needed: it was propagated itself.
    neighbour = batch["neighbour_mask"].float().clone()
    faulty = has_neighbour & torch.from_numpy(rng.random(count) < SHARE_OF_FAULTY_NEIGHBOURS)
    if bool(faulty.any()):
        neighbour[faulty] = simulated.degraded_masks(neighbour[faulty], rng)
    degraded = masks.float().clone()
    if bool(has_mask.any()):
        degraded[has_mask] = simulated.degraded_masks(degraded[has_mask], rng)
    nowhere = torch.tensor(math.nan)
    prompts = PromptBatch(
        points=points,
        labels=labels,
        boxes=torch.where(has_box[:, None], boxes, nowhere),
        mask_logits=mask_as_logits(degraded, size),
        has_mask=has_mask,
        neighbour_logits=mask_as_logits(neighbour, size),
        neighbour_mm=torch.where(has_neighbour, batch["neighbour_distance_mm"].float(), nowhere),
        dense=drawn,
    )
    return on_device(prompts, device)


def _draw(dense: Tensor, mask: Tensor, kind: str, rng: np.random.Generator) -> None:
    """Draw a scribble, now and then with one outside, or a lasso for a mask (S,S) into dense maps (5,h,h)."""
    small = F.interpolate(mask[None, None].float(), size=dense.shape[1:], mode="area")[0, 0].numpy() > 0.5
    if kind == "lasso":
        dense[LASSO] = torch.from_numpy(random_lasso(small, rng).astype(np.float32))
        return
    for channel, draw, share in ((SCRIBBLE_INSIDE, scribble_inside, 1.0), (SCRIBBLE_OUTSIDE, scribble_outside, 0.4)):
        if rng.random() < share:
            dense[channel] = torch.from_numpy(draw(small, rng).astype(np.float32))


def with_appearance(
    prompts: PromptBatch,
    images: Tensor,
    rng: np.random.Generator,
    model: AppearanceModel | None = None,
) -> PromptBatch:
    """The same prompts with maps of how much each pixel looks like the object; unchanged where masks have stride 4.

    Args:
        prompts: Of B objects.
        images: (B,3,S,S) in [0, 1].
        rng: Source of randomness.
        model: Of the objects, from another slice; None: fitted where the prompts say what is object on this one.
    """
    if prompts.dense is None:
        return prompts
    device, images_cpu = prompts.dense.device, images.detach().cpu().float().numpy()
    dense = prompts.dense.cpu().numpy().copy()
    seen = Intensities.of(grey(images_cpu, dense.shape[-1]))
    model = model or fitted_appearance(prompts, seen, images.shape[-1])
    dense[:, :CHANNELS] = model.maps(seen) * (rng.random(len(dense)) >= SHARE_WITHOUT_APPEARANCE)[:, None, None, None]
    return dataclasses.replace(prompts, dense=torch.from_numpy(dense).to(device))


def fitted_appearance(prompts: PromptBatch, seen: Intensities, image_size: int) -> AppearanceModel:
    """Models of B objects, fitted where their prompts say what is object on the slices that are seen (B,h,h)."""
    assert prompts.dense is not None
    assert prompts.mask_logits is not None
    assert prompts.has_mask is not None
    assert prompts.neighbour_logits is not None
    assert prompts.neighbour_mm is not None

    def known(part: Tensor) -> np.ndarray:
        return part.detach().cpu().float().numpy()

    inside, outside = known_pixels(
        boxes=known(prompts.boxes),
        points=known(prompts.points),
        labels=known(prompts.labels),
        mask_logits=known(prompts.mask_logits[:, 0]),
        has_mask=known(prompts.has_mask),
        neighbour_logits=known(prompts.neighbour_logits[:, 0]),
        has_neighbour=known(prompts.neighbour_mm.isfinite()),
        drawn=known(prompts.dense[:, CHANNELS:]),
        image_size=image_size,
    )
    return AppearanceModel.fit(seen, inside, outside)


def mask_appearance(logits: Tensor, images: Tensor) -> AppearanceModel:
    """Models of B objects with mask logits (B,1,h,h) on slices (B,3,S,S), for other slices."""
    inside = (logits[:, 0] > 0).cpu().numpy().astype(np.float32)
    seen = Intensities.of(grey(images.cpu().float().numpy(), inside.shape[-1]))
    return AppearanceModel.fit(seen, inside, 1 - inside)


def box_prompts(boxes: Tensor, size: int) -> PromptBatch:
    """Boxes (B,4) alone, XYXY of first and last pixels, in a batch of the form that all rounds have; on the CPU.

    torch.compile compiles anew for every form, so clicks, masks and neighbours are there, and none of them counts.
    """
    count = len(boxes)
    empty = torch.zeros(count, 1, size, size)
    return PromptBatch(
        points=torch.zeros(count, MAX_POINTS, 2),
        labels=torch.full((count, MAX_POINTS), -1, dtype=torch.long),
        boxes=boxes,
        mask_logits=empty,
        has_mask=torch.zeros(count, dtype=torch.bool),
        neighbour_logits=empty,
        neighbour_mm=torch.full((count,), math.nan),
        dense=torch.zeros(count, DENSE_CHANNELS, size, size) if 2 * size == SIZE_PX else None,
    )


def on_device(prompts: PromptBatch, device: torch.device) -> PromptBatch:
    """The same prompts on another device."""
    fields = ((field.name, getattr(prompts, field.name)) for field in dataclasses.fields(prompts))
    return PromptBatch(**{name: value if value is None else value.to(device) for name, value in fields})


def correct_prompts(
    prompts: PromptBatch, decoded: DecodedMasks, target: Tensor, rng: np.random.Generator
) -> PromptBatch:
    """The next round: every sample gets a click, or now and then a scribble, on the largest error of its result, which
    comes back as mask prompt.

    Args:
        prompts: What led to the result.
        decoded: The result.
        target: (B,h,w) soft masks at the resolution of its logits.
        rng: Source of randomness.
    """
    logits = believed_logits(prompts, decoded)
    device = prompts.points.device
    click, label = simulated.corrective_clicks(logits > 0, target, rng)
    points, labels = prompts.points.cpu().clone(), prompts.labels.cpu().clone()
    dense = None if prompts.dense is None else prompts.dense.cpu().clone()
    for i in range(len(points)):
        if dense is not None and label[i, 0] >= 0 and rng.random() < SHARE_OF_SCRIBBLED_CORRECTIONS:
            inside = bool(label[i, 0] == 1)
            wrong = ((target[i] > 0.5) == inside) & ((logits[i] > 0) != inside)
            line = scribbled_part(wrong.cpu().numpy(), rng)
            dense[i, SCRIBBLE_INSIDE if inside else SCRIBBLE_OUTSIDE] += torch.from_numpy(line.astype(np.float32))
            dense[i].clamp_(-1, 1)
            continue
        free = int((labels[i] >= 0).sum())
        slot = free if free < MAX_POINTS else int(rng.integers(MAX_POINTS))
        if label[i, 0] >= 0:
            points[i, slot] = click[i, 0] * (SIZE_PX / target.shape[-1]) - 0.5
            labels[i, slot] = label[i, 0]
    corrected = dataclasses.replace(
        prompts,
        points=points,
        labels=labels,
        mask_logits=logits[:, None].clamp(-20, 20),
        has_mask=torch.ones(len(points), dtype=torch.bool),
        dense=dense,
    )
    return on_device(corrected, device)


def believed_logits(prompts: PromptBatch, decoded: DecodedMasks) -> Tensor:
    """The mask (B,h,w) that is shown to the user: for a lone click the candidate the network believes in most."""
    lone = (prompts.labels >= 0).sum(dim=1).eq(1) & ~prompts.boxes.isfinite().all(dim=1)
    if prompts.dense is not None:
        lone &= ~(prompts.dense[:, CHANNELS:] > 0).flatten(1).any(dim=1)
    candidate = decoded.iou[:, 1:].argmax(dim=1) + 1
    chosen = torch.where(lone, candidate, torch.zeros_like(candidate))
    return decoded.logits.detach()[torch.arange(len(chosen), device=chosen.device), chosen]


def mask_as_logits(masks: Tensor, size: int) -> Tensor:
    """Masks (B,S,S) to logits (B,1,size,size) between -6 and 6 by the covered share of each pixel."""
    return 12 * F.interpolate(masks[:, None], size=(size, size), mode="area") - 6


def _clicks(mask: np.ndarray, kind: str, rng: np.random.Generator) -> list[tuple[float, float, int]]:
    if kind == "line":
        ends = simulated.recist_line(mask, rng)
        if ends is None:
            return []
        return [(*(ends[0] + (ends[1] - ends[0]) * share), 1) for share in (0.25, 0.5, 0.75)]
    wanted = {"box+click": (1, 0), "click": (1, 0), "clicks": (int(rng.integers(1, 4)), int(rng.integers(0, 3)))}
    inside, outside = wanted.get(kind, (0, 0))
    clicks = []
    for label, count, draw in ((1, inside, simulated.random_click), (0, outside, simulated.negative_click)):
        for _ in range(count):
            place = draw(mask, rng)
            if place is not None:
                clicks.append((place[0], place[1], label))
    return clicks

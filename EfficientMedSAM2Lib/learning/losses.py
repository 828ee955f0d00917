"""Losses of one decoded round, after SAM2's multi-step scheme (Ravi et al. 2024, arXiv 2408.00714)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from EfficientMedSAM2Lib.models import DecodedMasks

BCE_WEIGHT = 2.0
BOUNDARY_WEIGHT = 1.0
"""Of the cross entropy within BOUNDARY_REACH pixels of the border, on which the contour depends."""
BOUNDARY_REACH = 2
IOU_WEIGHT = 0.5
OBJECT_WEIGHT = 1.0
ABSENT_SHARE = 0.3
"""Weight, in what the quality heads learn, of a mask found where the object is not."""


def low_resolution_target(mask: Tensor, size: int) -> Tensor:
    """Masks (B,S,S) to the soft targets (B,size,size) that the stride-4 logits are compared with: the covered share of
    each pixel, so that a boundary between two pixels is learnt where it is."""
    return F.interpolate(mask[:, None].float(), size=(size, size), mode="area")[:, 0]


def mask_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Intersection over union (B,M) of masks with logits (B,M,h,w) and soft targets (B,h,w); 1 where both are empty."""
    predicted, truth = logits > 0, (target > 0.5)[:, None]
    intersection = (predicted & truth).sum(dim=(2, 3)).float()
    union = (predicted | truth).sum(dim=(2, 3)).float()
    return torch.where(union > 0, intersection / union.clamp_min(1), torch.ones_like(union))


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Dice plus weighted cross entropies of all pixels and of the border's, (B,M).

    For logits (B,M,h,w) and soft targets (B,h,w). MONAI's DiceLoss would do, were its per-mask form not reduced over
    the batch before the best candidate is chosen.
    """
    truth = target[:, None].expand_as(logits)
    probability = logits.sigmoid()
    overlap = 2 * (probability * truth).sum(dim=(2, 3)) + 1
    dice = 1 - overlap / (probability.sum(dim=(2, 3)) + truth.sum(dim=(2, 3)) + 1)
    bce = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    near = boundary_band(target)[:, None]
    boundary = (bce * near).sum(dim=(2, 3)) / near.sum(dim=(2, 3)).clamp_min(1)
    return dice + BCE_WEIGHT * bce.mean(dim=(2, 3)) + BOUNDARY_WEIGHT * boundary


def boundary_band(target: Tensor) -> Tensor:
    """1 within BOUNDARY_REACH pixels of the border of soft masks (B,h,w), else 0."""
    side = 2 * BOUNDARY_REACH + 1
    widest = F.max_pool2d(target[:, None], side, 1, BOUNDARY_REACH)
    narrowest = -F.max_pool2d(-target[:, None], side, 1, BOUNDARY_REACH)
    return ((widest - narrowest) > 0.5)[:, 0].to(target.dtype)


def round_loss(decoded: DecodedMasks, target: Tensor) -> dict[str, Tensor]:
    """Losses of one round of prompts.

    Args:
        decoded: Output of the mask decoder for B objects.
        target: (B,h,w) soft masks at the resolution of its logits.

    Returns:
        Scalars by name; "loss" is the weighted sum. The single mask always learns; of the candidates only the best
        does; every mask teaches the head that predicts its quality.
    """
    present = (target.amax(dim=(1, 2)) > 0.5).float()
    each = mask_loss(decoded.logits, target)
    shown = present.clamp_min(0.1)
    single = (each[:, 0] * shown).sum() / shown.sum()
    best = (each[:, 1:].amin(dim=1) * shown).sum() / shown.sum()
    iou = mask_iou(decoded.logits.detach(), target)
    # A mask where the object is not has IoU 0, and its score is to say so; an empty one has none.
    judged = torch.maximum(present[:, None], ABSENT_SHARE * (decoded.logits.detach() > 0).flatten(2).any(dim=2).float())
    iou_error = ((decoded.iou - iou).abs() * judged).sum() / judged.sum().clamp_min(1)
    object_error = F.binary_cross_entropy_with_logits(decoded.object_logit[:, 0], present)
    return {
        "loss": single + 0.5 * best + IOU_WEIGHT * iou_error + OBJECT_WEIGHT * object_error,
        "mask": single.detach(),
        "best": best.detach(),
        "iou_error": iou_error.detach(),
        "object": object_error.detach(),
        "iou": ((iou[:, 0] * present).sum() / present.sum().clamp_min(1)).detach(),
    }

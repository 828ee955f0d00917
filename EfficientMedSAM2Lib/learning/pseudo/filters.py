"""Which of a teacher's masks to trust: confident, stable under jitter, fitting their box, with an edge in the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from EfficientMedSAM2Lib.core.metrics import intersection_over_union
from EfficientMedSAM2Lib.evaluation.prompts import tight_box
from EfficientMedSAM2Lib.learning.pseudo.proposals import box_iou

PINHOLE_SHARE = 0.01


@dataclass(frozen=True)
class TrustRules:
    """Limits a mask has to keep.

    Attributes:
        min_predicted_iou: the teacher's own estimate.
        min_agreement: Dice with the masks of jittered boxes.
        min_box_fit: IoU of the box of the mask with the prompt.
        min_refinable_fit: above this a misfitting mask is asked for once more, with its own box as the prompt.
        min_fill, max_fill: area of the mask over the area of its box.
        min_main_part: share of the largest connected part.
        min_contrast: difference of the means just inside and just outside, in 0..1 grey values.
        min_effect: that difference over the pooled standard deviation of both rims.
        min_roundness: below this `roundness` (ragged or branching, as white matter) the teacher has to be surer.
        ragged_score: how sure then, in predicted IoU times agreement.
        same_mask_iou: masks above this are duplicates.
    """

    min_predicted_iou: float = 0.70
    min_agreement: float = 0.90
    min_box_fit: float = 0.75
    min_refinable_fit: float = 0.35
    min_fill: float = 0.30
    max_fill: float = 0.90
    min_main_part: float = 0.95
    min_contrast: float = 0.04
    min_effect: float = 0.5
    min_roundness: float = 0.5
    ragged_score: float = 0.83
    same_mask_iou: float = 0.7


# Speckle has soft blobs everywhere that are nothing: ask for a clear edge.
ULTRASOUND_RULES = TrustRules(min_contrast=0.06, min_effect=0.7)


def shape_trusted(mask: np.ndarray, box: np.ndarray, rules: TrustRules) -> bool:
    """Say whether a mask (H, W) is one part and fits the box (XYXY) that asked for it, without filling it."""
    found = mask_box(mask)
    if found is None or box_iou(found, box) < rules.min_box_fit:
        return False
    area = float(mask.sum())
    fill = area / ((found[2] - found[0] + 1) * (found[3] - found[1] + 1))
    if not rules.min_fill <= fill <= rules.max_fill:
        return False
    labels, number = ndimage.label(mask)
    return number == 1 or np.bincount(labels.ravel())[1:].max() >= rules.min_main_part * area


def edge_trusted(mask: np.ndarray, image: np.ndarray, rules: TrustRules) -> bool:
    """Say whether grey values (H, W in 0..1) change across the rim of a mask."""
    box = mask_box(mask)
    if box is None:
        return False
    x0, y0, x1, y1 = (int(value) for value in box)
    # Rims wide enough to average noise, thin enough to stay near the edge.
    width = int(np.clip(round(0.06 * np.sqrt(mask.sum())), 1, 5))
    window = (slice(max(0, y0 - width - 1), y1 + width + 2), slice(max(0, x0 - width - 1), x1 + width + 2))
    own, grey = mask[window], image[window]
    inner = own & ~ndimage.binary_erosion(own, iterations=width)
    outer = ndimage.binary_dilation(own, iterations=width) & ~own
    if not inner.any() or not outer.any():
        return False
    inside, outside = grey[inner], grey[outer]
    difference = abs(float(inside.mean()) - float(outside.mean()))
    spread = float(np.sqrt((inside.var() + outside.var()) / 2)) + 1e-3
    return difference >= rules.min_contrast and difference / spread >= rules.min_effect


def outline_trusted(mask: np.ndarray, score: float, rules: TrustRules) -> bool:
    """Say whether the outline of a mask (H, W) is plausible for how sure the teacher is."""
    return roundness(mask) >= rules.min_roundness or score >= rules.ragged_score


def roundness(mask: np.ndarray) -> float:
    """Isoperimetric quotient of a mask (H, W): about 1 for a disk, 0.4 for a crescent, less for ragged shapes."""
    padded = np.pad(mask, 1)
    crossings = np.count_nonzero(padded[1:] != padded[:-1]) + np.count_nonzero(padded[:, 1:] != padded[:, :-1])
    # Along a slanted line the steps of a pixel outline are longer than the line, on average by 4 / pi.
    perimeter = crossings * np.pi / 4
    return float(4 * np.pi * np.count_nonzero(mask) / perimeter**2) if perimeter else 0.0


def main_part(mask: np.ndarray) -> np.ndarray:
    """Give the largest connected part of a mask (H, W), with pinholes closed; larger holes are anatomy and stay."""
    labels, number = ndimage.label(mask)
    if number > 1:
        mask = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    holes, number = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    sizes = np.bincount(holes.ravel(), minlength=number + 1)
    small = sizes < PINHOLE_SHARE * mask.sum()
    small[0] = False
    return mask | small[holes]


def distinct(masks: list[np.ndarray], scores: list[float], rules: TrustRules) -> list[int]:
    """Give the indices of masks to keep, best score first, each unlike the ones before."""
    kept: list[int] = []
    for index in np.argsort(-np.asarray(scores)):
        if all(intersection_over_union(masks[index], masks[other]) < rules.same_mask_iou for other in kept):
            kept.append(int(index))
    return kept


def mask_box(mask: np.ndarray) -> np.ndarray | None:
    """Give the tight box of a mask, XYXY inclusive corners float32; None when it is empty."""
    return tight_box(mask).astype(np.float32) if mask.any() else None

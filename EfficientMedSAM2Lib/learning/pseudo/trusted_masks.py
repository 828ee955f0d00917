"""Asking a teacher about one box, and keeping the mask only where it can be trusted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from EfficientMedSAM2Lib.core.metrics import dice
from EfficientMedSAM2Lib.evaluation.methods.interface import SliceEmbedding
from EfficientMedSAM2Lib.learning.pseudo.filters import (
    TrustRules,
    edge_trusted,
    main_part,
    mask_box,
    outline_trusted,
    shape_trusted,
)
from EfficientMedSAM2Lib.learning.pseudo.proposals import box_iou, jitter_box
from EfficientMedSAM2Lib.learning.teachers.interface import Teacher

JITTER = 0.05


class TrustedMask(NamedTuple):
    """A mask to trust.

    Attributes:
        logits: (H, W) float32 as the teacher gave them.
        mask: (H, W) bool, their largest part without pinholes.
        score: predicted IoU times agreement, 0..1.
        box: (4,) XYXY that asked for it, which may be another one than the first.
    """

    logits: np.ndarray
    mask: np.ndarray
    score: float
    box: np.ndarray


def trusted_mask(
    teacher: Teacher,
    embedding: SliceEmbedding,
    box: np.ndarray,
    grey: np.ndarray,
    rules: TrustRules,
    generator: np.random.Generator,
) -> TrustedMask | None:
    """Ask for the object in a box; None unless the teacher is sure, agrees with itself and sees an edge.

    Args:
        teacher: the network asked.
        embedding: what it made of the slice.
        box: (4,) XYXY.
        grey: the slice (H, W) in 0..1.
        rules: limits for a mask.
        generator: source of the jitter.
    """
    prediction = teacher.predict(embedding, box[None])
    logits, score = prediction.logits[0], float(prediction.iou[0])
    if score < rules.min_predicted_iou:
        return None
    found = mask_box(logits > 0)
    if found is not None and rules.min_refinable_fit <= box_iou(found, box) < rules.min_box_fit:
        # The teacher saw another thing than the proposal: ask for that one.
        box = found
        prediction = teacher.predict(embedding, box[None])
        logits, score = prediction.logits[0], float(prediction.iou[0])
    mask = logits > 0
    if score < rules.min_predicted_iou or not shape_trusted(mask, box, rules) or not edge_trusted(mask, grey, rules):
        return None
    jittered = [jitter_box(box, JITTER, generator, grey.shape) for _ in range(2)]
    others = teacher.predict(embedding, np.stack(jittered)).logits > 0
    agreement = min(dice(mask, other) for other in others)
    if agreement < rules.min_agreement:
        return None
    score = min(1.0, score) * agreement
    mask = main_part(mask)
    return TrustedMask(logits, mask, score, box) if outline_trusted(mask, score, rules) else None

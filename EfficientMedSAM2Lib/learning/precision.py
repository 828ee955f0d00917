"""Which precision a training computes in."""

from __future__ import annotations

import logging

import torch

from EfficientMedSAM2Lib.models.builder import cpu_has_bfloat16

AUTO = "auto"
BFLOAT16 = "bf16-mixed"
PRECISIONS = (AUTO, BFLOAT16, "16-mixed", "32-true")

logger = logging.getLogger(__name__)


def choose_precision(wanted: str = AUTO) -> str:
    """Lightning's name of a precision: "auto" becomes the fastest that this machine computes natively."""
    if wanted != AUTO:
        return wanted
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        chosen, reason = (BFLOAT16, "the GPU has bfloat16") if native else ("16-mixed", "the GPU has no bfloat16")
    elif cpu_has_bfloat16():
        chosen, reason = BFLOAT16, "the CPU has instructions for bfloat16"
    else:
        chosen, reason = "32-true", "without instructions for bfloat16 the CPU is many times slower in it"
    logger.info("Training in precision %s: %s.", chosen, reason)
    return chosen

"""Overlap of masks."""

from __future__ import annotations

import numpy as np
import pytest

from EfficientMedSAM2Lib.core.metrics import dice


@pytest.mark.parametrize(
    ("mask", "reference", "expected"), [("110", "110", 1.0), ("110", "011", 0.5), ("100", "011", 0.0), ("0", "0", 1.0)]
)
def test_dice(mask, reference, expected):
    assert dice(*(np.array(list(text)) == "1" for text in (mask, reference))) == expected

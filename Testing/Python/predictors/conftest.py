from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from EfficientMedSAM2Lib.models import build_efficient_medsam2_model

# The stub network lies beside the tests that use it.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def model():
    """A network with random weights: shapes, bookkeeping and determinism are true of it, masks are noise."""
    torch.manual_seed(0)
    return build_efficient_medsam2_model("mobilenet", "random", device="cpu", use_half_precision=False)

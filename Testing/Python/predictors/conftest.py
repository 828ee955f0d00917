from __future__ import annotations

import pytest
import torch

from EfficientMedSAM2Lib.models import build_efficient_medsam2_model


@pytest.fixture(scope="session")
def model():
    """A network with random weights: shapes, bookkeeping and determinism are true of it, masks are noise."""
    torch.manual_seed(0)
    return build_efficient_medsam2_model("mobilenet", "random", device="cpu", use_half_precision=False)

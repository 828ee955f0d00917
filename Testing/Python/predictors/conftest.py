from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model

# The stub network lies beside the tests that use it.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def model():
    """A network with random weights: shapes, bookkeeping and determinism are true of it, masks are noise."""
    torch.manual_seed(0)
    return build_efficient_medsam2_model("mobilenet", "random", device="cpu", use_half_precision=False)


def balls(depth=24, size=96):
    """Two balls, one at the left around slice 10, the other at the right around slice 14; values 0 and 1."""
    k, j, i = np.mgrid[0:depth, 0:size, 0:size]
    left = (3 * (k - 10)) ** 2 + (j - 40) ** 2 + (i - 28) ** 2 < 15**2
    right = (3 * (k - 14)) ** 2 + (j - 60) ** 2 + (i - 70) ** 2 < 13**2
    return left, right


@pytest.fixture(scope="module")
def scene():
    """Volume, left ball, right ball."""
    left, right = balls()
    return (left | right).astype(np.float32), left, right


@pytest.fixture
def network():
    """A stub that counts what it is asked."""
    from stub_network import StubNetwork

    return StubNetwork()

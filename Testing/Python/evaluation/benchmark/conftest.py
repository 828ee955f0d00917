from __future__ import annotations

import numpy as np
import pytest

from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan


@pytest.fixture
def small_scan() -> Scan:
    """Six slices of a bright square in noise, each slice a little brighter than the one before."""
    noise = np.random.default_rng(0).normal(0, 10, (6, 64, 64))
    labels = np.zeros((6, 64, 64), bool)
    labels[:, 20:40, 16:44] = True
    brightness = 100 * labels + np.arange(6)[:, None, None]
    return Scan(
        name="square",
        voxels=(noise + brightness).astype(np.int16),
        labels=labels,
        spacing_mm=(2.5, 1.0, 1.0),
        window=(-50.0, 150.0),
        box=(16.0, 20.0, 43.0, 39.0),
        click=(30.0, 30.0),
    )

"""What a report says of the machine."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.pipeline.machine import installed_version, peak_memory_megabytes, processor_name


def test_peak_memory_is_in_megabytes():
    block = np.ones(50_000_000, dtype=np.uint8)
    peak = peak_memory_megabytes()
    assert block.nbytes / 1e6 < peak < 100_000


def test_the_processor_has_a_name_and_numpy_a_version():
    assert processor_name().strip()
    assert installed_version("numpy") == np.__version__
    assert installed_version("no-such-distribution") is None

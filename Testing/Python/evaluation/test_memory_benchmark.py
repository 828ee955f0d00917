"""The benchmark of memory and speed runs from end to end."""

from __future__ import annotations

import re

import pytest

from EfficientMedSAM2Lib.evaluation.benchmark.memory import main


@pytest.mark.slow
def test_a_small_run_prints_both_volumes_and_their_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--slices", "5", "9", "--size", "64", "--encoder", "mobilenet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all("slices/s" in line and "peak" in line for line in lines[:2])
    ratio = re.search(r"ratio 9 : 5 slices +([\d.]+) without the volume itself", lines[2])
    assert ratio is not None
    assert 0.5 < float(ratio.group(1)) < 2

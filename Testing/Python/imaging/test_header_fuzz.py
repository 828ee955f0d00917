"""Damaged headers end in one line or in a volume: no other exception, no crash, no long wait, no 2 GB of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MOST_MEGABYTES = 2000


@pytest.mark.parametrize(
    ("seed", "count"), [(1, 250), *(pytest.param(seed, 3000, marks=pytest.mark.nightly) for seed in range(2, 6))]
)
def test_damaged_headers(tmp_path, seed, count):
    pytest.importorskip("resource")
    script = Path(__file__).with_name("header_fuzz.py")
    command = [sys.executable, str(script), str(tmp_path), str(seed), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60 + count)
    assert done.returncode == 0, f"died with {done.returncode} at {done.stderr.splitlines()[-3:]}"
    *problems, peak = done.stdout.splitlines()
    assert problems == []
    assert float(peak.split()[1]) < MOST_MEGABYTES

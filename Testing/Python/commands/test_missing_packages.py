"""A command whose libraries are not installed says in one line what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
from EfficientMedSAM2Lib.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("lightning", "train", ["distill", "--data_dir", "scans", "--output", "out"]),
        ("pydantic", "eval", ["evaluate", "--manifest", "scans", "--output", "out"]),
        ("pydantic", "cohort", ["cohort", "run", "cohort.csv", "--output", "out"]),
    ],
)
def test_what_to_install_is_said(package, extra, arguments, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT, package, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert f"needs {package}" in run.stderr
    assert f"pip install 'efficient-medsam2[{extra}]'" in run.stderr
    assert not any(tmp_path.iterdir())

"""The scripts for a real Slicer (Testing/Slicer) run unmodified in the stand-in, with an oracle for the network."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

TESTING = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((TESTING / "Slicer").glob("test_*.py"))


@pytest.fixture
def run_script(slicer_host, module, sample_data, monkeypatch, capsys):
    """Run a script as ``Slicer --python-script`` does; gives exit code and output."""
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    monkeypatch.syspath_prepend(str(TESTING / "Slicer"))
    monkeypatch.syspath_prepend(str(TESTING / "Python" / "interaction"))
    sys.modules.pop("slicer_case", None)
    import slicer_case
    from oracle_predictor import OraclePredictor

    oracle = OraclePredictor(slicer_case.ball("A") | slicer_case.ball("B"))
    monkeypatch.setattr(slicer_case, "TIMEOUT_S", 60.0)
    monkeypatch.setattr(loader, "missing_packages", lambda _arguments: [])
    monkeypatch.setattr(loader, "load_predictor", lambda **_arguments: oracle)
    slicer_host.finish_startup()

    def run(path, **changes):
        for name, value in changes.items():
            monkeypatch.setattr(slicer_case, name, value)
        exec(
            compile(path.read_text(encoding="utf-8"), str(path), "exec"), {"__file__": str(path), "__name__": "script"}
        )
        shown = capsys.readouterr()
        sys.stderr.write(shown.err)  # a failure shows its traceback
        return slicer_host.native_app.exit_code, shown.out

    yield run
    sys.modules.pop("slicer_case", None)


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_passes(run_script, path):
    code, output = run_script(path)
    assert (code, output.strip().splitlines()[-1]) == (0, "PASS"), output


@pytest.mark.slow
def test_a_script_fails_with_an_exit_code_when_the_mask_is_wrong(run_script):
    code, output = run_script(TESTING / "Slicer" / "test_click.py", ball=lambda name: np.zeros((24, 96, 96), bool))
    assert (code, output.strip().splitlines()[-1]) == (1, "FAIL")
    assert "BAD" in output


def test_ctest_runs_every_script():
    text = (TESTING / "Slicer" / "CMakeLists.txt").read_text(encoding="utf-8")
    assert [line.strip() for line in text.splitlines() if line.strip().startswith("test_")] == [p.stem for p in SCRIPTS]

"""Nothing is noted down about a user: ONNX Runtime would keep an identifier and events under the home folder."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

USE = """
import numpy as np
from {package} import build_efficient_medsam2_model as build
from EfficientMedSAM2Lib import EfficientMedSAM2ImagePredictor
predictor = EfficientMedSAM2ImagePredictor(build(checkpoint={network!r}, runtime="onnx"))
predictor.set_image(np.zeros((64, 64), np.uint8))
predictor.predict(box=[20, 20, 40, 40])
"""


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-m", "EfficientMedSAM2Lib.cli", "info"], id="info"),
        pytest.param(["-m", "EfficientMedSAM2Lib.cli", "web", "--help"], id="web"),
        pytest.param(["-c", USE.replace("{package}", "EfficientMedSAM2Lib")], id="Python"),
        pytest.param(["-c", USE.replace("{package}", "EfficientMedSAM2Lib.runtimes")], id="a part of the package"),
    ],
)
def test_nothing_appears_in_an_empty_home(tmp_path, exported, arguments):
    arguments = [argument.replace("{network!r}", repr(str(exported))) for argument in arguments]
    own = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": "", "USERPROFILE": str(tmp_path)}
    done = subprocess.run([sys.executable, *arguments], env={**own, **home}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [str(path) for path in tmp_path.rglob("*") if path.is_file()] == []


def test_who_wants_it_can_have_it(tmp_path):
    code = "import EfficientMedSAM2Lib, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, expected in ((None, "1"), ("0", "0")):
        environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
        environment |= {} if given is None else {"ORT_DISABLE_TELEMETRY": given}
        assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip() == expected

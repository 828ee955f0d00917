"""Where torch and timm are not installed, the same predictors, session and command give the same masks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from EfficientMedSAM2Lib import build_efficient_medsam2_model
from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.core.resources import resource_path, shipped_weights

HERE = Path(__file__).parent
RUN_BLOCKED = "import sys; from work import Blocked; sys.meta_path.insert(0, Blocked()); "


def dice(a, b):
    return 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)


@pytest.fixture(scope="module")
def masks_of_torch():
    sys.path.insert(0, str(HERE))
    from work import masks_of

    return masks_of(build_efficient_medsam2_model(precision="fp32"))


@pytest.mark.slow
def test_predictors_and_session(exported, masks_of_torch, tmp_path):
    done = subprocess.run(
        [sys.executable, str(HERE / "work.py"), str(exported), str(tmp_path / "masks.npz")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "masks.npz")
    assert set(found) == set(masks_of_torch)
    for name, mask in masks_of_torch.items():
        assert mask.any(), name
        assert dice(mask, found[name]) >= 0.99, name


@pytest.mark.slow
def test_command(exported, tmp_path):
    import slicerio

    scan = Path(slicerio.__file__).parent / "data" / "CTChest4.nrrd"
    prompts = resource_path("Demo", "right lung.mrk.json")
    common = ["segment", str(scan), "--prompts", str(prompts), "--range-mm", "30", "--quiet", "--output"]
    arguments = [*common, str(tmp_path / "onnx.nrrd"), "--runtime", "onnx", "--weights", str(exported)]
    code = f"{RUN_BLOCKED}from EfficientMedSAM2Lib.cli import main; sys.exit(main({arguments!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert main([*common, str(tmp_path / "torch.nrrd"), "--precision", "fp32"]) == 0
    import SimpleITK

    a, b = (
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / n))) > 0 for n in ("onnx.nrrd", "torch.nrrd")
    )
    assert a.any()
    assert dice(a, b) >= 0.99


def test_without_an_exported_network_the_message_says_what_to_do(tmp_path):
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(shipped_weights("efficientnet").read_bytes() + b" ")
    code = (
        f"{RUN_BLOCKED}import os; os.environ['EFFICIENT_MEDSAM2_CACHE'] = {str(tmp_path)!r}\n"
        "from EfficientMedSAM2Lib import build_efficient_medsam2_model as build\n"
        "build()\n"
        f"for arguments in ({{'checkpoint': {str(weights)!r}}}, {{'runtime': 'torch'}}):\n"
        "    try: build(**arguments)\n"
        "    except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    no_export, no_torch = done.stdout.splitlines()
    assert "efficient-medsam2 export" in no_export
    assert "PyTorch is not installed" in no_torch

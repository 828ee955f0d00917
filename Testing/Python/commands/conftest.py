"""Files for the command line: a scan made in a moment, prompts for it, and weights of a network that never learned."""

from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Random weights: good enough for everything but the masks."""
    import torch

    from EfficientMedSAM2Lib.models import EfficientMedSAM2, ModelConfig, save_model

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_model(EfficientMedSAM2(ModelConfig("mobilenet")), path, {"note": "for tests"})
    return path


@pytest.fixture(scope="session")
def scan(tmp_path_factory):
    """A bright ball in a dark box of 8 slices, 1 x 1 x 3 mm, with its first voxel at the origin."""
    import SimpleITK as sitk

    k, j, i = np.mgrid[:8, :32, :32]
    ball = (3 * (k - 4)) ** 2 + (j - 16) ** 2 + (i - 16) ** 2 < 81
    image = sitk.GetImageFromArray(np.where(ball, 200, 20).astype(np.int16))
    image.SetSpacing((1.0, 1.0, 3.0))
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def write_markup(tmp_path):
    def write(name, **markup):
        path = tmp_path / name
        path.write_text(json.dumps({"markups": [{"coordinateSystem": "LPS", "coordinateUnits": "mm", **markup}]}))
        return path

    return write


@pytest.fixture
def point(write_markup):
    """A click in the middle of the ball."""
    position = {"label": "F-1", "position": [16.0, 16.0, 12.0], "positionStatus": "defined"}
    return write_markup("ball.mrk.json", type="Fiducial", controlPoints=[position])

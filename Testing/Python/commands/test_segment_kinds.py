"""`efficient-medsam2 segment` with each kind of markup, with the weights that are shipped: the ball is found."""

from __future__ import annotations

import numpy as np
import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.core.metrics import dice

#: The ball's middle slice is k = 4, 12 mm; its middle is at 16, 16, its radius 9.
K_MM, MIDDLE, RADIUS = 12.0, 16.0, 9.0


def circle(radius):
    return [(MIDDLE + radius * np.cos(t), MIDDLE + radius * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 16)[:-1]]


KINDS = {
    "point": ("Fiducial", [(MIDDLE, MIDDLE)]),
    "box": ("ROI", []),
    "line": ("Line", [(MIDDLE - RADIUS, MIDDLE), (MIDDLE + RADIUS, MIDDLE)]),
    "scribble": ("Curve", [(MIDDLE - 5, MIDDLE), (MIDDLE, MIDDLE + 2), (MIDDLE + 5, MIDDLE)]),
    "lasso": ("ClosedCurve", circle(RADIUS + 2)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_markup_finds_the_ball(kind, scan, write_markup, tmp_path, capsys):
    import SimpleITK as sitk

    markup_type, places = KINDS[kind]
    points = [{"label": "F", "position": [x, y, K_MM], "positionStatus": "defined"} for x, y in places]
    more = {"controlPoints": points}
    if kind == "box":  # a slice thick, so that it is a box of that slice
        more = {"center": [MIDDLE, MIDDLE, K_MM], "size": [20.0, 20.0, 1.0]}
        more["orientation"] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    prompts, output = write_markup("ball.mrk.json", type=markup_type, **more), tmp_path / "out.nii.gz"
    options = ["--encoder", "mobilenet", "--runtime", "onnx", "--propagate", "none", "--quiet"]
    assert main(["segment", str(scan), "--prompts", str(prompts), "--output", str(output), *options]) == 0, (
        capsys.readouterr().err
    )
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(output))) > 0
    ball = sitk.GetArrayFromImage(sitk.ReadImage(str(scan))) > 100
    assert mask.any(axis=(1, 2)).nonzero()[0].tolist() == [4]
    assert dice(mask[4], ball[4]) > 0.7

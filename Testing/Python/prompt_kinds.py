"""The matrix of prompts: every kind of prompt in every front end, with the shipped network, on a scan with a ball.

Each front end has a file `test_prompt_kinds.py` that gives the prompts below as its users give them, and lets this file
judge the masks. `pytest -v -k prompt_kinds` prints the matrix, a line a cell; what a cell is held against is in
`check_slice`, `check_volume` and `check_taken_away`.

===================  ===========================================================
front end            how a prompt is given
===================  ===========================================================
`interaction`        calls of `InteractiveSession`
`commands`           `efficient-medsam2 segment`, with markups files and --mask
`cohort`             `efficient-medsam2 cohort run`, with columns of a manifest
`effect`             mouse in the slice views of the stand-in for desktop Slicer
`web`                mouse in a real browser
===================  ===========================================================

Places are voxels (k, j, i) of the scan, which may lie between voxels; the prompted slice is `SLICE`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

FRONT_ENDS = ("interaction", "commands", "cohort", "effect", "web")
#: Every kind of prompt; and those that exclude as well.
KINDS = ("point", "box", "line", "scribble", "lasso", "mask")
EXCLUDING = ("point", "box", "scribble", "lasso")
every_kind = pytest.mark.parametrize("kind", KINDS)
every_excluding_kind = pytest.mark.parametrize("kind", EXCLUDING)

#: The ball is in the middle of nothing, so that a flipped or shifted prompt misses it.
SHAPE, SPACING_KJI = (11, 64, 64), (3.0, 1.0, 1.0)
CENTRE, RADIUS_MM = (5, 36, 26), 13.0
SLICE = CENTRE[0]
SCAN_NAME = "ball"
#: Least Dice of a slice that was prompted, and of the ball once it was propagated; all cells have 0.96 and more.
SLICE_DICE = VOLUME_DICE = 0.9


def _circle(radius: float) -> list[tuple[float, float, float]]:
    angles = np.linspace(0, 2 * np.pi, 25)[:-1]
    return [(float(SLICE), CENTRE[1] + radius * np.sin(a), CENTRE[2] + radius * np.cos(a)) for a in angles]


#: What finds the ball: a place; two corners, both in the box; two ends; a path; a closed path.
PLACES = {
    "point": [CENTRE],
    "box": [(SLICE, 22, 12), (SLICE, 50, 40)],
    "line": [(SLICE, 36, 13), (SLICE, 36, 39)],
    "scribble": [(SLICE, 32, 19), (SLICE, 38, 25), (SLICE, 34, 33)],
    "lasso": _circle(RADIUS_MM + 3),
}
#: What takes the ball's right end away, from a ball that a box has found.
TAKEN_AWAY = {
    "point": [(SLICE, 36, 36)],
    "box": [(SLICE, 20, 33), (SLICE, 52, 44)],
    "scribble": [(SLICE, 30, 36), (SLICE, 36, 37), (SLICE, 42, 36)],
    "lasso": [(SLICE, 20, 33), (SLICE, 20, 46), (SLICE, 52, 46), (SLICE, 52, 33)],
}
#: Voxels that are in the ball's other half, and voxels that are never in it.
KEPT, BESIDE = [(SLICE, 36, 18), (SLICE, 28, 22), (SLICE, 44, 22)], [(SLICE, 36, 46), (SLICE, 18, 26), (SLICE, 56, 26)]


def ball() -> np.ndarray:
    """The truth, bool of `SHAPE`."""
    grid = np.indices(SHAPE).astype(float)
    squares = (((grid - np.reshape(CENTRE, (3, 1, 1, 1))) * np.reshape(SPACING_KJI, (3, 1, 1, 1))) ** 2).sum(axis=0)
    return squares < RADIUS_MM**2


def scan() -> np.ndarray:
    """The ball, bright in a dark box with some noise, int16 of `SHAPE`."""
    noise = np.random.default_rng(0).normal(0, 5, SHAPE)
    return (np.where(ball(), 120, 20) + noise).astype(np.int16)


def given_mask() -> np.ndarray:
    """An earlier result, bool of `SHAPE`: the ball on the prompted slice alone."""
    mask = np.zeros(SHAPE, bool)
    mask[SLICE] = ball()[SLICE]
    return mask


def ijk_to_ras() -> np.ndarray:
    """4x4 matrix, mm, of an axial scan whose first voxel is at the origin."""
    return np.diag([-SPACING_KJI[2], -SPACING_KJI[1], SPACING_KJI[0], 1.0])


def lps_of(place: tuple[float, float, float]) -> list[float]:
    """LPS position, mm."""
    return [float(value * step) for value, step in zip(place[::-1], SPACING_KJI[::-1])]


def ras_of(places: list[tuple[float, float, float]]) -> np.ndarray:
    """RAS positions (N,3), mm."""
    return np.array([lps_of(place) for place in places]) * (-1, -1, 1)


def write_scan(folder: Path, array: np.ndarray | None = None, name: str = SCAN_NAME) -> Path:
    """The scan, or another array on its grid, as NIfTI."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(scan() if array is None else array)
    image.SetSpacing(SPACING_KJI[::-1])
    path = folder / f"{name}.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


def write_markup(folder: Path, kind: str, include: bool = True) -> Path:
    """A prompt as a markups file of 3D Slicer, one that excludes by what its control points say."""
    types = {"point": "Fiducial", "box": "ROI", "line": "Line", "scribble": "Curve", "lasso": "ClosedCurve"}
    places = (PLACES if include else TAKEN_AWAY)[kind]
    said = "" if include else "neg"
    points = [
        {"label": "F-1", "description": said, "position": lps_of(place), "positionStatus": "defined"}
        for place in places
    ]
    entry = {"type": types[kind], "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": points}
    if kind == "box":  # as thick as its slice
        low, high = (np.array(lps_of(place)) for place in places)
        entry["center"] = ((low + high) / 2).tolist()
        entry["size"] = np.add(np.abs(high - low), (0.9, 0.9, 1.0)).tolist()
        entry["orientation"] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        entry["controlPoints"] = [{**points[0], "position": entry["center"]}]
    path = folder / f"{SCAN_NAME}{'' if include else '-neg'}.mrk.json"
    path.write_text(json.dumps({"markups": [entry]}))
    return path


def check_slice(mask: np.ndarray) -> None:
    """A prompt has been given: the ball is found on its slice, and nothing elsewhere."""
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [SLICE]
    _check_found(mask)


def check_volume(mask: np.ndarray) -> None:
    """And it was propagated: the whole ball is found."""
    from EfficientMedSAM2Lib.core.metrics import dice

    found = dice(mask, ball())
    assert found >= VOLUME_DICE, found
    _check_found(mask)


def _check_found(mask: np.ndarray) -> None:
    from EfficientMedSAM2Lib.core.metrics import dice

    assert mask.shape == SHAPE
    found = dice(mask[SLICE], ball()[SLICE])
    assert found >= SLICE_DICE, found
    assert all(mask[place] for place in [CENTRE, *KEPT])
    assert not any(mask[place] for place in BESIDE)


def check_taken_away(mask: np.ndarray, kind: str) -> None:
    """After a box has found the ball, its end was excluded: what was named is out, the other half is in."""
    places = TAKEN_AWAY[kind]
    if kind in ("box", "lasso"):  # from column 33 on; a corner that a mouse cuts is no matter
        assert not mask[SLICE, :, 37:].any()
    else:
        assert not any(mask[place] for place in places)
    assert mask[SLICE].any()
    assert all(mask[place] for place in KEPT), [place for place in KEPT if not mask[place]]
    assert not any(mask[place] for place in BESIDE)

"""Half precision gives the masks that full precision gives, on slices of a real CT with the shipped weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model

STRUCTURES = {"thoracic spine": 3, "right lung": 5, "left lung": 6}


@pytest.fixture(scope="module")
def chest():
    """CT and labels (D,H,W) of the sample that comes with slicerio."""
    import SimpleITK
    import slicerio

    folder = Path(slicerio.__file__).parent / "data"
    names = ("CTChest4.nrrd", "Segmentation.seg.nrrd")
    return [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / name))) for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["efficientnet", "mobilenet"])
def test_half_precision_agrees_with_full_precision(encoder, chest):
    predictors = [
        EfficientMedSAM2VolumePredictor(build_efficient_medsam2_model(encoder, use_half_precision=half))
        for half in (True, False)
    ]
    volume, labels = chest
    for name, value in STRUCTURES.items():
        masks = [box_masks(predictor, volume, labels == value) for predictor in predictors]
        dice = 2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum())
        assert dice >= 0.99, name


def box_masks(predictor, volume, truth):
    """Masks of two slices of a structure from its bounding box there, and of the slices that follow."""
    state = predictor.init_state(volume, spacing=(10, 3.05, 3.05), modality="CT")
    masks = []
    large = np.flatnonzero(truth.sum(axis=(1, 2)) > 100)
    for k in large[len(large) // 3 :: len(large) // 2].tolist():
        rows, columns = np.flatnonzero(truth[k].any(axis=1)), np.flatnonzero(truth[k].any(axis=0))
        predictor.add_new_points_or_box(state, k, k, box=[columns[0], rows[0], columns[-1], rows[-1]])
        ((_, following, _),) = predictor.propagate_object(state, k, k, [k + 1])
        masks += [predictor.slice_mask(state, k, k), following]
    return np.stack(masks)

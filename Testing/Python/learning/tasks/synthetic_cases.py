"""A tiny cohort of a structure that only a task can know: the grey rim of a bright disc, which a box or a click on it
does not tell from the whole disc."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage
from EfficientMedSAM2Lib.learning.tasks.cases import FinishedCase

SHAPE = (5, 64, 64)


def rim(number, shape=SHAPE):
    """Voxels (D,H,W) and mask of one patient."""
    rng = np.random.default_rng([7, number])
    row, column, radius = rng.uniform(26, 38), rng.uniform(26, 38), rng.uniform(13, 17)
    y, x = np.mgrid[: shape[1], : shape[2]]
    distance = np.hypot(y - row, x - column)
    disc, core = (np.broadcast_to(distance < r, shape).copy() for r in (radius, 0.55 * radius))
    for part in (disc, core):
        part[[0, -1]] = False  # the structure ends within the scan
    voxels = rng.normal(50, 6, shape) + 60 * disc + 90 * core
    return voxels.clip(0, 255).astype(np.int16), disc & ~core


def finished_case(number, modality="MR", **changes):
    voxels, mask = rim(number)
    image = LoadedImage(
        name=f"patient{number}",
        dataset="cases",
        modality=modality,
        voxels=voxels,
        labels=mask.astype(np.uint8),
        spacing_mm=(5.0, 1.0, 1.0),
        window=(0.0, 255.0),
        label_names={1: "structure"},
    )
    return FinishedCase(**{"name": f"patient{number}", "patient": f"patient{number}", "image": image, **changes})


def write_cases(folder, numbers):
    """Scans with label maps beside them, NIfTI."""
    import SimpleITK

    for number in numbers:
        for ending, array in zip(("", "_mask"), rim(number)):
            image = SimpleITK.GetImageFromArray(array.astype(np.int16))
            image.SetSpacing((1.0, 1.0, 5.0))
            SimpleITK.WriteImage(image, str(folder / f"patient{number}{ending}.nii.gz"))
    return folder

"""The scan that everything can be tried on without data of one's own: the chest CT that comes with slicerio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage


def sample_image() -> LoadedImage:
    """slicerio's chest CT (128 x 128 x 34 voxels of 3 x 3 x 10 mm) with its reference segmentation."""
    from EfficientMedSAM2Lib.core.geometry import spacing_of
    from EfficientMedSAM2Lib.core.windows import choose_window
    from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage
    from EfficientMedSAM2Lib.imaging.sample import sample_scan, sample_segmentation
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    volume = read_volume(sample_scan())
    segments = read_segmentation(sample_segmentation(), volume)
    labels = np.zeros(volume.shape_kji, np.uint8)
    for number, segment in enumerate(segments, start=1):
        labels[segment.mask] = number
    window = choose_window(volume.array, "CT")
    # As radiologists look at it: rows towards the back, columns towards the patient's left.
    towards_front, towards_right = volume.ijk_to_ras[1, 1] > 0, volume.ijk_to_ras[0, 0] > 0
    shown = (slice(None), slice(None, None, -1 if towards_front else 1), slice(None, None, -1 if towards_right else 1))
    spacing = spacing_of(volume.ijk_to_ras)[::-1]
    return LoadedImage(
        name="CTChest4",
        dataset="slicerio",
        modality="CT",
        voxels=np.ascontiguousarray(volume.array[shown]),
        labels=np.ascontiguousarray(labels[shown]),
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        window=(window.low, window.high),
        label_names={number: segment.name for number, segment in enumerate(segments, start=1)},
    )

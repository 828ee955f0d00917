"""The sample scan that comes with the slicerio package, and its reference segmentation."""

from __future__ import annotations

from pathlib import Path


def sample_scan() -> Path:
    """The chest CT that comes with the slicerio package: 128 x 128 x 34 voxels of 3 x 3 x 10 mm."""
    import slicerio

    return Path(slicerio.__file__).parent / "data" / "CTChest4.nrrd"


def sample_segmentation() -> Path:
    """The reference segmentation of `sample_scan`."""
    return sample_scan().with_name("Segmentation.seg.nrrd")

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage


def disk(shape: tuple[int, int], center_rc: tuple[float, float], radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - center_rc[0]) ** 2 + (columns - center_rc[1]) ** 2 <= radius**2


@pytest.fixture
def ball_image() -> LoadedImage:
    """A bright ball (label 1) and a ring on every slice (label 2), anisotropic."""
    depth, rows, columns = np.ogrid[:21, :72, :72]
    ball = ((depth - 10) * 2.0) ** 2 + (rows - 20.0) ** 2 + (columns - 24.0) ** 2 <= 14.0**2
    labels = ball.astype(np.uint8)
    ring = disk((72, 72), (56, 56), 12) & ~disk((72, 72), (56, 56), 9)
    labels[:, ring] = 2
    voxels = (labels > 0).astype(np.float32) * 100
    return LoadedImage(
        name="shapes/ball.nrrd",
        dataset="shapes",
        modality="MR",
        voxels=voxels,
        labels=labels,
        spacing_mm=(2.0, 1.0, 1.0),
        window=(0.0, 100.0),
        label_names={1: "ball", 2: "ring"},
    )


@pytest.fixture
def sample_folder(tmp_path: Path) -> Path:
    """A folder with slicerio's chest CT and its segmentation as an image/label pair, at a quarter of the resolution."""
    import SimpleITK
    import slicerio

    data = Path(slicerio.__file__).parent / "data"
    image = SimpleITK.ReadImage(str(data / "CTChest4.nrrd"))
    labels = SimpleITK.ReadImage(str(data / "Segmentation.seg.nrrd"))
    if labels.GetNumberOfComponentsPerPixel() > 1:
        labels = SimpleITK.VectorIndexSelectionCast(labels, 0)
    image = SimpleITK.Resample(image, labels, SimpleITK.Transform(), SimpleITK.sitkLinear, -1000)
    steps = [max(1, size // 96) for size in image.GetSize()]
    SimpleITK.WriteImage(image[:: steps[0], :: steps[1], :: steps[2]], str(tmp_path / "chest1.nrrd"))
    SimpleITK.WriteImage(labels[:: steps[0], :: steps[1], :: steps[2]], str(tmp_path / "chest1_label.nrrd"))
    return tmp_path

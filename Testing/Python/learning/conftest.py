"""A tiny manifest: volumes whose bright voxels are the label, a colour photograph, an instance map, pseudo-labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK


def ellipsoid(shape: tuple[int, int, int], center: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum(((grid - c) / r) ** 2 for grid, c, r in zip(grids, center, radii)) <= 1.0


def write(path: Path, array: np.ndarray, spacing: tuple[float, ...] | None = None, colour: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array, isVector=colour)
    if spacing is not None:
        image.SetSpacing(spacing)
    SimpleITK.WriteImage(image, str(path))


@pytest.fixture
def manifest_path(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    entries = []
    for number, spacing in enumerate([(1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0.8, 1.6, 3.0)]):
        shape = (18, 40, 44)
        inner = ellipsoid(shape, (9, 18, 20), (4, 6, 7))
        outer = ellipsoid(shape, (9, 18, 20), (7, 11, 13)) & ~inner
        beside = ellipsoid(shape, (9, 34, 36), (3, 4, 4))
        labels = (inner * 1 + (outer | beside) * 2).astype(np.uint8)
        image = (20 + 180 * (labels > 0)).astype(np.int16)
        write(root / f"organ/case{number}.nii.gz", image, spacing)
        write(root / f"organ/case{number}_label.nii.gz", labels, spacing)
        entries.append(
            {
                "image": f"organ/case{number}.nii.gz",
                "label": f"organ/case{number}_label.nii.gz",
                "modality": "MR T1",
                "label_names": {"1": "nucleus", "2": "cytoplasm"},
                "dim": 3,
                "group": f"organ/case{number}",
                "split": "dev" if number == 1 else "train",
            }
        )
    mask = ellipsoid((1, 60, 80), (0, 30, 35), (1, 15, 20))[0].astype(np.uint8)
    photograph = np.stack([40 + 200 * mask, 30 + 100 * mask, 50 + 150 * mask], axis=-1).astype(np.uint8)
    write(root / "photo/p1.png", photograph, colour=True)
    write(root / "photo/p1_mask.png", mask)
    entries.append(
        {
            "image": "photo/p1.png",
            "label": "photo/p1_mask.png",
            "label_names": {"1": "cell"},
            "dim": 2,
            "split": "train",
        }
    )
    instances = np.zeros((64, 64), np.uint8)
    for value in range(9):
        row, column = 10 + 20 * (value // 3), 10 + 20 * (value % 3)
        instances[row - 5 : row + 5, column - 5 : column + 5] = value + 1
    write(root / "nuclei/n1.png", (instances > 0).astype(np.uint8) * 200)
    write(root / "nuclei/n1_mask.png", instances)
    entries.append(
        {"image": "nuclei/n1.png", "label": "nuclei/n1_mask.png", "label_names": {"instances": "nuclei"}, "dim": 2}
    )
    lump = ellipsoid((10, 60, 64), (5, 28, 30), (4, 12, 15))
    write(root / "organ/other.nii.gz", (30 + 90 * lump).astype(np.int16), (1.0, 1.0, 2.0))
    entries.append({"image": "organ/other.nii.gz", "label": None, "dim": 3, "split": "unlabelled"})
    path = root / "index.json"
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture
def pseudo_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pseudo"
    folder.mkdir()
    mask = ellipsoid((1, 48, 56), (0, 20, 30), (1, 9, 12))
    np.savez_compressed(
        folder / "slice_0.npz",
        image=(mask[0] * 200 + 20).astype(np.uint8),
        masks=np.packbits(mask.reshape(-1)),
        shape=np.asarray(mask.shape),
        scores=np.array([0.8], np.float32),
        boxes=np.zeros((1, 4), np.float32),
    )
    return folder

"""Data folders of .npz files: MedSAM's, the challenges', and those of the first published scripts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from EfficientMedSAM2Lib.evaluation.dataset.images import load_image, load_images
from EfficientMedSAM2Lib.evaluation.dataset.manifest import read_manifest

LABELS = np.zeros((6, 20, 30), np.uint8)
LABELS[1:5, 4:12, 10:20] = 2
CT = LABELS.astype(np.float32) * 300 - 400


def test_scan_and_label_in_one_file(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "CT_001.npz", imgs=LABELS * 80, gts=LABELS, spacing=(0.7, 0.8, 5.0))
    np.savez_compressed(tmp_path / "case_002.npz", image=np.moveaxis(CT, 0, -1), label=np.moveaxis(LABELS, 0, -1))
    np.savez_compressed(tmp_path / "case_003.npz", image=np.moveaxis(CT, 0, -1))
    manifest = read_manifest(tmp_path)
    assert [(entry.image, entry.split) for entry in manifest.select(labelled=False)] == [("case_003.npz", "unlabelled")]
    first, second = load_images(manifest, manifest.select(labelled=True))
    assert (first.name, first.modality, first.window) == ("CT_001.npz", "CT", (0.0, 255.0))
    assert first.spacing_mm == pytest.approx((5.0, 0.8, 0.7))
    assert not first.is_hounsfield
    for image in (first, second):
        assert np.array_equal(image.labels, LABELS)
    assert np.array_equal(second.voxels, CT)
    assert second.window != (0.0, 255.0)
    (alone,) = read_manifest(tmp_path / "CT_001.npz").entries
    assert (alone.image, alone.label, alone.split) == ("CT_001.npz", "CT_001.npz", "train")


def test_label_in_a_file_of_its_own(tmp_path: Path) -> None:
    """As the challenge keeps the references of its validation images."""
    for folder in ("3D_val_npz", "3D_val_gt"):
        (tmp_path / folder).mkdir()
    np.savez_compressed(tmp_path / "3D_val_npz" / "MR_1.npz", imgs=LABELS * 80)
    np.savez_compressed(tmp_path / "3D_val_gt" / "MR_1.npz", gts=LABELS)
    (entry,) = read_manifest(tmp_path).entries
    assert (entry.image, entry.label, entry.modality) == ("3D_val_npz/MR_1.npz", "3D_val_gt/MR_1.npz", "MR")
    assert np.array_equal(load_image(read_manifest(tmp_path), entry).labels, LABELS)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "CT_1.npz").write_text("no archive")
    with pytest.raises(ValueError, match=r"CT_1\.npz cannot be read"):
        read_manifest(tmp_path)

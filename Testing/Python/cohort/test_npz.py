"""A cohort of .npz files: `init` finds the boxes and clicks within, `run` segments from them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.cohort.manifest.read import read_cohort_manifest

BOX = {"z_min": 2, "z_max": 6, "z_mid": 4, "z_mid_x_min": 5, "z_mid_y_min": 6, "z_mid_x_max": 20, "z_mid_y_max": 19}


@pytest.fixture
def folder(tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    imgs = np.full((8, 32, 32), 20, np.uint8)
    imgs[2:7, 6:20, 5:21] = 200
    boxes = [BOX, {**BOX, "z_mid": 3}]
    clicks = [{"fg": [[4, 10, 9], [3, 8, 7]], "bg": []}, {"fg": [], "bg": [[4, 30, 30]]}]
    np.savez_compressed(scans / "CT_a.npz", imgs=imgs, spacing=(1, 1, 2), boxes=boxes, clicks=clicks)
    np.savez_compressed(scans / "MR_b.npz", imgs=imgs)
    np.savez_compressed(scans / "result.npz", segs=imgs)
    return scans


def test_init_lists_each_class_with_its_box_and_clicks(folder, tmp_path, capsys):
    manifest = tmp_path / "manifest.csv"
    assert main(["cohort", "init", str(folder), "--output", str(manifest)]) == 0
    said = capsys.readouterr()
    assert "1 cases, 2 segments" in said.out
    assert "MR_b.npz" in said.err
    with manifest.open(newline="") as stream:
        first, second = csv.DictReader(stream)
    assert (first["case"], first["image"], first["segment"]) == ("CT_a", "scans/CT_a.npz", "1")
    assert first["box_ijk"] == "5,6,2,20,19,6"  # its middle slice is the one with the box
    assert first["points_ijk"] == "9,10,4; 7,8,3"
    assert second["box_ijk"] == "5,6,3,20,19,3"  # a region would prompt another slice
    assert second["negative_points_ijk"] == "30,30,4"
    (case,) = read_cohort_manifest(manifest)
    assert case.segments[0].box_ijk == (5, 6, 2, 20, 19, 6)
    assert [segment.name for segment in case.segments] == ["1", "2"]


@pytest.mark.slow
def test_a_cohort_of_npz_runs(folder, tmp_path, capsys):
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation

    manifest, output = tmp_path / "manifest.json", tmp_path / "out"
    assert main(["cohort", "init", str(folder), "--output", str(manifest)]) == 0
    assert main(["cohort", "run", str(manifest), "--output", str(output), "--workers", "1"]) == 0
    (path,) = output.rglob("segmentation.seg.nrrd")
    found = read_segmentation(path)
    assert [segment.name for segment in found] == ["1", "2"]
    assert all(segment.mask.any() for segment in found)

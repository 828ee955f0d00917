from __future__ import annotations

import json
from pathlib import Path

import pytest

from EfficientMedSAM2Lib.evaluation.dataset.manifest import manifest_from_folder, read_manifest


def test_selects_by_split_and_label(manifest_path: Path) -> None:
    manifest = read_manifest(manifest_path)
    assert len(manifest.select("train", labelled=True)) == 4
    assert [entry.image for entry in manifest.select("dev")] == ["organ/case1.nii.gz"]
    assert [entry.image for entry in manifest.select(labelled=False)] == ["organ/other.nii.gz"]
    assert manifest.image_path(manifest.entries[0]).is_file()
    assert read_manifest(manifest_path.parent) == manifest


def test_knows_datasets_names_and_instance_maps(manifest_path: Path) -> None:
    entries = {entry.image: entry for entry in read_manifest(manifest_path).entries}
    assert entries["organ/case0.nii.gz"].dataset == "organ"
    assert entries["organ/case0.nii.gz"].names_of_values == {1: "nucleus", 2: "cytoplasm"}
    assert entries["nuclei/n1.png"].is_instance_map
    assert entries["nuclei/n1.png"].names_of_values == {}


def test_data_sets_are_chosen_and_left_out(manifest_path: Path) -> None:
    manifest = read_manifest(manifest_path)
    assert {entry.dataset for entry in manifest.entries} == {"organ", "photo", "nuclei"}
    assert {entry.dataset for entry in manifest.only(["photo", "organ"]).entries} == {"organ", "photo"}
    assert {entry.dataset for entry in manifest.leaving_out(["photo", "organ"]).entries} == {"nuclei"}
    assert manifest.leaving_out([]) == manifest
    for choose in (manifest.only, manifest.leaving_out):
        with pytest.raises(ValueError, match=r"'organs' in .*; there are nuclei, organ, photo"):
            choose(["photo", "organs"])


def test_refuses_a_patient_in_two_splits(manifest_path: Path) -> None:
    rows = json.loads(manifest_path.read_text())
    rows[1]["group"] = rows[0]["group"]
    manifest_path.write_text(json.dumps(rows))
    with pytest.raises(ValueError, match="case0"):
        read_manifest(manifest_path)


@pytest.mark.parametrize("content", ["[{]", '{"images": []}', '[{"label": "x"}]', "3"])
def test_unusable_manifest_is_one_clear_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "index.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="no manifest"):
        read_manifest(path)


def test_missing_manifest_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        read_manifest(tmp_path / "nothing.json")


def test_folder_pairs_by_ending_and_by_sister_folder(tmp_path: Path) -> None:
    for name in (
        "a_1_FLAIR.nii.gz",
        "a_1_FLAIR_seg.nii.gz",
        "a_1_T2.nii.gz",
        "imagesTr/b_2_0000.nii.gz",
        "labelsTr/b_2.nii.gz",
        "c3.png",
        "c3_mask.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    entries = {entry.image: entry for entry in manifest_from_folder(tmp_path).entries}
    assert entries["a_1_FLAIR.nii.gz"].label == "a_1_FLAIR_seg.nii.gz"
    assert entries["a_1_T2.nii.gz"].label is None
    assert entries["a_1_T2.nii.gz"].split == "unlabelled"
    assert entries["a_1_T2.nii.gz"].patient == entries["a_1_FLAIR.nii.gz"].patient == "a_1"
    assert entries["imagesTr/b_2_0000.nii.gz"].label == "labelsTr/b_2.nii.gz"
    assert entries["c3.png"].label == "c3_mask.png"
    assert entries["c3.png"].dim == 2
    assert len(entries) == 4


def test_folder_split_is_by_patient_and_stays_when_files_are_added(tmp_path: Path) -> None:
    for number in range(60):
        for series in ("T1", "T2"):
            (tmp_path / f"p{number}_{series}.nii.gz").touch()
            (tmp_path / f"p{number}_{series}_label.nii.gz").touch()
    before = manifest_from_folder(tmp_path, dev_fraction=0.3)
    dev = {entry.patient for entry in before.select("dev")}
    assert 8 <= len(dev) <= 28
    assert not dev & {entry.patient for entry in before.select("train")}
    (tmp_path / "a0_T1.nii.gz").touch()
    (tmp_path / "a0_T1_label.nii.gz").touch()
    after = manifest_from_folder(tmp_path, dev_fraction=0.3)
    assert {entry.patient for entry in after.select("dev")} - {"a0"} == dev


def test_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no image"):
        manifest_from_folder(tmp_path)

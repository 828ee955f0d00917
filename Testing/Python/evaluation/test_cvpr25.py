"""The challenge's protocol: its boxes, its clicks, its counting; and the command on .npz files."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.evaluation.cvpr25.cases import ChallengeCase, challenge_boxes, challenge_cases
from EfficientMedSAM2Lib.evaluation.cvpr25.protocol import (
    ChallengeResult,
    label_map,
    measure,
    next_click_3d,
    run_challenge_case,
)
from EfficientMedSAM2Lib.evaluation.cvpr25.report import summarise, table
from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage
from EfficientMedSAM2Lib.evaluation.dataset.manifest import read_manifest
from EfficientMedSAM2Lib.imaging.formats.npz import NpzPrompts


def scan(labels, **options):
    voxels = (labels > 0).astype(np.uint8) * 150 + 40
    settings = {
        "name": "x/CT_1.npz",
        "dataset": "x",
        "modality": "CT",
        "spacing_mm": (1.0, 1.0, 1.0),
        "window": (0, 255),
    }
    return LoadedImage(voxels=voxels, labels=labels, **{**settings, **options})


@pytest.fixture
def labels():
    array = np.zeros((10, 40, 50), np.uint8)
    array[2:8, 5:15, 5:15] = 2
    array[3:6, 25:35, 30:45] = 5
    return array


class Copying:
    """Knows the truth, and gives as many slices of it as it had prompts."""

    name = "copying"

    def set_image(self, image):
        self.truth, self.prompts = image.labels, {}
        self.boxes, self.clicks = [], []

    def add_box(self, label, prompts):
        self.boxes.append(label)
        self.prompts[label] = self.prompts.get(label, 0) + 1

    def add_click(self, label, index_kji, positive):
        self.clicks.append((label, index_kji, positive))
        self.prompts[label] = self.prompts.get(label, 0) + 1

    def mask(self, label):
        mask = self.truth == label
        slices = np.flatnonzero(mask.any(axis=(1, 2)))
        mask[slices[self.prompts.get(label, 0) :]] = False
        return mask


def test_click_is_in_the_middle_of_the_largest_error():
    truth = np.zeros((9, 30, 30), bool)
    truth[2:7, 2:9, 2:9] = True
    found = truth.copy()
    found[2:7, 20:29, 20:29] = True  # too much, and more than the rest
    found[4, 4, 4] = False
    (k, j, i), positive = next_click_3d(found, truth)
    assert not positive
    assert (k, j, i) == (4, 24, 24) or found[k, j, i]  # the deepest, or one of several as deep
    found[:] = False
    assert next_click_3d(found, truth) == ((4, 5, 5), True) or next_click_3d(found, truth)[1]
    assert next_click_3d(truth, truth) is None


def test_click_counts_the_edge_of_the_scan_as_an_edge():
    truth = np.zeros((5, 9, 9), bool)
    truth[:, :, :] = True
    assert next_click_3d(np.zeros_like(truth), truth) is not None
    (k, j, i), positive = next_click_3d(np.zeros_like(truth), truth)
    assert k == 2
    assert positive
    assert 2 <= j <= 6
    assert 2 <= i <= 6


def test_equally_deep_voxels_are_drawn_as_the_script_draws():
    truth = np.zeros((1, 3, 30), bool)
    truth[0, 1, 4:24] = True
    (_, _, column), _ = next_click_3d(np.zeros_like(truth), truth)
    np.random.seed(42)  # noqa: NPY002 (what the script calls)
    assert column == 4 + np.random.choice(20)  # noqa: NPY002


def test_steps_measures_and_areas(labels):
    case = ChallengeCase(scan(labels), challenge_boxes(scan(labels)))
    method = Copying()
    result = run_challenge_case(method, case)
    assert method.boxes == [2, 5]
    # after the box one slice of six and one of three, after each round of clicks one more
    expected = [np.mean([2 * a / (6 + a), 2 * b / (3 + b)]) for a, b in zip([1, 2, 3, 4, 5, 6], [1, 2, 3, 3, 3, 3])]
    assert np.allclose(result.dsc, expected)
    assert sum(label == 5 for label, *_ in method.clicks) == 2, "nothing is clicked where nothing is wrong"
    assert result.classes == 2
    assert result.summary()["DSC_Final"] == 1.0
    areas = [(a + b) / 2 for a, b in zip(expected[1:], expected[2:])]
    assert result.summary()["DSC_AUC"] == pytest.approx(sum(areas))


def test_without_boxes_the_first_step_counts_nothing(labels):
    method = Copying()
    result = run_challenge_case(method, ChallengeCase(scan(labels), {}))
    assert method.boxes == []
    assert (result.dsc[0], result.nsd[0]) == (0.0, 0.0)
    assert result.dsc[1] > 0


def test_surface_dice_is_the_challenges(labels):
    """By area between voxels, spacing in the order of the file, and zero where Dice is 0.2 or less."""
    truth = labels == 2
    moved = np.roll(truth, 3, axis=1)
    both = [truth.astype(int), moved.astype(int)]
    assert measure(both[1], both[0], [1], (1, 1, 1))[1] < 1
    assert measure(both[1], both[0], [1], (1, 0.5, 1))[1] == 1  # 1.5 mm are within the tolerance of 2 mm
    assert measure(np.roll(truth, 9, axis=1).astype(int), both[0], [1], (1, 0.1, 1)) == (pytest.approx(0.1), 0.0)
    # a block of 6 x 10 x 10: one of its faces, of 60 in 440, is 3 mm away, as are the middle of the other and two rims
    share = measure(both[1], both[0], [1], (1, 1, 1))[1]
    assert 1 - 95 / 440 < share < 1 - 60 / 440


def test_overlaps_go_to_the_higher_class(labels):
    class Both(Copying):
        def mask(self, label):
            return np.ones(self.truth.shape, bool)

    method = Both()
    method.set_image(scan(labels))
    assert np.unique(label_map(method, [2, 5], labels.shape)).tolist() == [5]


def test_boxes_are_made_as_the_challenges_were(labels):
    boxes = challenge_boxes(scan(labels))
    (k, stop), rows, columns = boxes[2].box_kji
    assert labels[k].any()
    assert stop == k + 1
    assert rows[0] <= 5
    assert rows[1] >= 15
    assert columns[0] <= 5
    assert boxes[2].slices == (2, 8)
    assert challenge_boxes(scan(labels)) == boxes


def test_late_cases_count_as_zero():
    slow = ChallengeResult("a", "CT", 1, (1.0,) * 6, (1.0,) * 6, (91.0, 0, 0, 0, 0, 0))
    fast = ChallengeResult("b", "CT", 2, (1.0,) * 6, (0.5,) * 6, (91.0, 0, 0, 0, 0, 0))
    assert slow.summary()["DSC_AUC"] == slow.summary()["NSD_Final"] == 0
    assert fast.summary()["DSC_AUC"] == 4.0
    assert fast.summary()["NSD_AUC"] == 2.0
    other = ChallengeResult("c", "MR", 1, (0.5,) * 6, (0.5,) * 6, (1.0,) * 6)
    summary = summarise([slow, fast, other])
    assert summary["CT"]["DSC_Final"] == 0.5
    assert summary["mean of modalities"]["DSC_Final"] == 0.5
    assert summary["mean of modalities"]["cases"] == 3
    assert "1 cases took longer than 90 s" in table(summary, [slow, fast, other])


def test_boxes_come_from_the_file_in_the_order_of_the_classes(labels, tmp_path):
    box = {"z_min": 2, "z_max": 7, "z_mid": 4, "z_mid_x_min": 5, "z_mid_y_min": 5, "z_mid_x_max": 14, "z_mid_y_max": 14}
    np.savez_compressed(tmp_path / "CT_1.npz", imgs=labels, gts=labels, boxes=[box, {**box, "z_mid": 5}])
    np.savez_compressed(tmp_path / "MR_2.npz", imgs=labels, gts=labels)
    manifest = read_manifest(tmp_path)
    first, second = challenge_cases(manifest, manifest.entries)
    assert first.boxes == {
        2: NpzPrompts(2, ((4, 5), (5, 15), (5, 15)), (2, 8)),
        5: NpzPrompts(5, ((5, 6), (5, 15), (5, 15)), (2, 8)),
    }
    assert second.boxes == {}
    np.savez_compressed(tmp_path / "CT_1.npz", imgs=labels, gts=labels, boxes=[box])
    with pytest.raises(ValueError, match="1 boxes for 2 classes"):
        list(challenge_cases(manifest, manifest.entries))


@pytest.mark.slow
def test_the_command_on_challenge_files(tmp_path, capsys):
    k, j, i = np.ogrid[:16, :96, :96]
    ball = ((k - 8) * 2) ** 2 + (j - 44) ** 2 + (i - 50) ** 2 < 14**2
    noise = np.random.default_rng(0).normal(0, 6, ball.shape)
    imgs = np.clip(np.where(ball, 190, 60) + noise, 0, 255).astype(np.uint8)
    data, output = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    box = {
        "z_min": 2,
        "z_max": 14,
        "z_mid": 8,
        "z_mid_x_min": 36,
        "z_mid_y_min": 31,
        "z_mid_x_max": 63,
        "z_mid_y_max": 57,
    }
    np.savez_compressed(data / "CT_1.npz", imgs=imgs, gts=ball * 1, spacing=(1, 1, 2), boxes=[box])
    np.savez_compressed(data / "MR_1.npz", imgs=imgs, gts=ball * 1, spacing=(1, 1, 2))
    arguments = ("--manifest", str(data), "--output", str(output), "--quiet")
    assert main(["evaluate", "--protocol", "cvpr25", *arguments]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()] == ["cases", "CT", "MR", "mean", "AUC"]
    assert "DSC final   NSD final     DSC AUC     NSD AUC      s/case" in printed
    with (output / "cvpr25.csv").open(newline="") as stream:
        first, second = csv.DictReader(stream)
    assert float(first["DSC_1"]) > 0.8
    assert float(first["DSC_Final"]) > 0.9
    assert float(first["DSC_AUC"]) > 3.5
    assert (first["num_class"], second["DSC_1"]) == ("1", "0.00000")
    assert float(second["DSC_Final"]) > 0.8
    assert json.loads((output / "cvpr25.json").read_text())["results"]["efficient-medsam2"]["CT"]["cases"] == 1
    assert main(["evaluate", "--protocol", "cvpr25", "--model", "ellipse", *arguments]) == 2
    assert "leave --model out" in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_is_evaluated_whole(tmp_path, capsys, labels):
    """Nothing says that any of it was trained on."""
    for number in range(3):
        np.savez_compressed(tmp_path / f"CT_{number}.npz", imgs=labels * 40, gts=labels)
    output = tmp_path / "out"
    assert (
        main(["evaluate", "--manifest", str(tmp_path), "--model", "ellipse", "--output", str(output), "--quiet"]) == 0
    )
    with (output / "box.csv").open(newline="") as stream:
        assert {row["image"] for row in csv.DictReader(stream)} == {"CT_0.npz", "CT_1.npz", "CT_2.npz"}

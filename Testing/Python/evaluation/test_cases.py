from __future__ import annotations

import dataclasses

import numpy as np

from EfficientMedSAM2Lib.evaluation.cases import SLICES_PER_LABEL, choose_cases


def test_slices_show_one_label_and_the_largest_slice_is_among_them(ball_image):
    cases = choose_cases([ball_image])
    assert {case.label for case in cases} == {"ball", "ring"}
    assert all(case.axis == 0 for case in cases)  # the largest spacing
    balls = [case for case in cases if case.label == "ball"]
    assert 10 in [case.index for case in balls]
    assert len({case.index for case in balls}) == SLICES_PER_LABEL
    assert all((case.mask == (ball_image.labels[case.index] == 1)).all() for case in balls)


def test_rings_are_not_compact(ball_image):
    compact = {case.label: case.compact for case in choose_cases([ball_image])}
    assert compact == {"ball": True, "ring": False}


def test_the_same_seed_gives_the_same_objects_and_limits_keep_all_labels(ball_image):
    first, again, other = (choose_cases([ball_image], seed=seed) for seed in (3, 3, 4))
    assert [case.name for case in first] == [case.name for case in again]
    assert [case.name for case in first] != [case.name for case in other]
    assert {case.label for case in choose_cases([ball_image], limit=2)} == {"ball", "ring"}


def test_limits_hold_for_each_data_set(ball_image):
    other = dataclasses.replace(ball_image, dataset="others", name="others/ball.nrrd")
    chosen = choose_cases([ball_image, other], limit=3)
    assert [case.image.dataset for case in chosen] == ["others"] * 3 + ["shapes"] * 3


def test_scattered_parts_are_objects_of_their_own(ball_image):
    labels = np.zeros_like(ball_image.labels)
    labels[10, 5:15, 5:15], labels[10, 30:50, 30:50] = 1, 1
    cases = choose_cases([dataclasses.replace(ball_image, labels=labels)])
    assert sorted(int(case.mask.sum()) for case in cases) == [100, 400]


def test_crumbs_are_left_out(ball_image):
    labels = np.zeros_like(ball_image.labels)
    labels[10, 5:8, 5:40] = 1
    assert choose_cases([dataclasses.replace(ball_image, labels=labels)]) == []


def test_volumes_are_prompted_in_the_middle(ball_image):
    ball, ring = choose_cases([ball_image], as_volumes=True)
    assert {ball.label, ring.label} == {"ball", "ring"}
    ball = ball if ball.label == "ball" else ring
    assert ball.index == 10
    assert (ball.volume_mask == (ball_image.labels == 1)).all()


def test_flat_images_have_no_volumes(ball_image):
    flat = dataclasses.replace(ball_image, voxels=ball_image.voxels[10:11], labels=ball_image.labels[10:11])
    assert choose_cases([flat], as_volumes=True) == []
    assert len(choose_cases([flat])) == 2

"""Time points of a sequence, on Slicer's own sequence browser: image, prompts and segments follow it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from time_series import play

from EfficientMedSAM2Lib.mrml.labelmaps import array_view
from EfficientMedSAM2Lib.mrml.scene import prompt_store, sequences
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment
from EfficientMedSAM2Lib.mrml.volume_reader import local_to_world, volume_matrix

INSIDE, BESIDE = (4, 8, 6), (4, 15, 15)


@pytest.fixture
def moving(case: Any) -> Any:
    """The case's tubes at three time points, at the second one moved by two rows; ``case.browser`` chooses."""
    first = array_view(case.scene.volume.GetImageData()).copy()
    case.images = [first, np.roll(first, 2, axis=1), first]
    case.logic = slicer.vtkSlicerSequencesLogic()
    case.logic.SetMRMLScene(case.scene.mrml)
    case.browser = play(case.scene.mrml, case.scene.volume, case.images)
    return case


def world(case: Any, index_kji: Any) -> list[float]:
    local = volume_matrix(case.scene.volume) @ (*index_kji[::-1], 1.0)
    return local_to_world(local[:3], case.scene.volume)[0].tolist()


def voxels(case: Any, segment_id: str = "A") -> int:
    return int(read_segment(case.scene.segmentation, segment_id, case.scene.volume).sum())


def prompted(case: Any) -> list[tuple[int, ...]]:
    return [prompt.index_kji for prompt in case.session.prompts("A")]


def shown(case: Any) -> int:
    """Control points of our markups in the scene."""
    nodes = prompt_store.prompt_nodes(case.scene.segmentation)
    return sum(node.GetNumberOfControlPoints() for node in nodes)


def go_to(case: Any, item: int) -> bool:
    case.browser.SetSelectedItemNumber(item)
    return case.session.drop_outdated_image()


def test_a_time_point_has_a_name(moving: Any) -> None:
    volume = moving.scene.volume
    assert sequences.time_point_label(volume) == "time point 1 of 3 (0.0 s)"
    moving.browser.SetSelectedItemNumber(1)
    assert sequences.time_point(volume) == "0.5"
    assert sequences.time_point(moving.scene.segmentation) == ""
    assert sequences.time_point_label(moving.scene.segmentation) == ""
    assert sequences.time_point(None) == ""


def test_the_network_sees_the_image_of_the_time_point(moving: Any) -> None:
    moving.click(world(moving, INSIDE))
    assert go_to(moving, 1)
    assert not moving.session.drop_outdated_image()
    moving.click(world(moving, BESIDE))
    np.testing.assert_array_equal(moving.predictor.states[-1]["volume"], moving.images[1])


def test_prompts_are_kept_per_time_point(moving: Any) -> None:
    moving.click(world(moving, INSIDE))
    go_to(moving, 1)
    assert (prompted(moving), shown(moving)) == ([], 0)
    moving.click(world(moving, BESIDE))
    moving.click(world(moving, (5, 15, 15)))
    assert (prompted(moving), shown(moving)) == ([BESIDE, (5, 15, 15)], 2)
    go_to(moving, 0)
    assert (prompted(moving), shown(moving)) == ([INSIDE], 1)
    moving.click(world(moving, (6, 8, 6)))
    go_to(moving, 1)
    assert prompted(moving) == [BESIDE, (5, 15, 15)]
    go_to(moving, 2)
    assert prompted(moving) == []


def test_undo_after_the_time_point_has_changed(moving: Any) -> None:
    moving.click(world(moving, INSIDE))
    go_to(moving, 1)
    moving.click(world(moving, BESIDE))
    go_to(moving, 0)
    moving.undo()
    assert (voxels(moving), prompted(moving)) == (36, [INSIDE])
    moving.undo()
    assert (voxels(moving), prompted(moving), shown(moving)) == (0, [], 0)
    go_to(moving, 1)
    assert (prompted(moving), shown(moving)) == ([], 0)


def test_a_preview_does_not_outlive_its_image(moving: Any) -> None:
    moving.auto_commit = False
    moving.click(world(moving, INSIDE))
    assert moving.session.has_preview
    go_to(moving, 1)
    assert not moving.session.has_preview
    assert voxels(moving) == 0


def test_an_open_propagation_ends_with_its_image(moving: Any) -> None:
    moving.click(world(moving, INSIDE))
    moving.session.begin()
    propagation = moving.session.plan_propagation()
    next(propagation)
    go_to(moving, 1)
    assert list(propagation) == []
    assert voxels(moving) == 36
    moving.click(world(moving, BESIDE))
    assert voxels(moving) == 36 + 15


@pytest.mark.slow
def test_each_time_point_may_have_segments_of_its_own(moving: Any) -> None:
    nodes = moving.scene.segmentation, moving.scene.volume
    moving.click(world(moving, INSIDE))
    assert sequences.is_shared_by_time_points(*nodes)
    sequences.keep_one_per_time_point(*nodes, moving.logic)
    sequences.keep_one_per_time_point(*nodes, moving.logic)  # twice does no harm
    assert not sequences.is_shared_by_time_points(*nodes)
    assert voxels(moving) == 36
    go_to(moving, 1)
    assert (voxels(moving), prompted(moving)) == (36, [])  # to be corrected
    moving.click(world(moving, BESIDE))
    assert voxels(moving) == 36 + 15
    go_to(moving, 0)
    assert (voxels(moving), prompted(moving), shown(moving)) == (36, [INSIDE], 1)
    go_to(moving, 1)
    assert (voxels(moving), prompted(moving), shown(moving)) == (36 + 15, [BESIDE], 1)


def test_segments_for_each_need_a_sequence(case: Any) -> None:
    assert not sequences.is_shared_by_time_points(case.scene.segmentation, case.scene.volume)
    with pytest.raises(ValueError, match="only one time point"):
        sequences.keep_one_per_time_point(case.scene.segmentation, case.scene.volume, None)


def test_prompts_of_all_time_points_are_saved_with_the_scene(moving: Any, tmp_path: Path) -> None:
    moving.click(world(moving, INSIDE))
    go_to(moving, 1)
    moving.click(world(moving, BESIDE))
    segment = moving.scene.segmentation.GetSegmentation().GetSegment("A")
    text = prompt_store.get_tag(segment, prompt_store.PROMPTS_TAG)
    prompts = prompt_store.decode_prompts(text, moving.scene.volume)
    assert [(p.index_kji, p.origin.time_point) for p in prompts] == [(INSIDE, "0.0"), (BESIDE, "0.5")]
    again = type(moving.session)(moving.port, moving.engine)  # as after loading
    assert [p.index_kji for p in again.prompts("A")] == [BESIDE]
    moving.browser.SetSelectedItemNumber(0)
    assert again.drop_outdated_image()  # although it has done nothing yet
    assert [p.index_kji for p in again.prompts("A")] == [INSIDE]
    assert shown(moving) == 1

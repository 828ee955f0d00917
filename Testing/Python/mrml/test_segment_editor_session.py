"""A user's session on a real scene: engine, editor, undo history and prompts go together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from editor_actions import BESIDE, INSIDE, count, paint, undo_depth, world

from EfficientMedSAM2Lib.mrml.labelmaps import array_view, box_of_extent, image_matrix
from EfficientMedSAM2Lib.mrml.scene import prompt_store
from EfficientMedSAM2Lib.mrml.volume_reader import volume_matrix


def test_click_is_one_save_and_one_call(case: Any) -> None:
    report = case.click(world(case, INSIDE))
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube_slice(4))
    assert (case.port.saves, case.port.modes) == (1, ["Add"])
    assert report.box_kji == [[4, 5], [5, 11], [4, 10]]
    assert undo_depth(case) == 1


def test_correction_that_adds_and_removes_is_one_call(case: Any) -> None:
    case.click(world(case, INSIDE))
    node = case.scene.points([world(case, INSIDE), world(case, BESIDE)], ["- too much", "add"])
    case.port.modes.clear()
    report = case.add_markups(node)
    assert (case.port.saves, case.port.modes) == (2, ["Set"])
    assert report.added > 0
    assert report.removed > 0
    assert undo_depth(case) == 2


def test_preview_is_not_written_until_commit(case: Any) -> None:
    case.auto_commit = False
    case.click(world(case, INSIDE))
    case.click(world(case, BESIDE))
    assert case.session.has_preview
    assert (case.port.saves, count(case)) == (0, 0)
    preview = case.session.preview_image()
    assert box_of_extent(preview.GetExtent()) == case.session.preview_box
    np.testing.assert_allclose(image_matrix(preview), volume_matrix(case.scene.volume), atol=1e-9)
    assert array_view(preview).sum() == 36 + 15
    case.session.commit()
    assert (case.port.saves, case.port.modes, count(case)) == (1, ["Add"], 51)
    case.click(world(case, INSIDE), include=False)
    case.session.reject()
    assert not case.session.has_preview
    assert count(case) == 51
    assert len(case.session.prompts("A")) == len(case.engine.prompts("A")) == 2
    case.undo()
    assert count(case) == 0
    assert not case.engine.can_undo


def test_preview_belongs_to_its_segment(case: Any) -> None:
    case.auto_commit = False
    case.click(world(case, INSIDE))
    case.scene.select("B")
    with pytest.raises(ValueError, match="preview"):
        case.click(world(case, BESIDE))
    case.session.commit()
    assert (count(case, "A"), count(case, "B")) == (36, 0)
    assert case.port.selected_segment_id() == "B"


def test_hidden_segment_is_left_alone_if_the_user_says_so(case: Any) -> None:
    case.port.confirm_selected_segment_visible = lambda: False
    case.click(world(case, INSIDE))
    assert count(case) == 0
    assert not case.engine.can_undo
    assert "hidden" in case.session.last_message


def test_several_segments(case: Any) -> None:
    case.click(world(case, INSIDE))
    case.scene.select("B")
    case.click(world(case, BESIDE))
    case.scene.select("A")
    list(case.propagate())
    assert {s: m.sum() for s, m in case.scene.masks().items()} == {"A": case.tube.sum(), "B": 15, "C": 0}
    for expected in ({"A": 36, "B": 15}, {"A": 36, "B": 0}, {"A": 0, "B": 0}):
        case.undo()
        assert {s: count(case, s) for s in "AB"} == expected
        assert {s: case.engine.mask(s).sum() if s in case.engine.segments else 0 for s in "AB"} == expected


@pytest.mark.parametrize("mode", range(3))
def test_neighbour_under_overwrite_modes(case: Any, mode: int) -> None:
    case.session.keep_out = False
    case.scene.editor_node.SetOverwriteMode(2)
    for name in "BC":
        case.scene.select(name)
        case.click(world(case, INSIDE))
    case.scene.select("A")
    if mode == 1:
        case.scene.segmentation.GetDisplayNode().SetSegmentVisibility("C", False)
    case.scene.editor_node.SetOverwriteMode(mode)
    case.click(world(case, INSIDE))
    after = case.scene.masks()
    np.testing.assert_array_equal(after["A"], case.tube_slice(4))
    assert after["B"].sum() == (36 if mode == 2 else 0)
    assert after["C"].sum() == (36 if mode in (1, 2) else 0)
    for name in "BC":
        assert (f"'{name}' lost 36 voxels to this segment." in case.session.last_message) == (not after[name].any())


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_other_segments_lose_nothing_by_default_and_it_is_said(case: Any, mode: int) -> None:
    neighbour = case.tube & (np.arange(case.tube.shape[1])[:, None] >= 8)
    paint(case, "B", neighbour)
    case.scene.editor_node.SetOverwriteMode(mode)
    case.click(world(case, INSIDE))
    assert case.session.last_message == "18 voxels belong to other segments and were left to them."
    list(case.propagate())
    np.testing.assert_array_equal(case.scene.masks()["B"], neighbour)
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube & ~neighbour)
    case.click(world(case, BESIDE))
    assert case.session.last_message == ""


def test_drawing_inside_of_a_segment_is_no_entering(case: Any) -> None:
    """A tumour inside of an organ: the editable area asks for it."""
    paint(case, "B", case.tube)
    case.scene.editor_node.SetMaskMode(case.scene.segmentation.EditAllowedInsideSingleSegment)
    case.scene.editor_node.SetMaskSegmentID("B")
    case.click(world(case, INSIDE))
    assert (count(case), count(case, "B")) == (36, case.tube.sum() - 36)
    assert "'B' lost 36 voxels" in case.session.last_message


def test_masking_refuses_and_says_so(case: Any) -> None:
    neighbour = case.tube & (np.arange(case.tube.shape[1])[:, None] >= 8)
    paint(case, "B", neighbour)
    case.scene.editor_node.SetMaskMode(case.scene.segmentation.EditAllowedOutsideAllSegments)
    case.session.keep_out = False
    case.click(world(case, INSIDE))
    list(case.propagate())
    np.testing.assert_array_equal(case.scene.masks()["B"], neighbour)
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube & ~neighbour)
    assert "masking" in case.session.last_message
    case.click(world(case, (6, 6, 5)), include=False)  # refused voxels are no manual edits
    assert case.predictor.given_masks == []


def test_a_manual_edit_is_known_and_kept(case: Any) -> None:
    case.click(world(case, INSIDE))
    stroke = np.zeros(case.tube.shape, bool)
    stroke[4, 0:3, 0:5] = True
    paint(case, "A", stroke)
    case.click(world(case, BESIDE))
    assert case.engine.mask("A").sum() == count(case) == 36 + 15 + 15
    case.undo()
    assert count(case) == case.engine.mask("A").sum() == 36 + 15
    case.scene.logic.Undo()  # takes the stroke back
    case.click(world(case, BESIDE))
    assert count(case) == case.engine.mask("A").sum() == 36 + 15


def test_a_segment_that_was_there_before_is_the_start(case: Any) -> None:
    paint(case, "A", case.tube_slice(9))
    case.click(world(case, INSIDE))
    list(case.propagate())
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube)
    case.click(world(case, (9, 8, 6)), include=False)
    assert not case.scene.masks()["A"][9, 8, 6]
    for _ in range(3):
        case.undo()
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube_slice(9))


def test_a_segment_erased_with_another_effect(case: Any) -> None:
    case.click(world(case, INSIDE))
    paint(case, "A", case.tube, "Remove")
    case.click(world(case, BESIDE))
    assert count(case) == 15


def test_source_volume_and_its_display_are_untouched(case: Any) -> None:
    before, time = case.scene.voxels_hash(), case.scene.volume.GetImageData().GetMTime()
    case.click(world(case, INSIDE))
    list(case.propagate())
    case.undo()
    assert case.scene.voxels_hash() == before
    assert case.scene.volume.GetImageData().GetMTime() == time


def test_changed_image_is_noticed(case: Any) -> None:
    case.click(world(case, INSIDE))
    assert not case.session.is_stale
    assert not case.session.refresh()
    array_view(case.scene.volume.GetImageData())[0, 0, 0] = 99
    case.scene.volume.GetImageData().GetPointData().GetScalars().Modified()
    assert case.session.is_stale
    states = len(case.predictor.states)
    case.click(world(case, BESIDE))
    assert len(case.predictor.states) > states
    assert count(case) == 36 + 15  # the segment stays
    assert [p.index_kji for p in case.session.prompts("A")] == [INSIDE, BESIDE]
    case.undo()
    assert count(case) == 36


def test_moved_volume_keeps_its_features(case: Any) -> None:
    transform = case.scene.transform(np.diag([1.0, 1.0, 1.0, 1.0]))
    for node in (case.scene.volume, case.scene.segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
    case.click(world(case, INSIDE))
    states = len(case.predictor.states)
    case.scene.move(transform, [[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    assert case.session.is_stale
    case.click(world(case, BESIDE))
    assert not case.session.is_stale
    assert len(case.predictor.states) == states
    assert count(case) == 36 + 15


def test_another_segmentation_starts_anew(case: Any) -> None:
    case.click(world(case, INSIDE))
    other = case.scene.mrml.AddNewNodeByClass("vtkMRMLSegmentationNode", "S2")
    other.CreateDefaultDisplayNodes()
    other.GetSegmentation().AddEmptySegment("A", "A")
    case.scene.logic.SetSegmentationNode(other)
    case.scene.select("A")
    assert not case.session.sync_with_editor()
    case.click(world(case, BESIDE))
    assert count(case) == 36
    case.scene.segmentation = other
    assert count(case) == 15


def test_off_axis_prompts(case: Any) -> None:
    case.click(world(case, INSIDE), axis=1)
    expected = case.tube.copy()
    expected[:, :8] = expected[:, 9:] = False
    np.testing.assert_array_equal(case.scene.masks()["A"], expected)
    list(case.propagate(stop_when_lost=False))
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube)


def test_markups_of_every_kind(case: Any) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = world(case, (10, 8, 7))
    roi = case.scene.roi(matrix, [8.0, 8.0, 24.0])
    case.add_markups(roi)
    list(case.propagate())
    assert count(case) > 100
    case.scene.select("B")
    case.add_markups(case.scene.line(world(case, (4, 14, 13)), world(case, (4, 16, 17))))
    assert count(case, "B") > 0
    assert roi in [case.scene.mrml.GetNodeByID(p.origin.node_id) for p in case.session.prompts("A")]
    assert prompt_store.prompt_nodes(case.scene.segmentation) == []  # the user's own markups are not shown twice


def test_a_prompt_outside_leaves_everything_as_it_was(case: Any) -> None:
    node = case.scene.points([world(case, INSIDE), [900.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match=r"'F-2' of 'F'.*outside"):
        case.add_markups(node)
    assert (case.port.saves, count(case), case.session.has_preview) == (0, 0, False)


def test_an_engine_that_fails_leaves_everything_as_it_was(case: Any) -> None:
    case.click(world(case, INSIDE))
    case.predictor.fail_at = 6
    with pytest.raises(MemoryError):
        case.add_markups(case.scene.points([world(case, BESIDE), world(case, (6, 8, 6))]))
    assert (case.port.saves, count(case), len(case.session.prompts("A"))) == (1, 36, 1)
    with pytest.raises(MemoryError):
        list(case.propagate(direction="forward"))
    assert count(case) == 36 + 36  # the slice before the failure is kept
    case.predictor.fail_at = None
    case.undo()
    assert count(case) == case.engine.mask("A").sum() == 36


def test_nothing_selected(case: Any) -> None:
    case.scene.select("")
    with pytest.raises(ValueError, match="No segment is selected"):
        case.click(world(case, INSIDE))
    case.scene.logic.SetSourceVolumeNode(None)
    with pytest.raises(ValueError, match="No source volume"):
        case.click([0, 0, 0])

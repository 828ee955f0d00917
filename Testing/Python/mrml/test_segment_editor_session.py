"""A user's session on a real scene: engine, editor, undo history and prompts go together."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from EfficientMedSAM2Lib.mrml.labelmaps import array_view, box_of_extent, image_matrix, oriented_image
from EfficientMedSAM2Lib.mrml.ports.editor_port import ModificationMode
from EfficientMedSAM2Lib.mrml.scene import prompt_store
from EfficientMedSAM2Lib.mrml.volume_reader import local_to_world, volume_matrix

INSIDE, BESIDE = (4, 8, 6), (4, 15, 15)  # voxels k, j, i in the two tubes


def world(case: Any, index_kji: Any) -> list[float]:
    i, j, k = index_kji[2], index_kji[1], index_kji[0]
    local = volume_matrix(case.scene.volume) @ (i, j, k, 1)
    return local_to_world(local[:3], case.scene.volume)[0].tolist()


def paint(case: Any, segment_id: str, mask: np.ndarray, mode: str = "Add") -> None:
    """What Slicer's own Paint effect does."""
    selected = case.port.selected_segment_id()
    case.scene.select(segment_id)
    image = oriented_image(mask, (0, 0, 0), volume_matrix(case.scene.volume))
    case.scene.logic.SaveStateForUndo()
    case.port.modify_selected_segment(image, ModificationMode(mode), image.GetExtent())
    case.scene.select(selected)
    case.port.saves, case.port.modes = 0, []


def count(case: Any, segment_id: str = "A") -> int:
    return int(case.scene.masks()[segment_id].sum())


def undo_depth(case: Any) -> int:
    """How often the editor's own Undo can be pressed; presses Redo as often again."""
    n = 0
    while case.scene.logic.CanUndo():
        case.scene.logic.Undo()
        n += 1
    for _ in range(n):
        case.scene.logic.Redo()
    return n


def test_click_is_one_save_and_one_call(case: Any) -> None:
    report = case.session.click(world(case, INSIDE))
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube_slice(4))
    assert (case.port.saves, case.port.modes) == (1, ["Add"])
    assert report.box_kji == [[4, 5], [5, 11], [4, 10]]
    assert undo_depth(case) == 1


def test_correction_that_adds_and_removes_is_one_call(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    node = case.scene.points([world(case, INSIDE), world(case, BESIDE)], ["- too much", "add"])
    case.port.modes.clear()
    report = case.session.add_markups(node)
    assert (case.port.saves, case.port.modes) == (2, ["Set"])
    assert report.added > 0
    assert report.removed > 0
    assert undo_depth(case) == 2


def test_propagation_is_one_undo_step_and_follows_undo(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    updates = list(case.session.propagate())
    assert len(updates) > 5
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube)
    assert (case.port.saves, case.port.modes) == (2, ["Add", "Add"])
    case.scene.logic.Undo()  # the button of the editor
    assert case.session.follow_editor()
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube_slice(4))
    np.testing.assert_array_equal(case.engine.mask("A"), case.tube_slice(4))
    case.session.redo()
    np.testing.assert_array_equal(case.engine.mask("A"), case.tube)
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube)


def test_cancelled_propagation_keeps_its_slices_as_one_step(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    updates = case.session.propagate(direction="forward")
    for _ in range(3):
        next(updates)
    assert case.port.saves == 1  # nothing is written on the way
    updates.close()
    assert case.port.saves == 2
    assert count(case) == 4 * 36
    case.session.undo()
    assert count(case) == 36
    assert [p.index_kji for p in case.engine.prompts("A")] == [INSIDE]


def test_an_action_ends_an_open_propagation(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    updates = case.session.propagate(direction="forward")
    next(updates)
    case.session.click(world(case, (4, 15, 15)))
    assert count(case) == 36 + 36 + 15
    updates.close()
    assert case.port.saves == 2  # the open propagation became part of the click's step
    assert undo_depth(case) == 2


def test_propagating_an_up_to_date_segment_is_no_step(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    list(case.session.propagate())
    list(case.session.propagate())
    assert case.port.saves == 2
    assert "up to date" in case.session.last_message
    case.session.undo()
    assert count(case) == case.engine.mask("A").sum() == 36


def test_undo_and_redo_carry_the_prompts(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    case.session.click(world(case, BESIDE))
    case.session.click(world(case, (4, 15, 14)), include=False)

    def state() -> tuple:
        segment = case.scene.segmentation.GetSegmentation().GetSegment("A")
        tagged = prompt_store.get_tag(segment, prompt_store.PROMPTS_TAG)
        decoded = prompt_store.decode_prompts(tagged, case.scene.volume)
        nodes = prompt_store.prompt_nodes(case.scene.segmentation, "A")
        labels = [n.GetNthControlPointLabel(p) for n in nodes for p in range(n.GetNumberOfControlPoints())]
        engine = [p.index_kji for p in case.engine.prompts("A")] if "A" in case.engine.segments else []
        assert engine == [p.indices_kji[0] for p in case.session.prompts("A")] == [p.indices_kji[0] for p in decoded]
        return count(case), len(engine), labels

    states = [state()]
    while case.port.can_undo():
        case.session.undo()
        states.append(state())
    assert [s[1] for s in states] == [3, 2, 1, 0]
    assert states[0][2] == ["+1", "+2", "-3"]
    assert states[-1] == (0, 0, [])
    for expected in reversed(states[:-1]):
        case.session.redo()
        assert state() == expected


def test_the_same_click_after_undo(case: Any) -> None:
    for _ in range(2):
        case.session.click(world(case, INSIDE))
        case.session.click(world(case, BESIDE))
        assert count(case) == 51
        case.session.undo()
        assert count(case) == 36
        case.session.undo()
        assert count(case) == 0


def test_click_without_effect_can_be_undone_too(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    case.session.click(world(case, INSIDE))
    assert (case.port.saves, case.port.modes) == (2, ["Add"])
    case.session.undo()
    assert count(case) == 36
    assert len(case.session.prompts("A")) == 1


def test_preview_is_not_written_until_commit(case: Any) -> None:
    case.session.auto_commit = False
    case.session.click(world(case, INSIDE))
    case.session.click(world(case, BESIDE))
    assert case.session.has_preview
    assert (case.port.saves, count(case)) == (0, 0)
    preview = case.session.preview_image()
    assert box_of_extent(preview.GetExtent()) == case.session.preview_box
    np.testing.assert_allclose(image_matrix(preview), volume_matrix(case.scene.volume), atol=1e-9)
    assert array_view(preview).sum() == 36 + 15
    case.session.commit()
    assert (case.port.saves, case.port.modes, count(case)) == (1, ["Add"], 51)
    case.session.click(world(case, INSIDE), include=False)
    case.session.reject()
    assert not case.session.has_preview
    assert count(case) == 51
    assert len(case.session.prompts("A")) == len(case.engine.prompts("A")) == 2
    case.session.undo()
    assert count(case) == 0
    assert not case.engine.can_undo


def test_preview_belongs_to_its_segment(case: Any) -> None:
    case.session.auto_commit = False
    case.session.click(world(case, INSIDE))
    case.scene.select("B")
    with pytest.raises(ValueError, match="preview"):
        case.session.click(world(case, BESIDE))
    with pytest.raises(ValueError, match="another segment"):
        case.session.commit()
    case.session.undo()
    assert not case.session.has_preview


def test_hidden_segment_is_left_alone_if_the_user_says_so(case: Any) -> None:
    case.port.confirm_selected_segment_visible = lambda: False
    case.session.click(world(case, INSIDE))
    assert count(case) == 0
    assert not case.engine.can_undo
    assert "hidden" in case.session.last_message


def test_several_segments(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    case.scene.select("B")
    case.session.click(world(case, BESIDE))
    case.scene.select("A")
    list(case.session.propagate())
    assert {s: m.sum() for s, m in case.scene.masks().items()} == {"A": case.tube.sum(), "B": 15, "C": 0}
    for expected in ({"A": 36, "B": 15}, {"A": 36, "B": 0}, {"A": 0, "B": 0}):
        case.session.undo()
        assert {s: count(case, s) for s in "AB"} == expected
        assert {s: case.engine.mask(s).sum() if s in case.engine.segments else 0 for s in "AB"} == expected


def test_removing_a_segment_keeps_the_history_of_the_others(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    case.scene.select("B")
    case.session.click(world(case, BESIDE))
    case.scene.logic.SaveStateForUndo()
    case.scene.segmentation.GetSegmentation().RemoveSegment("A")
    assert not case.session.follow_editor()
    case.session.click(world(case, (5, 15, 15)))
    assert count(case, "B") == 30
    case.session.undo()
    case.session.undo()
    assert (count(case, "A"), count(case, "B")) == (36, 15)
    assert case.engine.mask("B").sum() == 15


@pytest.mark.parametrize("mode", range(3))
def test_neighbour_under_overwrite_modes(case: Any, mode: int) -> None:
    neighbour = case.tube & (np.arange(case.tube.shape[1])[:, None] >= 8)
    paint(case, "B", neighbour)
    paint(case, "C", neighbour)
    if mode == 1:
        case.scene.segmentation.GetDisplayNode().SetSegmentVisibility("C", False)
    case.scene.editor_node.SetOverwriteMode(mode)
    before = case.scene.masks()
    case.session.click(world(case, INSIDE))
    list(case.session.propagate())
    after = case.scene.masks()
    np.testing.assert_array_equal(after["A"], case.tube)
    assert after["B"].sum() == (before["B"].sum() if mode == 2 else 0)
    assert after["C"].sum() == (before["C"].sum() if mode in (1, 2) else 0)


def test_masking_refuses_and_says_so(case: Any) -> None:
    neighbour = case.tube & (np.arange(case.tube.shape[1])[:, None] >= 8)
    paint(case, "B", neighbour)
    case.scene.editor_node.SetMaskMode(case.scene.segmentation.EditAllowedOutsideAllSegments)
    case.session.click(world(case, INSIDE))
    list(case.session.propagate())
    np.testing.assert_array_equal(case.scene.masks()["B"], neighbour)
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube & ~neighbour)
    assert "masking" in case.session.last_message
    case.session.click(world(case, (6, 6, 5)), include=False)  # refused voxels are no edits by hand
    assert case.predictor.told == []


def test_edit_by_hand_is_taken_in_and_kept(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    stroke = np.zeros(case.tube.shape, bool)
    stroke[4, 0:3, 0:5] = True
    paint(case, "A", stroke)
    case.session.click(world(case, BESIDE))
    assert case.engine.mask("A").sum() == count(case) == 36 + 15 + 15
    case.session.undo()
    assert count(case) == case.engine.mask("A").sum() == 36 + 15
    case.scene.logic.Undo()  # takes the stroke back
    case.session.click(world(case, BESIDE))
    assert count(case) == case.engine.mask("A").sum() == 36 + 15


def test_a_segment_that_was_there_before_is_the_start(case: Any) -> None:
    paint(case, "A", case.tube_slice(9))
    case.session.click(world(case, INSIDE))
    list(case.session.propagate())
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube)
    case.session.click(world(case, (9, 8, 6)), include=False)
    assert not case.scene.masks()["A"][9, 8, 6]
    for _ in range(3):
        case.session.undo()
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube_slice(9))


def test_segment_erased_by_hand(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    paint(case, "A", case.tube, "Remove")
    case.session.click(world(case, BESIDE))
    assert count(case) == 15


def test_undo_beyond_the_session_starts_anew(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    other = type(case.session)(case.port, case.engine)  # as after leaving and entering the effect
    other.click(world(case, BESIDE))
    other.undo()
    other.undo()
    assert count(case) == 0
    other.click(world(case, BESIDE))
    assert count(case) == 15


def test_undo_beyond_the_memory_of_the_engine(build_case: Any) -> None:
    case = build_case(max_undo_steps=2)
    for index in (INSIDE, BESIDE, (5, 8, 6), (5, 15, 15)):
        case.session.click(world(case, index))
    for expected in (36 + 15 + 36, 36 + 15, 36):
        case.session.undo()
        assert count(case) == expected
    assert [p.indices_kji[0] for p in case.session.prompts("A")] == [INSIDE]
    case.session.click(world(case, BESIDE))
    assert count(case) == case.engine.mask("A").sum() == 36 + 15


def test_source_volume_and_its_display_are_untouched(case: Any) -> None:
    before, time = case.scene.voxels_hash(), case.scene.volume.GetImageData().GetMTime()
    case.session.click(world(case, INSIDE))
    list(case.session.propagate())
    case.session.undo()
    assert case.scene.voxels_hash() == before
    assert case.scene.volume.GetImageData().GetMTime() == time


def test_changed_image_is_noticed(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    assert not case.session.is_stale
    assert not case.session.refresh()
    array_view(case.scene.volume.GetImageData())[0, 0, 0] = 99
    case.scene.volume.GetImageData().GetPointData().GetScalars().Modified()
    assert case.session.is_stale
    states = len(case.predictor.states)
    case.session.click(world(case, BESIDE))
    assert len(case.predictor.states) > states
    assert count(case) == 36 + 15  # the segment stays
    assert [p.indices_kji[0] for p in case.session.prompts("A")] == [INSIDE, BESIDE]
    case.session.undo()
    assert count(case) == 36


def test_moved_volume_keeps_its_features(case: Any) -> None:
    transform = case.scene.transform(np.diag([1.0, 1.0, 1.0, 1.0]))
    for node in (case.scene.volume, case.scene.segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
    case.session.click(world(case, INSIDE))
    states = len(case.predictor.states)
    case.scene.move(transform, [[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    assert case.session.is_stale
    case.session.click(world(case, BESIDE))
    assert not case.session.is_stale
    assert len(case.predictor.states) == states
    assert count(case) == 36 + 15


def test_another_segmentation_starts_anew(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    other = case.scene.mrml.AddNewNodeByClass("vtkMRMLSegmentationNode", "S2")
    other.CreateDefaultDisplayNodes()
    other.GetSegmentation().AddEmptySegment("A", "A")
    case.scene.logic.SetSegmentationNode(other)
    case.scene.select("A")
    assert not case.session.follow_editor()
    case.session.click(world(case, BESIDE))
    assert count(case) == 36
    case.scene.segmentation = other
    assert count(case) == 15


def test_off_axis_prompts(case: Any) -> None:
    case.session.click(world(case, INSIDE), axis=1)
    expected = case.tube.copy()
    expected[:, :8] = expected[:, 9:] = False
    np.testing.assert_array_equal(case.scene.masks()["A"], expected)
    list(case.session.propagate(stop_when_lost=False))
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube)


def test_markups_of_every_kind(case: Any) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = world(case, (10, 8, 7))
    roi = case.scene.roi(matrix, [8.0, 8.0, 24.0])
    case.session.add_markups(roi)
    list(case.session.propagate())
    assert count(case) > 100
    case.scene.select("B")
    case.session.add_markups(case.scene.line(world(case, (4, 14, 13)), world(case, (4, 16, 17))))
    assert count(case, "B") > 0
    assert roi in [case.scene.mrml.GetNodeByID(p.node_id) for p in case.session.prompts("A")]
    assert prompt_store.prompt_nodes(case.scene.segmentation) == []  # the user's own markups are not shown twice


def test_a_prompt_outside_leaves_everything_as_it_was(case: Any) -> None:
    node = case.scene.points([world(case, INSIDE), [900.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match=r"'F-2' of 'F'.*outside"):
        case.session.add_markups(node)
    assert (case.port.saves, count(case), case.session.has_preview) == (0, 0, False)


def test_an_engine_that_fails_leaves_everything_as_it_was(case: Any) -> None:
    case.session.click(world(case, INSIDE))
    case.predictor.fail_at = 6
    with pytest.raises(MemoryError):
        case.session.add_markups(case.scene.points([world(case, BESIDE), world(case, (6, 8, 6))]))
    assert (case.port.saves, count(case), len(case.session.prompts("A"))) == (1, 36, 1)
    with pytest.raises(MemoryError):
        list(case.session.propagate(direction="forward"))
    assert count(case) == 36 + 36  # the slice before the failure is kept
    case.predictor.fail_at = None
    case.session.undo()
    assert count(case) == case.engine.mask("A").sum() == 36


def test_nothing_selected(case: Any) -> None:
    case.scene.select("")
    with pytest.raises(ValueError, match="No segment is selected"):
        case.session.click(world(case, INSIDE))
    case.scene.logic.SetSourceVolumeNode(None)
    with pytest.raises(ValueError, match="No source volume"):
        case.session.click([0, 0, 0])


ACTIONS = st.sampled_from(["in", "out", "beside", "propagate", "cancel", "undo", "redo", "paint", "select", "button"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ACTIONS, st.integers(0, 9)), max_size=14), st.integers(0, 2), st.sampled_from([0, 3]))
def test_any_session_undoes_to_its_beginning(build_case: Any, actions: Any, overwrite: int, mask_mode: int) -> None:
    case = build_case()
    case.scene.editor_node.SetOverwriteMode(overwrite)
    case.scene.editor_node.SetMaskMode(mask_mode)
    protected = np.zeros(case.tube.shape, bool)
    protected[6:9, 6:9, 5:8] = True
    paint(case, "C", protected)
    source = case.scene.voxels_hash()
    for action, n in actions:
        k = 3 + n
        with contextlib.suppress(ValueError):  # nothing to propagate, nothing to take away from
            if action == "in":
                case.session.click(world(case, (k, 8, 6)))
            elif action == "out":
                case.session.click(world(case, (k, 8, 6)), include=False)
            elif action == "beside":
                case.session.click(world(case, (k, 15, 15)), axis=n % 3)
            elif action == "propagate":
                list(case.session.propagate(direction=("both", "forward", "backward")[n % 3]))
            elif action == "cancel":
                for _update, _n in zip(case.session.propagate(), range(n)):
                    pass
            elif action == "undo":
                case.session.undo()
            elif action == "redo":
                case.session.redo()
            elif action == "paint":
                stroke = np.zeros(case.tube.shape, bool)
                stroke[n : n + 2, 0:2, 0 : n + 1] = True
                paint(case, "AB"[n % 2], stroke)
            elif action == "select":
                case.scene.select("AB"[n % 2])
            elif case.scene.logic.CanUndo():
                case.scene.logic.Undo()
        if (mask_mode, overwrite) == (0, 2):  # nothing is refused or overwritten: engine and editor agree
            case.session.begin()
            case.session.tell_edits()
            selected = case.port.selected_segment_id()
            held = case.engine.mask(selected) if selected in case.engine.segments else np.zeros_like(protected)
            np.testing.assert_array_equal(held, case.scene.masks()[selected])
        if mask_mode == 3 or overwrite == 2:
            assert case.scene.masks()["C"].sum() in (0, 27)  # 0: the painting itself was undone
        assert case.scene.voxels_hash() == source
    case.session.follow_editor()
    while case.port.can_undo():
        case.session.undo()
    assert all(not m.any() for m in case.scene.masks().values())
    assert prompt_store.prompt_nodes(case.scene.segmentation) == []

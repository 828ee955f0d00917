"""The undo history of a session on a real scene: what is one step, and what follows the editor's own Undo."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from editor_actions import BESIDE, INSIDE, count, paint, undo_depth, world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from EfficientMedSAM2Lib.mrml.scene import prompt_store


def test_propagation_is_one_undo_step_and_can_be_undone(case: Any) -> None:
    case.click(world(case, INSIDE))
    updates = list(case.propagate())
    assert len(updates) > 5
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube)
    assert (case.port.saves, case.port.modes) == (2, ["Add", "Add"])
    case.scene.logic.Undo()  # the button of the editor
    assert case.session.sync_with_editor()
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube_slice(4))
    np.testing.assert_array_equal(case.engine.mask("A"), case.tube_slice(4))
    case.redo()
    np.testing.assert_array_equal(case.engine.mask("A"), case.tube)
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube)


def test_cancelled_propagation_keeps_its_slices_as_one_step(case: Any) -> None:
    case.click(world(case, INSIDE))
    updates = case.propagate(direction="forward")
    for _ in range(3):
        next(updates)
    assert case.port.saves == 1  # nothing is written on the way
    updates.close()
    assert case.port.saves == 2
    assert count(case) == 4 * 36
    case.undo()
    assert count(case) == 36
    assert [p.index_kji for p in case.engine.prompts("A")] == [INSIDE]


def test_an_action_ends_an_open_propagation(case: Any) -> None:
    case.click(world(case, INSIDE))
    updates = case.propagate(direction="forward")
    next(updates)
    case.click(world(case, (4, 15, 15)))
    assert count(case) == 36 + 36 + 15
    updates.close()
    assert case.port.saves == 2  # the open propagation became part of the click's step
    assert undo_depth(case) == 2


def test_propagating_an_up_to_date_segment_is_no_step(case: Any) -> None:
    case.click(world(case, INSIDE))
    list(case.propagate())
    list(case.propagate())
    assert case.port.saves == 2
    assert "up to date" in case.session.last_message
    case.undo()
    assert count(case) == case.engine.mask("A").sum() == 36


def test_undo_and_redo_carry_the_prompts(case: Any) -> None:
    case.click(world(case, INSIDE))
    case.click(world(case, BESIDE))
    case.click(world(case, (4, 15, 14)), include=False)

    def state() -> tuple:
        segment = case.scene.segmentation.GetSegmentation().GetSegment("A")
        tagged = prompt_store.get_tag(segment, prompt_store.PROMPTS_TAG)
        decoded = prompt_store.decode_prompts(tagged, case.scene.volume)
        nodes = prompt_store.prompt_nodes(case.scene.segmentation, "A")
        labels = [n.GetNthControlPointLabel(p) for n in nodes for p in range(n.GetNumberOfControlPoints())]
        engine = [p.index_kji for p in case.engine.prompts("A")] if "A" in case.engine.segments else []
        assert engine == [p.index_kji for p in case.session.prompts("A")] == [p.index_kji for p in decoded]
        return count(case), len(engine), labels

    states = [state()]
    while case.port.can_undo():
        case.undo()
        states.append(state())
    assert [s[1] for s in states] == [3, 2, 1, 0]
    assert states[0][2] == ["+1", "+2", "-3"]
    assert states[-1] == (0, 0, [])
    for expected in reversed(states[:-1]):
        case.redo()
        assert state() == expected


def test_the_same_click_after_undo(case: Any) -> None:
    for _ in range(2):
        case.click(world(case, INSIDE))
        case.click(world(case, BESIDE))
        assert count(case) == 51
        case.undo()
        assert count(case) == 36
        case.undo()
        assert count(case) == 0


def test_click_without_effect_can_be_undone_too(case: Any) -> None:
    case.click(world(case, INSIDE))
    case.click(world(case, INSIDE))
    assert (case.port.saves, case.port.modes) == (2, ["Add"])
    case.undo()
    assert count(case) == 36
    assert len(case.session.prompts("A")) == 1


def test_removing_a_segment_keeps_the_history_of_the_others(case: Any) -> None:
    case.click(world(case, INSIDE))
    case.scene.select("B")
    case.click(world(case, BESIDE))
    case.scene.logic.SaveStateForUndo()
    case.scene.segmentation.GetSegmentation().RemoveSegment("A")
    assert not case.session.sync_with_editor()
    case.click(world(case, (5, 15, 15)))
    assert count(case, "B") == 30
    case.undo()
    case.undo()
    assert (count(case, "A"), count(case, "B")) == (36, 15)
    assert case.engine.mask("B").sum() == 15


def test_undo_beyond_the_session_starts_anew(case: Any) -> None:
    case.click(world(case, INSIDE))
    other = replace(
        case, session=type(case.session)(case.port, case.engine)
    )  # as after leaving and entering the effect
    other.click(world(case, BESIDE))
    other.undo()
    other.undo()
    assert count(case) == 0
    other.click(world(case, BESIDE))
    assert count(case) == 15


def test_undo_beyond_the_memory_of_the_engine(build_case: Any) -> None:
    case = build_case(max_undo_steps=2)
    for index in (INSIDE, BESIDE, (5, 8, 6), (5, 15, 15)):
        case.click(world(case, index))
    for expected in (36 + 15 + 36, 36 + 15, 36):
        case.undo()
        assert count(case) == expected
    assert [p.index_kji for p in case.session.prompts("A")] == [INSIDE]
    case.click(world(case, BESIDE))
    assert count(case) == case.engine.mask("A").sum() == 36 + 15


ACTIONS = st.sampled_from(["in", "out", "beside", "propagate", "cancel", "undo", "redo", "paint", "select", "button"])


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(ACTIONS, st.integers(0, 9)), max_size=14),
    st.integers(0, 2),
    st.sampled_from([0, 3]),
    st.booleans(),
)
def test_any_session_undoes_to_its_beginning(
    build_case: Any, actions: Any, overwrite: int, mask_mode: int, keep_out: bool
) -> None:
    case = build_case()
    case.session.keep_out = keep_out
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
                case.click(world(case, (k, 8, 6)))
            elif action == "out":
                case.click(world(case, (k, 8, 6)), include=False)
            elif action == "beside":
                case.click(world(case, (k, 15, 15)), axis=n % 3)
            elif action == "propagate":
                list(case.propagate(direction=("both", "forward", "backward")[n % 3]))
            elif action == "cancel":
                for _update, _n in zip(case.propagate(), range(n)):
                    pass
            elif action == "undo":
                case.undo()
            elif action == "redo":
                case.redo()
            elif action == "paint":
                stroke = np.zeros(case.tube.shape, bool)
                stroke[n : n + 2, 0:2, 0 : n + 1] = True
                paint(case, "AB"[n % 2], stroke)
            elif action == "select":
                case.scene.select("AB"[n % 2])
            elif case.scene.logic.CanUndo():
                case.scene.logic.Undo()
        # nothing is refused or overwritten: engine and editor agree
        if (mask_mode, overwrite, keep_out) == (0, 2, False):
            case.session.begin()
            case.session.push_manual_edit()
            selected = case.port.selected_segment_id()
            held = case.engine.mask(selected) if selected in case.engine.segments else np.zeros_like(protected)
            np.testing.assert_array_equal(held, case.scene.masks()[selected])
        if mask_mode == 3 or overwrite == 2 or keep_out:
            assert case.scene.masks()["C"].sum() in (0, 27)  # 0: the painting itself was undone
        assert case.scene.voxels_hash() == source
    case.session.sync_with_editor()
    while case.port.can_undo():
        case.undo()
    assert all(not m.any() for m in case.scene.masks().values())
    assert prompt_store.prompt_nodes(case.scene.segmentation) == []

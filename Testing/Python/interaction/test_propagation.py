"""Propagation: range, direction, early stop, staleness, cancel, scores."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import pytest
from scene import FIRST, LAST, SHAPE, first_tube, make_session, run

from EfficientMedSAM2Lib.interaction import SliceUpdate, StopRule
from EfficientMedSAM2Lib.interaction.propagation import plan_runs
from EfficientMedSAM2Lib.interaction.segment import SliceKind, SliceRecord, stale_indices, with_correction


def records(conditioning=(), propagated=(), stale=(), skipped=(), given=()):
    made = {i: SliceRecord(SliceKind.PROPAGATED, 0.5) for i in propagated}
    made.update((i, SliceRecord(SliceKind.PROPAGATED, 0.5, stale=True)) for i in stale)
    made.update((i, SliceRecord(SliceKind.SKIPPED)) for i in skipped)
    made.update((i, SliceRecord(SliceKind.GIVEN, 1.0)) for i in given)
    made.update((i, SliceRecord(SliceKind.CONDITIONING, 0.9)) for i in conditioning)
    return made


def frames(planned):
    return [(r.start, list(r.frames), r.reverse) for r in planned]


# --- what is stale, and in which order it is done: pure functions


def test_a_correction_governs_up_to_the_next_fixed_slice():
    before = records(conditioning=[10, 20], propagated=[8, 9, *range(11, 20), 21, 22], skipped=[7, 23])
    after = with_correction(before, 15, 0.7)
    assert stale_indices(after) == [11, 12, 13, 14, 16, 17, 18, 19]
    assert after[15] == SliceRecord(SliceKind.CONDITIONING, 0.7)
    assert 7 in after
    assert 23 in after
    after = with_correction(after, 21, 0.7)
    assert stale_indices(after) == [11, 12, 13, 14, 16, 17, 18, 19, 22]
    assert 23 not in after
    assert stale_indices(before) == []


def test_runs_start_from_the_nearest_fixed_slice():
    state = records(conditioning=[10, 15])
    assert frames(plan_runs(state, "both", (8, 18), 15, False)) == [
        (15, [16, 17], False),
        (15, [14, 13], True),
        (10, [11, 12], False),
        (10, [9, 8], True),
    ]
    assert frames(plan_runs(state, "forward", (8, 18), 15, False)) == [
        (15, [16, 17], False),
        (10, [11, 12, 13, 14], False),
    ]
    assert frames(plan_runs(state, "backward", (8, 18), 15, False)) == [
        (15, [14, 13, 12, 11], True),
        (10, [9, 8], True),
    ]


def test_runs_leave_out_what_is_up_to_date():
    state = records(conditioning=[10], propagated=[11, 12], stale=[13], skipped=[16])
    assert frames(plan_runs(state, "forward", (0, 18), 10, False)) == [(10, [13, 14, 15, 17], False)]
    assert frames(plan_runs(state, "forward", (0, 18), 10, True)) == [(10, [13, 14, 15, 16, 17], False)]


def test_runs_start_at_the_border_of_a_given_mask():
    state = records(conditioning=[10], given=[8, 9, 11, 12])
    assert frames(plan_runs(state, "forward", (0, 15), 10, False)) == [(12, [13, 14], False)]
    assert frames(plan_runs(state, "backward", (5, 15), 10, False)) == [(8, [7, 6, 5], True)]


# --- on a volume


def test_propagation_is_a_generator_of_slice_updates():
    session, _, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    propagation = session.propagate("1", "forward", limits=(10, 13))
    assert isinstance(propagation, Generator)
    assert propagation.total == 2
    first, second = propagation
    assert isinstance(first, SliceUpdate)
    assert (first.index, first.axis, first.segment, first.score) == (11, 0, "1", 0.8)
    assert first.bbox == [[11, 12], [5, 11], [4, 10]]
    assert np.array_equal(first.mask, first_tube()[11])
    assert second.index == 12
    assert propagation.bbox == [[11, 13], [5, 11], [4, 10]]
    assert propagation.done == 2


def test_propagation_finds_the_whole_structure_and_stops_behind_it():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    updates = run(session.propagate())
    assert np.array_equal(session.mask(), first_tube())
    # 8 mm at 3 mm spacing: three empty slices on each side, the rest of the volume is not computed
    assert sorted(predictor.propagated) == [*range(FIRST - 3, 10), *range(11, LAST + 4)]
    assert "Stopped at slice 20" in "".join(u.message for u in updates)
    assert session.last_message.startswith("Stopped at slice")
    assert session.scores()[10] == 0.9
    assert sorted(session.scores()) == list(range(FIRST - 3, LAST + 4))


@pytest.mark.parametrize(("spacing", "empty"), [(1.0, 8), (3.0, 3), (10.0, 2)])
def test_stop_rule_is_in_mm(spacing, empty):
    session, predictor, _ = make_session(spacing_kji=(spacing, 1.0, 1.0))
    session.add_point_interaction((10, 7, 6), True, axis=0)
    run(session.propagate(direction="forward"))
    assert predictor.propagated == list(range(11, min(LAST + 1 + empty, SHAPE[0])))


def test_unsure_slices_count_as_lost():
    session, predictor, _ = make_session()
    predictor.low_scores = {12, 13, 14}
    session.add_point_interaction((10, 7, 6), True)
    run(session.propagate(direction="forward"))
    assert predictor.propagated == [11, 12, 13, 14]
    assert session.scores()[14] == 0.01
    predictor.forget_calls()
    run(session.propagate(direction="forward", stop_when_lost=StopRule(min_score=0.0)))
    assert predictor.propagated == []
    assert session.last_message == "All slices in this range are up to date."


def test_without_early_stop_every_slice_is_visited():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    run(session.propagate())
    predictor.forget_calls()
    run(session.propagate(stop_when_lost=False))
    assert sorted(predictor.propagated) == [0, 21, 22, 23]


@pytest.mark.parametrize(
    ("direction", "expected"), [("forward", [11, 12]), ("backward", [9, 8]), ("both", [11, 12, 9, 8])]
)
def test_direction_and_range(direction, expected):
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    run(session.propagate(direction=direction, limits=(8, 13)))
    assert predictor.propagated == expected


def test_only_stale_slices_are_computed_again():
    session, predictor, _ = make_session()
    session.add_point_interaction((6, 7, 6), True)
    session.add_point_interaction((14, 7, 6), True)
    run(session.propagate())
    assert session.stale_slices() == []
    predictor.forget_calls()
    run(session.propagate())
    assert predictor.propagated == []

    session.add_point_interaction((10, 5, 4), False)
    stale = [7, 8, 9, 11, 12, 13]
    assert session.stale_slices() == stale
    before = session.mask()
    assert np.array_equal(before[stale], first_tube()[stale]), "stale masks stay visible"
    predictor.forget_calls()
    run(session.propagate())
    assert sorted(predictor.propagated) == stale
    assert session.stale_slices() == []
    assert np.array_equal(session.mask()[[6, 10, 14]], before[[6, 10, 14]])


def test_correction_after_propagation_spreads_to_the_ends():
    truth = first_tube()
    session, _predictor, _ = make_session()
    session.add_bbox_interaction([[10, 11], [5, 7], [4, 10]], True)
    run(session.propagate())
    session.add_point_interaction((14, 7, 6), True)
    assert session.stale_slices() == [*range(11, 14), *range(15, LAST + 4)]
    run(session.propagate())
    assert np.array_equal(session.mask()[11:], truth[11:])


def test_stale_slices_behind_the_end_are_still_refreshed():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    run(session.propagate())
    # the user says that the structure ends at 12: what was found behind it must not stay
    session.add_initial_seg_interaction(np.zeros(SHAPE[1:]), index=12)
    predictor.forget_calls()
    run(session.propagate())
    assert session.stale_slices() == []
    assert not session.mask()[12:].any()
    assert set(range(13, LAST + 1)) <= set(predictor.propagated)


def test_an_emptied_slice_does_not_empty_the_structure_before_it():
    session, _, _ = make_session()
    session.add_point_interaction((6, 7, 6), True)
    session.add_initial_seg_interaction(np.zeros(SHAPE[1:]), index=LAST + 1)
    run(session.propagate())
    assert np.array_equal(session.mask(), first_tube())


def test_closing_keeps_what_was_written_as_one_undo_step():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    alone = session.mask()
    propagation = session.propagate(direction="forward")
    next(propagation)
    next(propagation)
    propagation.close()
    assert predictor.propagated == [11, 12]
    assert session.mask()[:13].any(axis=(1, 2)).nonzero()[0].tolist() == [10, 11, 12]
    assert session.undo() == [[11, 13], [5, 11], [4, 10]]
    assert np.array_equal(session.mask(), alone)
    assert session.redo() == [[11, 13], [5, 11], [4, 10]]
    predictor.forget_calls()
    run(session.propagate(direction="forward", limits=(0, 15)))
    assert predictor.propagated == [13, 14]


def test_breaking_out_of_the_loop_cancels():
    session, _, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    for _ in session.propagate():
        break
    assert session.next_undo == ("1", "propagate")


@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_cancelled_propagation_goes_on_in_the_order_of_one_run(count):
    """The predictor remembers the slices done last: begun at the other end, the rest would be led by others."""
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    run(session.propagate())
    whole, mask = list(predictor.propagated), session.mask().copy()
    session.undo()
    predictor.forget_calls()
    propagation = session.propagate()
    for _ in range(count):
        next(propagation)
    propagation.close()
    run(session.propagate())
    assert predictor.propagated == whole
    assert np.array_equal(session.mask(), mask)


def test_an_interaction_closes_the_open_propagation():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    propagation = session.propagate(direction="forward")
    next(propagation)
    assert session.next_undo == ("1", "propagate")
    assert session.depth == 2
    session.add_point_interaction((14, 7, 6), True)
    assert session.depth == 3
    assert run(propagation) == []
    assert predictor.propagated == [11]
    assert session.next_undo == ("1", "add point")
    session.undo()
    assert session.next_undo == ("1", "propagate")
    session.undo()
    assert session.next_undo == ("1", "add point")


def test_only_one_propagation_is_open():
    session, _, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    first = session.propagate(direction="forward")
    next(first)
    second = session.propagate(direction="forward")
    assert run(first) == []
    assert next(u.index for u in second) == 12


def test_a_propagation_never_started_leaves_no_step():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    session.propagate()
    session.propagate().close()
    assert session.next_undo == ("1", "add point")
    assert predictor.propagated == []


def test_a_failure_midway_keeps_what_was_written():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    predictor.fail_at = 13
    with pytest.raises(MemoryError):
        run(session.propagate(direction="forward"))
    assert session.mask()[:, 5, 4].nonzero()[0].tolist() == [10, 11, 12]
    assert session.undo() == [[11, 13], [5, 11], [4, 10]]
    predictor.fail_at = None
    run(session.propagate())
    assert np.array_equal(session.mask(), first_tube())


def test_nothing_to_do_is_no_undo_step():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    assert run(session.propagate(limits=(10, 11))) == []
    assert session.next_undo == ("1", "add point")
    predictor.fail_at = 11
    with pytest.raises(MemoryError):
        run(session.propagate(direction="forward"))
    assert session.next_undo == ("1", "add point")


def test_prefetch_ignores_slices_outside():
    session, predictor, _ = make_session()
    for index in (-1, 0, 23, 24):
        session.prefetch(index)
    assert predictor.prefetched == [0, 23]

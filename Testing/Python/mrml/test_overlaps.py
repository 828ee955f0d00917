"""Two segments claim the same voxels, and may enter each other: the likelier one has them, whoever came last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from editor_actions import count, paint

from EfficientMedSAM2Lib.mrml.labelmaps import array_view
from EfficientMedSAM2Lib.mrml.markups_reader import box_of
from EfficientMedSAM2Lib.mrml.scene.segment_lock import set_locked

#: Rows of the tube's slice 6 that A and B claim: both claim rows 7 and 8, with 12 voxels.
ROWS = {"A": (5, 9), "B": (7, 11)}


@pytest.fixture
def case(case: Any) -> Any:
    """Segments may enter each other."""
    case.session.keep_out = False
    return case


def claim(case: Any, segment_id: str, rows: Any = None, sure: Any = 3.0, columns: Any = (4, 10)) -> None:
    """Draw a box over rows of the tube's slice 6 for a segment, of which the network is so sure."""
    case.scene.select(segment_id)
    known = [*case.engine.segments] if case.session.has_image else []
    case.predictor.logits[1 + (known.index(segment_id) if segment_id in known else len(known))] = sure
    box = [[6, 7], list(rows or ROWS[segment_id]), list(columns)]
    case.act([box_of(box, case.port.source_volume_node(), True, 0)])


def rows_of(case: Any, segment_id: str) -> list[int]:
    """Rows in which a segment has the whole width of the tube."""
    return np.flatnonzero(case.scene.masks()[segment_id][6, :, 4:10].all(axis=1)).tolist()


@pytest.mark.parametrize("first", ["A", "B"])
@pytest.mark.parametrize("likelier", ["A", "B"])
def test_the_likelier_one_has_what_both_claim(case: Any, first: str, likelier: str) -> None:
    second, other = "AB".replace(first, ""), "AB".replace(likelier, "")
    for segment_id in (first, second):
        claim(case, segment_id, sure=4.0 if segment_id == likelier else 2.0)
    assert rows_of(case, likelier) == list(range(*ROWS[likelier]))
    assert rows_of(case, other) == sorted(set(range(*ROWS[other])) - {7, 8})
    if likelier == first:
        assert (
            case.session.last_message == f"12 voxels were left to '{first}', which is likelier or edited by hand there."
        )
    else:
        assert case.session.last_message == f"'{first}' lost 12 voxels to this segment."


def test_it_is_decided_for_each_voxel_and_undone_as_one(case: Any) -> None:
    claim(case, "A", sure=2.0)
    sure: np.ndarray = np.full((20, 22), 1.0)
    sure[8:] = 3.0
    claim(case, "B", sure=sure)
    assert (rows_of(case, "A"), rows_of(case, "B")) == ([5, 6, 7], [8, 9, 10])
    assert "6 voxels were left to 'A'" in case.session.last_message
    assert "'A' lost 6 voxels" in case.session.last_message
    case.undo()
    assert (rows_of(case, "A"), rows_of(case, "B")) == ([5, 6, 7, 8], [])
    case.redo()
    assert (rows_of(case, "A"), rows_of(case, "B")) == ([5, 6, 7], [8, 9, 10])


def test_a_preview_shows_what_will_be_written(case: Any) -> None:
    claim(case, "A", sure=4.0)
    case.auto_commit = False
    claim(case, "B", sure=2.0)
    shown = array_view(case.session.preview_image())
    case.session.commit()
    assert shown.sum() == count(case, "B") == 12


def test_locked_segments_never_lose(case: Any) -> None:
    claim(case, "A", sure=1.0)
    set_locked(case.port, "A", True)
    claim(case, "B", sure=4.0)
    assert (rows_of(case, "A"), rows_of(case, "B")) == ([5, 6, 7, 8], [9, 10])
    assert case.session.last_message == "12 voxels belong to other segments and were left to them."


def test_where_nobody_can_lose_voxels_both_have_them(case: Any) -> None:
    claim(case, "A", sure=4.0)
    case.scene.editor_node.SetOverwriteMode(2)
    claim(case, "B", sure=2.0)
    assert (rows_of(case, "A"), rows_of(case, "B")) == ([5, 6, 7, 8], [7, 8, 9, 10])
    assert case.session.last_message == ""


def test_what_was_made_by_hand_is_kept(case: Any) -> None:
    claim(case, "A", sure=1.0)
    stroke = np.zeros_like(case.tube)
    stroke[6, 9, 4:10] = True
    paint(case, "A", stroke)
    claim(case, "A", rows=(5, 7), sure=1.0)  # takes the stroke in
    claim(case, "B", sure=4.0)
    assert (rows_of(case, "A"), rows_of(case, "B")) == ([5, 6, 9], [7, 8, 10])
    assert "6 voxels were left to 'A'" in case.session.last_message


def test_segments_that_the_network_has_not_made_are_kept(case: Any) -> None:
    by_hand = np.zeros_like(case.tube)
    by_hand[6, 5:9, 4:10] = True
    paint(case, "A", by_hand)
    claim(case, "B", sure=4.0)
    np.testing.assert_array_equal(case.scene.masks()["A"], by_hand)
    assert case.session.last_message == "12 voxels were left to 'A', which the network has not made."


def test_a_lesion_in_an_organ_is_no_matter_of_its_border(case: Any) -> None:
    claim(case, "A", rows=(5, 11), sure=4.0)
    claim(case, "B", rows=(7, 9), columns=(6, 8), sure=1.0)
    assert (count(case, "A"), count(case, "B")) == (32, 4)
    assert case.session.last_message == "'A' lost 4 voxels to this segment."


def test_an_organ_around_a_lesion_leaves_it_there(case: Any) -> None:
    claim(case, "A", rows=(7, 9), columns=(6, 8), sure=1.0)
    claim(case, "B", rows=(5, 11), sure=4.0)
    assert (count(case, "A"), count(case, "B")) == (4, 32)
    assert "4 voxels were left to 'A'" in case.session.last_message

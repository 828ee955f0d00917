"""Many objects: a numbered segment for each prompt, propagated one after the other, cancelled and undone."""

from __future__ import annotations

import numpy as np
import pytest
from scene import first_tube, make_session

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.interaction import PointPrompt, numbered_name

FIRST_TUBE, SECOND_TUBE = PointPrompt((12, 7, 6), True, 0), PointPrompt((6, 15, 15), True, 0)


@pytest.mark.parametrize(
    ("base", "taken", "expected"),
    [
        ("Lesion", [], "Lesion 1"),
        ("Lesion", ["Lesion 1", "Lesion 3"], "Lesion 2"),
        ("Lesion 3", ["Lesion 1", "Lesion 2", "Lesion 3"], "Lesion 4"),
        ("liver met", ["Lesion 1"], "liver met 1"),
        ("", [], "Lesion 1"),
        ("T2", ["T2 1"], "T2 2"),
    ],
)
def test_names_are_numbered(base, taken, expected):
    assert numbered_name(base, taken) == expected


def test_each_prompt_is_a_segment_of_its_own():
    session, predictor, truth = make_session()
    names = session.add_each_interaction([FIRST_TUBE, SECOND_TUBE])
    assert names == ["Lesion 1", "Lesion 2"]  # in the order of the prompts
    assert predictor.prompted == [6, 12]  # and answered in the order of the slices
    assert session.mask("Lesion 1").sum() == 36
    assert session.mask("Lesion 2").sum() == 15
    updates = list(session.propagate_each(names))
    assert {update.segment for update in updates} == set(names)
    np.testing.assert_array_equal(session.mask("Lesion 1"), first_tube())
    np.testing.assert_array_equal(session.mask("Lesion 2"), truth & ~first_tube())
    for _step in range(2):
        session.undo()
    assert session.mask("Lesion 2").sum() == 15
    assert session.add_each_interaction([FIRST_TUBE], "Lesion 1") == ["Lesion 3"]


def test_a_propagation_of_many_is_cancelled_in_one():
    session, _, _ = make_session()
    names = session.add_each_interaction([FIRST_TUBE, SECOND_TUBE])
    updates = session.propagate_each(names)
    for _ in range(3):
        next(updates)
    updates.close()
    assert session.mask("Lesion 1").any(axis=(1, 2)).sum() == 4
    assert session.mask("Lesion 2").sum() == 15
    session.undo()
    assert session.mask("Lesion 1").sum() == 36


def test_what_excludes_belongs_to_none_of_many():
    session, _, _ = make_session()
    with pytest.raises(UserError, match="1 of 2 prompts exclude"):
        session.add_each_interaction([FIRST_TUBE, PointPrompt((6, 15, 15), False, 0)])
    with pytest.raises(UserError, match="no prompt"):
        session.add_each_interaction([])
    assert session.segments == ()

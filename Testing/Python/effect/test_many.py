"""Many lesions: each prompt a segment of its own, corrected, propagated together, undone one by one."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from effect_user import BESIDE, INSIDE, truth, tube, tube_slice

#: Segments that the editor of a test begins with.
BEGUN = ["A", "B", "C"]


def names(user):
    segmentation = user.editor.segmentation.GetSegmentation()
    return [segmentation.GetSegment(s).GetName() for s in segmentation.GetSegmentIDs()]


def mask(user, name):
    segmentation = user.editor.segmentation.GetSegmentation()
    return user.editor.mask(segmentation.GetSegmentIdBySegmentName(name))


def other_slice(k=4):
    expected = truth() & ~tube()
    expected[[n for n in range(len(expected)) if n != k]] = False
    return expected


@pytest.fixture
def many(user):
    """A user who has a finished segment A, and begins to collect lesions."""
    user.click((10, 8, 6))
    user.effect.commands()["each"]()
    user.host.process_events(0)
    assert user.panel.eachCheck.checked
    return user


def test_each_click_begins_a_segment(many):
    before = many.editor.mask("A").copy()
    many.click(INSIDE)
    many.click(BESIDE)
    assert names(many) == [*BEGUN, "Lesion 1", "Lesion 2"]
    np.testing.assert_array_equal(many.editor.mask("A"), before)
    np.testing.assert_array_equal(mask(many, "Lesion 1"), tube_slice(4))
    np.testing.assert_array_equal(mask(many, "Lesion 2"), other_slice())


@pytest.mark.slow
def test_each_has_a_colour_that_is_told_apart_from_all_others(many):
    for place in (INSIDE, BESIDE) * 4:
        many.click(place)
    segmentation = many.editor.segmentation.GetSegmentation()
    colors = [np.array(segmentation.GetSegment(s).GetColor()) for s in segmentation.GetSegmentIDs()]
    assert len(colors) == len(BEGUN) + 8
    for number, color in enumerate(colors[len(BEGUN) :], start=len(BEGUN)):
        assert min(np.linalg.norm(color - other) for other in colors[:number]) > 0.2


def test_an_excluding_click_corrects_the_segment_at_hand(many):
    many.click(INSIDE)
    many.press(many.panel.excludeButton)
    many.click(INSIDE)
    assert names(many) == [*BEGUN, "Lesion 1"]
    assert mask(many, "Lesion 1").sum() == 36 - 9


def test_an_undone_object_leaves_a_segment_that_the_next_one_takes(many):
    many.click(INSIDE)
    many.undo()
    many.click(BESIDE)
    assert names(many) == [*BEGUN, "Lesion 1"]
    np.testing.assert_array_equal(mask(many, "Lesion 1"), other_slice())


def test_propagate_carries_all(many):
    many.click(BESIDE)
    many.press(many.panel.propagateButton)
    np.testing.assert_array_equal(many.editor.mask("A"), tube())
    np.testing.assert_array_equal(mask(many, "Lesion 1"), truth() & ~tube())
    many.press(many.panel.propagateButton)
    assert "up to date" in many.panel.messageLabel.text
    many.undo()
    np.testing.assert_array_equal(mask(many, "Lesion 1"), other_slice())
    np.testing.assert_array_equal(many.editor.mask("A"), tube())


def test_a_list_of_points_is_as_many_segments(many):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "seeds")
    for index in (INSIDE, BESIDE):
        node.AddControlPointWorld(many.world(index), "F")
    many.controller.use_markups(node)
    many.wait(60_000)
    assert names(many) == [*BEGUN, "Lesion 1", "Lesion 2"]
    np.testing.assert_array_equal(mask(many, "Lesion 2"), other_slice())
    node.AddControlPointWorld(many.world(INSIDE), "-")
    many.controller.use_markups(node)
    many.wait(60_000)
    assert "1 of 3 prompts exclude" in many.controller.message
    assert names(many) == [*BEGUN, "Lesion 1", "Lesion 2"]


def test_a_segment_that_was_just_added_is_the_first(user):
    user.effect.commands()["each"]()
    segmentation = user.editor.segmentation.GetSegmentation()
    user.select(segmentation.AddEmptySegment("", "Segment_1"))
    user.click(INSIDE)
    user.click(BESIDE)
    assert names(user) == [*BEGUN, "Lesion 1", "Lesion 2"]
    assert "Mass" in slicer_tag(segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName("Lesion 2")))


def slicer_tag(segment):
    from EfficientMedSAM2Lib.mrml.scene.prompt_store import get_tag

    return get_tag(segment, "TerminologyEntry") or ""

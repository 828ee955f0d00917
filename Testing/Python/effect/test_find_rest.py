"""Find the rest: others like a finished segment are shown one by one, accepted or dropped, and never in the way."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from effect_user import SHAPE

#: Corners of four equal lesions of two slices.
CORNERS = ((3, 2, 2), (3, 12, 12), (14, 2, 12), (14, 12, 2))


def lesion(number):
    mask = np.zeros(SHAPE, dtype=bool)
    k, j, i = CORNERS[number]
    mask[k : k + 2, j : j + 6, i : i + 6] = True
    return mask


def inside(number):
    k, j, i = CORNERS[number]
    return (k, j + 3, i + 3)


def names(user):
    segmentation = user.editor.segmentation.GetSegmentation()
    return [segmentation.GetSegment(s).GetName() for s in segmentation.GetSegmentIDs()]


def mask(user, name):
    return user.editor.mask(user.editor.segmentation.GetSegmentation().GetSegmentIdBySegmentName(name))


def found(user):
    """Which lesion a mask belongs to, on one slice."""
    proposal = user.controller.proposal
    return next(n for n in range(4) if (lesion(n).take(proposal.place_kji[0], 0) & proposal.mask).any())


@pytest.fixture
def searching(request, make_user, oracle):
    """A user with one finished lesion of four, who looks for the others; the parameter is what it is called."""
    truth = np.any([lesion(n) for n in range(4)], axis=0)
    oracle.truth = truth
    user = make_user(np.where(truth, 60, -80).astype(np.int16), segments=(getattr(request, "param", "Lesion 1"),))
    user.click(inside(0))
    user.press(user.panel.propagateButton)
    user.panel.moreSection.collapsed = user.panel.segmentsSection.button.collapsed = False
    user.press(user.panel.segmentsSection.findButton, wait=False)
    user.wait()
    return user


def test_each_of_the_others_is_proposed_once(searching):
    before = searching.editor.mask("Lesion 1").copy()
    assert names(searching) == ["Lesion 1"]
    assert searching.panel.segmentsSection.findButton.text == "End the search"
    assert "Proposal 1 of 3, score 90 %" in searching.panel.segmentsSection.findLabel.text
    seen = []
    for number in range(1, 4):
        assert f"Proposal {number} of 3" in searching.panel.segmentsSection.findLabel.text
        seen.append(found(searching))
        searching.press(searching.panel.rejectButton)
    assert sorted(seen) == [1, 2, 3]
    assert "3 found, 0 accepted" in searching.controller.message
    assert searching.panel.segmentsSection.findButton.text == "Find others"
    assert searching.panel.previewFrame.isHidden()
    assert names(searching) == ["Lesion 1"]
    np.testing.assert_array_equal(searching.editor.mask("Lesion 1"), before)


def test_the_views_go_to_a_proposal_and_outline_it(searching):
    from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_slice

    proposal = searching.controller.proposal
    red = next(n for n in slicer.util.getNodesByClass("vtkMRMLSliceNode") if n.GetName() == "Red")
    assert view_slice(red, searching.volume) == (0, proposal.place_kji[0])
    assert searching.outline("Red").GetVisibility()
    assert searching.panel.commitButton.text == "Accept (Enter)"


@pytest.mark.slow
def test_an_accepted_one_is_a_numbered_segment_and_one_undo_step(searching):
    first, place = found(searching), searching.controller.proposal.place_kji
    searching.press(searching.panel.commitButton)
    assert names(searching) == ["Lesion 1", "Lesion 2"]
    expected = lesion(first)
    expected[[k for k in range(SHAPE[0]) if k != place[0]]] = False
    np.testing.assert_array_equal(mask(searching, "Lesion 2"), expected)
    assert "Proposal 2 of 3" in searching.panel.segmentsSection.findLabel.text
    searching.press(searching.panel.commitButton)
    assert names(searching) == ["Lesion 1", "Lesion 2", "Lesion 3"]
    searching.undo()
    assert not mask(searching, "Lesion 3").any()
    np.testing.assert_array_equal(mask(searching, "Lesion 2"), expected)
    searching.undo()
    assert not mask(searching, "Lesion 2").any()
    assert searching.editor.mask("Lesion 1").sum() == 72


@pytest.mark.parametrize("searching", ["Segment_1"], indirect=True)
def test_others_of_one_that_nobody_has_named_are_lesions(searching):
    searching.press(searching.panel.commitButton)
    searching.press(searching.panel.commitButton)
    assert names(searching) == ["Segment_1", "Lesion 1", "Lesion 2"]


@pytest.mark.slow
def test_accepted_ones_are_propagated_with_all_others(searching):
    for _number in range(3):
        searching.press(searching.panel.commitButton)
    assert "3 found, 3 accepted" in searching.controller.message
    searching.effect.commands()["each"]()
    searching.press(searching.panel.propagateButton)
    assert [int(mask(searching, f"Lesion {n}").sum()) for n in range(1, 5)] == [72] * 4


@pytest.mark.slow
def test_the_search_gives_way_to_prompts_and_can_be_ended(searching):
    steps = searching.controller._search
    searching.press(searching.panel.segmentsSection.findButton)
    assert searching.controller.proposal is None
    assert "The search has ended: 3 found, 0 accepted." in searching.controller.message
    searching.press(searching.panel.segmentsSection.findButton, wait=False)
    searching.controller.click(searching.world(inside(1)))  # while the search is not through
    searching.wait(60_000)
    assert searching.controller._search is not steps
    assert searching.editor.mask("Lesion 1").sum() == 72 + 36
    searching.press(searching.panel.segmentsSection.findButton)
    assert not searching.controller.is_finding


def test_what_has_become_a_segment_is_not_proposed_any_more(searching):
    waiting = [proposal.place_kji for proposal in searching.controller._search.waiting]
    second = next(n for n in range(4) if lesion(n)[waiting[1]])
    searching.paint("Lesion 1", lesion(second))
    searching.press(searching.panel.rejectButton)
    assert searching.controller.proposal.place_kji == waiting[2]


@pytest.mark.slow
def test_a_preview_comes_before_a_proposal(searching):
    searching.parameter("AutoCommit", "0")
    searching.click(inside(1))
    assert searching.panel.commitButton.text == "Apply (Enter)"
    searching.press(searching.panel.rejectButton)
    assert searching.editor.mask("Lesion 1").sum() == 72
    assert searching.panel.commitButton.text == "Accept (Enter)"
    searching.press(searching.panel.commitButton)
    assert names(searching) == ["Lesion 1", "Lesion 2"]
    assert not searching.controller.has_preview


def test_a_search_ends_with_its_image_and_its_effect(searching):
    searching.volume.GetImageData().Modified()
    searching.volume.GetImageData().GetPointData().GetScalars().Modified()
    searching.controller.find_others()  # the button ends what goes on
    assert not searching.controller.is_finding
    searching.controller.find_others()
    searching.editor.widget.setActiveEffectByName("")
    assert not searching.controller.is_finding


@pytest.mark.slow
def test_an_empty_segment_has_no_others(user):
    user.panel.moreSection.collapsed = user.panel.segmentsSection.button.collapsed = False
    user.press(user.panel.segmentsSection.findButton)
    assert "The segment is empty" in user.controller.message
    assert not user.controller.is_finding

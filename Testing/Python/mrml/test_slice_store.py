"""What is known of slices is saved with the segment and comes back; what is not known is not invented."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from editor_actions import INSIDE, count, paint, world

from EfficientMedSAM2Lib.interaction import InteractiveSession
from EfficientMedSAM2Lib.mrml.effect.slice_scores import SliceScores, read_scores
from EfficientMedSAM2Lib.mrml.scene import slice_store as store
from EfficientMedSAM2Lib.mrml.scene.prompt_store import get_tag, pack_record, unpack_record
from EfficientMedSAM2Lib.mrml.segment_editor_session import SegmentEditorSession


@pytest.fixture
def worked(case: Any) -> Any:
    """Two slices of low confidence, a stroke by hand, slices that are out of date."""
    case.predictor.low_scores = {9, 12}
    case.click(world(case, INSIDE))
    list(case.propagate(stop_when_lost=False))
    stroke = np.zeros(case.tube.shape, bool)
    stroke[6, 0:3, 0:8] = True
    paint(case, "A", stroke)
    case.click(world(case, (14, 8, 6)), include=False)
    return case


def scores_of(case: Any, session: Any) -> SliceScores:
    return read_scores(session, case.port, "A")


def anew(case: Any) -> Any:
    """The session of somebody who has loaded the scene again."""
    case.session = SegmentEditorSession(case.port, InteractiveSession(case.predictor))
    case.engine = case.session.engine
    return case.session


def test_scores_are_there_before_the_first_action_after_loading(worked: Any) -> None:
    before = scores_of(worked, worked.session)
    assert before.scores[9] == before.scores[12] == 0.01
    assert before.prompted == {4, 14}
    assert before.edited == {6}
    assert before.stale >= {12, 13, 15}
    assert 6 not in before.scores  # given by hand: nobody has judged it
    assert 6 in before.filled
    after = scores_of(worked, None)
    assert after == before
    assert scores_of(worked, anew(worked)) == before


def test_a_click_after_loading_invents_no_confidence_and_propagation_goes_on(worked: Any) -> None:
    before = scores_of(worked, worked.session)
    anew(worked)
    worked.click(world(worked, (16, 8, 6)))
    after = scores_of(worked, worked.session)
    others = {i: s for i, s in before.scores.items() if i != 16}
    assert {i: after.scores[i] for i in others} == pytest.approx(others)
    assert after.prompted == {4, 14, 16}
    assert after.stale >= before.stale - {16}
    assert after.edited == {6}
    worked.predictor.forget_calls()
    list(worked.propagate(stop_when_lost=False))
    assert scores_of(worked, worked.session).stale == frozenset()
    assert set(worked.predictor.propagated) >= before.stale - {16}
    assert not set(worked.predictor.propagated) & {4, 6, 14, 16}
    assert worked.scene.masks()["A"][6, 0:3, 0:8].all()


def test_slices_that_were_edited_elsewhere_are_not_known(worked: Any) -> None:
    """Painted after the last prompt, then saved: the voxels are kept, and no old score is shown for them."""
    stroke = np.zeros(worked.tube.shape, bool)
    stroke[9, 0:2, 0:8] = True
    paint(worked, "A", stroke)
    anew(worked)
    worked.click(world(worked, (9, 15, 15)))
    worked.click(world(worked, (9, 9, 7)))
    assert worked.scene.masks()["A"][9, 0:2, 0:8].all()
    assert 9 in scores_of(worked, worked.session).edited


def test_a_segment_that_nobody_has_judged_is_neutral(case: Any) -> None:
    paint(case, "A", case.tube)
    case.click(world(case, (9, 8, 6)))
    scores = scores_of(case, case.session)
    assert set(scores.scores) == {9}
    assert scores.prompted == {9}
    assert scores.filled == set(range(4, 18))
    assert scores.weakest == 9
    assert "confidence not known" in scores.describe(5)
    assert scores.shown_range(0) == (4, 17)


def test_another_grid_has_no_scores(worked: Any) -> None:
    worked.scene.volume.SetSpacing(1.0, 1.0, 4.0)
    assert scores_of(worked, None).scores == {}


def test_undo_brings_the_scores_back(worked: Any) -> None:
    saved = scores_of(worked, None)
    worked.click(world(worked, (16, 8, 6)))
    assert scores_of(worked, None) != saved
    worked.undo()
    assert scores_of(worked, None) == saved


def test_a_file_keeps_them(worked: Any, tmp_path: Path) -> None:
    before, voxels = scores_of(worked, None), count(worked)
    storage = worked.scene.mrml.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "S.seg.nrrd"))
    assert storage.WriteData(worked.scene.segmentation)
    other = worked.scene.mrml.AddNewNodeByClass("vtkMRMLSegmentationNode", "S2")
    assert storage.ReadData(other)
    worked.scene.logic.SetSegmentationNode(other)
    worked.scene.segmentation = other
    worked.scene.select("A")
    assert count(worked) == voxels
    assert scores_of(worked, None) == before


@pytest.mark.parametrize("text", ["x", "AAAA", "%%%%", "eJwDAAAAAAE="])
def test_a_damaged_tag_is_reported_not_fatal(worked: Any, text: str, caplog: pytest.LogCaptureFixture) -> None:
    segment = worked.scene.segmentation.GetSegmentation().GetSegment("A")
    segment.SetTag(store.SLICES_TAG, text)
    with caplog.at_level(logging.WARNING):
        assert store.read_slices(segment, worked.scene.volume) is None
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize("bounds", [[[0, 10**6]] * 3, [[-1, 2], [0, 2], [0, 2]], [[0, 2]] * 2])
def test_edited_voxels_outside_of_the_scan_are_damage(worked: Any, bounds: Any, caplog: Any) -> None:
    segment = worked.scene.segmentation.GetSegmentation().GetSegment("A")
    record = unpack_record(get_tag(segment, store.SLICES_TAG))
    record["edited"][0] = bounds
    segment.SetTag(store.SLICES_TAG, pack_record(record))
    with caplog.at_level(logging.WARNING):
        assert store.read_slices(segment, worked.scene.volume) is None
    assert "cannot be read" in caplog.text

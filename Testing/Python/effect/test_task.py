"""A task in the effect: chosen in *More*; without a prompt it proposes its structure, to be accepted or dropped."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import slicer
from effect_user import PATIENCE_MS, SHAPE, truth, tube
from host.pythonqt import unwrap

from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_slice
from EfficientMedSAM2Lib.predictors.slices.proposals import Proposal, SearchedSlice
from EfficientMedSAM2Lib.runtimes.tasks import Task, write_task

#: Slice of the tube that is proposed.
BEST = 9


class SearchingOracle:
    """What the search of a task asks of the predictor: the truth, on one slice."""

    def __init__(self, oracle):
        self.oracle, self.proposes, self.fails_at, self.seen = oracle, True, None, []

    def search_object(self, state):
        rows, columns = np.nonzero(tube()[BEST])
        box = (columns.min(), rows.min(), columns.max(), rows.max())
        for index in range(SHAPE[0]):
            if index == self.fails_at:
                raise MemoryError("out of memory")
            self.seen.append(index)
            found = Proposal(BEST, box, 0.72) if self.proposes and index == SHAPE[0] - 1 else None
            yield SearchedSlice(index + 1, SHAPE[0], found)


@pytest.fixture
def task():
    return Task("tube", "efficientnet", "0" * 64, cases=4, terminology="a~terminology")


@pytest.fixture
def search(oracle, task):
    """The oracle has learnt the tube."""
    searching = SearchingOracle(oracle)
    oracle.model, oracle.search_object = SimpleNamespace(task=task), searching.search_object
    return searching


@pytest.fixture
def reader(search, make_user):
    """A user with a volume and a first segment that is empty, as Slicer makes it."""
    user = make_user(segments=("Segment_1",))
    user.panel.moreSection.collapsed = False
    return user


def names(user):
    segmentation = user.editor.segmentation.GetSegmentation()
    return [segmentation.GetSegment(s).GetName() for s in segmentation.GetSegmentIDs()]


def test_the_structure_is_proposed_without_a_prompt(reader, search):
    reader.press(reader.panel.proposeButton)
    assert search.seen == list(range(SHAPE[0]))
    assert "Proposal 1 of 1, score 72 %" in reader.panel.messageLabel.text
    np.testing.assert_array_equal(reader.controller.proposal.mask, truth()[BEST] & tube()[BEST])
    red = next(n for n in slicer.util.getNodesByClass("vtkMRMLSliceNode") if n.GetName() == "Red")
    assert view_slice(red, reader.volume) == (0, BEST)
    assert reader.outline("Red").GetVisibility()
    assert reader.panel.commitButton.text == "Accept (Enter)"
    assert reader.panel.proposeButton.text == "End the search"
    assert names(reader) == ["Segment_1"]
    assert reader.count() == 0


def test_an_accepted_one_is_named_carries_a_box_and_is_one_undo_step(reader):
    reader.press(reader.panel.proposeButton)
    reader.press(reader.panel.commitButton)
    assert names(reader) == ["tube"]
    segment = reader.editor.segmentation.GetSegmentation().GetNthSegment(0)
    assert slicer.vtkSegment.GetTerminologyEntryTagName() == "TerminologyEntry"
    assert segment.GetTerminology() == "a~terminology"
    expected = np.zeros(SHAPE, bool)
    expected[BEST] = tube()[BEST]
    np.testing.assert_array_equal(reader.editor.mask(None), expected)
    assert [prompt.kind for prompt in reader.controller.prompts] == ["box"]
    assert "accepted on one slice; look at it, and press Propagate" in reader.controller.message
    assert not reader.controller.is_finding
    assert reader.panel.previewFrame.isHidden()
    reader.press(reader.panel.propagateButton)
    np.testing.assert_array_equal(reader.editor.mask(None), tube())
    reader.undo()
    reader.undo()
    assert reader.count() == 0


def test_a_dropped_one_leaves_nothing(reader):
    reader.press(reader.panel.proposeButton)
    reader.press(reader.panel.rejectButton)
    assert names(reader) == ["Segment_1"]
    assert reader.count() == 0
    assert "1 found, 0 accepted" in reader.controller.message
    assert reader.panel.proposeButton.text == "Propose"


@pytest.mark.slow
def test_a_finished_segment_stays_and_the_structure_gets_its_own(search, make_user):
    user = make_user(segments=("Liver",))
    user.click((4, 15, 15))
    before = user.editor.mask("Liver").copy()
    user.panel.moreSection.collapsed = False
    for expected in (["Liver", "tube"], ["Liver", "tube", "tube 1"]):
        user.press(user.panel.proposeButton)
        user.press(user.panel.commitButton)
        assert names(user) == expected
    np.testing.assert_array_equal(user.editor.mask("Liver"), before)


def test_an_empty_segment_keeps_a_name_that_somebody_gave(search, make_user):
    user = make_user(segments=("LV wall",))
    user.press(user.panel.proposeButton)
    user.press(user.panel.commitButton)
    assert names(user) == ["LV wall"]
    assert user.count() > 0


def test_where_nothing_looks_like_it_one_sentence_says_so(reader, search):
    search.proposes = False
    reader.press(reader.panel.proposeButton)
    assert reader.controller.message == "Nothing in this scan looks like 'tube'; give a prompt."
    assert not reader.controller.is_error
    assert not reader.controller.is_finding


def test_without_a_task_one_sentence_says_what_to_do(user):
    user.press(user.panel.proposeButton)
    assert user.controller.message.startswith(
        "No task is chosen, so there is no structure to be proposed; choose a .task file first."
    )
    assert not user.controller.is_finding


def test_a_search_is_ended_by_its_button_and_by_a_failure(reader, search):
    reader.press(reader.panel.proposeButton, wait=False)
    assert reader.host.process_events(PATIENCE_MS, until=lambda: reader.controller.is_finding)
    reader.press(reader.panel.proposeButton)
    assert not reader.controller.is_finding
    search.fails_at = 3
    reader.press(reader.panel.proposeButton)
    assert reader.controller.message == "The search has ended: out of memory"
    assert reader.panel.proposeButton.text == "Propose"


def test_where_accepting_fails_the_search_ends_and_the_failure_is_said(reader, oracle):
    reader.press(reader.panel.proposeButton)
    oracle.fail_at = BEST
    reader.press(reader.panel.commitButton)
    assert reader.controller.is_error
    assert not reader.controller.is_finding
    assert reader.panel.proposeButton.text == "Propose"
    assert reader.count() == 0


# --- the chooser


def choices(user):
    combo = unwrap(user.panel.taskCombo)
    return [combo.itemText(n) for n in range(combo.count())]


def choose(user, text):
    user.panel.taskCombo.setCurrentIndex(choices(user).index(text))
    user.wait()


@pytest.fixture
def folder(tmp_path, task):
    write_task(tmp_path / "tube.task", task)
    write_task(tmp_path / "rim.task", Task("rim", "mobilenet", "0" * 64, cases=7))
    (tmp_path / "broken.task").write_bytes(b"\xff" * 40)
    return tmp_path


@pytest.fixture
def loaded(monkeypatch, oracle):
    """Tasks that the network was loaded with, in order."""
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    asked = []
    monkeypatch.setattr(loader, "load_predictor", lambda **arguments: asked.append(arguments["task"]) or oracle)
    return asked


def test_a_task_is_chosen_by_its_file_and_then_by_its_name(loaded, make_user, slicer_host, folder):
    user = make_user()
    assert choices(user) == ["any structure", "choose a file..."]
    user.click((4, 8, 6))
    slicer_host.dialogs.answers.append(str(folder / "tube.task"))
    choose(user, "choose a file...")
    assert choices(user) == ["any structure", "rim (7 cases)", "tube (4 cases)", "choose a file..."]
    assert user.panel.taskCombo.currentText == "tube (4 cases)"
    choose(user, "rim (7 cases)")
    choose(user, "any structure")
    assert "rim (7 cases)" in choices(user)
    assert loaded == [None, str(folder / "tube.task"), str(folder / "rim.task"), None]
    assert user.count() > 0
    user.click((5, 8, 6))
    assert user.prompt_count() == 2


def test_what_is_pending_is_written_before_another_network_comes(loaded, make_user, slicer_host, folder):
    user = make_user()
    user.parameter("AutoCommit", "0")
    user.click((4, 8, 6))
    assert user.count() == 0
    slicer_host.dialogs.answers.append(str(folder / "tube.task"))
    choose(user, "choose a file...")
    assert user.count() == tube()[4].sum()


def test_a_file_that_is_no_task_changes_nothing(loaded, make_user, slicer_host, folder):
    user = make_user()
    slicer_host.dialogs.answers.append(str(folder / "broken.task"))
    choose(user, "choose a file...")
    assert "is no task of EfficientMedSAM2; choose a .task file, or none." in user.panel.messageLabel.text
    assert user.panel.taskCombo.currentText == "any structure"
    slicer_host.dialogs.answers.append("")
    choose(user, "choose a file...")
    assert user.panel.taskCombo.currentText == "any structure"
    assert loaded == [None]

"""Proposals: others like a finished segment, or the structure of a task, looked for in idle times. No Qt.

They are shown, and decided on one by one.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.interaction import InteractiveSession, MarkupPrompt, base_name
from EfficientMedSAM2Lib.mrml.effect.action_queue import Activity, Work
from EfficientMedSAM2Lib.mrml.effect.lesions.segment_reading import SegmentReading, read_for_measuring
from EfficientMedSAM2Lib.mrml.effect.outline import HoverMask
from EfficientMedSAM2Lib.mrml.effect.prompt_changes import PromptChanges
from EfficientMedSAM2Lib.mrml.markups_reader import box_of, point_at
from EfficientMedSAM2Lib.mrml.scene.segments import begin_object, begin_structure
from EfficientMedSAM2Lib.mrml.segment_editor_session import SegmentEditorSession
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment
from EfficientMedSAM2Lib.mrml.volume_reader import ijk_to_world, volume_from_node, volume_matrix

logger = logging.getLogger(__name__)


class _Proposal(Protocol):
    """Something that is probably what is looked for, on one slice; a click made it, or a box."""

    place_kji: tuple[int, int, int]
    axis: int
    mask: np.ndarray
    score: float
    box_kji: Any


class _Step(Protocol):
    """A step of a search."""

    @property
    def done(self) -> int:
        """Steps up to now."""

    @property
    def total(self) -> int:
        """Steps in all, as far as is known."""

    @property
    def finding(self) -> Any:
        """The _Proposal, or None."""


#: (session, voxels, examples, what is taken) -> steps; `pipeline.find_rest.search_others`.
Search = Callable[
    [InteractiveSession, np.ndarray, Sequence[SegmentReading], Callable[[Box], np.ndarray]], Iterator[_Step]
]


class _StructureSearch(Protocol):
    """A search for the structure of a task."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def terminology(self) -> str:
        """Slicer's entry for it, "" for the one that its name says."""

    @property
    def steps(self) -> Iterator[_Step]:
        """One for each slice."""


#: session -> search; `pipeline.proposals.search_structure`.
Propose = Callable[[InteractiveSession], _StructureSearch]


@dataclass
class _Running:
    """A search and what has become of it.

    Attributes:
        begin: Selects the segment of a proposal that is accepted.
        nothing: What to say where nothing was found; "" for the number that was.
        accepted_text: What to say when all were accepted; "" for their number.
    """

    session: SegmentEditorSession
    segmentation: Any
    begin: Callable[[], Any]
    steps: Iterator[_Step] | None
    nothing: str = ""
    accepted_text: str = ""
    done: int = 0
    total: int = 0
    waiting: deque[_Proposal] = field(default_factory=deque)
    found: int = 0
    accepted: int = 0

    @property
    def number(self) -> int:
        """Of the proposal that is shown, from 1."""
        return self.found - len(self.waiting) + 1


class ProposalActions(PromptChanges):
    """Searching, accepting and dropping. A proposal is in no segment until it is accepted, which is one undo step."""

    def __init__(self, port: Any, worker: Any, changed: Callable[[], None]) -> None:
        super().__init__(port, worker, changed)
        self.find: Search | None = None
        self.propose: Propose | None = None
        self._search: _Running | None = None
        self.beside.append(self._next_step)

    @property
    def is_finding(self) -> bool:
        """Whether a search goes on, or a proposal waits for an answer."""
        return self._search is not None

    @property
    def proposal(self) -> _Proposal | None:
        """The one to be decided on."""
        return self._search.waiting[0] if self._search is not None and self._search.waiting else None

    @property
    def find_text(self) -> str:
        """How far the search is, and what it has found, in words."""
        search = self._search
        if search is None:
            return ""
        looked = f"Looking: {search.done} of {search.total}. " if search.steps is not None else ""
        if not search.waiting:
            return f"{looked}{search.found} found."
        return f"{looked}Proposal {search.number} of {search.found}, score {100 * search.waiting[0].score:.0f} %."

    def preview_image(self) -> Any:
        """What is pending, else the proposal, else what a click would make."""
        proposal = self.proposal
        if proposal is None or self._live is not None or self.has_preview:
            return super().preview_image()
        shown = HoverMask(proposal.axis, proposal.place_kji[proposal.axis], proposal.mask)
        return shown.image(volume_matrix(self.port.source_volume_node()))

    def find_others(self) -> None:
        """Look for others like the selected segment, and those that are numbered like it; or end what is looked for."""
        find = self.find
        assert find is not None

        def begin(session: SegmentEditorSession) -> _Running:
            examples, taken = self._examples(), self._taken()
            volume = volume_from_node(self.port.source_volume_node()).array
            steps = find(session.engine, volume, examples, taken.window)
            like = examples[0].name
            return _Running(session, self.port.segmentation_node(), lambda: begin_object(self.port, like), steps)

        self._begin_or_end(begin)

    def propose_structure(self) -> None:
        """Look for the structure of the network's task, without any prompt; or end what is looked for."""
        propose = self.propose
        assert propose is not None

        def begin(session: SegmentEditorSession) -> _Running:
            search = propose(session.engine)
            return _Running(
                session,
                self.port.segmentation_node(),
                lambda: begin_structure(self.port, search.name, search.terminology),
                search.steps,
                f"Nothing in this scan looks like {search.name!r}; give a prompt.",
                f"{search.name!r} was accepted on one slice; look at it, and press Propagate.",
            )

        self._begin_or_end(begin)

    def _begin_or_end(self, begin: Callable[[SegmentEditorSession], _Running]) -> None:
        """As the buttons do, which begin a search and end it."""
        if self.is_finding:
            self.stop_finding()
            return

        def prepare() -> Work:
            self._commit()
            session = self._session()
            session.refresh()
            session.sync_with_editor()
            self._search = begin(session)
            self._say("")
            return lambda _job: None

        self._queue.request(Activity.ANSWERING, prepare, lambda _result: None)

    def stop_finding(self, text: str = "") -> None:
        """End the search; proposals that nobody has accepted are dropped."""
        search, self._search = self._search, None
        if search is None:
            return
        if search.steps is None and not search.found:
            text = text or search.nothing
        elif search.accepted and search.found == search.accepted:
            text = text or search.accepted_text
        self._say(text or f"The search has ended: {search.found} found, {search.accepted} accepted.")
        self._changed()

    def accept_proposal(self) -> None:
        """Make the proposal a segment, as the prompt that it was found by would."""
        search, proposal = self._search, self.proposal
        if search is None or proposal is None:
            return
        search.waiting.popleft()
        search.accepted += 1

        def prepare() -> Work:
            self._commit()
            prompt = self._prompt_of(proposal)
            search.begin()
            session = self._session()
            session.begin()
            return lambda _job: session.run([prompt])

        def finish(_box: Any) -> None:
            self._end_answer(self._session())
            self._commit()  # it was looked at already
            self._pass_over()

        self._queue.request(Activity.ANSWERING, prepare, finish)

    def drop_proposal(self) -> None:
        """The proposal is none; go on to the next one."""
        if self._search is not None and self._search.waiting:
            self._search.waiting.popleft()
            self._pass_over()
            self._changed()

    def settle(self, timeout_s: float) -> bool:
        """Finish what is under way; a search ends."""
        self.stop_finding()
        return super().settle(timeout_s)

    def forget(self) -> None:
        """Nothing of the scene may be kept."""
        super().forget()
        self._search = None

    # --- inside --------------------------------------------------------------------------------------------------

    def _prompt_of(self, proposal: _Proposal) -> MarkupPrompt:
        """What a proposal was found by, as if the user had given it."""
        node = self._volume_node()
        if proposal.box_kji is not None:
            return box_of([list(edge) for edge in proposal.box_kji], node, True, proposal.axis)
        (place,) = ijk_to_world([proposal.place_kji[::-1]], node).tolist()
        return point_at(place, node, True, proposal.axis)

    def _volume_node(self) -> Any:
        return self.port.source_volume_node()

    def _examples(self) -> list[SegmentReading]:
        """The selected segment, and those numbered like it, but for empty ones."""
        selected, segmentation = self.port.selected_segment_id(), self.port.segmentation_node().GetSegmentation()
        base = base_name(segmentation.GetSegment(selected).GetName())
        others = [s for s in self.port.segment_ids() if s != selected]
        alike = [s for s in others if base_name(segmentation.GetSegment(s).GetName()) == base]
        first, *more = (read_for_measuring(self.port, self.session, s) for s in (selected, *alike))
        if first.mask.is_empty:
            raise UserError("The segment is empty; select a finished one, and others like it are looked for.")
        return [first, *(one for one in more if not one.mask.is_empty)]

    def _taken(self) -> PackedMask:
        """Voxels of all segments."""
        segment_ids = self.port.segment_ids()
        return PackedMask.any_of([read_for_measuring(self.port, None, segment_id).mask for segment_id in segment_ids])

    def _next_step(self) -> Work | None:
        """A slice or a place of the search for the worker; None when there is nothing to be looked at."""
        search = self._search
        if search is not None and search.steps is None and not search.waiting:  # accepting the last one has failed
            self._search = None
            self._changed()
        if search is None or search.steps is None or self.has_preview:
            return None
        if not self._is_of_scene(search):
            self.stop_finding("The scene has changed; the search has ended.")
            return None
        steps = search.steps

        def work(job: Any) -> None:
            try:
                step, error = next(steps, None), None
            except Exception as problem:
                step, error = None, problem
            job.report(partial(self._took_step, search, step, error))

        return work

    def _is_of_scene(self, search: _Running) -> bool:
        try:
            same = search.session is self.session and search.segmentation == self.port.segmentation_node()
            return same and not search.session.is_stale
        except UserError:  # segmentation or volume is gone
            return False

    def _took_step(self, search: _Running, step: _Step | None, error: Exception | None) -> None:
        if search is not self._search:
            return
        if error is not None:
            logger.log(logging.INFO if isinstance(error, UserError) else logging.ERROR, "%s", error, exc_info=error)
            self.stop_finding(f"The search has ended: {error}")
            return
        if step is None:
            search.steps = None
        else:
            search.done, search.total = step.done, step.total
            if step.finding is not None:
                search.waiting.append(step.finding)
                search.found += 1
        self._pass_over()

    def _pass_over(self) -> None:
        """Leave out clicks that are in a segment by now; end the search when all were decided on."""
        search = self._search
        if search is None:
            return
        while search.waiting and search.waiting[0].box_kji is None and self._is_taken(search.waiting[0].place_kji):
            search.waiting.popleft()
        if not search.waiting and search.steps is None:
            self.stop_finding()

    def _is_taken(self, place_kji: Sequence[int]) -> bool:
        node, box = self.port.segmentation_node(), [[v, v + 1] for v in place_kji]
        return any(read_segment(node, s, self._volume_node(), box).any() for s in self.port.segment_ids())

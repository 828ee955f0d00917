"""What the effect does, action by action: read the scene, let the worker answer, write the editor. No Qt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.interaction import LESION, LassoPrompt, MarkupPrompt, ScribblePrompt, check_each
from EfficientMedSAM2Lib.mrml.effect.action_queue import Activity, Work
from EfficientMedSAM2Lib.mrml.effect.lesions.proposals import ProposalActions
from EfficientMedSAM2Lib.mrml.effect.outline import GrowingMask, HoverMask
from EfficientMedSAM2Lib.mrml.effect.predictor_loader import features_around, features_of
from EfficientMedSAM2Lib.mrml.effect.progress import RangeRule
from EfficientMedSAM2Lib.mrml.effect.slice_scores import read_scores
from EfficientMedSAM2Lib.mrml.markups_reader import box_of, drawn_along, line_between, point_at
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene.segment_lock import set_locked
from EfficientMedSAM2Lib.mrml.scene.segments import begin_object
from EfficientMedSAM2Lib.mrml.scene.sequences import keep_one_per_time_point

logger = logging.getLogger(__name__)


class EffectController(ProposalActions):
    """Actions of one segment editor; all are called on the main thread and return at once.

    Args:
        port: The editor.
        worker: Runs work in one thread, as the effect's Worker.
        load: Returns the volume predictor; called in the worker.
        changed: Called on the main thread whenever something to be shown has changed.
    """

    def __init__(self, port: EditorPort, worker: Any, load: Callable[[], Any], changed: Callable[[], None]) -> None:
        super().__init__(port, worker, changed)
        self.load = load
        self.first_latency_s: float | None = None

    def start(self) -> None:
        """Load the network and warm it up; other actions wait for it."""
        if self._predictor is None and not self._queue.is_under_way(Activity.LOADING):
            self._queue.request(Activity.LOADING, lambda: lambda _job: self.load(), self._on_loaded)

    def reload(self) -> None:
        """Another network: ``load`` gives it. What is under way is written, or ends, before; segments stay."""
        self.stop_finding()
        self.cancel()

        def prepare() -> Work:
            self._commit()
            self.unload()
            return lambda _job: self.load()

        self._queue.request(Activity.LOADING, prepare, self._on_loaded)

    def click(self, point_world_ras: Sequence[float], include: bool = True, axis: int | None = None) -> None:
        """A point prompt."""
        self._ask(lambda: [point_at(point_world_ras, self.port.source_volume_node(), include, axis)])

    def draw_box(self, bbox_kji: Box, include: bool = True, axis: int | None = None) -> None:
        """A box prompt, 2D when one axis has size 1."""
        self._ask(lambda: [box_of(bbox_kji, self.port.source_volume_node(), include, axis)])

    def draw_line(self, start_ras: Sequence[float], end_ras: Sequence[float], axis: int | None = None) -> None:
        """The longest diameter of a lesion."""
        self._ask(lambda: [line_between(start_ras, end_ras, self.port.source_volume_node(), axis)])

    def draw_scribble(self, line_ras: Any, include: bool = True, axis: int | None = None) -> None:
        """A line (N, 3) drawn over the structure, or over what does not belong to it."""
        self._ask(lambda: [drawn_along(ScribblePrompt, line_ras, self.port.source_volume_node(), include, axis)])

    def draw_lasso(self, line_ras: Any, include: bool = True, axis: int | None = None) -> None:
        """A closed line (N, 3) around the structure, or around what does not belong to it."""
        self._ask(lambda: [drawn_along(LassoPrompt, line_ras, self.port.source_volume_node(), include, axis)])

    def use_markups(self, node: Any, axis: int | None = None) -> None:
        """All prompts of a markups node."""
        self._ask(lambda: self._session().prompts_of(node, axis))

    def use_prompts(self, prompts: Sequence[MarkupPrompt]) -> None:
        """Prompts that are at hand already, as one action."""
        self._ask(lambda: list(prompts))

    def prefetch(self, axis: int, index: int) -> bool:
        """A prompt on this slice is likely: read the image if it is new, and compute features in idle times.

        Returns False, and does nothing, while there is something else to be done.
        """
        if self._predictor is None or self.is_busy or self.has_preview:
            return False
        session = self._session()
        session.refresh()
        self._queue.idle_work.append(features_of(session.engine, index, axis))
        self._changed()
        return True

    def hover(self, point_world_ras: Sequence[float], include: bool = True, axis: int | None = None) -> bool:
        """Show what a click would make, as soon as the worker has time; nothing is changed by it.

        Returns False, and shows nothing, while there is something else to be done, and where a click would be refused.
        """
        self._hovered = None
        if self._predictor is None or self.is_busy or self.has_preview or self.is_locked:
            return False
        try:
            segment = self.port.selected_segment_id()
            prompt = point_at(point_world_ras, self.port.source_volume_node(), include, axis)
            session = self._session()
            session.refresh()
        except UserError:
            return False

        def work(job: Any) -> None:
            mask, _score = session.engine.try_prompt(prompt, segment)
            if not job.cancelled:
                job.report(HoverMask(prompt.axis, prompt.index, mask))

        self._queue.idle_work.append(work)
        self._changed()
        return True

    def unhover(self) -> None:
        """Show it no more."""
        if self._hovered is not None:
            self._hovered = None
            self._changed()

    def use_segment(self) -> None:
        """Start propagation from the selected segment as it is now."""

        def prepare() -> Callable[[Any], Any]:
            session = self._session()
            session.begin(whole=True)
            return lambda _job: session.push_manual_edit()

        def finish(_result: Any) -> None:
            self._say("The segment is the starting point now; press Propagate.")

        self._queue.request(Activity.ANSWERING, prepare, finish)

    def request_propagation(
        self,
        direction: str = "both",
        rule: RangeRule | None = None,
        stop_when_lost: bool = True,
        segment_id: str = "",
    ) -> None:
        """Carry a segment through the slices, by default the selected one."""
        reach = rule or RangeRule()

        def prepare() -> Callable[[Any], Any]:
            if segment_id:
                self.port.editor_node.SetSelectedSegmentID(segment_id)
            session = self._session()
            self._commit()  # to propagate a preview is to accept it
            session.begin()
            engine, segment = session.engine, session.preview_segment

            def limits() -> tuple[int, int] | None:
                if segment not in engine.segments:
                    return None
                axis = engine.slicing_axis(segment)
                prompted = engine.conditioning_slices(segment, axis)
                return reach.limits(axis, prompted, engine.spacing_kji[axis], engine.shape_kji[axis])

            if session.may_propagate(direction, limits()):
                session.open_step()
            self.scores = read_scores(session, self.port, segment)
            self._started, self._live = time.perf_counter(), GrowingMask()

            def work(job: Any) -> None:
                session.push_manual_edit()
                propagation = session.plan_propagation(direction, limits(), stop_when_lost)
                self._propagation = propagation
                for update in propagation:
                    job.report(update)
                    if job.cancelled:
                        return

            return work

        self._queue.request(Activity.PROPAGATING, prepare, lambda _result: self._finish_propagation())

    def request_propagation_of_all(
        self, direction: str = "both", rule: RangeRule | None = None, stop_when_lost: bool = True
    ) -> None:
        """Carry all segments with prompts through the slices, one after the other; those up to date are left out."""

        def finish(_result: Any) -> None:
            self._commit()
            engine = self.session.engine if self.session is not None and self.session.has_image else None
            known = [s for s in self.port.segment_ids() if engine is not None and s in engine.segments]
            waiting = [
                segment_id
                for segment_id in known
                if engine is not None
                and engine.conditioning_slices(segment_id)
                and engine.slices_to_propagate(segment_id, direction)
            ]
            for segment_id in waiting:
                self.request_propagation(direction, rule, stop_when_lost, segment_id)
            if not waiting:
                self._say("All segments are up to date." if known else "There is nothing to propagate yet.")

        self._queue.request(Activity.ANSWERING, lambda: _nothing, finish)

    def cancel(self) -> None:
        """End the propagation at the next slice; what it has written stays, as one undo step. Others do not begin."""
        self._queue.cancel(Activity.PROPAGATING)

    def commit(self) -> None:
        """Write the preview, at once or as soon as the worker is idle."""
        self._queue.request(Activity.ANSWERING, lambda: _nothing, lambda _result: self._commit())

    def reject(self) -> None:
        """Drop the preview."""

        def finish(_result: Any) -> None:
            if self.session is not None and self.session.has_preview:
                self.session.reject()
                self._say("The preview was dropped.")

        self._queue.request(Activity.ANSWERING, lambda: _nothing, finish)

    def lock(self, locked: bool, segment_id: str = "") -> None:
        """Lock or unlock a segment, by default the selected one: as soon as what is under way has been written."""
        segment_id = segment_id or self.port.selected_segment_id()

        def finish(_result: Any) -> None:
            self._commit()
            set_locked(self.port, segment_id, locked)
            self._say("")

        if self.is_ready and self._queue.is_busy:
            self._queue.request(Activity.ANSWERING, lambda: _nothing, finish)
        else:  # without a network there is nothing to wait for
            finish(None)
            self._changed()

    def keep_one_per_time_point(self, sequences_logic: Any) -> None:
        """Give each time point of the volume's sequence segments of its own."""

        def finish(_result: Any) -> None:
            self._commit()
            keep_one_per_time_point(self.port.segmentation_node(), self.port.source_volume_node(), sequences_logic)
            self._say("Each time point has its own segments now.")

        self._queue.request(Activity.ANSWERING, lambda: _nothing, finish)

    def _ask(self, read: Callable[[], list[MarkupPrompt]]) -> None:
        requested = time.perf_counter()

        def prepare() -> Callable[[Any], Any]:
            prompts = read()
            if self.each and [prompt.positive for prompt in prompts] != [False]:
                prompts = self._begin_object(prompts)
            session = self._session()
            session.begin()
            return lambda _job: session.run(prompts)

        def finish(_box: Any) -> None:
            session = self._session()
            self._end_answer(session)
            self._queue.idle_work.extend(features_around(session.engine, session.preview_segment))
            if self.first_latency_s is None:
                self.first_latency_s = time.perf_counter() - requested
                logger.info("First click answered after %.0f ms.", 1000 * self.first_latency_s)

        self._queue.request(Activity.ANSWERING, prepare, finish)

    def _begin_object(self, prompts: list[MarkupPrompt]) -> list[MarkupPrompt]:
        """Select a segment for the first of some objects, a prompt each; the others wait for their turn."""
        check_each(prompts, LESION)
        self._commit()  # the object before is finished
        begin_object(self.port)
        if prompts[1:]:
            self._ask(lambda: prompts[1:])
        return prompts[:1]

    def _finish_propagation(self) -> None:
        session = self._session()
        session.finish_propagation()
        self._live = None
        self._end_answer(session, propagated=True)

    def _on_loaded(self, predictor: Any) -> None:
        self._predictor, self.load_error = predictor, None
        self._say("")


def _nothing(_job: Any) -> None:
    """No work: an action that only waits until the worker is idle."""

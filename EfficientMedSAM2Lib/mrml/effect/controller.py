"""What the effect does, action by action: read the scene, let the worker answer, write the editor. No Qt.

The main thread calls everything here, ``poll`` from a timer. The engine is used by one thread at a time: actions wait
in a queue until the worker is idle, and what the scene tells meanwhile is looked at then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.interaction import InteractiveSession, Propagation, SliceUpdate
from EfficientMedSAM2Lib.mrml.effect.action_queue import Action, ActionQueue, Activity
from EfficientMedSAM2Lib.mrml.effect.outline import GrowingMask
from EfficientMedSAM2Lib.mrml.effect.predictor_loader import features_around, features_of
from EfficientMedSAM2Lib.mrml.effect.progress import Progress, RangeRule
from EfficientMedSAM2Lib.mrml.effect.slice_scores import SliceScores, read_scores
from EfficientMedSAM2Lib.mrml.markups_reader import Prompt, box_prompt, line_prompt, point_prompt
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene.sequences import keep_one_per_time_point, time_point
from EfficientMedSAM2Lib.mrml.segment_editor_session import SegmentEditorSession
from EfficientMedSAM2Lib.mrml.volume_reader import volume_matrix

logger = logging.getLogger(__name__)


class EffectController:
    """Actions of one segment editor.

    Args:
        port: The editor.
        worker: Runs work in one thread: ``submit``, ``idle``, ``yield_to_tasks``, as the effect's Worker.
        load: Returns the volume predictor; called in the worker.
        changed: Called on the main thread whenever something to be shown has changed.
    """

    def __init__(self, port: EditorPort, worker: Any, load: Callable[[], Any], changed: Callable[[], None]) -> None:
        self.port = port
        self.load = load
        self.session: SegmentEditorSession | None = None
        self.auto_commit = True
        self.keep_out = False
        self.window: IntensityWindow | None = None
        self.message = ""
        self.is_error = False
        self.load_error: BaseException | None = None
        self.scores = SliceScores()
        self.first_latency_s: float | None = None
        self._queue = ActionQueue(worker, self, changed)
        self._changed = changed
        self._predictor: Any = None
        self._propagation: Propagation | None = None
        self._live: GrowingMask | None = None
        self._started = 0.0
        self._scene_changed = False

    # --- state ---------------------------------------------------------------------------------------------------

    @property
    def activity(self) -> Activity:
        """What is going on."""
        return self._queue.activity

    @property
    def is_busy(self) -> bool:
        """Whether ``poll`` has to be called again."""
        return self._queue.is_busy or self._scene_changed

    @property
    def is_ready(self) -> bool:
        """Whether the network is loaded."""
        return self._predictor is not None

    @property
    def worker_is_idle(self) -> bool:
        """Whether the worker thread does nothing at the moment."""
        return bool(self._queue.worker.idle)

    def poll(self) -> bool:
        """The timer's call: let the worker run, take what it has done, start what waits. Returns ``is_busy``."""
        self._queue.poll()
        return self.is_busy

    @property
    def has_preview(self) -> bool:
        """Whether a result waits for ``commit`` or ``reject``."""
        return self.session is not None and self.session.has_preview

    @property
    def progress(self) -> Progress | None:
        """How far the propagation is, None when there is none."""
        if self._propagation is None:
            return None
        return Progress(self._propagation.done, self._propagation.total, time.perf_counter() - self._started)

    def preview_image(self) -> Any:
        """vtkOrientedImageData (0, 1; volume's local frame) of the pending result, None when there is none."""
        if self._live is not None:
            return self._live.image(volume_matrix(self.port.source_volume_node()))
        if self.session is None or not self.session.has_preview or self.session.preview_box is None:
            return None
        return self.session.preview_image()

    # --- actions -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the network and warm it up; other actions wait for it."""
        if self._predictor is None and not self._queue.is_under_way(Activity.LOADING):
            self._queue.request(Activity.LOADING, lambda: lambda _job: self.load(), self._on_loaded)

    def click(self, point_world_ras: Sequence[float], include: bool = True, axis: int | None = None) -> None:
        """A point prompt."""
        self._ask(lambda: [point_prompt(point_world_ras, self.port.source_volume_node(), include, axis)])

    def draw_box(self, bbox_kji: Box, include: bool = True, axis: int | None = None) -> None:
        """A box prompt, 2D when one axis has size 1."""
        self._ask(lambda: [box_prompt(bbox_kji, self.port.source_volume_node(), include, axis)])

    def draw_line(self, start_ras: Sequence[float], end_ras: Sequence[float], axis: int | None = None) -> None:
        """The longest diameter of a lesion."""
        self._ask(lambda: [line_prompt(start_ras, end_ras, self.port.source_volume_node(), axis)])

    def use_markups(self, node: Any, axis: int | None = None) -> None:
        """All prompts of a markups node."""
        self._ask(lambda: self._session().prompts_of(node, axis))

    def use_prompts(self, prompts: Sequence[Prompt]) -> None:
        """Prompts that are at hand already, as one action."""
        self._ask(lambda: list(prompts))

    def expect(self, axis: int, index: int) -> bool:
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

    def use_segment(self) -> None:
        """Take the selected segment as it is now for the starting point of propagation."""

        def prepare() -> Callable[[Any], Any]:
            session = self._session()
            session.begin(whole=True)
            return lambda _job: session.tell_edits()

        def finish(_result: Any) -> None:
            self._say("The segment is the starting point now; press Propagate.")

        self._queue.request(Activity.ANSWERING, prepare, finish)

    def propagate(self, direction: str = "both", rule: RangeRule | None = None, stop_when_lost: bool = True) -> None:
        """Carry the selected segment through the slices."""
        reach = rule or RangeRule()

        def prepare() -> Callable[[Any], Any]:
            session = self._session()
            self._commit()  # to propagate a preview is to accept it
            session.begin()
            engine, segment = session.engine, session.preview_segment
            self.scores = read_scores(engine, segment)
            self._started, self._live = time.perf_counter(), GrowingMask()

            def work(job: Any) -> None:
                session.tell_edits()
                limits = None
                if segment in engine.segments:
                    axis = engine.slicing_axis(segment)
                    prompted = engine.conditioning_slices(segment, axis)
                    limits = reach.limits(axis, prompted, engine.spacing_kji[axis], engine.shape_kji[axis])
                propagation = session.plan_propagation(direction, limits, stop_when_lost)
                self._propagation = propagation
                for update in propagation:
                    job.report(update)
                    if job.cancelled:
                        return

            return work

        self._queue.request(Activity.PROPAGATING, prepare, lambda _result: self._finish_propagation())

    def cancel(self) -> None:
        """End the propagation at the next slice; what it has written stays, as one undo step."""
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

    def keep_one_per_time_point(self, sequences_logic: Any) -> None:
        """Give each time point of the volume's sequence segments of its own."""

        def finish(_result: Any) -> None:
            self._commit()
            keep_one_per_time_point(self.port.segmentation_node(), self.port.source_volume_node(), sequences_logic)
            self._say("Each time point has its own segments now.")

        self._queue.request(Activity.ANSWERING, lambda: _nothing, finish)

    def scene_changed(self) -> None:
        """The editor's segmentation, segment or volume may have changed: undo, redo, selection, other effects."""
        self._scene_changed = True
        session = self.session
        if self.activity is Activity.PROPAGATING and session is not None and not self._queue.polling:
            try:
                moved = session.editor_moved or session.is_stale
            except ValueError:  # segmentation or volume is gone
                moved = True
            if moved:
                self.cancel()

    def forget(self) -> None:
        """The scene is closed: nothing of it may be kept. Work under way ends without being written."""
        self._queue.abandon()
        self.session, self._live, self._propagation, self._scene_changed = None, None, None, False
        self.scores = SliceScores()

    def unload(self) -> None:
        """Another network is wanted: forget this one and what it has seen; segments and prompts are in the scene."""
        self.forget()
        self._predictor, self.load_error = None, None

    def close(self) -> None:
        """The end: the worker's thread, too."""
        self.forget()
        self._queue.worker.stop()

    def settle(self, timeout_s: float) -> bool:
        """Finish what is under way, cancelling what is long, and write what is pending; False when time ran out."""
        done = self._queue.drain(timeout_s)
        self._scene_changed = False
        if done and self.has_preview:
            self._commit()
        return done

    # --- told by the queue ---------------------------------------------------------------------------------------

    def allowed(self, action: Action) -> bool:
        """Nothing but loading can be done without the network."""
        if self._predictor is None and action.activity is not Activity.LOADING:
            self._say("The network is not ready; see the message above.", error=True)
            return False
        return True

    def reported(self, item: SliceUpdate) -> None:
        """A slice was propagated."""
        self.scores = self.scores.with_slice(item.index, item.score, bool(item.mask.any()))
        if self._live is not None:
            self._live.put_slice(item.axis, item.index, item.mask)

    def ended(self, _action: Action) -> None:
        """Show what has become of the action."""
        self._live = self._propagation = None
        self._read_scores()

    def failed(self, action: Action, error: BaseException) -> None:
        """Say what went wrong; slices that a propagation has done are kept."""
        if isinstance(error, ValueError):
            logger.info("%s", error)
        else:
            logger.error("%s failed", action.activity.value.capitalize(), exc_info=error)
        if action.activity is Activity.LOADING:
            self.load_error = error
            self._queue.drop_waiting()
        elif action.activity is Activity.PROPAGATING and self.session is not None:
            try:
                self.session.finish_propagation()
                if self.auto_commit:
                    self._commit()
            except ValueError as second:
                logger.info("%s", second)
        elif self.auto_commit and self.has_preview and self.session is not None:
            self.session.reject()
        self._say(str(error) or type(error).__name__, error=True)

    def idle(self) -> None:
        """Look at what the scene has become."""
        if self._scene_changed:
            self._follow()

    # --- inside --------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        self._scene_changed = False
        session = self.session
        try:
            if session is None and (self._predictor is None or not time_point(self.port.source_volume_node())):
                return
            session = session or self._session()  # prompts that came with a sequence have to follow it, too
            had_preview = session.has_preview
            if session.follow_image():
                if had_preview:
                    self._say("The image has changed; the preview was dropped.")
            elif session.follow_editor():
                self._say("")
            if session.has_preview and self.port.selected_segment_id() != session.preview_segment:
                self._commit()
        except ValueError as error:
            logger.info("The editor is not ready: %s", error)
        self._read_scores()
        self._changed()

    def _ask(self, read: Callable[[], list[Prompt]]) -> None:
        requested = time.perf_counter()

        def prepare() -> Callable[[Any], Any]:
            prompts = read()
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

    def _session(self) -> SegmentEditorSession:
        if self.session is None:
            self.session = SegmentEditorSession(self.port, InteractiveSession(self._predictor))
        self.session.auto_commit = False  # this class decides when to commit
        self.session.keep_out, self.session.window = self.keep_out, self.window
        return self.session

    def _end_answer(self, session: SegmentEditorSession) -> None:
        """Write or keep what the worker has found, unless the scene has moved on meanwhile."""
        text = session.last_message
        if session.is_stale or session.editor_moved:
            session.reject()
            session.follow_editor()
            self._say("The scene changed meanwhile; the prompt was not used.")
            return
        self._say(text)
        if self.auto_commit:
            self._commit()

    def _finish_propagation(self) -> None:
        session = self._session()
        session.finish_propagation()
        self._live = None
        self._end_answer(session)

    def _commit(self) -> None:
        session = self.session
        if session is None or not session.has_preview:
            return
        text = session.last_message
        if not session.preview_segment:  # removed, or another segmentation was chosen
            session.reject()
            return
        editor_node = self.port.editor_node  # type: ignore[attr-defined]  # every port reads a node
        selected = editor_node.GetSelectedSegmentID()
        editor_node.SetSelectedSegmentID(session.preview_segment)  # a preview is written where it belongs
        try:
            session.commit()
        finally:
            editor_node.SetSelectedSegmentID(selected)
        self._say(" ".join(dict.fromkeys(part for part in (text, session.last_message) if part)))

    def _read_scores(self) -> None:
        if self.session is None:
            return
        try:
            self.scores = read_scores(self.session.engine, self.port.selected_segment_id())
        except ValueError:  # no image or no segment yet
            self.scores = SliceScores()

    def _on_loaded(self, predictor: Any) -> None:
        self._predictor, self.load_error = predictor, None
        self._say("")

    def _say(self, text: str, error: bool = False) -> None:
        self.message, self.is_error = text, error


def _nothing(_job: Any) -> None:
    """Work that only waits for its turn."""

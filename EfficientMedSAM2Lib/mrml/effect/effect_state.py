"""What the effect shows of a segment editor, and what becomes of its actions. No Qt.

The main thread calls everything in this file, ``poll`` from a timer. The engine is used by one thread at a time:
actions wait in a queue until the worker is idle, and changes of the scene are read then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.interaction import InteractiveSession, Propagation, SliceUpdate
from EfficientMedSAM2Lib.mrml.effect.action_queue import Action, ActionQueue, Activity, Work
from EfficientMedSAM2Lib.mrml.effect.outline import GrowingMask, HoverMask
from EfficientMedSAM2Lib.mrml.effect.progress import PropagationProgress
from EfficientMedSAM2Lib.mrml.effect.slice_scores import SliceScores, read_scores
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene.prompt_store import show_only
from EfficientMedSAM2Lib.mrml.scene.segment_lock import is_locked
from EfficientMedSAM2Lib.mrml.scene.sequences import time_point
from EfficientMedSAM2Lib.mrml.segment_editor_session import SegmentEditorSession
from EfficientMedSAM2Lib.mrml.volume_reader import volume_matrix

logger = logging.getLogger(__name__)

#: Why a propagation has ended and left nothing.
UNDONE = "Undo cancelled the propagation; the segment is as it was before."
CHANGED = "The scene has changed; the prompt was not used."
CHANGED_PROPAGATION = "The scene has changed; the propagation was cancelled."


class EffectState:
    """State of one segment editor: its session, what is going on, messages and scores.

    Args:
        port: The editor.
        worker: Runs work in one thread: ``submit``, ``idle``, ``yield_to_tasks``, as the effect's Worker.
        changed: Called on the main thread whenever something to be shown has changed.

    Attributes:
        auto_commit: Write results at once.
        keep_out: See SegmentEditorSession.
        each: Each prompt begins a new segment, as for many lesions; one that excludes corrects the selected segment.
        beside: Asked in idle times for work that is done piece by piece and gives way to every action; what such work
            reports is called on the main thread.
    """

    def __init__(self, port: EditorPort, worker: Any, changed: Callable[[], None]) -> None:
        self.port = port
        self.session: SegmentEditorSession | None = None
        self.auto_commit = True
        self.keep_out = True
        self.each = False
        self.window: IntensityWindow | None = None
        self.is_error = False
        self.load_error: BaseException | None = None
        self.scores = SliceScores()
        self.shows_prompts = True
        self.beside: list[Callable[[], Work | None]] = []
        self._queue = ActionQueue(worker, self, changed)
        self._changed = changed
        self._predictor: Any = None
        self._propagation: Propagation | None = None
        self._live: GrowingMask | None = None
        self._hovered: HoverMask | None = None
        self._started = 0.0
        self._scene_changed = False
        self._text, self._text_of = "", ""

    # --- state ---------------------------------------------------------------------------------------------------

    @property
    def activity(self) -> Activity:
        """What is going on."""
        return self._queue.activity

    @property
    def message(self) -> str:
        """What there is to say; of another segment than the selected one nothing."""
        return self._text if self._text_of in ("", self._selected()) else ""

    @property
    def is_busy(self) -> bool:
        """Whether ``poll`` has to be called again."""
        return self._queue.is_busy or self._scene_changed

    @property
    def is_ready(self) -> bool:
        """Whether the network is loaded."""
        return self._predictor is not None

    def poll(self) -> bool:
        """The timer's call: let the worker run, take what it has done, start what waits. Returns ``is_busy``."""
        self._queue.poll()
        return self.is_busy

    @property
    def has_preview(self) -> bool:
        """Whether a result waits for ``commit`` or ``reject``."""
        return self.session is not None and self.session.has_preview

    @property
    def is_locked(self) -> bool:
        """Whether the selected segment is locked."""
        selected = self._selected()
        return bool(selected) and is_locked(self.port.segmentation_node(), selected)

    @property
    def progress(self) -> PropagationProgress | None:
        """How far the propagation is, None when there is none."""
        if self._propagation is None:
            return None
        return PropagationProgress(self._propagation.done, self._propagation.total, time.perf_counter() - self._started)

    def preview_image(self) -> Any:
        """vtkOrientedImageData (0, 1; volume's local frame) of the pending result, or of what a click would make."""
        if self._live is not None:
            return self._live.image(volume_matrix(self.port.source_volume_node()))
        if self.session is not None and self.session.has_preview and self.session.preview_box is not None:
            return self.session.preview_image()
        if self._hovered is not None and not self._queue.is_under_way(Activity.ANSWERING):
            return self._hovered.image(volume_matrix(self.port.source_volume_node()))
        return None

    # --- life ----------------------------------------------------------------------------------------------------

    def scene_changed(self) -> None:
        """The editor's segmentation, segment or volume may have changed: undo, redo, selection, other effects."""
        self._scene_changed, self._hovered = True, None
        session = self.session
        if self.activity is Activity.PROPAGATING and session is not None and not self._queue.polling:
            try:
                moved = session.editor_moved or session.is_stale or not session.preview_segment
            except UserError:  # segmentation or volume is gone
                moved = True
            if moved:
                self._live = None  # nothing of it is shown any more, though a slice may still be computed
                self._queue.cancel(Activity.PROPAGATING)

    def forget(self) -> None:
        """The scene is closed: nothing of it may be kept. Work under way ends without being written."""
        self._queue.abandon()
        self.session, self._live, self._propagation, self._hovered = None, None, None, None
        self._scene_changed = False
        self.scores = SliceScores()

    def unload(self) -> None:
        """Another network is wanted: forget this one and what it has seen; segments and prompts are in the scene."""
        self.forget()
        self._predictor, self.load_error = None, None

    def save(self, prepare: Callable[[], Callable[[], str]]) -> None:
        """Write a file when what is under way is done. No network is needed for it.

        Args:
            prepare: Reads the scene, on the main thread; what it returns writes, in the worker, and says what it wrote.
        """

        def begin() -> Work:
            self._commit()
            write = prepare()
            return lambda _job: write()

        self._queue.request(Activity.SAVING, begin, self._say)

    def close(self) -> None:
        """The end: the worker's thread, too."""
        self.forget()
        self._queue.worker.stop()

    def settle(self, timeout_s: float) -> bool:
        """Finish what is under way, cancelling what is long, and write what is pending; False when time ran out."""
        beside, self.beside = self.beside, []  # nothing new begins
        done = self._queue.drain(timeout_s)
        self.beside, self._scene_changed = beside, False
        if done and self.has_preview:
            self._commit()
        return done

    # --- called by the queue -------------------------------------------------------------------------------------

    def allowed(self, action: Action) -> bool:
        """Nothing but loading it, and saving, can be done without the network."""
        if self._predictor is None and action.activity not in (Activity.LOADING, Activity.SAVING):
            self._say("The network is not ready; see the message above.", error=True)
            return False
        return True

    def reported(self, item: SliceUpdate | HoverMask | Callable[[], None]) -> None:
        """A slice was propagated, a click was tried, or work beside has a result."""
        if isinstance(item, HoverMask):
            self._hovered = item
            return
        if not isinstance(item, SliceUpdate):
            item()
            return
        self.scores = self.scores.with_slice(item.index, item.score, bool(item.mask.any()))
        if self._live is not None:
            self._live.put_slice(item.axis, item.index, item.mask)

    def ended(self, _action: Action) -> None:
        """Show what has become of the action."""
        self._live = self._propagation = self._hovered = None
        self._read_scores()

    def failed(self, action: Action, error: BaseException) -> None:
        """Say what went wrong; slices that a propagation has done are kept."""
        if isinstance(error, UserError):
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
            except UserError as second:
                logger.info("%s", second)
        elif self.auto_commit and self.has_preview and self.session is not None:
            self.session.reject()
        self._say(str(error) or type(error).__name__, error=True)

    def idle(self) -> None:
        """Read what the scene has become; then there is time for work beside."""
        if self._scene_changed:
            self._sync_with_scene()
        if not self._queue.idle_work:
            self._queue.idle_work.extend(islice((work for ask in self.beside if (work := ask()) is not None), 1))

    # --- inside --------------------------------------------------------------------------------------------------

    def _sync_with_scene(self) -> None:
        self._scene_changed = False
        session = self.session
        try:
            if session is None and (self._predictor is None or not time_point(self.port.source_volume_node())):
                self._read_scores()
                self._changed()
                return
            session = session or self._session()  # prompts that came with a sequence have to change with it
            had_preview = session.has_preview
            if session.drop_outdated_image():
                if had_preview:
                    self._say("The image has changed; the preview was dropped.")
            elif session.sync_with_editor():
                self._say("")
            if session.has_preview and self.port.selected_segment_id() != session.preview_segment:
                self._commit()
        except UserError as error:
            logger.info("The editor is not ready: %s", error)
        self._read_scores()
        self._changed()

    def _session(self) -> SegmentEditorSession:
        if self.session is None:
            self.session = SegmentEditorSession(self.port, InteractiveSession(self._predictor))
        self.session.keep_out, self.session.window = self.keep_out, self.window
        return self.session

    def _end_answer(self, session: SegmentEditorSession, propagated: bool = False) -> None:
        """Write or keep what the worker has found, unless the scene has changed since."""
        self._read_scores()
        text = self.scores.in_positions(session.last_message)
        if session.is_stale or session.editor_moved:
            undone = propagated and not session.is_stale
            session.reject()
            session.sync_with_editor()
            self._say(UNDONE if undone else CHANGED_PROPAGATION if propagated else CHANGED)
            return
        if not session.preview_segment:
            session.reject()
            self._say("The segment was removed; what was computed for it was dropped.")
            return
        self._say(text)
        if self.auto_commit:
            self._commit()

    def _commit(self) -> None:
        session = self.session
        if session is None or not session.has_preview:
            return
        texts = [session.last_message]
        session.commit()
        texts.append(session.last_message)
        self._say(" ".join(dict.fromkeys(self.scores.in_positions(text) for text in texts if text)))

    def _read_scores(self) -> None:
        try:
            self.scores = read_scores(self.session, self.port, self.port.selected_segment_id())
        except UserError:  # no image or no segment yet
            self.scores = SliceScores()
        self.show_prompts(self.shows_prompts)

    def show_prompts(self, shown: bool) -> None:
        """Show the prompts of the selected segment and of no other, or none at all."""
        self.shows_prompts = shown
        try:
            node = self.port.segmentation_node()
        except UserError:
            return
        if node.GetScene() is not None:
            show_only(node, self._selected() if shown else "")

    def _say(self, text: str, error: bool = False) -> None:
        self._text, self._text_of, self.is_error = text, self._selected(), error

    def _selected(self) -> str:
        """ID of the selected segment, "" where there is none."""
        try:
            return self.port.selected_segment_id()
        except UserError:
            return ""

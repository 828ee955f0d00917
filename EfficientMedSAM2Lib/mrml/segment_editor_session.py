"""Ties an InteractiveSession to a segment editor: prompts of the scene in, one undo step of the editor out.

A user action has four parts, so that a GUI can run the network in a worker thread:

    prompts = session.prompts_of(node)    # main thread: reads the scene
    session.begin()                       # main thread: reads what changed in scene and editor
    session.run(prompts)                  # any thread: network only, no MRML
    session.commit()                      # main thread: one saveStateForUndo, one modify call

For a propagation, ``plan_propagation`` and its iteration take the place of ``run``, and ``finish_propagation`` comes
before ``commit``. Until ``commit`` the result is a preview, which ``reject`` drops.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from EfficientMedSAM2Lib.core.boxes import Box, box_start, union
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.interaction import InteractiveSession, MarkupPrompt, Propagation
from EfficientMedSAM2Lib.mrml.engine_steps import EngineSteps, ManualEdit, PromptChange, read_manual_edit
from EfficientMedSAM2Lib.mrml.labelmaps import oriented_image
from EfficientMedSAM2Lib.mrml.markups_reader import read_markups
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.result_writer import ResultWriter
from EfficientMedSAM2Lib.mrml.scene.other_segments import draws_inside, left_to_others
from EfficientMedSAM2Lib.mrml.scene.segment_lock import is_locked, require_unlocked
from EfficientMedSAM2Lib.mrml.scene.segmentation_prompts import SegmentationPrompts
from EfficientMedSAM2Lib.mrml.segment_voxels import WriteReport, segment_stamp
from EfficientMedSAM2Lib.mrml.volume_reader import Fingerprint, fingerprint, volume_from_node, volume_matrix

logger = logging.getLogger(__name__)


class SegmentEditorSession:
    """Interactive segmentation of the selected segment of a segment editor.

    Boxes are half-open kji on the source volume's grid, points are world RAS, mm. The engine names segments by ID.

    Args:
        port: The segment editor.
        engine: The interaction engine, on a predictor of any kind.

    Attributes:
        window: Intensities shown to the network from the next action on; None chooses by the image.
        keep_out: Never add voxels that belong to another segment, whatever the editor's overwrite mode says; unless
            its editable area is inside of segments.
    """

    def __init__(self, port: EditorPort, engine: InteractiveSession) -> None:
        self.port = port
        self.engine = engine
        self.window: IntensityWindow | None = None
        self.keep_out = True
        self.last_message = ""
        self._fingerprint: Fingerprint | None = None
        self._steps = EngineSteps(engine)
        self._prompts = SegmentationPrompts(port, self._steps)
        self._writer = ResultWriter(port, engine, self._steps, self._prompts)
        self._propagation: Propagation | None = None
        self._depth_before = 0
        self._segment = ""
        self._edit: ManualEdit | None = None
        self._pending_steps = 0
        self._pending_box: Box | None = None

    # --- image ---------------------------------------------------------------------------------------------------

    @property
    def is_stale(self) -> bool:
        """True when the source volume is another one, has changed or was moved since the engine read it."""
        return self._fingerprint != self._present_fingerprint()

    @property
    def has_image(self) -> bool:
        """Whether the engine has read an image."""
        return self._fingerprint is not None

    def refresh(self) -> bool:
        """Give the engine the source volume if it is new or its image has changed; returns whether it did.

        Undo steps that the engine shared with the editor end there. The segments stay, and the next prompt starts from
        them. A volume that was only moved by its transform needs no new features.
        """
        present = self._present_fingerprint()
        if self._fingerprint is not None and self._fingerprint[0] == present[0]:
            self._fingerprint = present
            return False
        self._end_propagation()
        volume = volume_from_node(self.port.source_volume_node())
        self.engine.set_image(volume.array, volume.ijk_to_ras, volume.modality, self.window)
        self._fingerprint = present
        self._restart()
        logger.info("Source volume '%s' read, shape %s.", volume.name, volume.array.shape)
        return True

    def drop_outdated_image(self) -> bool:
        """Let go of an image that the volume does not show any more, as at another time point; returns whether it did.

        The next action reads the new one, so that a sequence can be played; its prompts are shown at once.
        """
        known = self._fingerprint
        if not self._prompts.are_of_another_time if known is None else known[0] == self._present_fingerprint()[0]:
            return False
        self._end_propagation()
        self._start_over()
        self._fingerprint = None
        self._prompts.show_time_point()
        return True

    # --- prompts -------------------------------------------------------------------------------------------------

    def prompts_of(self, node: Any, axis: int | None = None) -> list[MarkupPrompt]:
        """Prompts of a markups node on the volume's grid; UserError when one lies outside. Including ones first."""
        prompts = read_markups(node, self.port.source_volume_node(), axis)
        return sorted(prompts, key=lambda prompt: not prompt.positive)

    def begin(self, whole: bool = False) -> None:
        """Start an action: read the image if it changed, sync with the editor, read manual edits.

        Args:
            whole: Start from the segment as it is now, whatever it was made by.
        """
        self._end_propagation()
        segment_id = self.port.selected_segment_id()
        require_unlocked(self.port.segmentation_node(), segment_id)
        self.refresh()
        self.sync_with_editor()
        if self._pending_steps and segment_id != self._segment:
            raise UserError("Another segment has a preview; commit or reject it first.")
        self._prompts.begin(segment_id)
        self._steps.forget_undone()
        self._edit = None if self._pending_steps else self._read_edit(segment_id, whole)
        self._segment = segment_id

    def push_manual_edit(self) -> None:
        """Send the manual edit that ``begin`` has read to the engine; ``run`` and ``plan_propagation`` do it first."""
        edit, self._edit = self._edit, None
        if edit is not None and edit.mask is not None:
            self._steps.import_mask(self._segment, edit.mask, edit.box, edit.by_hand, edit.saved)
            self._writer.states.note_edit(self._steps.depth, self._segment, PackedMask.pack(edit.mask))
        if edit is not None:
            self._writer.seen[self._segment] = edit.stamp

    def run(self, prompts: Iterable[MarkupPrompt]) -> Box | None:
        """Let the engine answer prompts; all of them or, on an error, none. Any thread. Returns the changed box."""
        return self._answer(lambda: self._steps.run(self._segment, self._prompts.mark(prompts)))

    def change_prompts(self, changes: Sequence[PromptChange], axis: int, clear: Sequence[int] = ()) -> Box | None:
        """Replace prompts of the segment, or take them away, and answer their slices anew. Any thread.

        Args:
            changes: (prompt in force, what takes its place or None).
            axis: Slicing axis of them all.
            clear: Further slices to be answered from the prompts that they have left.
        """
        marked = [(old, new if new is None else self._prompts.mark([new])[0]) for old, new in changes]
        return self._answer(lambda: self._steps.change_prompts(self._segment, marked, axis, clear))

    def start_over(self) -> Box | None:
        """Empty the segment, and drop all its prompts. Any thread."""
        return self._answer(lambda: self._steps.start_over(self._segment))

    def _answer(self, ask: Callable[[], tuple[Box | None, str]]) -> Box | None:
        self.push_manual_edit()
        before = self._steps.depth
        changed, self.last_message = ask()
        self._pending_box = union(self._pending_box, changed)
        self._pending_steps += self._steps.depth - before
        return changed

    # --- propagation ---------------------------------------------------------------------------------------------

    def plan_propagation(
        self, direction: str = "both", limits: tuple[int, int] | None = None, stop_when_lost: bool = True
    ) -> Propagation:
        """Slices of the selected segment, to be iterated in any thread; ``finish_propagation`` ends or cancels it."""
        self.push_manual_edit()
        self._depth_before = self._steps.depth
        self._propagation = self.engine.propagate(self._segment, direction, limits, stop_when_lost)
        return self._propagation

    def open_step(self) -> None:
        """A propagation begins that will have something to write: *Undo* during it takes back nothing else."""
        self._writer.open_step(self._segment)

    def may_propagate(self, direction: str, limits: tuple[int, int] | None) -> bool:
        """Whether a propagation would visit a slice, as far as it is known before a manual edit is sent."""
        if self._edit is not None and self._edit.mask is not None:
            return True
        if self._segment not in self.engine.segments:
            return False
        return bool(self.engine.slices_to_propagate(self._segment, direction, limits))

    def finish_propagation(self) -> None:
        """End a propagation, finished or not; what it has computed is one action, to be committed."""
        self._end_propagation()
        self.last_message = self.engine.last_message

    # --- result --------------------------------------------------------------------------------------------------

    @property
    def has_preview(self) -> bool:
        """True when results wait for ``commit`` or ``reject``."""
        return self._pending_steps > 0

    @property
    def preview_box(self) -> Box | None:
        """Half-open box of the voxels that the preview changes, None when there are none."""
        return self._pending_box

    def preview_image(self) -> Any:
        """vtkOrientedImageData (0 and 1) of the segment inside ``preview_box``, in the volume's local frame."""
        if self._pending_box is None:
            raise UserError("There is no preview; give a prompt first.")
        mask, start = self._steps.mask(self._segment, self._pending_box), box_start(self._pending_box)
        wanted = mask & self._steps.unwritten(self._segment, self._pending_box)[1]
        known = self.port, self.engine, self._segment, self._pending_box
        mask &= ~left_to_others(*known, mask, wanted, self._keeps_out)[0]
        return oriented_image(mask, start, volume_matrix(self.port.source_volume_node()))

    def prompts(self, segment_id: str) -> list[MarkupPrompt]:
        """Prompts of a segment, oldest first, also those that came with the scene; of a sequence, those of now."""
        return self._prompts.of(segment_id)

    def commit(self) -> WriteReport:
        """Write the preview to its segment as one undo step. Nothing happens when there is none."""
        self._end_propagation()
        if not self._pending_steps:
            return WriteReport()
        if not self.preview_segment:  # removed, or another segmentation was chosen
            self.reject()
            return WriteReport()
        with self.port.selecting(self._segment):
            refused = "The segment is hidden; nothing was changed."
            if is_locked(self.port.segmentation_node(), self._segment):
                refused = "The segment is locked; nothing was changed."
            elif self.port.confirm_selected_segment_visible():
                refused = ""
            if refused:
                self.reject()
                self.last_message = refused
                return WriteReport()
            report = self._writer.write(self._segment, self._pending_box, self._keeps_out)
            self._clear_pending()
            self.last_message = self._writer.message or self.last_message
            return report

    @property
    def _keeps_out(self) -> bool:
        return self.keep_out and not draws_inside(self.port)

    @property
    def preview_segment(self) -> str:
        """ID of the segment of the last action, and of the preview; "" when the editor does not have it any more."""
        return self._segment if self._writer.states.holds(self.port, self._segment) else ""

    def reject(self) -> None:
        """Drop the preview; the segment is as it was."""
        self._end_propagation()
        self._steps.take_back(self._pending_steps)
        self._clear_pending()

    # --- history -------------------------------------------------------------------------------------------------

    @property
    def editor_moved(self) -> bool:
        """Whether the editor is in another state than the engine: *Undo* or *Redo* was pressed."""
        return self._fingerprint is not None and not self._writer.states.is_present(self._writer.states.current)

    def sync_with_editor(self) -> bool:
        """Bring the engine to the state that the editor shows; call it after the editor's own Undo or Redo.

        Returns:
            Whether the editor was in another state than the engine.
        """
        if self._writer.states.segmentation_node != self.port.segmentation_node():
            return False  # the next action starts anew, anyway
        before, state = self._writer.states.current, self._writer.states.find_present()
        if state is before:
            return False
        self._end_propagation()
        self._steps.take_back(self._pending_steps)
        self._clear_pending()
        if state is None or not self._steps.rewind(state.depth):
            logger.info("The editor is in a state from before this session; the engine starts anew from its segments.")
            self._start_over()
        self._prompts.show()
        return True

    # --- inside --------------------------------------------------------------------------------------------------

    def _start_over(self) -> None:
        if self._fingerprint is not None:  # else the engine has no image yet
            self.engine.reset_interactions()
        self._restart()

    def _restart(self) -> None:
        self._steps.restart()
        self._writer.restart()
        self._clear_pending()

    def _clear_pending(self) -> None:
        self._pending_steps, self._pending_box = 0, None

    def _end_propagation(self) -> None:
        """Close a propagation that is open, and count it as a pending step if it wrote a slice."""
        propagation, self._propagation = self._propagation, None
        if propagation is None:
            return
        propagation.close()
        if self._steps.depth > self._depth_before:
            self._pending_steps += self._steps.depth - self._depth_before
            self._pending_box = union(self._pending_box, propagation.bbox)

    def _present_fingerprint(self) -> Fingerprint:
        segmentation = self.port.segmentation_node()
        image, placement = fingerprint(self.port.source_volume_node())
        return (*image, segmentation.GetID(), self.window), (*placement, segmentation.GetTransformNodeID())

    def _read_edit(self, segment_id: str, whole: bool) -> ManualEdit | None:
        stamp = segment_stamp(self.port.segmentation_node(), segment_id)
        if not whole and self._writer.seen.get(segment_id) == stamp:
            return None
        return read_manual_edit(self.port, segment_id, stamp, self._writer.states.current.known.get(segment_id), whole)

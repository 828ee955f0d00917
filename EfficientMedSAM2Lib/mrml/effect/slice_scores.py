"""What the confidence strip shows: for each slice of a segment how sure its mask is, and whether it is out of date."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import in_plane_axes
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.interaction import MarkupPrompt, prompted_slices
from EfficientMedSAM2Lib.interaction.constraints import edited_voxels
from EfficientMedSAM2Lib.interaction.segment import SliceKind, SliceRecord
from EfficientMedSAM2Lib.mrml.effect.view_geometry import SlicePositions, slice_positions
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene.prompt_store import PROMPTS_TAG, decode_prompts, get_tag
from EfficientMedSAM2Lib.mrml.scene.slice_store import read_slices
from EfficientMedSAM2Lib.mrml.segment_editor_session import SegmentEditorSession
from EfficientMedSAM2Lib.mrml.volume_reader import default_axis, volume_shape


@dataclass(frozen=True)
class SliceScores:
    """Scores of a segment's slices along one axis.

    Attributes:
        axis: Slicing axis.
        count: Slices of the volume.
        scores: 0..1 by slice, for slices that the network has judged.
        stale: Slices whose mask is older than the correction that governs them.
        prompted: Slices with prompts.
        filled: Slices on which the segment has voxels.
        edited: Slices with voxels painted or erased by hand.
        places: Positions of the volume's slices, as slice views show them; None where there is no volume.
    """

    axis: int = 0
    count: int = 0
    scores: Mapping[int, float] = field(default_factory=dict)
    stale: frozenset[int] = frozenset()
    prompted: frozenset[int] = frozenset()
    filled: frozenset[int] = frozenset()
    edited: frozenset[int] = frozenset()
    places: SlicePositions | None = None

    def position(self, index: int, axis: int | None = None) -> str:
        """Where a slice is, in the words of a slice view; its number where that is not known."""
        axis = self.axis if axis is None else axis
        return f"slice {index}" if self.places is None else self.places.text(axis, index)

    def in_positions(self, text: str) -> str:
        """A message that names slices of this axis by numbers, with their positions instead."""
        if self.places is None:
            return text
        return re.sub(r"\bslice (\d+)\b", lambda found: f"slice {self.position(int(found[1]))}", text)

    @property
    def known(self) -> frozenset[int]:
        """Slices that there is something to be said of."""
        return frozenset(self.scores) | self.filled

    @property
    def judged(self) -> dict[int, float]:
        """Scores of slices that nobody has edited by hand: of an edited one nobody has judged what it is now."""
        return {index: score for index, score in self.scores.items() if index not in self.edited}

    @property
    def by_uncertainty(self) -> list[int]:
        """Filled slices, the lowest score first; slices with prompts come after all others."""
        slices = [i for i in self.scores if i in self.filled]
        return sorted(slices, key=lambda i: (i in self.prompted, self.scores[i], i))

    @property
    def weakest(self) -> int | None:
        """The first of these."""
        return next(iter(self.by_uncertainty), None)

    @property
    def stale_text(self) -> str:
        """How many slices are out of date, in words; nothing where none is."""
        count = len(self.stale)
        return f"{count} slice{'s' if count > 1 else ''} out of date" if count else ""

    def shown_range(self, margin: int, least: int = 0) -> tuple[int, int]:
        """First and last slice that a strip shows: all, unless some have scores.

        Args:
            margin: Slices shown at least on each side of those that have a score.
            least: Slices shown at least in all, as far as the volume has them on both sides.
        """
        if not self.known:
            return 0, self.count - 1
        first, last = min(self.known), max(self.known)
        more = max(margin, (least - (last - first + 1) + 1) // 2)
        return max(first - more, 0), min(last + more, self.count - 1)

    def with_slice(self, index: int, score: float, filled: bool) -> SliceScores:
        """These scores after propagation has computed one more slice."""
        return replace(
            self,
            scores={**self.scores, index: score},
            stale=self.stale - {index},
            filled=self.filled | {index} if filled else self.filled - {index},
        )

    def describe(self, index: int) -> str:
        """One slice in words, for a tool tip."""
        if index not in self.known:
            return f"{self._title(index)}: not segmented"
        score = self.scores.get(index)
        notes = ["confidence not known" if score is None else f"confidence {100 * score:.0f} %"]
        if index in self.edited:
            notes.append("edited by hand")
        if index in self.prompted:
            notes.append("prompted")
        if index not in self.filled:
            notes.append("structure not seen")
        if index in self.stale:
            notes.append("out of date: press Propagate")
        return f"{self._title(index)}: {', '.join(notes)}"

    def _title(self, index: int) -> str:
        text = self.position(index)
        return text[0].upper() + text[1:]


def read_scores(session: SegmentEditorSession | None, port: EditorPort, segment: str) -> SliceScores:
    """Scores of a segment as the engine has them, or as they came with the scene where it does not know the segment."""
    engine = None if session is None or not session.has_image else session.engine
    volume = port.source_volume_node()
    if session is None or engine is None or segment not in engine.segments:
        return _saved_scores(port, volume, segment)
    axis = engine.slicing_axis(segment)
    box = engine.bounding_box(segment)
    filled: set[int] = set()
    if box is not None:
        seen = engine.mask(segment, box).any(axis=in_plane_axes(axis))
        filled = {box[axis][0] + int(n) for n in np.flatnonzero(seen)}
    edited = edited_voxels(engine.prompts(segment))
    prompted = _prompted(session.prompts(segment), axis)
    records = engine.slice_records(segment, axis)
    return _scores(volume, axis, records, filled, prompted, edited)


def _saved_scores(port: EditorPort, volume: Any, segment_id: str) -> SliceScores:
    shape = volume_shape(volume)
    segment = port.segment(segment_id)
    saved = read_slices(segment, volume) if segment is not None else None
    if saved is None:
        return SliceScores(default_axis(volume), shape[default_axis(volume)], places=slice_positions(volume))
    prompts = decode_prompts(get_tag(segment, PROMPTS_TAG), volume)
    return _scores(volume, saved.axis, saved.records, saved.filled, _prompted(prompts, saved.axis), saved.edited)


def _prompted(prompts: Iterable[MarkupPrompt], axis: int) -> frozenset[int]:
    return frozenset(index for prompt in prompts for index in prompted_slices(prompt, axis))


def _scores(
    volume: Any,
    axis: int,
    records: Mapping[int, SliceRecord],
    filled: Iterable[int],
    prompted: frozenset[int],
    edited_by_hand: PackedMask,
) -> SliceScores:
    judged = {i: r.score for i, r in sorted(records.items()) if r.kind is not SliceKind.SKIPPED and not r.given}
    seen = edited_by_hand.unpack().any(axis=in_plane_axes(axis))
    edited = {edited_by_hand.bounds[axis][0] + int(n) for n in np.flatnonzero(seen)}
    stale = frozenset(i for i, r in records.items() if r.stale)
    known = frozenset(filled), frozenset(edited)
    return SliceScores(axis, volume_shape(volume)[axis], judged, stale, prompted, *known, slice_positions(volume))

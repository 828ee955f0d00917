"""The segments beside the one that is edited: what they keep, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, box_shape
from EfficientMedSAM2Lib.interaction import InteractiveSession
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene.segment_lock import is_locked, locked_losers
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment, segment_box

#: A segment with more than this share of its voxels in another one lies within it,
WITHIN = 0.8
#: where that is less than this share of the other one.
PART_OF = 0.5


def read_kept_voxels(port: EditorPort, segment_id: str, box_kji: Box, all_others: bool) -> np.ndarray:
    """Voxels in a half-open box of the volume's grid, bool, that a segment must not take from the others.

    Args:
        port: The editor.
        segment_id: The segment.
        box_kji: Half-open box.
        all_others: Keep those of all other segments; else those of locked ones, unless nobody can lose voxels.
    """
    mask = np.zeros(box_shape(box_kji), dtype=bool)
    others = [s for s in port.segment_ids() if s != segment_id] if all_others else locked_losers(port, segment_id)
    for other in others:
        mask |= read_segment(port.segmentation_node(), other, port.source_volume_node(), box_kji)
    return mask


def left_to_others(
    port: EditorPort,
    engine: InteractiveSession,
    segment_id: str,
    box_kji: Box,
    mask: np.ndarray,
    wanted: np.ndarray,
    keeps_out: bool,
) -> tuple[np.ndarray, list[str]]:
    """What other segments keep of the voxels that a segment wants, bool, and a sentence for each reason.

    Locked segments keep theirs. Where the user lets segments enter each other, the editor's overwrite rule lets them
    lose voxels, and its editable area is everywhere, a voxel is left to whom the network is surer of there, to who was
    edited by hand there, and to whom the network has not made. But what lies within another segment, as a lesion in an
    organ, is no matter of that one's border: the inner one has all of it. And what is the same as another one takes its
    place.

    Args:
        port: The editor.
        engine: What knows how sure the network is.
        segment_id: The segment.
        box_kji: Half-open box of the volume's grid.
        mask: All of the segment there, bool, as it is to become.
        wanted: What is new of that.
        keeps_out: Leave all other segments their voxels.
    """
    left = wanted & read_kept_voxels(port, segment_id, box_kji, keeps_out)
    notes = [f"{left.sum()} voxels belong to other segments and were left to them."] if left.any() else []
    if keeps_out or port.mask_mode() != port.segmentation_node().EditAllowedEverywhere or not wanted.any():
        return left, notes  # what may be entered is the editor's business
    for other in port.overwritable_segments(segment_id):
        if is_locked(port.segmentation_node(), other):
            continue
        theirs = read_segment(port.segmentation_node(), other, port.source_volume_node(), box_kji)
        if not (wanted & theirs).any():
            continue
        kept = wanted & theirs & _yields(engine, segment_id, other, box_kji, mask, theirs, _size(port, other))
        count = (kept & ~left).sum()
        why = "is likelier or edited by hand there" if other in engine.segments else "the network has not made"
        name = port.segment(other).GetName()
        notes += [f"{count} voxels were left to '{name}', which {why}."] if count else []
        left |= kept
    return left, notes


def _size(port: EditorPort, segment_id: str) -> int:
    """Number of voxels of a whole segment."""
    node, volume_node = port.segmentation_node(), port.source_volume_node()
    box = segment_box(node, segment_id, volume_node)
    return 0 if box is None else int(np.count_nonzero(read_segment(node, segment_id, volume_node, box)))


def _yields(
    engine: InteractiveSession,
    segment_id: str,
    other: str,
    box_kji: Box,
    mask: np.ndarray,
    theirs: np.ndarray,
    its: int,
) -> np.ndarray:
    """Where a segment leaves voxels to another one, of `its` voxels in all, bool; elsewhere it means nothing."""
    common, own = int(np.count_nonzero(mask & theirs)), int(np.count_nonzero(mask))
    if common > WITHIN * own and not PART_OF * its <= common <= WITHIN * its:
        return np.zeros_like(mask)  # it lies within the other one, or is the same
    if common > WITHIN * its and common < PART_OF * own:
        return np.ones_like(mask)  # the other one lies within it
    if other not in engine.segments:
        return np.ones_like(mask)
    own_logits, its_logits = (engine.certainty(segment, box_kji) for segment in (segment_id, other))
    return np.isneginf(its_logits) | (
        its_logits >= own_logits
    )  # the engine does not know how the other one came by such voxels


def draws_inside(port: EditorPort) -> bool:
    """Whether the user asks to draw inside of other segments, by the editable area."""
    node = port.segmentation_node()
    inside = (
        node.EditAllowedInsideAllSegments,
        node.EditAllowedInsideVisibleSegments,
        node.EditAllowedInsideSingleSegment,
    )
    return port.mask_mode() in inside


def read_each_other_segment(port: EditorPort, segment_id: str, box_kji: Box) -> dict[str, np.ndarray]:
    """Voxels of each segment but one in a half-open box of the volume's grid, bool, by segment ID."""
    segmentation, volume = port.segmentation_node(), port.source_volume_node()
    others = [other for other in port.segment_ids() if other != segment_id]
    return {other: read_segment(segmentation, other, volume, box_kji) for other in others}


def changes_elsewhere(port: EditorPort, segment_id: str, box_kji: Box, before: Mapping[str, np.ndarray]) -> list[str]:
    """What a change has taken from other segments or given to them, a sentence for each; ``before`` as they were."""
    notes: list[str] = []
    for other, after in read_each_other_segment(port, segment_id, box_kji).items():
        name = port.segment(other).GetName()
        lost, gained = (before[other] & ~after).sum(), (after & ~before[other]).sum()
        notes += [f"'{name}' lost {lost} voxels to this segment."] if lost else []
        notes += [f"'{name}' was given {gained} voxels of this segment."] if gained else []
    return notes

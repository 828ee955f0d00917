"""Prompts of a case: markups files grouped into segments, and given to a session."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import normal_name
from EfficientMedSAM2Lib.core.geometry import (
    axis_of_plane,
    box_to_roi,
    ijk_box_from_corners,
    ijk_to_ras_points,
    kji_from_ijk,
    line_hint,
    nearest_voxel,
    ras_to_ijk,
    roi_corners_ras,
)
from EfficientMedSAM2Lib.imaging.formats.npz import read_npz_prompts
from EfficientMedSAM2Lib.imaging.markups import (
    Markup,
    curve_note,
    read_markups,
    rotation_warning,
    segment_name,
    sign_note,
)
from EfficientMedSAM2Lib.imaging.segmentations import read_segment, read_segmentation
from EfficientMedSAM2Lib.interaction.prompt_calls import numbered_name
from EfficientMedSAM2Lib.interaction.prompts import PROMPT_ORDER

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.imaging.volumes import Volume
    from EfficientMedSAM2Lib.interaction import InteractiveSession

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SegmentPrompts:
    """What a user drew for one segment.

    Attributes:
        name: Name of the segment.
        markups: Boxes, lines, curves and points in RAS mm, from any number of files.
        mask: Mask (D,H,W) that the segment starts from; None for none. Markups refine it and the corrections are
            propagated into it; without any, propagation goes on from it and does not change it.
        slices: Half-open range of slices along k that hold it, where that is known.
        note: What the user should know of the mask; often nothing.
    """

    name: str
    markups: tuple[Markup, ...]
    mask: np.ndarray | None = None
    slices: tuple[int, int] | None = None
    note: str = ""


def read_prompts(paths: Sequence[str | Path], names: Sequence[str] = ()) -> list[SegmentPrompts]:
    """Read markups files; files of the same segment name are one segment, in the order of their first mention.

    Args:
        paths: Markups files.
        names: Segment names: none to take them from the files, one for all files, or one per file.

    Raises:
        UserError: A file cannot be read or holds no prompt, or the number of names fits neither way.
    """
    if len(names) not in (0, 1, len(paths)):
        raise UserError(f"{len(names)} segment names for {len(paths)} prompts files; give one name, or one per file.")
    wanted = list(names) * len(paths) if len(names) == 1 else list(names) or [""] * len(paths)
    grouped: dict[str, list[Markup]] = {}
    for path, name in zip(paths, wanted):
        markups = read_markups(path)
        if not markups:
            raise UserError(f"{path} holds no point, box, line or curve; place one in 3D Slicer and save it again.")
        grouped.setdefault(name or segment_name(path, markups), []).extend(markups)
    return [SegmentPrompts(name, tuple(markups)) for name, markups in grouped.items()]


def one_segment_each(prompts: Sequence[SegmentPrompts]) -> list[SegmentPrompts]:
    """A numbered segment for each point, box, line and curve of each entry: "Lesion 1", "Lesion 2" ...

    Raises:
        UserError: An entry has prompts that exclude, which belong to none of its segments in particular.
    """
    found: list[SegmentPrompts] = []
    for entry in prompts:
        excluding = sum(not sign for markup in entry.markups for sign in markup.positive)
        if excluding:
            raise UserError(
                f"{excluding} prompts of {entry.name!r} exclude, and none of several segments in particular; leave "
                "them out, or give each segment a file of its own."
            )
        for markup in entry.markups:
            for single in _single_markups(markup):
                name = numbered_name(entry.name, (segment.name for segment in found))
                found.append(SegmentPrompts(name, (replace(single, name=name),)))
    return found


def _single_markups(markup: Markup) -> list[Markup]:
    """The points of a list one by one; any other markup as it is."""
    if markup.kind != "point":
        return [markup]
    return [
        Markup("point", points_ras=point, planes=(plane,)) for point, plane in zip(markup.points_ras, markup.planes)
    ]


def start_from_mask(
    prompts: Sequence[SegmentPrompts], path: str | Path, volume: Volume, mask_segment: str | None = None
) -> list[SegmentPrompts]:
    """Prompts of segments that start from an earlier segmentation.

    Args:
        prompts: What was drawn for each segment. Of several, those start from the file that it has by their names.
        path: A segmentation by any program: ``.seg.nrrd``, DICOM SEG or labelmap.
        volume: The scan.
        mask_segment: Which segment of the file; None for that of the same name, or the only one.

    Raises:
        UserError: The file cannot be read or has no such segment, or it is not clear which one is meant.
    """
    if len(prompts) == 1:
        (first,) = prompts
        segment, note = read_segment(path, volume, mask_segment or first.name or None, only=not mask_segment)
        return [replace(first, name=first.name or segment.name, mask=segment.mask, note=note)]
    if mask_segment:
        raise UserError(
            f"{mask_segment!r} is to start one segment, but there are prompts for {len(prompts)}; give one."
        )
    names = {normal_name(segment.name) for segment in read_segmentation(path)}
    known = [normal_name(entry.name) in names for entry in prompts]
    if not any(known):
        raise UserError(f"{path} has none of the segments {', '.join(entry.name for entry in prompts)}; see --name.")
    return [
        start_from_mask([entry], path, volume, entry.name)[0] if found else entry
        for entry, found in zip(prompts, known)
    ]


def npz_prompts(path: str | Path, volume: Volume) -> list[SegmentPrompts]:
    """Boxes and clicks of an ``.npz`` file of MedSAM or a challenge: a segment a class, named after its number.

    Args:
        path: The file that the volume was read from.
        volume: The volume.

    Raises:
        UserError: It has neither, or they are not as such files have them.
    """
    found = []
    for entry in read_npz_prompts(path):
        name = str(entry.label)
        markups = [] if entry.box_kji is None else [box_markup(entry.box_kji, name, volume)]
        if entry.points:
            points = np.array(
                [ijk_to_ras_points(np.array(kji[::-1], float), volume.ijk_to_ras) for kji, _ in entry.points]
            )
            markups.append(Markup("point", name, points, tuple(positive for _, positive in entry.points)))
        found.append(SegmentPrompts(name, tuple(markups), slices=entry.slices))
    if not found:
        raise UserError(f"{path} holds no boxes and no clicks; give prompts with --prompts.")
    return found


def box_markup(box_kji: Any, name: str, volume: Volume) -> Markup:
    """A half-open voxel box [[k0,k1],[j0,j1],[i0,i1]] as the ROI that covers it."""
    object_to_world, size = box_to_roi(box_kji, volume.ijk_to_ras)
    return Markup("box", name, object_to_world=object_to_world, size=size)


def add_prompts(session: InteractiveSession, prompts: SegmentPrompts, volume: Volume) -> str:
    """Give a segment's prompts to a session: its mask, boxes, lines, curves, points, and at last what excludes.

    Returns:
        What the user should know of the prompts, and what the session had to say in the end, such as why the mask is
        empty; often nothing.

    Raises:
        UserError: A prompt lies outside the volume, or has no size.
    """
    notes = [prompts.note]
    if prompts.mask is not None:
        session.add_initial_seg_interaction(prompts.mask, segment=prompts.name, fixed=not prompts.markups)
    for markup in sorted(prompts.markups, key=_place_in_order):
        try:
            notes.append(_add_markup(session, prompts.name, markup, volume))
        except ValueError as error:
            raise UserError(f"Prompt for {prompts.name!r}: {error}") from error
    for note in filter(None, notes):
        logger.warning("%s: %s", prompts.name, note)
    return " ".join(filter(None, [*notes, session.last_message]))


def _place_in_order(markup: Markup) -> tuple[bool, int]:
    """What excludes comes last, since it takes from what there is."""
    return not any(markup.positive), PROMPT_ORDER[markup.kind]


def _add_markup(session: InteractiveSession, segment: str, markup: Markup, volume: Volume) -> str:
    """Give a markup to a session; returns what the user should know of it, often nothing."""
    shape_kji = volume.shape_kji
    axes = [axis_of_plane(plane, volume.ijk_to_ras) if plane else None for plane in markup.planes]
    if markup.kind == "box":
        corners_ijk = ras_to_ijk(roi_corners_ras(markup.object_to_world, markup.size), volume.ijk_to_ras)
        session.add_bbox_interaction(ijk_box_from_corners(corners_ijk, shape_kji), markup.positive[0], segment, axes[0])
        return rotation_warning(markup.name, markup.object_to_world, volume.ijk_to_ras)
    if markup.is_curve:
        positive = all(markup.positive)
        if markup.kind == "lasso":
            session.add_lasso_interaction(markup.curve_ras, positive, segment, axes[0])
        else:
            # a scribble that refines belongs to the slices that the segment is on, in whatever view it was drawn
            axis = session.slicing_axis(segment) if axes[0] is None and segment in session.segments else axes[0]
            session.add_scribble_interaction(markup.curve_ras, positive, segment, axis)
        return curve_note(markup.name, positive)
    points_ijk = ras_to_ijk(markup.points_ras, volume.ijk_to_ras)
    if markup.kind == "line":
        start_kji, end_kji = kji_from_ijk(points_ijk)
        session.add_line_interaction(start_kji, end_kji, segment, axes[0])
        return line_hint((start_kji, end_kji), session.prompts(segment)[-1].axis)
    voxels_kji = [nearest_voxel(point, shape_kji) for point in points_ijk]
    for positive in (True, False):
        for voxel_kji, is_positive, axis in zip(voxels_kji, markup.positive, axes):
            if is_positive == positive:
                session.add_point_interaction(voxel_kji, positive, segment, axis)
    return sign_note(markup.name, markup.positive, markup.labels)

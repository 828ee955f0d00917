"""A viewer session's scene as work to be saved, and saved work as a scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.mrml.markups_reader import prompts_of_file
from EfficientMedSAM2Lib.mrml.scene.prompt_store import PROMPTS_TAG, encode_prompts, get_tag, show_prompts
from EfficientMedSAM2Lib.mrml.scene.segments import TERMINOLOGY_TAG
from EfficientMedSAM2Lib.mrml.scene.slice_store import SLICES_TAG
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment, segment_box, segment_stamp
from EfficientMedSAM2Lib.web.session.exports import saved_prompts, to_markups
from EfficientMedSAM2Lib.web.session.imports import add_voxels
from EfficientMedSAM2Lib.web.session.segments import Segments
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.work.files import Ruler, Work, WorkSegment


class MeasuredDistances(Protocol):
    """The rulers of a scan."""

    @property
    def ends(self) -> tuple[Ruler, ...]:
        """Both ends of each, world RAS in mm."""

    def add(self, first_world: Sequence[float], second_world: Sequence[float]) -> None:
        """Measure one more."""


class SceneReader:
    """Reads the scene of a viewer session; voxels of segments that have not changed are not copied again."""

    def __init__(self, viewer: ViewerSession, rulers: MeasuredDistances) -> None:
        self._viewer, self._rulers = viewer, rulers
        self._masks: dict[str, tuple[Any, Any, Any]] = {}  # stamp, box and voxels of each segment

    def read(self, volume: Volume) -> Work:
        """The scene as it is now, ``volume`` being the open one."""
        viewer, segments = self._viewer, Segments(self._viewer)
        node, masks, found = viewer.segmentation_node, {}, []
        for segment_id in segments.ids:
            segment, stamp = segments.get(segment_id), (id(volume), segment_stamp(node, segment_id))
            if self._masks.get(segment_id, (None,))[0] == stamp:
                _stamp, box, mask = masks[segment_id] = self._masks[segment_id]
            else:
                box = segment_box(node, segment_id, viewer.volume_node)
                mask = None if box is None else read_segment(node, segment_id, viewer.volume_node, box)
                box, mask = (box, mask) if mask is not None and mask.any() else (None, None)
                masks[segment_id] = stamp, box, mask
            red, green, blue = map(float, segment.GetColor())
            color, terminology = (red, green, blue), get_tag(segment, TERMINOLOGY_TAG)
            markups = tuple(to_markups(saved_prompts(viewer, segment_id), volume.ijk_to_ras))
            slices = get_tag(segment, SLICES_TAG) or ""
            found.append(WorkSegment(segment_id, segment.GetName(), color, terminology, box, mask, markups, slices))
        self._masks = masks
        return Work(volume, tuple(found), segments.selected, self._rulers.ends)


def open_work(viewer: ViewerSession, work: Work, rulers: MeasuredDistances) -> None:
    """Make segments and rulers of the open scan those of saved work, with their prompts, which are not asked again."""
    node, segments = viewer.segmentation_node, Segments(viewer)
    for segment_id in segments.ids:
        node.GetSegmentation().RemoveSegment(segment_id)
    for saved in work.segments:
        segment_id = node.GetSegmentation().AddEmptySegment(saved.segment_id, saved.name)
        segment = segments.get(segment_id)
        segment.SetColor(*saved.color)
        if saved.terminology:
            segment.SetTag(TERMINOLOGY_TAG, saved.terminology)
        if saved.mask is not None:
            add_voxels(viewer, segment_id, saved.mask)
        if saved.slices:
            segment.SetTag(SLICES_TAG, saved.slices)
        prompts = prompts_of_file(saved.markups, viewer.volume_node)
        segment.SetTag(PROMPTS_TAG, encode_prompts(prompts))
        show_prompts(node, viewer.volume_node, segment_id, prompts)
    if work.selected in segments.ids:
        segments.select(work.selected)
    for first, second in work.rulers:
        rulers.add(first, second)
    viewer.port.clear()
    viewer.controller.scene_changed()

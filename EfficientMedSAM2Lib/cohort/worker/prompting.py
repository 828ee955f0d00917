"""Prompts of a case: markups files and the manifest's own boxes and points as markups, and masks of earlier runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.cohort.manifest.cases import CaseSpec, SegmentSpec
from EfficientMedSAM2Lib.core.geometry import ijk_to_ras_points
from EfficientMedSAM2Lib.imaging.markups import Markup, read_markups
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.pipeline.prompts import SegmentPrompts, box_markup, start_from_mask
from EfficientMedSAM2Lib.pipeline.proposals import proposed_prompts

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.core.windows import IntensityWindow
    from EfficientMedSAM2Lib.interaction import InteractiveSession


def case_prompts(
    case: CaseSpec, volume: Volume, session: InteractiveSession, window: IntensityWindow | None = None
) -> list[SegmentPrompts]:
    """What the manifest says of each segment, as prompts in RAS mm; where it says nothing, what the task proposes.

    Raises:
        UserError: A file cannot be read, a mask has no such segment, or the task finds nothing.
    """
    return [
        _segment_prompts(spec, volume)
        if spec.is_prompted
        else proposed_prompts(session, volume, spec.name, window, case.modality)
        for spec in case.segments
    ]


def _segment_prompts(spec: SegmentSpec, volume: Volume) -> SegmentPrompts:
    markups = [markup for path in spec.prompts for markup in read_markups(path)]
    if spec.box_ras:
        markups.append(_box_ras(spec.box_ras, spec.name))
    if spec.box_ijk:
        markups.append(_box_ijk(spec.box_ijk, spec.name, volume))
    points, positive = [], []
    for given_ras, given_ijk, include in (
        (spec.points_ras, spec.points_ijk, True),
        (spec.negative_points_ras, spec.negative_points_ijk, False),
    ):
        placed = [np.asarray(point) for point in given_ras]
        placed += [ijk_to_ras_points(point, volume.ijk_to_ras) for point in given_ijk]
        points += placed
        positive += [include] * len(placed)
    if points:
        markups.append(Markup("point", spec.name, np.array(points), tuple(positive)))
    prompts = SegmentPrompts(spec.name, tuple(markups))
    return start_from_mask([prompts], spec.mask, volume, spec.mask_segment)[0] if spec.mask else prompts


def _box_ras(corners: tuple[float, ...], name: str) -> Markup:
    first, second = np.array(corners[:3]), np.array(corners[3:])
    matrix = np.eye(4)
    matrix[:3, 3] = (first + second) / 2
    return Markup("box", name, object_to_world=matrix, size=np.abs(second - first))


def _box_ijk(corners: tuple[float, ...], name: str, volume: Volume) -> Markup:
    low, high = np.minimum(corners[:3], corners[3:]), np.maximum(corners[:3], corners[3:])
    box_kji = [[int(a), int(b) + 1] for a, b in zip(low[::-1], high[::-1])]
    return box_markup(box_kji, name, volume)

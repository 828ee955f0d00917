"""Markups, nodes or files, -> prompts on a volume's voxel grid. Nodes are only read; any transform may be above."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, Union

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import (
    axis_of_plane,
    box_to_roi,
    ijk_box_from_corners,
    kji_from_ijk,
    line_hint,
    nearest_voxel,
    onto_slice,
    ras_to_ijk,
    roi_corners_ras,
    spacing_of,
)
from EfficientMedSAM2Lib.imaging.markups import (
    Markup,
    curve_note,
    is_negative,
    is_straight,
    plane_of,
    rotation_warning,
    sign_note,
)
from EfficientMedSAM2Lib.interaction import (
    PROMPT_ORDER,
    BoxPrompt,
    LassoPrompt,
    LinePrompt,
    MarkupPrompt,
    Origin,
    PointPrompt,
    ScribblePrompt,
    checks,
)
from EfficientMedSAM2Lib.mrml.labelmaps import from_vtk_matrix, linear_matrix, transform_between
from EfficientMedSAM2Lib.mrml.volume_reader import default_axis, volume_matrix, volume_shape, world_to_local

Drawn = TypeVar("Drawn", bound=Union[ScribblePrompt, LassoPrompt])
Points = tuple[tuple[float, float, float], ...]

#: Set on the nodes that show the prompts of a segment.
KIND_ATTRIBUTE = "EfficientMedSAM2.Prompt"


def point_at(
    point_world_ras: Any,
    volume_node: Any,
    positive: bool = True,
    axis: int | None = None,
    node_id: str | None = None,
) -> PointPrompt:
    """A click at a world position, RAS mm; UserError outside of the volume."""
    point_ras = world_to_local(point_world_ras, volume_node)
    shape = volume_shape(volume_node)
    (point_ijk,) = ras_to_ijk(point_ras, volume_matrix(volume_node))
    axis = default_axis(volume_node) if axis is None else axis
    return PointPrompt(nearest_voxel(point_ijk, shape), positive, axis, Origin(_rows(point_ras), node_id))


def box_of(bbox_kji: Box, volume_node: Any, positive: bool = True, axis: int | None = None) -> BoxPrompt:
    """A half-open voxel box, as drawn in a slice view; 2D when one axis has size 1."""
    corners_ras = roi_corners_ras(*box_to_roi(bbox_kji, volume_matrix(volume_node)))
    prompt = checks.box_prompt(bbox_kji, positive, axis, default_axis(volume_node), volume_shape(volume_node))
    return replace(prompt, origin=Origin(_rows(corners_ras)))


def line_between(
    start_world_ras: Any, end_world_ras: Any, volume_node: Any, axis: int | None = None, node_id: str | None = None
) -> LinePrompt:
    """A diameter between two world positions, RAS mm, on the slice through its middle; UserError off the volume."""
    points_ras = world_to_local([start_world_ras, end_world_ras], volume_node)
    affine, shape = volume_matrix(volume_node), volume_shape(volume_node)
    ends_ijk = ras_to_ijk(points_ras, affine)
    drawn_hint = ""
    if axis is not None:
        drawn_hint = line_hint(ends_ijk[:, ::-1], axis)
        ends_ijk = onto_slice(ends_ijk[:, ::-1], axis)[:, ::-1]
    start, end = (nearest_voxel(end, shape) for end in ends_ijk)
    spacing = kji_from_ijk(spacing_of(affine)).tolist()
    prompt, hint = checks.line_prompt(start, end, axis, default_axis(volume_node), shape, spacing)
    return replace(prompt, origin=Origin(_rows(points_ras), node_id, drawn_hint or hint))


def drawn_along(
    kind: type[Drawn],
    line_world_ras: Any,
    volume_node: Any,
    positive: bool = True,
    axis: int | None = None,
    node_id: str | None = None,
    warning: str = "",
) -> Drawn:
    """A scribble's voxels under a line through world positions (N, 3), RAS mm, or what it encloses as a lasso.

    Raises:
        UserError: a scribble leaves the volume; a lasso lies on no slice, or encloses nothing of it.
    """
    points_ras = world_to_local(line_world_ras, volume_node)
    return drawn_of(kind, points_ras, volume_node, positive, axis, Origin(_rows(points_ras), node_id, warning))


def drawn_of(
    kind: type[Drawn], points_ras: Any, volume_node: Any, positive: bool, axis: int | None, origin: Origin
) -> Drawn:
    """As `drawn_along`, of a line (N, 3) in the volume's local frame, RAS mm."""
    points_kji = kji_from_ijk(ras_to_ijk(points_ras, volume_matrix(volume_node)))
    read = checks.lasso_line if issubclass(kind, LassoPrompt) else checks.scribble_line
    mask, slicing_axis = read(points_kji, axis, default_axis(volume_node), volume_shape(volume_node))
    return kind(mask, positive, slicing_axis, origin)


def read_points(node: Any, volume_node: Any, axis: int | None = None) -> list[PointPrompt]:
    """All placed control points of a vtkMRMLMarkupsFiducialNode; points not yet placed are skipped.

    Raises:
        UserError: a point is outside of the volume, or there is none.
    """
    prompts = []
    for n in _placed(node):
        positive = not is_negative(node.GetNthControlPointLabel(n), node.GetNthControlPointDescription(n))
        stated = _stated_axis(plane_of(node.GetNthControlPointDescription(n)), volume_node, axis)
        try:
            prompts.append(point_at(_world_position(node, n), volume_node, positive, stated, node.GetID()))
        except UserError as error:
            raise UserError(f"Point '{node.GetNthControlPointLabel(n)}' of '{node.GetName()}': {error}") from error
    if not prompts:
        raise UserError(f"Markups '{node.GetName()}' has no points; place at least one on the structure.")
    if node.GetAttribute(KIND_ATTRIBUTE):
        return prompts  # shown by the effect itself, whose user gave them as what they are
    labels = [node.GetNthControlPointLabel(n) for n in _placed(node)]
    return _with_sign_note(node.GetName(), prompts, labels)


def _with_sign_note(name: str, points: list[PointPrompt], labels: Sequence[str]) -> list[PointPrompt]:
    """Points of a list, the first of which says how they are understood, where that may surprise."""
    note = sign_note(name, [point.positive for point in points], labels)
    return [replace(points[0], origin=replace(points[0].origin, warning=note)), *points[1:]]


def read_line(node: Any, volume_node: Any, axis: int | None = None) -> LinePrompt:
    """The diameter drawn with a vtkMRMLMarkupsLineNode; UserError unless both ends are placed, inside the volume."""
    placed = _placed(node)
    if len(placed) != 2:
        raise UserError(f"Line '{node.GetName()}' is not finished; place both of its ends.")
    start, end = (_world_position(node, n) for n in placed)
    axis = _stated_axis(plane_of(node.GetNthControlPointDescription(placed[0])), volume_node, axis)
    return line_between(start, end, volume_node, axis, node.GetID())


def read_roi(node: Any, volume_node: Any, axis: int | None = None) -> BoxPrompt:
    """The voxels between the eight corners of a vtkMRMLMarkupsROINode; a rotated ROI is enclosed, with a warning.

    An ROI that is thinner than a slice along one axis becomes a 2D box.
    """
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(node.GetObjectToWorldMatrix())
    text = node.GetNthControlPointDescription(0) if node.GetNumberOfControlPoints() else ""
    axis = _stated_axis(plane_of(text), volume_node, axis)
    positive = not is_negative("", text)
    return _roi_prompt(
        node.GetName(), from_vtk_matrix(matrix), node.GetSize(), volume_node, axis, node.GetID(), positive
    )


def read_curve(node: Any, volume_node: Any, axis: int | None = None) -> ScribblePrompt | LassoPrompt:
    """A vtkMRMLMarkupsClosedCurveNode as a lasso, any other vtkMRMLMarkupsCurveNode as a scribble: as Slicer draws it.

    It excludes when the label or description of one of its points says so.
    """
    closed = node.IsA("vtkMRMLMarkupsClosedCurveNode")
    name, placed, least = node.GetName(), _placed(node), 3 if closed else 2
    if len(placed) < least:
        raise UserError(f"Curve '{name}' is not finished; place {least} or more points.")
    texts = [(node.GetNthControlPointLabel(n), node.GetNthControlPointDescription(n)) for n in placed]
    positive = not any(is_negative(*text) for text in texts)
    axis = _stated_axis(plane_of(texts[0][1]), volume_node, axis)
    if is_straight(texts[0][1]):
        line = [_world_position(node, n) for n in placed]
    else:
        along = node.GetCurvePointsWorld()
        line = [list(along.GetPoint(n)) for n in range(along.GetNumberOfPoints())]
    kind: type[LassoPrompt | ScribblePrompt] = LassoPrompt if closed else ScribblePrompt
    try:
        return drawn_along(kind, line, volume_node, positive, axis, node.GetID(), curve_note(name, positive))
    except UserError as error:
        raise UserError(f"Curve '{name}': {error}") from error


def read_markups(node: Any, volume_node: Any, axis: int | None = None) -> list[MarkupPrompt]:
    """Prompts of any supported markups node, in its order.

    Raises:
        UserError: the node is of another kind (an angle, a plane ...), or its prompts cannot be used.
    """
    if node is None:
        raise UserError("No markups node is selected; choose points, a line, a curve or an ROI.")
    if node.IsA("vtkMRMLMarkupsROINode"):
        return [read_roi(node, volume_node, axis)]
    if node.IsA("vtkMRMLMarkupsLineNode"):
        return [read_line(node, volume_node, axis)]
    if node.IsA("vtkMRMLMarkupsFiducialNode"):
        return [*read_points(node, volume_node, axis)]
    if node.IsA("vtkMRMLMarkupsCurveNode"):
        return [read_curve(node, volume_node, axis)]
    raise UserError(f"'{node.GetName()}' cannot be a prompt; use points, a line, a curve or an ROI.")


def prompts_of_file(markups: Iterable[Markup], volume_node: Any) -> list[MarkupPrompt]:
    """Prompts of a markups file, whose positions are world RAS, in the order of PROMPT_ORDER; excluding ones at last.

    Each is for the slices along the axis that the file states.

    Raises:
        UserError: one of them is outside of the volume.
    """
    prompts: list[MarkupPrompt] = []
    for markup in sorted(markups, key=lambda markup: PROMPT_ORDER[markup.kind]):
        if markup.kind == "box":
            stated = _stated_axis(markup.planes[0], volume_node)
            roi = markup.name, markup.object_to_world, markup.size
            prompts.append(_roi_prompt(*roi, volume_node, stated, positive=markup.positive[0]))
            continue
        try:
            if markup.is_curve:
                stated = _stated_axis(markup.planes[0], volume_node)
                # a scribble that refines belongs to the slices of what it refines, in whatever view it was drawn
                if markup.kind == "scribble" and stated is None and prompts:
                    stated = prompts[0].axis
                drawn: type[ScribblePrompt | LassoPrompt] = LassoPrompt if markup.kind == "lasso" else ScribblePrompt
                positive, note = all(markup.positive), curve_note(markup.name, all(markup.positive))
                prompts.append(drawn_along(drawn, markup.curve_ras, volume_node, positive, stated, warning=note))
            elif markup.kind == "line":
                stated = _stated_axis(markup.planes[0], volume_node)
                prompts.append(line_between(markup.points_ras[0], markup.points_ras[1], volume_node, stated))
            else:
                placed = zip(markup.points_ras, markup.positive, markup.planes)
                points = [
                    point_at(point, volume_node, positive, _stated_axis(plane, volume_node))
                    for point, positive, plane in placed
                ]
                prompts += _with_sign_note(markup.name, points, markup.labels)
        except UserError as error:
            raise UserError(f"{markup.kind.capitalize()} of '{markup.name}': {error}") from error
    return sorted(prompts, key=lambda prompt: (not prompt.positive, PROMPT_ORDER[prompt.kind]))


def _stated_axis(plane: str, volume_node: Any, axis: int | None = None) -> int | None:
    """The array axis that somebody gives, else that of a plane by its name, None where there is neither."""
    return axis if axis is not None or not plane else axis_of_plane(plane, volume_matrix(volume_node))


def _roi_prompt(
    name: str,
    object_to_world: Any,
    size: Any,
    volume_node: Any,
    axis: int | None,
    node_id: str | None = None,
    positive: bool = True,
) -> BoxPrompt:
    """The voxels between the corners of an ROI, as ``read_roi``."""
    affine = volume_matrix(volume_node)
    try:
        corners_ras = world_to_local(roi_corners_ras(object_to_world, size), volume_node)
        box = ijk_box_from_corners(ras_to_ijk(corners_ras, affine), volume_shape(volume_node))
    except UserError as error:
        raise UserError(f"ROI '{name}': {error}") from error
    frames = linear_matrix(transform_between(None, volume_node))
    if frames is None:
        warning = f"ROI '{name}' is bent by a nonlinear transform; the voxels between its corners are used."
    else:
        warning = rotation_warning(name, frames @ object_to_world, affine)
    prompt = checks.box_prompt(box, positive, axis, default_axis(volume_node), volume_shape(volume_node))
    return replace(prompt, origin=Origin(_rows(corners_ras), node_id, warning))


def _placed(node: Any) -> list[int]:
    """Numbers of the control points that have a position."""
    defined = node.PositionDefined
    count = node.GetNumberOfControlPoints()
    return [n for n in range(count) if node.GetNthControlPointPositionStatus(n) == defined]


def _world_position(node: Any, n: int) -> list[float]:
    position = [0.0, 0.0, 0.0]
    node.GetNthControlPointPositionWorld(n, position)
    return position


def _rows(points: np.ndarray) -> Points:
    return tuple((float(r), float(a), float(s)) for r, a, s in points.reshape(-1, 3))

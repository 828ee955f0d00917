"""Prompts kept with the scene: as a tag of their segment, and as markups nodes that the user sees.

The tag is the record. Slicer's undo and redo carry a segment's tags along with its voxels, ``.seg.nrrd`` files and
scenes save them, so that prompts and mask can never disagree. The markups nodes are its picture: they are made from
it, bear the attributes below, lie in a folder of their own, and are the only nodes ever changed or removed here.
"""

from __future__ import annotations

import base64
import json
import logging
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import ijk_box_from_corners, nearest_voxel, ras_to_ijk
from EfficientMedSAM2Lib.interaction import (
    LassoPrompt,
    LinePrompt,
    MarkupPrompt,
    Origin,
    PointPrompt,
    ScribblePrompt,
    checks,
)
from EfficientMedSAM2Lib.mrml.labelmaps import box_of_extent, mask_in_box, to_vtk_matrix
from EfficientMedSAM2Lib.mrml.markups_reader import KIND_ATTRIBUTE, drawn_of
from EfficientMedSAM2Lib.mrml.volume_reader import default_axis, volume_matrix, volume_shape

PROMPTS_TAG = "EfficientMedSAM2.Prompts"
STATE_TAG = "EfficientMedSAM2.State"
SEGMENT_ATTRIBUTE = "EfficientMedSAM2.SegmentID"
SEGMENTATION_ROLE = "EfficientMedSAM2.Segmentation"
FOLDER_NAME = "EfficientMedSAM2 prompts"

#: A tag that unpacks to more than this is damaged or hostile.
MAX_TAG_BYTES = 4 * 2**20
#: Digits of coordinates in mm.
DECIMALS = 3
_NODE_CLASSES = {
    "point": "vtkMRMLMarkupsFiducialNode",
    "box": "vtkMRMLMarkupsROINode",
    "line": "vtkMRMLMarkupsLineNode",
    "scribble": "vtkMRMLMarkupsCurveNode",
    "lasso": "vtkMRMLMarkupsClosedCurveNode",
}
#: Colours of prompts that include and that exclude.
INCLUDE_COLOR, EXCLUDE_COLOR = (1.0, 0.85, 0.1), (1.0, 0.35, 0.3)

logger = logging.getLogger(__name__)


def get_tag(segment: Any, name: str) -> str | None:
    """Value of a vtkSegment's tag, None when it has none."""
    import vtk

    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else None


def pack_record(record: dict[str, Any]) -> str:
    """A record as text for a tag, without the separators that Slicer uses between tags (``|`` and ``:``)."""
    text = json.dumps(record, separators=(",", ":"))
    return base64.urlsafe_b64encode(zlib.compress(text.encode())).decode()


def unpack_record(text: str) -> dict[str, Any]:
    """The record of a tag's text.

    Raises:
        ValueError, zlib.error: It is damaged, or larger than any that is written.
    """
    raw = zlib.decompressobj().decompress(base64.urlsafe_b64decode(text.encode()), MAX_TAG_BYTES)
    record: dict[str, Any] = json.loads(raw.decode())
    return record


def encode_prompts(prompts: Sequence[MarkupPrompt]) -> str:
    """Prompts as text for a tag; a row has the time point only where there is one."""
    rows = [
        [p.kind, int(p.positive), p.axis, np.round(p.origin.points_ras, DECIMALS).tolist(), int(_is_from_markups(p))]
        + ([p.origin.time_point] if p.origin.time_point else [])
        for p in prompts
    ]
    return pack_record({"version": 1, "prompts": rows})


def decode_prompts(text: str | None, volume_node: Any) -> list[MarkupPrompt]:
    """Prompts of a tag, on the grid of a volume; those outside of it are left out.

    A tag that cannot be read gives no prompts and a line in the log: it must not keep a scene from being used.
    ``node_id`` is "" for prompts that came from the user's own markups, which the scene holds by itself.
    """
    if not text:
        return []
    try:
        record = unpack_record(text)
        rows = [
            (kind, yes, axis, np.array(points, float), own, str(*time))
            for kind, yes, axis, points, own, *time in record["prompts"]
        ]
        if record["version"] != 1 or any(axis not in (None, 0, 1, 2) for _kind, _yes, axis, *_rest in rows):
            raise ValueError(f"version {record['version']}")
    except (ValueError, TypeError, KeyError, zlib.error) as error:
        logger.warning("Prompts saved with the segment cannot be read (%s); the segment itself is complete.", error)
        return []
    prompts: list[MarkupPrompt] = []
    for kind, positive, axis, points, from_node, time in rows:
        try:
            given = tuple((float(r), float(a), float(s)) for r, a, s in points)
            origin = Origin(given, "" if from_node else None, time_point=time)
            prompts.append(_on_grid(str(kind), bool(positive), axis, points, volume_node, origin))
        except UserError as error:
            logger.warning("A saved prompt is left out: %s", error)
    return prompts


def write_prompts(segment: Any, prompts: Sequence[MarkupPrompt], state: str) -> None:
    """Keep prompts, and the number of the state they belong to, with a vtkSegment."""
    segment.SetTag(PROMPTS_TAG, encode_prompts(prompts))
    segment.SetTag(STATE_TAG, state)


def is_new_segment(segmentation_node: Any, segment_id: str) -> bool:
    """Whether a segment has neither voxels nor prompts: whoever turns to it begins with what belongs to it."""
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    if segment is None or get_tag(segment, STATE_TAG) is not None:
        return False
    labelmap = segment.GetRepresentation("Binary labelmap")
    box = None if labelmap is None else box_of_extent(labelmap.GetExtent())
    return box is None or not mask_in_box(labelmap, box, segment.GetLabelValue()).any()


def prompt_nodes(segmentation_node: Any, segment_id: str | None = None) -> list[Any]:
    """Our markups nodes of a segmentation, or of one of its segments."""
    return [
        node
        for node in nodes_of_class(segmentation_node.GetScene(), "vtkMRMLMarkupsNode")
        if node.GetAttribute(KIND_ATTRIBUTE) is not None
        and node.GetNodeReferenceID(SEGMENTATION_ROLE) == segmentation_node.GetID()
        and segment_id in (None, node.GetAttribute(SEGMENT_ATTRIBUTE))
    ]


def show_only(segmentation_node: Any, segment_id: str) -> None:
    """Of our markups nodes of a segmentation, show those of one segment; "" hides them all."""
    for node in prompt_nodes(segmentation_node):
        display, visible = node.GetDisplayNode(), node.GetAttribute(SEGMENT_ATTRIBUTE) == segment_id
        if display is not None and bool(display.GetVisibility()) != visible:
            display.SetVisibility(visible)


def offered_markups(scene: Any) -> list[Any]:
    """The user's own points, lines, ROIs and curves, which can be taken for prompts."""
    found = {  # by ID: a closed curve is a curve, too
        node.GetID(): node
        for class_name in _NODE_CLASSES.values()
        for node in nodes_of_class(scene, class_name)
        if node.GetAttribute(KIND_ATTRIBUTE) is None
    }
    return list(found.values())


def show_prompts(
    segmentation_node: Any, volume_node: Any, segment_id: str, prompts: Sequence[MarkupPrompt]
) -> list[Any]:
    """Make our markups nodes show these prompts of a segment, and no others.

    Prompts that came from the user's own markups are not shown again. Nodes are reused, not made anew.
    """
    spare: dict[str, list[Any]] = {kind: [] for kind in _NODE_CLASSES}
    for node in prompt_nodes(segmentation_node, segment_id):
        spare.setdefault(node.GetAttribute(KIND_ATTRIBUTE), []).append(node)
    shown = []
    own = [p for p in prompts if not _is_from_markups(p)]
    points = [p for p in own if p.kind == "point"]
    groups = ([points] if points else []) + [[p] for p in own if p.kind != "point"]
    for group in groups:
        kind = group[0].kind
        node = spare[kind].pop(0) if spare[kind] else _new_node(segmentation_node, segment_id, kind)
        node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        was_modifying = node.StartModify()
        if kind == "box":
            _set_roi(node, np.array(group[0].origin.points_ras))
        elif kind in ("scribble", "lasso"):
            _set_curve(node, group[0].origin.points_ras)
        else:
            _set_points(node, [(point, p.positive) for p in group for point in p.origin.points_ras])
        if kind != "point":
            _color_shape(node.GetDisplayNode(), group[0].positive)
        node.EndModify(was_modifying)
        shown.append(node)
    for node in (node for nodes in spare.values() for node in nodes):
        node.GetScene().RemoveNode(node)
    return shown


def _is_from_markups(prompt: MarkupPrompt) -> bool:
    """Whether it came from the user's own markups, which the scene shows by itself."""
    return prompt.origin.node_id is not None


def _on_grid(
    kind: str, positive: bool, axis: int | None, points: np.ndarray, volume_node: Any, origin: Origin
) -> MarkupPrompt:
    if kind in ("scribble", "lasso") and points.ndim == 2 and points.shape[1:] == (3,) and np.isfinite(points).all():
        drawn: type[ScribblePrompt | LassoPrompt] = ScribblePrompt if kind == "scribble" else LassoPrompt
        return drawn_of(drawn, points, volume_node, positive, axis, origin)
    count = {"point": 1, "line": 2, "box": 8}.get(kind)
    if count is None or points.shape != (count, 3):
        raise UserError(f"'{kind}' with {points.size} numbers is no prompt of this version.")
    shape, points_ijk = volume_shape(volume_node), ras_to_ijk(points, volume_matrix(volume_node))
    if kind == "box":
        box = ijk_box_from_corners(points_ijk, shape)
        return replace(checks.box_prompt(box, positive, axis, default_axis(volume_node), shape), origin=origin)
    axis = default_axis(volume_node) if axis is None else axis
    voxels = [nearest_voxel(point, shape) for point in points_ijk]
    if kind == "point":
        return PointPrompt(voxels[0], positive, axis, origin)
    (k0, j0, i0), (k1, j1, i1) = voxels
    return LinePrompt((k0, j0, i0), (k1, j1, i1), axis, origin)


def _new_node(segmentation_node: Any, segment_id: str, kind: str) -> Any:
    """A locked, tagged markups node in our folder."""
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    name = f"{segment.GetName() if segment is not None else segment_id} {kind}"
    scene = segmentation_node.GetScene()
    taken = {node.GetName() for node in prompt_nodes(segmentation_node, segment_id)}
    names = (name if number == 1 else f"{name} {number}" for number in range(1, len(taken) + 2))
    node = scene.AddNewNodeByClass(_NODE_CLASSES[kind], next(name for name in names if name not in taken))
    node.SetAttribute(KIND_ATTRIBUTE, kind)
    node.SetAttribute(SEGMENT_ATTRIBUTE, segment_id)
    node.SetNodeReferenceID(SEGMENTATION_ROLE, segmentation_node.GetID())
    node.SetLocked(True)
    _set_style(node, kind)
    for tree in nodes_of_class(scene, "vtkMRMLSubjectHierarchyNode")[:1]:
        parent = tree.GetItemParent(tree.GetItemByDataNode(segmentation_node)) or tree.GetSceneItemID()
        folder = tree.GetItemChildWithName(parent, FOLDER_NAME) or tree.CreateFolderItem(parent, FOLDER_NAME)
        item = tree.GetItemByDataNode(node)
        if item:
            tree.SetItemParent(item, folder)
        else:  # only Slicer's own GUI makes items by itself
            tree.CreateItem(folder, node)
    return node


def _set_points(node: Any, points: list[tuple[Sequence[float], bool]]) -> None:
    import vtk

    node.RemoveAllControlPoints()
    for n, (point, positive) in enumerate(points, start=1):
        index = node.AddControlPoint(vtk.vtkVector3d(*point), f"+{n}" if positive else f"-{n}")
        node.SetNthControlPointSelected(index, positive)


def _set_curve(node: Any, points_ras: Sequence[Sequence[float]]) -> None:
    """Straight pieces between the points that were drawn, so that what is shown is what counts."""
    import vtk

    node.SetCurveTypeToLinear()
    node.RemoveAllControlPoints()
    for n, point in enumerate(points_ras):
        node.SetNthControlPointVisibility(node.AddControlPoint(vtk.vtkVector3d(*point), str(n + 1)), False)


def _set_style(node: Any, kind: str) -> None:
    """Nothing may hide anatomy or mask: no handles, which a locked box cannot use anyway, no fill, no lengths in mm.

    Prompts are given on slices, and not shown in 3D.
    """
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetVisibility3D(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetSelectedColor(INCLUDE_COLOR)
    display.SetColor(EXCLUDE_COLOR)  # of points that are not selected
    if kind in ("scribble", "lasso"):
        display.SetPropertiesLabelVisibility(False)
        display.SetPointLabelsVisibility(False)
    if kind == "box":
        display.SetHandlesInteractive(False)
        display.SetFillVisibility(False)


def _color_shape(display: Any, positive: bool) -> None:
    """All but points includes or excludes as a whole. A colour that somebody else gave it stays."""
    if display is not None and display.GetSelectedColor() in (INCLUDE_COLOR, EXCLUDE_COLOR):
        display.SetSelectedColor(INCLUDE_COLOR if positive else EXCLUDE_COLOR)


def _set_roi(node: Any, corners_ras: np.ndarray) -> None:
    """Corners are in the order of core.geometry.roi_corners_ras: the last axis varies fastest."""
    edges = np.stack([corners_ras[n] - corners_ras[0] for n in (4, 2, 1)], axis=1)
    size = np.linalg.norm(edges, axis=0)
    object_to_node = np.eye(4)
    for n in range(3):
        flat = size[n] < 10.0**-DECIMALS
        edge = np.cross(edges[:, (n + 1) % 3], edges[:, (n + 2) % 3]) if flat else edges[:, n]
        object_to_node[:3, n] = edge / np.linalg.norm(edge)
    if np.linalg.det(object_to_node[:3, :3]) < 0:
        object_to_node[:3, 2] *= -1.0
    object_to_node[:3, 3] = corners_ras.mean(axis=0)
    node.SetSize(*size.tolist())
    node.SetAndObserveObjectToNodeMatrix(to_vtk_matrix(object_to_node))


def nodes_of_class(scene: Any, class_name: str) -> list[Any]:
    """All nodes of a scene that are of a MRML class."""
    return [scene.GetNthNodeByClass(n, class_name) for n in range(scene.GetNumberOfNodesByClass(class_name))]

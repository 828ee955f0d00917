"""Prompts as files: 3D Slicer's markups (``.mrk.json``), read into RAS and written the way Slicer writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import normal_name, replacing
from EfficientMedSAM2Lib.core.geometry import PLANES, curve_points, is_rotated_against_grid, lps_to_ras
from EfficientMedSAM2Lib.imaging.formats.files import one_line
from EfficientMedSAM2Lib.imaging.segment import SEGMENT_ID

SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
SUFFIX = ".mrk.json"
#: Slicer's name of a markup type -> our kind of prompt.
KINDS = {"Fiducial": "point", "ROI": "box", "Line": "line", "ClosedCurve": "lasso", "Curve": "scribble"}
#: Control points that each curve has at least.
_CURVE_POINTS = {"lasso": 3, "scribble": 2}
#: A control point excludes when its label or description starts with one of these.
NEGATIVE_PREFIXES = ("-", "neg", "bg")
#: Labels that start so do not exclude, though somebody may think so.
_MAYBE_NEGATIVE = ("background", "exclude", "not", "outside")
#: How a control point's description says on which slices a prompt was given; Slicer keeps it, as any description.
_PLANE = re.compile(rf"\bplane: ({'|'.join(PLANES)})\b", re.IGNORECASE)
#: How it says which segment a prompt belongs to, by its ID.
_SEGMENT = re.compile(rf"\bsegment: ({SEGMENT_ID.pattern})(?![^\s,])")
#: And, last of all, what that is called where the file's name cannot say it, as in "lesion 1/2".
_NAMED = re.compile(rf"(\bsegment: {SEGMENT_ID.pattern}), named: (.+)$", re.DOTALL)
#: How it says that a curve has straight pieces, for which a markups file has no word.
_STRAIGHT = re.compile(r"\bstraight\b", re.IGNORECASE)


@dataclass(frozen=True)
class Markup:
    """One markup: a list of points, an ROI box, a line or a curve.

    Attributes:
        kind: "point", "box", "line", "lasso" (a closed curve) or "scribble" (an open one).
        name: What the file, or the markup in it, is called.
        points_ras: (N,3) mm: the placed control points; the two ends of a line; empty for a box.
        positive: Per point, False where it excludes; the same for all points of a curve; one for a box.
        planes: Per point, or one for a line, a box or a curve: "axial", "coronal" or "sagittal" where the file tells on
            which slices it was given, else "".
        labels: Per point, what the file calls it; empty where nobody has labelled them.
        straight: Curve only: its pieces between points are straight, as the description of its first point says.
        segment_id: ID of the segment that it belongs to, "" where the file does not tell.
        segment_name: What that is called where it has an ID and the file's name does not tell, else "".
        object_to_world: Box only: 4x4 matrix from the box's own frame (origin in its middle) to RAS.
        size: Box only: (3,) edge lengths in mm.
    """

    kind: str
    name: str = ""
    points_ras: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    positive: tuple[bool, ...] = ()
    labels: tuple[str, ...] = ()
    planes: tuple[str, ...] = ()
    straight: bool = False
    segment_id: str = ""
    segment_name: str = ""
    object_to_world: np.ndarray | None = None
    size: np.ndarray | None = None

    def __post_init__(self) -> None:
        points = np.asarray(self.points_ras, dtype=np.float64).reshape(-1, 3)
        object.__setattr__(self, "points_ras", points)
        count = 1 if self.kind == "box" else len(points)
        if not self.positive:
            object.__setattr__(self, "positive", (True,) * count)
        if not self.planes:
            object.__setattr__(self, "planes", ("",) * (count if self.kind == "point" else 1))
        if self.kind not in KINDS.values():
            raise UserError(f"A markup is a point, a box, a line, a lasso or a scribble, not {self.kind!r}.")
        if len(self.positive) != count:
            raise UserError(f"{len(self.positive)} positive flags for {count} points; give one each.")
        if self.kind == "box" and (self.object_to_world is None or self.size is None):
            raise UserError("A box needs object_to_world and size.")
        if self.kind == "line" and len(points) != 2:
            raise UserError(f"A line has two ends, not {len(points)}.")
        if len(points) < _CURVE_POINTS.get(self.kind, 0):
            raise UserError(f"A {self.kind} has {_CURVE_POINTS[self.kind]} points or more, not {len(points)}.")

    @property
    def is_curve(self) -> bool:
        """Whether it is a lasso or a scribble."""
        return self.kind in _CURVE_POINTS

    @property
    def curve_ras(self) -> np.ndarray:
        """(M,3) mm: points along a curve, straight if it says so, else as Slicer draws it by default."""
        if self.straight:
            return self.points_ras
        return curve_points(self.points_ras, self.kind == "lasso")


def is_negative(label: str, description: str = "") -> bool:
    """Whether a control point excludes, by its texts."""
    return any((text or "").strip().lower().startswith(NEGATIVE_PREFIXES) for text in (label, description))


def plane_of(description: str) -> str:
    """Name of the plane that a control point's description states, "" for none."""
    found = _PLANE.search(_without_name(description))
    return found[1].lower() if found else ""


def is_straight(description: str) -> bool:
    """Whether a curve has straight pieces between its points, by the description of the first."""
    return bool(_STRAIGHT.search(_without_name(description)))


def segment_of(description: str) -> str:
    """ID of the segment that a control point's description states, "" for none."""
    found = _SEGMENT.search(_without_name(description))
    return found[1] if found else ""


def name_of(description: str) -> str:
    """Name of that segment, "" for none."""
    found = _NAMED.search(description or "")
    return one_line(found[2]) if found else ""


def _without_name(description: str) -> str:
    """What a description says but for a segment's name, which may hold any word."""
    return _NAMED.sub(r"\1", description or "")


def read_markups(path: str | Path) -> list[Markup]:
    """Read every markup of a ``.mrk.json`` file, in its order.

    Control points that were never placed (status other than "defined") are left out, and so are point lists without
    any placed point. Whether an ROI is shown inside out does not matter here.

    Raises:
        UserError: no such file, not a markups file, a type of markup that cannot be a prompt, an unfinished line or
            curve.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"There is no markups file {path}; check the name.") from None
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:  # neither text nor JSON, or lists in lists without end
        raise UserError(f"{path} is not a markups file; save the markup in 3D Slicer as {SUFFIX}.") from error
    entries = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UserError(f"{path} is not a markups file (it has no list of markups); save it in 3D Slicer as {SUFFIX}.")
    markups = []
    for entry in entries:
        try:
            markup = _markup(entry, path)
        except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
            raise UserError(f"{path} is damaged: {error!r} in a markup; save it in 3D Slicer again.") from error
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
        if markup.kind != "point" or len(markup.points_ras):
            markups.append(markup)
    return markups


def rotation_warning(name: str, object_to_world: Any, ijk_to_ras: Any) -> str:
    """What the user should know of an ROI whose edges are not those of the grid; nothing for others."""
    if not is_rotated_against_grid(object_to_world, ijk_to_ras):
        return ""
    return f"ROI '{name}' is rotated against the image; the larger box that encloses it is used."


def sign_note(name: str, positive: Sequence[bool], labels: Sequence[str] = ()) -> str:
    """How points are taken, where their labels decide it or look as if they did; nothing for others.

    Slicer makes labels of a list's name, so that both may surprise: all points of a list named BG exclude, and those of
    a list named background do not.
    """
    excluding = sum(not include for include in positive)
    rule = f"labels or descriptions that start with {', '.join(NEGATIVE_PREFIXES[:-1])} or {NEGATIVE_PREFIXES[-1]}"
    if excluding:
        return f'{excluding} of {len(positive)} points of {name!r} say "not here": {rule} do.'
    unclear = next((label for label in labels if label.strip().lower().startswith(_MAYBE_NEGATIVE)), None)
    return f"The points of {name!r} count as inside, {unclear!r} too: only {rule} exclude." if unclear else ""


def curve_note(name: str, positive: bool) -> str:
    """How a curve is taken, where it excludes; nothing for others."""
    return "" if positive else f'The curve {name!r} says "not here": a label or description of it starts so.'


def slicer_type(kind: str) -> str:
    """Slicer's name of the markup type of a kind of prompt."""
    return next(name for name, known in KINDS.items() if known == kind)


def write_markups(path: str | Path, markups: Sequence[Markup]) -> None:
    """Write markups to a ``.mrk.json`` file, in LPS as 3D Slicer does by default.

    Raises:
        UserError: the file cannot be written.
    """
    content = {"@schema": SCHEMA, "markups": [_entry(markup) for markup in markups]}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")


def _markup(entry: dict[str, Any], path: Path) -> Markup:
    kind = KINDS.get(entry["type"])
    if kind is None:
        raise UserError(f"a markup of type {entry['type']} cannot be a prompt; use {', '.join(KINDS)}.")
    _check_units(entry.get("coordinateUnits", "mm"))
    flip = _is_lps(entry.get("coordinateSystem", "LPS"))
    name = str(entry.get("name") or markup_name(path))
    placed = [point for point in entry.get("controlPoints", []) if point.get("positionStatus", "defined") == "defined"]
    planes = tuple(plane_of(point.get("description", "")) for point in placed)
    said = next((text for point in placed if segment_of(text := point.get("description", ""))), "")
    segment_id, named = segment_of(said), name_of(said)
    if kind == "box":
        # only by its description: Slicer makes labels of a list's name, and an ROI may be called "BG"
        excludes = bool(placed) and is_negative("", placed[0].get("description", ""))
        box = replace(_box(entry, name, flip), positive=(not excludes,), planes=planes[:1])
        return replace(box, segment_id=segment_id, segment_name=named)
    points = np.array([_numbers(point["position"], 3) for point in placed]).reshape(-1, 3)
    if kind == "line" and len(points) != 2:
        raise UserError(f"the line {name!r} has {len(points)} placed ends; place both.")
    positive = tuple(not is_negative(point.get("label", ""), point.get("description", "")) for point in placed)
    labels, straight = tuple(str(point.get("label") or "") for point in placed), False
    if kind in _CURVE_POINTS:
        if len(points) < _CURVE_POINTS[kind]:
            raise UserError(f"the curve {name!r} has {len(points)} placed points; place {_CURVE_POINTS[kind]} or more.")
        positive, planes = (all(positive),) * len(points), planes[:1]  # one prompt: one label makes it negative
        straight = is_straight(placed[0].get("description", ""))
    if kind == "line":
        positive, planes = (True,) * len(points), planes[:1]
    points = lps_to_ras(points) if flip else points
    return Markup(kind, name, points, positive, labels, planes, straight, segment_id, named)


def _box(entry: dict[str, Any], name: str, flip: bool) -> Markup:
    if not entry.get("size") or not entry.get("center"):
        raise UserError(f"the ROI {name!r} has no centre or no size; place it before saving.")
    matrix = np.eye(4)
    # nine numbers row by row; the columns are the box's axes in the file's coordinate system
    matrix[:3, :3] = _numbers(entry.get("orientation") or _identity(flip), 9).reshape(3, 3)
    matrix[:3, 3] = _numbers(entry["center"], 3)
    return Markup("box", name, object_to_world=lps_to_ras(matrix) if flip else matrix, size=_numbers(entry["size"], 3))


def _identity(flip: bool) -> list[float]:
    """What Slicer takes an ROI without orientation to have: axes along R, A and S."""
    sign = -1.0 if flip else 1.0
    return [sign, 0.0, 0.0, 0.0, sign, 0.0, 0.0, 0.0, 1.0]


def _entry(markup: Markup) -> dict[str, Any]:
    """A markup as Slicer's JSON, LPS."""
    entry: dict[str, Any] = {"type": slicer_type(markup.kind), "coordinateSystem": "LPS", "coordinateUnits": "mm"}
    if markup.name:
        entry["name"] = markup.name
    points, positive = markup.points_ras, markup.positive
    if markup.object_to_world is not None and markup.size is not None:
        matrix = lps_to_ras(markup.object_to_world)
        entry["roiType"] = "Box"
        entry["center"] = matrix[:3, 3].tolist()
        entry["orientation"] = matrix[:3, :3].ravel().tolist()
        entry["size"] = np.asarray(markup.size, dtype=np.float64).tolist()
        entry["insideOut"] = False
        points = np.asarray(markup.object_to_world, dtype=np.float64)[:3, 3].reshape(1, 3)
    planes = markup.planes if markup.kind in ("point", "box") else markup.planes * len(points)
    prefix = {"point": "F", "box": "R", "line": "L", "lasso": "CC", "scribble": "OC"}[markup.kind]
    entry["controlPoints"] = [
        {
            "id": str(number),
            "label": f"{prefix if include else 'neg'}-{number}",
            "description": _description(include or markup.kind == "point", plane, markup),
            "position": lps_to_ras(point).tolist(),
            "positionStatus": "defined",
        }
        for number, (point, include, plane) in enumerate(zip(points, positive, planes), start=1)
    ]
    return entry


def _description(include: bool, plane: str, markup: Markup) -> str:
    """What a control point's label does not say; a box's label is Slicer's own."""
    segment = markup.segment_id
    said = {
        "neg": not include,
        f"plane: {plane}": bool(plane),
        "straight": markup.straight,
        f"segment: {segment}": SEGMENT_ID.fullmatch(segment) is not None,
        f"named: {markup.segment_name}": SEGMENT_ID.fullmatch(segment) is not None and bool(markup.segment_name),
    }
    return ", ".join(text for text, holds in said.items() if holds)


def segment_name(path: str | Path, markups: Sequence[Markup]) -> str:
    """What the segment of a file's markups is called: as they state it, else as the file."""
    return next((markup.segment_name for markup in markups if markup.segment_name), "") or markup_name(path)


def markup_name(path: str | Path) -> str:
    """Name of a markup by its file, as Slicer names it: the file's name without its ending."""
    name = normal_name(Path(path).name)
    for suffix in (SUFFIX, ".json"):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def _is_lps(coordinate_system: Any) -> bool:
    text = str(coordinate_system).upper()
    if text not in ("LPS", "RAS"):
        raise UserError(f"unknown coordinate system {coordinate_system!r}; only LPS and RAS are used by markups.")
    return text == "LPS"


def _check_units(units: Any) -> None:
    """A coded unit is a list whose first item is the unit."""
    unit = units[0] if isinstance(units, list) and units else units
    if unit != "mm":
        raise UserError(f"coordinates are in {unit}; save the markup in mm.")


def _numbers(values: Any, count: int) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64).ravel()
    if array.shape != (count,) or not np.isfinite(array).all():
        raise UserError(f"expected {count} numbers, found {values!r}; save the markup in 3D Slicer again.")
    return array

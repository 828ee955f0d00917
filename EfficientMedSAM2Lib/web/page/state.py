"""What the page shows, read from the viewer session; plain values only."""

from __future__ import annotations

from typing import Any

from EfficientMedSAM2Lib.core.geometry import spacing_of
from EfficientMedSAM2Lib.mrml.effect.action_queue import Activity
from EfficientMedSAM2Lib.mrml.effect.progress import PropagationProgress
from EfficientMedSAM2Lib.mrml.effect.slice_scores import SliceScores
from EfficientMedSAM2Lib.pipeline.measurements import BriefMeasurement, Diameters
from EfficientMedSAM2Lib.web.page.commands import Commands
from EfficientMedSAM2Lib.web.session.measurements import Measurements
from EfficientMedSAM2Lib.web.views.slice_views import ORIENTATIONS, SliceViews

#: Names of the state variables, and their values before a volume is open.
INITIAL: dict[str, Any] = {
    "volume_name": "",
    "volume_text": "",
    "unit": "mm",
    "is_picture": False,
    "is_gray": True,
    "is_ct": False,
    "segments": [],
    "stale_text": "",
    "selected_name": "",
    "tool": "navigate",
    "settings": {},
    "activity": "idle",
    "activity_text": "",
    "progress": None,
    "message": "",
    "is_error": False,
    "has_preview": False,
    "roi_text": "",
    "can_undo": False,
    "can_redo": False,
    "strip": [],
    "strip_text": "",
    "strip_current": -1,
    "strip_range": [0, 0],
    "strip_ends": ["", ""],
    "strip_axis": "",
    "slices": {},
    "readout": "",
    "layout": "four",
    "window_width": 0,
    "window_level": 0,
    "masks_shown": True,
    "upload_limit": "",
    "is_drawing": False,
    "prompts": [],
    "prompt_chosen": -1,
    "is_moving_prompt": False,
    "is_finding": False,
    "find_text": "",
    "is_offered": False,
    "next_step": "",
    "tasks": [],
    "task": 0,
    "is_ready": False,
    "load_error": "",
    "rulers": [],
    "file_windows": [],
    "kept": "",
    "kept_at": "",
    "earlier": [],
}
#: Slices shown in the strip before and after those with a confidence, and at least in all.
STRIP_MARGIN, STRIP_LEAST = 3, 30
#: In place of a segment's size until it is measured: the one before would be that of another mask.
NOT_MEASURED = "…"
#: How an empty segment is begun with each tool.
_BEGIN = {
    "point": "Click on the structure.",
    "box": "Drag a box around the structure on one slice.",
    "roi": "Drag a rectangle around the structure, then shape it in all views.",
    "line": "Drag along the longest diameter.",
    "scribble": "Draw over the structure.",
    "lasso": "Draw a line around the structure.",
    "paint": "Paint the structure.",
}
_TEXTS = {
    Activity.LOADING: "Loading the network",
    Activity.ANSWERING: "Segmenting",
    Activity.PROPAGATING: "Propagating",
    Activity.CANCELLING: "Cancelling",
}


def read_state(commands: Commands, measurements: Measurements) -> dict[str, Any]:
    """All state variables as they are now, but for messages of the page itself."""
    viewer, controller = commands.viewer, commands.viewer.controller
    activity = controller.activity
    state: dict[str, Any] = {
        "tool": commands.effect.tool,
        "settings": dict(commands.settings),
        "activity": activity.value,
        "activity_text": _TEXTS.get(activity, ""),
        "progress": _progress(controller.progress, activity),
        "has_preview": controller.has_preview,
        "layout": commands.layouts.layout_id or "four",
        "masks_shown": commands.masks_shown,
        "is_drawing": commands.effect.gesture.dragging,
        "roi_text": commands.roi.text() if commands.roi.is_open else "",
        "is_ready": controller.is_ready,
        "tasks": commands.tasks.choice.texts,
        "task": commands.tasks.choice.number,
        "rulers": [f"{length:.1f}" for length in commands.effect.rulers.lengths_mm()],
        "load_error": str(controller.load_error or ""),
    }
    if viewer.volume is None or viewer.volume_node is None:
        return {**INITIAL, **state}
    shown = viewer.shown_window()
    segments = _segments(commands, measurements)
    selected = next((row for row in segments if row["selected"]), {})
    strip = _strip(controller.scores, commands.views)
    depth, height, width = viewer.volume.shape_kji
    sizes = (width, height) if viewer.is_picture else (width, height, depth)
    spacing = spacing_of(viewer.volume.ijk_to_ras)
    size_text = f" {viewer.unit}" if viewer.unit != "mm" else " · " + " × ".join(f"{s:.3g}" for s in spacing) + " mm"
    state.update(
        volume_name=viewer.volume.name,
        volume_text=" × ".join(map(str, sizes)) + size_text,
        unit=viewer.unit,
        is_picture=viewer.is_picture,
        is_gray=shown is not None,
        is_ct=viewer.is_ct,
        file_windows=[
            [f"file{n}", f"{window.name}: {window.width:g} / {window.level:g}"]
            for n, window in enumerate(viewer.volume.file_windows)
        ],
        segments=segments,
        selected_name=selected.get("name", ""),
        next_step=next_step(commands.effect.tool, selected["volume"] == "0", controller.scores) if selected else "",
        prompts=commands.prompts.texts,
        prompt_chosen=commands.prompts.chosen,
        is_moving_prompt=commands.prompts.is_moving,
        is_finding=controller.is_finding,
        find_text=controller.find_text,
        is_offered=commands.find.is_offered,
        can_undo=controller.has_preview or viewer.port.can_undo(),
        can_redo=not controller.has_preview and viewer.port.can_redo(),
        slices={tag: commands.views.describe(tag) for tag in commands.views.nodes},
        readout=commands.views.readout(),
        window_width=round(shown[0]) if shown and shown[0] >= 10 else shown[0] if shown else 0,
        window_level=round(shown[1]) if shown and shown[0] >= 10 else shown[1] if shown else 0,
        stale_text=controller.scores.stale_text,
        **strip,
        strip_ends=[commands.views.position(controller.scores.axis, index) for index in strip["strip_range"]],
        strip_axis=_axis_name(commands.views, controller.scores.axis),
    )
    if viewer.is_picture:  # its one slice is nowhere in a patient
        state.update(strip_text=strip["strip_text"].partition(": ")[2], strip_axis="", strip_ends=["", ""])
    return state


def _progress(progress: PropagationProgress | None, activity: Activity) -> dict[str, Any] | None:
    if progress is None:
        return {"done": 0, "total": 0, "text": "starting"} if activity is Activity.PROPAGATING else None
    return {"done": progress.done, "total": progress.total, "text": progress.text}


def _segments(commands: Commands, measurements: Measurements) -> list[dict[str, Any]]:
    rows = []
    for segment_id in commands.segments.ids:
        measured = measurements.get(segment_id)
        rows.append(
            {
                "id": segment_id,
                "name": commands.segments.get(segment_id).GetName(),
                "color": commands.segments.color(segment_id),
                "visible": commands.segments.is_visible(segment_id),
                "locked": commands.segments.is_locked(segment_id),
                "selected": segment_id == commands.segments.selected,
                "volume": _size(measured) if measured is not None else NOT_MEASURED,
                "diameters": _diameters(measured.diameters) if measured is not None else "",
                "diameters_text": _diameters_text(measured.diameters, commands.views) if measured is not None else "",
                "mean": _mean(measured.mean if measured is not None else None),
            }
        )
    return rows


def _size(measured: BriefMeasurement) -> str:
    """In ml, or the number of voxels or pixels where nobody knows how large they are."""
    value = measured.milliliters
    if value is None:
        return str(measured.voxels)
    return "0" if value == 0 else f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _mean(value: float | None) -> str:
    """With three digits, as far as they are behind the point."""
    return "–" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _diameters(found: Diameters | None) -> str:
    return "–" if found is None else f"{found.longest_mm:.0f}\N{THIN SPACE}×\N{THIN SPACE}{found.short_mm:.0f}"


def _diameters_text(found: Diameters | None, views: SliceViews) -> str:
    if found is None:
        return "No diameters: it is empty, or the scan does not say how large a voxel is"
    lengths = f"Longest diameter {found.longest_mm:.1f} mm, short axis {found.short_mm:.1f} mm"
    return f"{lengths}, on slice {views.position(0, found.index)}"


def _axis_name(views: SliceViews, axis: int) -> str:
    """Whose slices a strip counts: those of a view, by its name."""
    tags = [tag for tag in views.nodes if views.describe(tag)["axis"] == axis]
    return f"{ORIENTATIONS[tags[0]].lower()} slices" if tags else "slices"


def _strip(scores: SliceScores, views: SliceViews) -> dict[str, Any]:
    """Bars of the confidence strip: [slice, height in percent, class]."""
    current = next((s["index"] for s in map(views.describe, views.nodes) if s["axis"] == scores.axis), -1)
    known = {**dict.fromkeys(scores.filled, 1.0), **scores.scores}
    judged = scores.filled.intersection(scores.scores)
    first, last = scores.shown_range(STRIP_MARGIN, STRIP_LEAST)
    if not known:
        return {"strip": [], "strip_current": current, "strip_text": "", "strip_range": [first, max(last, 0)]}
    bars = []
    for index in range(first, last + 1):
        score = min(max(float(known.get(index, 0.0)), 0.0), 1.0)
        kinds = [
            "none" if index not in known else "empty" if index not in judged else f"q{min(int(score * 5), 4)}",
            *(["stale"] if index in scores.stale else []),
            *(["prompted"] if index in scores.prompted else []),
        ]
        bars.append([index, round(100 * score), " ".join(kinds)])
    text = scores.describe(current) if 0 <= current < scores.count else ""
    return {"strip": bars, "strip_current": current, "strip_text": text, "strip_range": [first, last]}


def next_step(tool: str, is_empty: bool, scores: SliceScores) -> str:
    """What a reader probably does next with a segment, in a sentence; nothing where nothing is left to say.

    Args:
        tool: Name of the page's tool.
        is_empty: Whether the segment has no voxels.
        scores: What is known of its slices.
    """
    if is_empty:
        return _BEGIN.get(tool, "Choose a prompt, such as Point (P).")
    if scores.count == 1:
        return "Click again to correct it, or add the next segment (A)."
    if scores.stale:
        return "Propagate again (M)."
    if scores.prompted and scores.filled <= scores.prompted:
        return "Click again to correct it, or propagate it to the other slices (M)."
    if scores.weakest is not None:
        return "See the least sure slice (U), correct it, or add the next segment (A)."
    return ""

"""A picture to judge a segmentation by: slices with contours and prompts, as a radiologist is used to seeing them.

Every panel is seen from the feet, from the front or from the patient's left (right is left, as in Slicer), in true
proportion, with the letters of the directions at its edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import bounding_box, in_plane_axes, union, whole_box
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.core.geometry import (
    ijk_box_from_corners,
    nearest_voxel,
    ras_to_ijk,
    roi_corners_ras,
    slice_axis,
    spacing_of,
)
from EfficientMedSAM2Lib.core.planes import Plane, plane_of, telling_slices
from EfficientMedSAM2Lib.core.windows import IntensityWindow, choose_window
from EfficientMedSAM2Lib.imaging.markups import Markup
from EfficientMedSAM2Lib.imaging.preview_panel import CURVE_STYLES, DrawnPrompt, PreviewCase, draw_panel, part_to_show
from EfficientMedSAM2Lib.imaging.segment import Segment, check_masks
from EfficientMedSAM2Lib.imaging.terminology import segment_colors
from EfficientMedSAM2Lib.imaging.volumes import Volume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 4
ROWS = 2
PANEL_INCHES = 3.1
#: Pictures are larger where there are few.
FEW_PANEL_INCHES = 5.0


def write_preview(
    path: str | Path,
    volume: Volume,
    segments: Sequence[Segment],
    prompts: Sequence[Markup] = (),
    window: IntensityWindow | None = None,
) -> None:
    """Write a PNG with the most telling slices.

    Two rows in the plane that the scan was made in: the slices that were prompted, and others spread over the segments.
    One row across, where slip from slice to slice shows.

    Args:
        path: The PNG file; it appears whole or not at all.
        volume: The scan.
        segments: Masks on its grid; empty ones are listed in the legend only.
        prompts: What the user drew. A markup has the colour of the segment of its name; what is outside the volume is
            left out.
        window: Intensity range; None chooses one.

    Raises:
        UserError: a mask of another shape, a place that cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_masks(segments, volume)
    window = window or choose_window(volume.array, volume.modality)
    colors = segment_colors([s.name for s in segments], [s.color for s in segments])
    drawn = _drawn_prompts(volume, prompts, dict(zip([s.name for s in segments], colors)))
    boxes = [box for box in (bounding_box(segment.mask) for segment in segments) if box]
    case = PreviewCase(volume, segments, colors, boxes, drawn, window)
    figure = Figure(facecolor="black")
    FigureCanvasAgg(figure)
    _lay_out(figure, _rows(case), case)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, facecolor="black")


def _drawn_prompts(volume: Volume, prompts: Sequence[Markup], colors: dict[str, Any]) -> list[DrawnPrompt]:
    drawn = []
    for markup in prompts:
        color = colors.get(markup.name, "white")
        try:
            if markup.kind == "box":
                corners_ijk = ras_to_ijk(roi_corners_ras(markup.object_to_world, markup.size), volume.ijk_to_ras)
                drawn.append(
                    DrawnPrompt(markup, ijk_box_from_corners(corners_ijk, volume.shape_kji), np.zeros((0, 3)), color)
                )
            else:
                points_ras = markup.curve_ras if markup.is_curve else markup.points_ras
                points_ijk = ras_to_ijk(points_ras, volume.ijk_to_ras)
                for point in points_ijk:
                    nearest_voxel(point, volume.shape_kji)
                drawn.append(DrawnPrompt(markup, None, points_ijk[:, ::-1], color))
        except ValueError:  # outside of the volume: there is no slice to draw it on
            continue
    return drawn


def _rows(case: PreviewCase) -> list[list[tuple[Plane, int]]]:
    """Planes and slice numbers, a list per row of the picture."""
    volume, boxes = case.volume, case.boxes
    region = union(*boxes) or whole_box(volume.shape_kji)
    axis = slice_axis(spacing_of(volume.ijk_to_ras), volume.shape_kji)
    main = plane_of(volume.ijk_to_ras, volume.shape_kji, axis)
    prompted = {index for prompt in case.drawn for index in prompt.slices(axis)}
    low, high = region[axis]
    indices = telling_slices(low, high, volume.shape_kji[axis], prompted, COLUMNS, ROWS)
    chosen = [(main, index) for index in indices]
    rows = [chosen[start : start + COLUMNS] for start in range(0, len(chosen), COLUMNS)]
    if volume.shape_kji[axis] >= 5 and volume.array.ndim == 3:
        crossing = []
        for other in in_plane_axes(axis):
            low, high = region[other]
            middles = [(box[other][0] + box[other][1]) // 2 for box in boxes]
            picks = sorted({middles[0], middles[1]}) if len(set(middles)) > 1 else []
            if not picks or picks[-1] - picks[0] < (high - low) // 6:
                picks = [low + (high - low) // 3, low + 2 * (high - low) // 3]
            crossing += [
                (plane_of(volume.ijk_to_ras, volume.shape_kji, other), index) for index in picks[: COLUMNS // 2]
            ]
        rows.append(crossing)
    return rows


def _lay_out(figure: Figure, rows: Sequence[Sequence[tuple[Plane, int]]], case: PreviewCase) -> None:
    """Header, panels in true proportion, legend."""
    columns = max(len(row) for row in rows)
    side = PANEL_INCHES if columns > 2 else FEW_PANEL_INCHES
    views = {plane.axis: part_to_show(plane, case) for row in rows for plane, _ in row}
    heights = [max(side * min(1.5, _height_by_width(views[plane.axis])) for plane, _ in row) for row in rows]
    header, caption, footer, gap = 0.62, 0.28, 0.7, 0.06
    width = columns * (side + gap) + gap
    height = header + sum(row_height + caption for row_height in heights) + footer
    figure.set_size_inches(width, height)
    top = height - header
    for row, row_height in zip(rows, heights):
        top -= caption + row_height
        for column, (plane, index) in enumerate(row):
            left = gap + column * (side + gap)
            axes = figure.add_axes((left / width, top / height, side / width, row_height / height))
            draw_panel(axes, plane, index, views[plane.axis], case)
    volume, window = case.volume, case.window
    size = " x ".join(str(n) for n in volume.shape_kji[::-1])
    spacing = " x ".join(f"{value:.3g}" for value in spacing_of(volume.ijk_to_ras))
    details = [volume.modality or "", f"{size} voxels of {spacing} mm" if case.has_scale else f"{size} pixels"]
    details.append(f"window {window.low:g} to {window.high:g} ({window.name})")
    place: dict[str, Any] = {"x": gap / width, "va": "center"}
    figure.text(y=1 - 0.2 / height, s=_plain(volume.name), color="white", fontsize=13, weight="bold", **place)
    figure.text(y=1 - 0.45 / height, s="    ".join(filter(None, details)), color="0.75", fontsize=9, **place)
    _legend(figure, case, max(1, int(width / 2)))


def _height_by_width(view: tuple[float, ...]) -> float:
    return (view[2] - view[3]) / (view[1] - view[0])


def _plain(text: str) -> str:
    """A name may hold a dollar sign; it starts no formula."""
    return text.replace("$", r"\$")


def _legend(figure: Figure, case: PreviewCase, columns: int) -> None:
    """Names, colours and sizes of the segments, and the signs of the prompts there are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    millilitres = case.volume.voxel_mm3 / 1000
    entries: list[Any] = []
    drawn = case.drawn
    for segment, color in zip(case.segments, case.colors):
        count = int(np.count_nonzero(segment.mask))
        amount = count * millilitres
        size = f"{amount:.0f} ml" if amount >= 100 else f"{amount:.3g} ml"
        size = "empty" if not count else size if case.has_scale else f"{count} pixels"
        entries.append(Patch(facecolor=(*color, 0.4), edgecolor=color, label=_plain(f"{segment.name}  {size}")))
    if any(prompt.box is not None for prompt in drawn):
        entries.append(Line2D([], [], color="0.8", linestyle="--", label="box prompt"))
    signs = [positive for prompt in drawn if prompt.markup.kind == "point" for positive in prompt.markup.positive]
    if any(signs):
        entries.append(Line2D([], [], color="0.5", marker="o", linestyle="", markeredgecolor="white", label="include"))
    if not all(signs):
        entries.append(Line2D([], [], color="red", marker="x", linestyle="", mew=2, label="exclude"))
    if any(prompt.markup.kind == "line" for prompt in drawn):
        entries.append(Line2D([], [], color="0.8", marker="o", markersize=4, label="diameter"))
    curves = [(prompt.markup.kind, all(prompt.markup.positive)) for prompt in drawn if prompt.markup.is_curve]
    for kind, positive in sorted(set(curves), reverse=True):
        name = kind if positive else f"{kind}, exclude"
        entries.append(Line2D([], [], color="0.8" if positive else "red", linestyle=CURVE_STYLES[kind], label=name))
    if entries:
        figure.legend(
            handles=entries,
            loc="lower center",
            ncol=min(columns, len(entries)),
            frameon=False,
            labelcolor="white",
            fontsize=10,
        )

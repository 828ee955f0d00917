"""A picture to judge a segmentation by: slices with contours and prompts, as a radiologist is used to seeing them.

Every panel is seen from the feet, from the front or from the patient's left (right is left, as in Slicer), in true
proportion, with the letters of the directions at its edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, bounding_box, union
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.core.geometry import (
    ijk_box_from_corners,
    ijk_to_ras_points,
    nearest_voxel,
    ras_to_ijk,
    roi_corners_ras,
    slice_axis,
    spacing_of,
)
from EfficientMedSAM2Lib.core.planes import PLANE_NAMES, Plane, plane_of, shows_patient, telling_slices
from EfficientMedSAM2Lib.core.windows import IntensityWindow, apply_window, choose_window
from EfficientMedSAM2Lib.imaging.markups import Markup
from EfficientMedSAM2Lib.imaging.segmentations import Segment
from EfficientMedSAM2Lib.imaging.terminology import segment_colors
from EfficientMedSAM2Lib.imaging.volumes import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
ROWS = 2
PANEL_INCHES = 3.1
#: Pictures are larger where there are few.
FEW_PANEL_INCHES = 5.0
#: Nothing smaller than this is shown, so that a lesion is seen with its surroundings.
MINIMUM_VIEW_MM = 80.0


@dataclass(frozen=True)
class _Drawn:
    """A prompt in voxels: a box, or points with their signs; the line joins two points."""

    markup: Markup
    box: Box | None
    points_kji: np.ndarray
    color: Any

    def slices(self, axis: int) -> list[int]:
        """Slices to show it on: those of its points, or the middle one of a box."""
        if self.box is not None:
            return [(self.box[axis][0] + self.box[axis][1] - 1) // 2]
        return np.floor(self.points_kji[:, axis] + 0.5).astype(int).tolist()

    @property
    def extent(self) -> Box:
        """Half-open box of voxels around it."""
        if self.box is not None:
            return self.box
        voxels = np.floor(self.points_kji + 0.5).astype(int)
        return [[int(low), int(high) + 1] for low, high in zip(voxels.min(axis=0), voxels.max(axis=0))]

    def touches(self, axis: int, index: int) -> bool:
        """Whether any of it lies on a slice."""
        if self.box is not None:
            return self.box[axis][0] <= index < self.box[axis][1]
        return bool((np.floor(self.points_kji[:, axis] + 0.5) == index).any())


@dataclass(frozen=True)
class _Case:
    """All there is to draw. `boxes` are those of the segments that are not empty."""

    volume: Volume
    segments: Sequence[Segment]
    colors: Sequence[Any]
    boxes: Sequence[Box]
    drawn: Sequence[_Drawn]
    window: IntensityWindow

    @property
    def has_scale(self) -> bool:
        """False for a photograph, whose millimetres mean nothing."""
        return shows_patient(self.volume.ijk_to_ras, self.volume.shape_kji)


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
        ValueError: a mask of another shape, a place that cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    for segment in segments:
        if segment.mask.shape != volume.shape_kji:
            raise ValueError(
                f"The mask of {segment.name!r} has shape {segment.mask.shape}, the volume {volume.shape_kji}."
            )
    window = window or choose_window(volume.array, volume.modality)
    colors = segment_colors([s.name for s in segments], [s.color for s in segments])
    drawn = _drawn_prompts(volume, prompts, dict(zip([s.name for s in segments], colors)))
    boxes = [box for box in (bounding_box(segment.mask) for segment in segments) if box]
    case = _Case(volume, segments, colors, boxes, drawn, window)
    figure = Figure(facecolor="black")
    FigureCanvasAgg(figure)
    _lay_out(figure, _rows(case), case)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, facecolor="black")


def _drawn_prompts(volume: Volume, prompts: Sequence[Markup], colors: dict[str, Any]) -> list[_Drawn]:
    drawn = []
    for markup in prompts:
        color = colors.get(markup.name, "white")
        try:
            if markup.kind == "box":
                corners_ijk = ras_to_ijk(roi_corners_ras(markup.object_to_world, markup.size), volume.ijk_to_ras)
                drawn.append(
                    _Drawn(markup, ijk_box_from_corners(corners_ijk, volume.shape_kji), np.zeros((0, 3)), color)
                )
            else:
                points_ijk = ras_to_ijk(markup.points_ras, volume.ijk_to_ras)
                for point in points_ijk:
                    nearest_voxel(point, volume.shape_kji)
                drawn.append(_Drawn(markup, None, points_ijk[:, ::-1], color))
        except ValueError:  # outside of the volume: there is no slice to draw it on
            continue
    return drawn


def _rows(case: _Case) -> list[list[tuple[Plane, int]]]:
    """Planes and slice numbers, a list per row of the picture."""
    volume, boxes = case.volume, case.boxes
    region: Box | None = None
    for box in boxes:
        region = union(region, box)
    region = region or [[0, size] for size in volume.shape_kji]
    axis = slice_axis(spacing_of(volume.ijk_to_ras), volume.shape_kji)
    main = plane_of(volume.ijk_to_ras, volume.shape_kji, axis)
    prompted = {index for prompt in case.drawn for index in prompt.slices(axis)}
    low, high = region[axis]
    indices = telling_slices(low, high, volume.shape_kji[axis], prompted, COLUMNS, ROWS)
    chosen = [(main, index) for index in indices]
    rows = [chosen[start : start + COLUMNS] for start in range(0, len(chosen), COLUMNS)]
    if volume.shape_kji[axis] >= 5 and volume.array.ndim == 3:
        crossing = []
        for other in sorted(kji for kji in range(3) if kji != axis):
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


def _view(plane: Plane, case: _Case) -> tuple[float, ...]:
    """Part of a plane to show, in mm on the screen (left, right, bottom, top): what matters and as much around it."""
    volume = case.volume
    spacing_kji = spacing_of(volume.ijk_to_ras)[::-1]
    size = [volume.shape_kji[array_axis] * spacing_kji[array_axis] for array_axis in (plane.across, plane.down)]
    region: Box | None = None
    for box in [*case.boxes, *(prompt.extent for prompt in case.drawn)]:
        region = union(region, box)
    if region is None:
        return (0.0, size[0], size[1], 0.0)
    corners = [plane.position(np.array(region)[:, end] - 0.5, volume.shape_kji) for end in (0, 1)]
    limits = []
    for n, array_axis in enumerate((plane.across, plane.down)):
        low, high = sorted(corner[n] * spacing_kji[array_axis] for corner in corners)
        length = min(size[n], max(1.8 * (high - low), MINIMUM_VIEW_MM))
        start = min(max((low + high - length) / 2, 0.0), size[n] - length)
        # nearly all of it: show all of it
        limits += [start, start + length] if length < 0.75 * size[n] else [0.0, size[n]]
    return (limits[0], limits[1], limits[3], limits[2])


def _lay_out(figure: Figure, rows: Sequence[Sequence[tuple[Plane, int]]], case: _Case) -> None:
    """Header, panels in true proportion, legend."""
    columns = max(len(row) for row in rows)
    side = PANEL_INCHES if columns > 2 else FEW_PANEL_INCHES
    views = {plane.axis: _view(plane, case) for row in rows for plane, _ in row}
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
            _panel(axes, plane, index, views[plane.axis], case)
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


def _panel(axes: Axes, plane: Plane, index: int, view: tuple[float, ...], case: _Case) -> None:
    """One slice with contours, prompts, direction letters, scale and position."""
    volume = case.volume
    spacing_kji = spacing_of(volume.ijk_to_ras)[::-1]
    step = np.array([spacing_kji[plane.across], spacing_kji[plane.down]])
    picture = apply_window(plane.image(volume.array, index), case.window)
    rows, columns = picture.shape[:2]
    extent = (0.0, columns * step[0], rows * step[1], 0.0)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="bilinear", aspect="equal")
    x, y = (np.arange(columns) + 0.5) * step[0], (np.arange(rows) + 0.5) * step[1]
    for segment, color in zip(case.segments, case.colors):
        mask = plane.image(segment.mask, index)
        if mask.any():
            # one voxel around, so that a mask at the border of the image is closed too
            closed = np.pad(mask.astype(np.float32), 1)
            x_closed, y_closed = np.r_[x[0] - step[0], x, x[-1] + step[0]], np.r_[y[0] - step[1], y, y[-1] + step[1]]
            axes.contourf(x_closed, y_closed, closed, levels=[0.5, 2.0], colors=[color], alpha=0.22)
            axes.contour(x_closed, y_closed, closed, levels=[0.5], colors=[color], linewidths=1.5)
    touched = [prompt for prompt in case.drawn if prompt.touches(plane.axis, index)]
    for prompt in touched:
        _draw_prompt(axes, prompt, plane, index, step, volume.shape_kji)
    axes.set_xlim(view[0], view[1])
    axes.set_ylim(view[2], view[3])
    axes.set_axis_off()
    axes.set_anchor("C")
    edge: dict[str, Any] = {"color": "0.9", "fontsize": 9, "transform": axes.transAxes, "path_effects": _halo(2)}
    axes.text(0.02, 0.5, plane.letters[0], va="center", **edge)
    axes.text(0.5, 0.985, plane.letters[1], ha="center", va="top", **edge)
    if case.has_scale:
        _scale_bar(axes, view)
    middle = np.array([(size - 1) / 2 for size in volume.shape_kji])
    middle[plane.axis] = index
    center_ras = ijk_to_ras_points(middle[::-1], volume.ijk_to_ras)
    title = f"{plane.name}  slice {index}"
    if plane.name in PLANE_NAMES.values():
        along = next(axis for axis, name in PLANE_NAMES.items() if name == plane.name)
        title += f"   {'RAS'[along] if center_ras[along] >= 0 else 'LPI'[along]} {abs(center_ras[along]):.0f} mm"
    prompted = bool(touched) and plane.axis == slice_axis(spacing_of(volume.ijk_to_ras), volume.shape_kji)
    axes.set_title(
        title + ("   prompted" if prompted else ""), color="white" if prompted else "0.65", fontsize=9, pad=4
    )


def _draw_prompt(
    axes: Axes, prompt: _Drawn, plane: Plane, index: int, step: np.ndarray, shape_kji: Sequence[int]
) -> None:
    from matplotlib.patches import Rectangle

    halo = _halo(3)
    if prompt.box is not None:
        first, last = (np.array(plane.position(np.array(prompt.box)[:, end] - 0.5, shape_kji)) * step for end in (0, 1))
        corner, size = np.minimum(first, last), np.abs(last - first)
        axes.add_patch(
            Rectangle(
                corner, *size, fill=False, edgecolor=prompt.color, linestyle="--", linewidth=1.3, path_effects=halo
            )
        )
        return
    places = np.array([plane.position(point, shape_kji) for point in prompt.points_kji]) * step
    if prompt.markup.kind == "line":
        axes.plot(*places.T, color=prompt.color, linewidth=1.5, marker="o", markersize=4, path_effects=halo)
        return
    on_slice = np.floor(prompt.points_kji[:, plane.axis] + 0.5) == index
    for place, here, positive in zip(places, on_slice, prompt.markup.positive):
        if here:
            shape: dict[str, Any] = {"marker": "o", "markersize": 6, "color": prompt.color, "markeredgecolor": "white"}
            if not positive:
                shape = {"marker": "x", "markersize": 7, "color": "red", "markeredgewidth": 2}
            axes.plot(*place, **shape)


def _plain(text: str) -> str:
    """A name may hold a dollar sign; it starts no formula."""
    return text.replace("$", r"\$")


def _halo(width: float) -> list[Any]:
    """A dark rim, so that light lines and letters are seen on light tissue."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground="black")]


def _scale_bar(axes: Axes, view: tuple[float, ...]) -> None:
    """A round length of a fifth of the view or less, lower right."""
    length = max((mm for mm in (1, 2, 5, 10, 20, 50, 100) if mm <= (view[1] - view[0]) / 4), default=1)
    right, bottom = view[1] - 0.03 * (view[1] - view[0]), view[2] - 0.03 * (view[2] - view[3])
    axes.plot(
        [right - length, right],
        [bottom, bottom],
        color="0.9",
        linewidth=2,
        solid_capstyle="butt",
        path_effects=_halo(3.5),
    )
    axes.text(
        right - length / 2,
        bottom,
        f"{length} mm",
        color="0.9",
        fontsize=7,
        ha="center",
        va="bottom",
        path_effects=_halo(2),
    )


def _legend(figure: Figure, case: _Case, columns: int) -> None:
    """Names, colours and sizes of the segments, and the signs of the prompts there are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    millilitres = abs(np.linalg.det(case.volume.ijk_to_ras[:3, :3])) / 1000
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
    if entries:
        figure.legend(
            handles=entries,
            loc="lower center",
            ncol=min(columns, len(entries)),
            frameon=False,
            labelcolor="white",
            fontsize=10,
        )
